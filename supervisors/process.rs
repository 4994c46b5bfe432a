//! One incarnation of a child, as its supervisor sees it: how to signal it, and what became of it.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ractor::{ActorCell, ActorId};
use tokio::sync::SetOnce;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::exit_port::ExitPort;
use crate::exit_reason::ExitReason;
use crate::spec::Shutdown;

/// How long anyone waits for a killed actor to be gone. A kill takes effect at the next `.await`, so only an actor that
/// blocks its thread is still there afterwards; it is then given up with an error, because a supervisor that waits for
/// ever serves nobody.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(10);

tokio::task_local! {
    static STOP_REASON: ExitReason;
}

/// Why the actor that calls this from its `post_stop` is being stopped by its supervisor: `Shutdown`, or `Killed` if the
/// supervisor itself was killed. `None` outside of `post_stop`, and if the actor stopped itself.
pub fn stop_reason() -> Option<ExitReason> {
    STOP_REASON.try_with(ExitReason::clone).ok()
}

/// What a child shares with its supervisor and the exit port, from before its start until after its end.
#[derive(Default)]
pub(crate) struct Fate {
    /// The reason of the first exit signal it was sent; none counts once the process stops by its own will.
    asked: Mutex<Asked>,
    /// A signal ended it by a kill: this reason stands for the kill.
    cut: OnceLock<ExitReason>,
    /// Set with the task's handle as soon as the child runs.
    task: SetOnce<Mutex<Option<JoinHandle<()>>>>,
    /// The process is dead.
    ended: SetOnce<ExitReason>,
    /// The process is dead, and so is everything that was below it.
    gone: SetOnce<()>,
    /// A supervisor's own exit port: its children may outlive it for a moment.
    subtree: OnceLock<ExitPort>,
    hooks: Option<Box<dyn Hooks>>,
    pub(crate) vitals: Vitals,
}

/// What the process was told to do.
#[derive(Default)]
enum Asked {
    #[default]
    Nothing,
    Stop(ExitReason),
    /// It is stopping already, because it wanted to: nobody's order any more.
    OwnWill,
}

/// The telemetry of one child.
pub(crate) trait Hooks: Send + Sync {
    /// Told once, when the process is dead, before its supervisor can know.
    fn exited(&self, pid: ActorId, reason: &ExitReason);
    fn handling(&self, pid: ActorId, message: &dyn Any);
    fn handled(&self, pid: ActorId, took: Duration);
}

/// What the wrapper around an actor counts.
#[derive(Default)]
pub(crate) struct Vitals {
    /// Messages taken from the mailbox.
    taken: AtomicU64,
    /// Messages handled to the end.
    handled: AtomicU64,
    /// Messages sent through the child's reference, and how many there were before this process.
    sent: OnceLock<(Arc<AtomicU64>, u64)>,
}

impl Vitals {
    pub(crate) fn count_sent(&self, sent: Arc<AtomicU64>) {
        let before = sent.load(Ordering::Relaxed);
        let _ = self.sent.set((sent, before));
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.taken.load(Ordering::Relaxed) != self.handled()
    }

    /// Messages sent to this process through its reference; not known without one.
    pub(crate) fn sent(&self) -> Option<u64> {
        let (sent, before) = self.sent.get()?;
        Some(sent.load(Ordering::Relaxed).saturating_sub(*before))
    }

    /// Messages that wait; not known without a reference. What came past the reference is taken for what came through
    /// it, hence at least so many.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.sent().map(|sent| sent.saturating_sub(self.taken.load(Ordering::Relaxed)))
    }
}

/// How ractor says that an actor ended.
pub(crate) enum Ending {
    Terminated(Option<String>),
    Failed(ExitReason),
}

impl Fate {
    pub(crate) fn new(hooks: Option<Box<dyn Hooks>>) -> Arc<Self> {
        Arc::new(Self { hooks, ..Self::default() })
    }

    /// A message is about to be handled. Without a telemetry the clock is not read.
    pub(crate) fn begin_message(&self, pid: ActorId, message: &dyn Any) -> Option<Instant> {
        self.vitals.taken.fetch_add(1, Ordering::Relaxed);
        let hooks = self.hooks.as_ref()?;
        hooks.handling(pid, message);
        Some(Instant::now())
    }

    pub(crate) fn end_message(&self, pid: ActorId, began: Option<Instant>) {
        self.vitals.handled.fetch_add(1, Ordering::Relaxed);
        if let (Some(hooks), Some(began)) = (&self.hooks, began) {
            hooks.handled(pid, began.elapsed());
        }
    }

    /// Records why the process is about to be stopped. It ends but once: a later signal changes nothing.
    pub(crate) fn ask(&self, reason: ExitReason) {
        let mut asked = lock(&self.asked);
        if matches!(*asked, Asked::Nothing) {
            *asked = Asked::Stop(reason);
        }
    }

    fn asked(&self) -> Option<ExitReason> {
        match &*lock(&self.asked) {
            Asked::Stop(reason) => Some(reason.clone()),
            Asked::Nothing | Asked::OwnWill => None,
        }
    }

    /// As [`ask`](Self::ask), for a process that is then killed.
    fn cut_short(&self, reason: ExitReason) {
        self.ask(reason.clone());
        let _ = self.cut.set(reason);
    }

    pub(crate) fn runs_as(&self, task: JoinHandle<()>) {
        let _ = self.task.set(Mutex::new(Some(task)));
    }

    pub(crate) fn has_subtree(&self, port: ExitPort) {
        let _ = self.subtree.set(port);
    }

    pub(crate) fn subtree(&self) -> Option<&ExitPort> {
        self.subtree.get()
    }

    /// The typed reason, from what ractor knows and what the process was asked.
    pub(crate) fn reason(&self, ending: Ending) -> ExitReason {
        match ending {
            Ending::Failed(reason) => reason,
            Ending::Terminated(text) => match text.as_deref() {
                Some("killed") => self.cut.get().cloned().unwrap_or(ExitReason::Killed),
                other => self.asked().unwrap_or_else(|| other.map_or(ExitReason::Normal, ExitReason::from_text)),
            },
        }
    }

    /// Waits until the task, and with it the actor and its state, is dropped.
    pub(crate) async fn joined(&self) {
        let task = lock(self.task.wait().await).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    pub(crate) fn end(&self, id: ActorId, reason: ExitReason) {
        if let Some(hooks) = &self.hooks {
            hooks.exited(id, &reason);
        }
        let _ = self.ended.set(reason);
    }

    pub(crate) fn leave(&self) {
        let _ = self.gone.set(());
    }

    pub(crate) fn ended(&self) -> Option<&ExitReason> {
        self.ended.get()
    }

    /// Runs `post_stop` so that it can learn the [`stop_reason`]. From now on the reason is settled.
    pub(crate) async fn telling_why<T>(&self, post_stop: impl Future<Output = T>) -> T {
        let why = match &mut *lock(&self.asked) {
            Asked::Stop(reason) => Some(reason.clone()),
            unasked => {
                *unasked = Asked::OwnWill;
                None
            }
        };
        match why {
            Some(reason) => STOP_REASON.scope(reason, post_stop).await,
            None => post_stop.await,
        }
    }
}

/// How an exit signal reaches the process.
#[derive(Clone)]
pub(crate) enum Signals {
    /// It finishes the message in hand and runs `post_stop`.
    Stop,
    /// It ends at once. OTP's process that does not trap exits.
    Cut,
    /// It goes through the queue of a supervisor, behind what was sent earlier.
    Queue(Arc<dyn Fn(ExitReason) + Send + Sync>),
}

/// A child that was started.
#[derive(Clone)]
pub(crate) struct Process {
    cell: ActorCell,
    fate: Arc<Fate>,
    signals: Signals,
    shutdown: Shutdown,
}

impl Process {
    pub(crate) fn new(cell: ActorCell, fate: Arc<Fate>, signals: Signals, shutdown: Shutdown) -> Self {
        Self { cell, fate, signals, shutdown }
    }

    pub(crate) fn cell(&self) -> &ActorCell {
        &self.cell
    }

    pub(crate) fn pid(&self) -> ActorId {
        self.cell.get_id()
    }

    pub(crate) fn fate(&self) -> &Fate {
        &self.fate
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.fate.ended().is_none()
    }

    /// OTP's `exit(Pid, Reason)`.
    pub(crate) fn signal(&self, reason: ExitReason) {
        match &self.signals {
            Signals::Stop => {
                let text = reason.to_string();
                self.fate.ask(reason);
                self.cell.stop(Some(text));
            }
            Signals::Cut => {
                self.fate.cut_short(reason);
                self.cell.kill();
            }
            Signals::Queue(send) => send(reason),
        }
    }

    pub(crate) fn kill(&self) {
        self.cell.kill();
    }

    /// Waits until it is dead and everything below it too.
    pub(crate) async fn gone(&self) {
        self.fate.gone.wait().await;
    }

    /// Kills it and waits until it is gone.
    pub(crate) async fn kill_and_wait(&self) {
        self.kill();
        if tokio::time::timeout(KILL_LIMIT, self.fate.ended.wait()).await.is_err() {
            tracing::error!(pid = %self.pid(), "killed, but blocks its thread: given up, it may still run");
        } else {
            self.gone().await;
        }
    }

    /// Stops it as its spec says and waits until it is gone.
    pub(crate) async fn shut_down(&self) {
        match self.shutdown {
            Shutdown::BrutalKill => self.kill_and_wait().await,
            Shutdown::Infinity => {
                self.signal(ExitReason::Shutdown);
                self.gone().await;
            }
            Shutdown::Within(limit) => {
                self.signal(ExitReason::Shutdown);
                if tokio::time::timeout(limit, self.gone()).await.is_err() {
                    self.kill_and_wait().await;
                }
            }
        }
    }
}

/// The time a child gets to clean up after its supervisor was killed, if its spec says to kill it: nobody else would ever
/// end it.
const ORPHAN_LIMIT: Duration = Duration::from_secs(5);

impl Process {
    /// Ends a child whose supervisor was killed: OTP's exit signal `killed` along the link, and what OTP leaves open: the
    /// child is not left behind for good.
    pub(crate) async fn orphaned(self) {
        self.signal(ExitReason::Killed);
        let limit = match self.shutdown {
            Shutdown::Infinity => return self.gone().await,
            Shutdown::BrutalKill => ORPHAN_LIMIT,
            Shutdown::Within(limit) => limit,
        };
        if tokio::time::timeout(limit, self.gone()).await.is_err() {
            self.kill_and_wait().await;
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.pid())
    }
}

/// A poisoned lock only means that another thread panicked between two assignments that do not depend on each other.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
