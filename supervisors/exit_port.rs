//! Where the ends of children arrive.
//!
//! A supervisor does not take ractor's supervision events itself: they would overtake its queue, they would lie unread
//! while it stops or starts other children (with the dead child's state inside), and ractor would kill the children
//! without their `post_stop` when the supervisor is killed. Its children are linked to its exit port instead, a second
//! actor, which drops the state, waits until the dead child's task is gone, and only then posts the exit to the
//! supervisor's queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::SetOnce;

use crate::exit_reason::ExitReason;
use crate::panics::caught_now;
use crate::process::{Ending, KILL_LIMIT, Process, lock};

/// The supervisor's side of its exit port.
#[derive(Clone)]
pub(crate) struct ExitPort {
    cell: ActorCell,
    table: Arc<Table>,
}

/// Posts an exit to whoever owns the port.
type Post = Box<dyn Fn(ActorId) + Send + Sync>;

struct Table {
    children: Mutex<BTreeMap<ActorId, Process>>,
    post: Post,
    /// The owner is gone: no child will be added.
    closed: AtomicBool,
    /// Closed and empty.
    drained: SetOnce<()>,
}

impl ExitPort {
    pub(crate) async fn open(post: Post) -> Result<Self, SpawnErr> {
        let table = Arc::new(Table {
            children: Mutex::default(),
            post,
            closed: AtomicBool::new(false),
            drained: SetOnce::new(),
        });
        let (port, _task) = Actor::spawn(None, Doorkeeper, table.clone()).await?;
        Ok(Self { cell: port.get_cell(), table })
    }

    /// What children are linked to.
    pub(crate) fn cell(&self) -> ActorCell {
        self.cell.clone()
    }

    /// Registers a child before it can end.
    pub(crate) fn expect(&self, child: Process) {
        lock(&self.table.children).insert(child.pid(), child);
    }

    /// Strikes out a child whose start failed.
    pub(crate) fn forget(&self, id: ActorId) {
        self.table.remove(id, &self.cell);
    }

    /// No child will be added. The port ends with the last one.
    pub(crate) fn close(&self) {
        self.table.closed.store(true, Ordering::Release);
        self.table.end_if_drained(&self.cell);
    }

    /// As [`close`](Self::close), for an owner that was killed: whoever is still there gets its exit signal.
    ///
    /// Also whoever was being started at that moment: the owner does not know it yet, the port does.
    pub(crate) fn abandon(&self) {
        self.close();
        let orphans: Vec<Process> = lock(&self.table.children).values().cloned().collect();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for orphan in orphans {
            runtime.spawn(orphan.orphaned());
        }
    }

    /// Waits until the port is closed and every child is gone.
    pub(crate) async fn drained(&self) {
        self.table.drained.wait().await;
    }

    fn is_drained(&self) -> bool {
        self.table.drained.get().is_some()
    }
}

impl Table {
    fn remove(&self, id: ActorId, port: &ActorCell) {
        lock(&self.children).remove(&id);
        self.end_if_drained(port);
    }

    fn end_if_drained(&self, port: &ActorCell) {
        if self.closed.load(Ordering::Acquire) && lock(&self.children).is_empty() {
            let _ = self.drained.set(());
            port.stop(None);
        }
    }

    /// A child has ended; its state is dropped already.
    async fn ended(self: &Arc<Self>, id: ActorId, ending: Ending, port: ActorCell) {
        let Some(child) = lock(&self.children).get(&id).cloned() else { return };
        let fate = child.fate();
        let reason = fate.reason(ending);
        if tokio::time::timeout(KILL_LIMIT, fate.joined()).await.is_err() {
            tracing::error!(pid = %id, "dead, but what it owned is not dropped: given up");
        }
        fate.end(id, reason);
        // Whoever waits for the end must find the exit in its queue already.
        (self.post)(id);
        match fate.subtree().cloned() {
            Some(subtree) if !subtree.is_drained() => {
                // Killed: its children are on their way. Others that end meanwhile must not wait for them.
                let (table, child) = (self.clone(), child.clone());
                tokio::spawn(async move {
                    subtree.drained().await;
                    table.gone(&child, &port);
                });
            }
            Some(_) | None => self.gone(&child, &port),
        }
    }

    fn gone(&self, child: &Process, port: &ActorCell) {
        child.fate().leave();
        self.remove(child.pid(), port);
    }
}

struct Doorkeeper;

impl Actor for Doorkeeper {
    type Msg = ();
    type State = Arc<Table>;
    type Arguments = Arc<Table>;

    async fn pre_start(&self, _: ActorRef<()>, table: Arc<Table>) -> Result<Arc<Table>, ActorProcessingErr> {
        Ok(table)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        table: &mut Arc<Table>,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, state, reason) => {
                dropped(state);
                table.ended(cell.get_id(), Ending::Terminated(reason), myself.get_cell()).await;
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                let reason = ExitReason::from_error(error.as_ref());
                dropped(error);
                table.ended(cell.get_id(), Ending::Failed(reason), myself.get_cell()).await;
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// Drops what came from a child; its `Drop` may panic, which must not end the port.
fn dropped<T>(value: T) {
    if let Err(panic) = caught_now(move || drop(value)) {
        tracing::error!(%panic, "panic while dropping the state of a dead actor");
    }
}
