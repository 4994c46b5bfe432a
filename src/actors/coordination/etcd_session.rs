//! EtcdSessionActor: one session with etcd: watches everything of this cluster, and renews the leader key while ordered to.
//!
//! Hears:   `Hold`, `StopRenewing` (ElectionActor), `Relist` (anyone who knows that the view is behind), `AcceptControlState`
//!          (operator).
//! Does:    publishes the `ClusterView` on the board and casts it to ElectionActor; renews each D/10 by a hedged transaction;
//!          compacts and defragments etcd.
//! Restart: begins with a fresh list and the times of receipt that are on the board; renews nothing until ordered again.
//!
//! Watching, renewing and housekeeping are tasks of their own, so that none delays another; they end with the actor.

use crate::actors::coordination::election::ElectionMessage;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::context::NodeContext;
use holds::Holds;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Nonce, Revision, Timestamp};
use leaderl_decision::records::Holder;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use tokio::task::JoinHandle;

pub mod high_water_file;
mod holds;
pub mod housekeeping;
pub mod renewing;
pub mod watching;

/// What EtcdSessionActor hears.
#[derive(Debug)]
pub enum EtcdSessionMessage {
    /// Renew this hold until told otherwise; repeated by the election's tick (same nonce: no effect).
    Hold {
        /// The holder as last committed (its `seq` is the last one known to be committed).
        holder: Holder,
        /// The leader key's mod_revision after that commit.
        revision: Revision,
        /// t0 of that seq.
        t0: Timestamp,
    },
    /// Send no further renewal of this nonce, ever. Answered after the last one in flight was given up or answered.
    StopRenewing {
        /// The hold's nonce.
        nonce: Nonce,
        /// Told the mod_revision of the leader key as last known to be ours; 0 when this nonce was never renewed here.
        reply: RpcReplyPort<Revision>,
    },
    /// Read everything again.
    Relist,
    /// The operator confirms a control state that is older than what this node had seen.
    AcceptControlState,
    /// Own task: the control state went back; renewing ends and the fences act by their timetable.
    WentBack,
    /// Own task: renewing this nonce has ended.
    RenewingEnded {
        /// The hold's nonce.
        nonce: Nonce,
        /// The leader key's mod_revision as last known to be ours.
        revision: Revision,
        /// A read proved that the key is not ours any more.
        lost: bool,
    },
    /// Own task: one of the tasks died; the actor ends with it.
    TaskDied(&'static str),
}

impl Named for EtcdSessionMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Hold { .. } => heard("hold"),
            Self::StopRenewing { .. } => heard("stop-renewing"),
            Self::Relist => heard("relist"),
            Self::AcceptControlState => heard("accept-control-state"),
            Self::WentBack => own("went-back"),
            Self::RenewingEnded { .. } => own("renewing-ended"),
            Self::TaskDied(_) => own("task-died"),
        }
    }
}

/// The actor; all its state is in [`EtcdSessionState`].
pub struct EtcdSessionActor;

/// What the running actor keeps.
pub struct EtcdSessionState {
    context: Arc<NodeContext>,
    watching: watching::Handle,
    holds: Holds,
    _tasks: Vec<AbortOnDrop>,
}

/// A task that ends with its owner.
pub(crate) struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the actor when its task ends by a panic, so that the supervisor may start both again.
struct DeathNotice {
    actor: ActorRef<EtcdSessionMessage>,
    task: &'static str,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        // An abort or an orderly end drops this too, and neither is a death.
        if std::thread::panicking() {
            let _ = self.actor.cast(EtcdSessionMessage::TaskDied(self.task));
        }
    }
}

fn spawn(
    actor: &ActorRef<EtcdSessionMessage>,
    task: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> AbortOnDrop {
    let notice = DeathNotice { actor: actor.clone(), task };
    AbortOnDrop(tokio::spawn(async move {
        let _notice = notice;
        work.await;
    }))
}

impl Actor for EtcdSessionActor {
    type Msg = EtcdSessionMessage;
    type State = EtcdSessionState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        me: ActorRef<EtcdSessionMessage>,
        context: Arc<NodeContext>,
    ) -> Result<EtcdSessionState, ActorProcessingErr> {
        blackbox::became("watching");
        let settings = &context.settings;
        let (handle, watching) = watching::Watching::new(
            watching::Parts {
                store: context.store.clone(),
                clock: context.clock.clone(),
                keys: context.keys.clone(),
                ttl: settings.election.leader_ttl,
                files: context.files.clone(),
                known: context.board.cluster.borrow().clone(),
            },
            publisher(context.clone(), me.clone()),
        );
        let chores = housekeeping::run(context.clone());
        let tasks = vec![spawn(&me, "watching", watching.run()), spawn(&me, "housekeeping", chores)];
        let holds = Holds::new(holds::Parts {
            store: context.store.clone(),
            clock: context.clock.clone(),
            leader_key: context.keys.leader(),
            ttl: settings.election.leader_ttl,
            election: context.neighbours.election.clone(),
            heart_link: context.neighbours.heart_link.clone(),
        });
        Ok(EtcdSessionState { context, watching: handle, holds, _tasks: tasks })
    }

    async fn handle(
        &self,
        me: ActorRef<EtcdSessionMessage>,
        message: EtcdSessionMessage,
        state: &mut EtcdSessionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EtcdSessionMessage::Hold { holder, revision, t0 } => {
                // On a control state that went back nothing is renewed; the fences act by their timetable.
                if state.context.board.cluster.borrow().went_back.is_none() {
                    state.holds.begin(&me, holder, revision, t0);
                }
            }
            EtcdSessionMessage::StopRenewing { nonce, reply } => state.holds.stop(&nonce, reply),
            EtcdSessionMessage::Relist => state.watching.relist(),
            EtcdSessionMessage::AcceptControlState => state.watching.accept(),
            EtcdSessionMessage::WentBack => state.holds.drop_all(),
            EtcdSessionMessage::RenewingEnded { nonce, revision, lost } => state.holds.ended(nonce, revision, lost),
            EtcdSessionMessage::TaskDied(task) => return Err(format!("the task `{task}` died").into()),
        }
        blackbox::became(if state.holds.renews() { "renewing" } else { "watching" });
        Ok(())
    }
}

/// Where a new view goes: the board, the election, and (went back) the actor itself.
fn publisher(context: Arc<NodeContext>, me: ActorRef<EtcdSessionMessage>) -> watching::Publish {
    Box::new(move |view: Arc<ClusterView>| {
        if view.went_back.is_some() {
            let _ = me.cast(EtcdSessionMessage::WentBack);
        }
        context.board.cluster.send_replace(view.clone());
        // Not running now: it gets the next one, at the latest after D/10.
        let _ = context.neighbours.election.cast(ElectionMessage::ClusterSeen(view));
    })
}
