//! The one actor that carries the rules out.
//!
//! Everything that can happen to a supervisor comes through its one message queue, in the order in which it happened:
//! exits of children (posted by the exit port), requests, exit signals of its own supervisor, and its own retries.
//! A message is handled to its end before the next one is looked at, however long a child takes to start or to stop.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::dynamic_flock::{DynamicFlock, DynamicKey};
use crate::exit_port::ExitPort;
use crate::exit_reason::ExitReason;
use crate::process::{Fate, Process, Signals};
use crate::requests::{self, Request};
use crate::restart_policy::{Admission, RestartHistory};
use crate::spec::{AutoShutdown, ChildId, ChildPolicy, Restart, RestartIntensity, Shape, Shutdown, SupervisorSpec};
use crate::start::{StartChild, StartContext, StartError, Started};
use crate::static_flock::StaticFlock;
use crate::telemetry::Tree;

/// What a supervisor hears. Made by [`SupervisorHandle`](crate::SupervisorHandle) and by the supervisor itself.
pub(crate) struct SupervisorMessage<Id>(Order<Id>);

enum Order<Id> {
    /// A child's process, and everything below it, is gone.
    Exited(ActorId),
    /// A restart has failed: try again, now that others had their turn.
    TryAgain(Retry<Id>),
    /// The exit signal of the parent, or an order to end: stop the children and end with this reason.
    Exit(ExitReason),
    Request(Request<Id>),
}

/// The child whose restart failed.
pub(crate) enum Retry<Id> {
    Static(Id),
    Dynamic(DynamicKey),
}

impl<Id> SupervisorMessage<Id> {
    pub(crate) fn exit(reason: ExitReason) -> Self {
        Self(Order::Exit(reason))
    }

    pub(crate) fn request(request: Request<Id>) -> Self {
        Self(Order::Request(request))
    }
}

pub(crate) struct Supervisor<Id> {
    _id: PhantomData<fn() -> Id>,
}

/// What a supervisor starts from.
pub(crate) struct Birth<Id> {
    pub(crate) spec: SupervisorSpec<Id>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) tree: Arc<Tree<Id>>,
    pub(crate) path: Vec<Id>,
}

pub(crate) struct SupervisorState<Id> {
    core: Core<Id>,
    flock: Flock<Id>,
}

/// What a supervisor has besides children.
pub(crate) struct Core<Id> {
    me: ActorRef<SupervisorMessage<Id>>,
    fate: Arc<Fate>,
    port: ExitPort,
    tree: Arc<Tree<Id>>,
    path: Vec<Id>,
    pub(crate) intensity: RestartIntensity,
    pub(crate) auto_shutdown: AutoShutdown,
    history: RestartHistory,
}

/// The children.
pub(crate) enum Flock<Id> {
    Static(StaticFlock<Id>),
    Dynamic(DynamicFlock<Id>),
}

/// What is left to do after a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Continue,
    /// Stop all children and end with this reason.
    End(ExitReason),
}

impl<Id: ChildId> Supervisor<Id> {
    pub(crate) fn new() -> Self {
        Self { _id: PhantomData }
    }

    /// Exit signals queue up behind what was sent earlier.
    pub(crate) fn signals(supervisor: &ActorRef<SupervisorMessage<Id>>) -> Signals {
        let supervisor = supervisor.clone();
        Signals::Queue(Arc::new(move |reason| {
            // A supervisor that is gone needs no signal.
            let _ = supervisor.send_message(SupervisorMessage::exit(reason));
        }))
    }
}

impl<Id: ChildId> Actor for Supervisor<Id> {
    type Msg = SupervisorMessage<Id>;
    type State = SupervisorState<Id>;
    type Arguments = Birth<Id>;

    async fn pre_start(&self, me: ActorRef<Self::Msg>, birth: Birth<Id>) -> Result<Self::State, ActorProcessingErr> {
        birth.spec.check().map_err(StartError::Spec)?;
        let queue = me.clone();
        let port = ExitPort::open(Box::new(move |pid| {
            let _ = queue.send_message(SupervisorMessage(Order::Exited(pid)));
        }))
        .await?;
        birth.fate.has_subtree(port.clone());
        let mut state = SupervisorState::new(me, birth, port);
        if let Flock::Static(flock) = &mut state.flock {
            flock.start_all(&state.core).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        SupervisorMessage(order): SupervisorMessage<Id>,
        state: &mut SupervisorState<Id>,
    ) -> Result<(), ActorProcessingErr> {
        let turn = match order {
            Order::Exited(pid) => state.exited(pid).await,
            Order::TryAgain(retry) => state.try_again(retry).await,
            Order::Exit(reason) => Turn::End(reason),
            Order::Request(request) => {
                requests::serve(&state.core, &mut state.flock, request).await;
                Turn::Continue
            }
        };
        if let Turn::End(reason) = turn {
            state.stop_all().await;
            state.core.fate.ask(reason);
            state.core.me.stop(None);
        }
        Ok(())
    }

    /// Nobody is linked to the supervisor itself but strangers, whose ends are none of its business.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        _: SupervisionEvent,
        _: &mut SupervisorState<Id>,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// Somebody used ractor's own `stop`: the children are stopped in order all the same.
    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut SupervisorState<Id>,
    ) -> Result<(), ActorProcessingErr> {
        state.stop_all().await;
        Ok(())
    }
}

impl<Id: ChildId> SupervisorState<Id> {
    fn new(me: ActorRef<SupervisorMessage<Id>>, birth: Birth<Id>, port: ExitPort) -> Self {
        let Birth { spec, fate, tree, path } = birth;
        let SupervisorSpec { shape, intensity, auto_shutdown, published: _ } = spec;
        let flock = match shape {
            Shape::Static { strategy, children } => Flock::Static(StaticFlock::new(strategy, children)),
            Shape::Dynamic { template, others: _ } => Flock::Dynamic(DynamicFlock::new(template)),
        };
        let history = RestartHistory::new(intensity);
        Self { core: Core { me, fate, port, tree, path, intensity, auto_shutdown, history }, flock }
    }

    async fn exited(&mut self, pid: ActorId) -> Turn {
        match &mut self.flock {
            Flock::Static(flock) => flock.exited(&mut self.core, pid).await,
            Flock::Dynamic(flock) => flock.exited(&mut self.core, pid).await,
        }
    }

    async fn try_again(&mut self, retry: Retry<Id>) -> Turn {
        match (&mut self.flock, retry) {
            (Flock::Static(flock), Retry::Static(id)) => flock.try_again(&mut self.core, id).await,
            (Flock::Dynamic(flock), Retry::Dynamic(key)) => flock.try_again(&mut self.core, key).await,
            (Flock::Static(_), Retry::Dynamic(_)) | (Flock::Dynamic(_), Retry::Static(_)) => Turn::Continue,
        }
    }

    async fn stop_all(&mut self) {
        match &mut self.flock {
            Flock::Static(flock) => flock.stop_from(&self.core, 0).await,
            Flock::Dynamic(flock) => flock.stop_all().await,
        }
    }
}

impl<Id: ChildId> Core<Id> {
    /// Runs a start function inside this turn.
    pub(crate) async fn start(
        &self,
        policy: &ChildPolicy<Id>,
        start: &StartChild<Id>,
    ) -> Result<Started<Id>, StartError<Id>> {
        let path = self.path_of(&policy.id);
        let (port, tree) = (self.port.clone(), self.tree.clone());
        start.run(StartContext { port, tree, path, shutdown: policy.shutdown }).await
    }

    /// Queues a retry behind everything that arrived during the failed attempt.
    pub(crate) fn retry_later(&self, retry: Retry<Id>) {
        // A supervisor that is gone restarts nobody.
        let _ = self.me.send_message(SupervisorMessage(Order::TryAgain(retry)));
    }

    /// Counts a restart; the answer `TooMany` is told to the log.
    pub(crate) fn admit_restart(&mut self) -> Admission {
        let admission = self.history.admit(self.tree.now());
        if admission == Admission::TooMany {
            let RestartIntensity { restarts, within } = self.intensity;
            tracing::error!(supervisor = %self.place(), restarts, ?within, "too many restarts: the supervisor gives up");
            self.tree.gave_up(&self.path);
        }
        admission
    }

    pub(crate) fn recent_restarts(&self) -> usize {
        self.history.recent(self.tree.now())
    }

    pub(crate) fn report_exit(&self, policy: &ChildPolicy<Id>, pid: ActorId, reason: &ExitReason) {
        let supervisor = self.place();
        if reason.is_orderly() {
            tracing::info!(%supervisor, child = %policy.id, %pid, %reason, restart = ?policy.restart, "child ended");
        } else {
            tracing::error!(%supervisor, child = %policy.id, %pid, %reason, restart = ?policy.restart, "child failed");
        }
    }

    pub(crate) fn report_failed_restart(&self, policy: &ChildPolicy<Id>, error: &StartError<Id>) {
        let reason = ExitReason::from_error(error);
        tracing::error!(supervisor = %self.place(), child = %policy.id, %reason, "child did not start again");
    }

    pub(crate) fn report_restart(&self, policy: &ChildPolicy<Id>, after: &ExitReason) {
        self.tree.restarted(|| self.path_of(&policy.id), after);
    }

    /// A child that was asked to stop ended otherwise: told, and nothing else.
    pub(crate) fn report_odd_stop(&self, policy: &ChildPolicy<Id>, process: &Process) {
        let Some(reason) = process.fate().ended() else { return };
        let expected = match policy.shutdown {
            Shutdown::BrutalKill => *reason == ExitReason::Killed,
            Shutdown::Within(_) | Shutdown::Infinity => *reason == ExitReason::Shutdown,
        };
        // A child that may end for good may also end normally when it is asked to stop.
        let fine = expected || (reason.is_orderly() && policy.restart != Restart::Permanent);
        if !fine {
            let (supervisor, pid) = (self.place(), process.pid());
            tracing::warn!(%supervisor, child = %policy.id, %pid, %reason, "child did not stop as asked");
        }
    }

    pub(crate) fn place(&self) -> Place<'_, Id> {
        Place(&self.path)
    }

    fn path_of(&self, child: &Id) -> Vec<Id> {
        let mut path = self.path.clone();
        path.push(child.clone());
        path
    }
}

/// A path as `/a/b/c`; the root is `/`.
pub(crate) struct Place<'a, Id>(pub(crate) &'a [Id]);

impl<Id: fmt::Display> fmt::Display for Place<'_, Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.0 {
            write!(f, "/{id}")?;
        }
        if self.0.is_empty() { f.write_str("/") } else { Ok(()) }
    }
}

impl<Id> Drop for SupervisorState<Id> {
    /// After an orderly end nobody is left. After a kill the children get what OTP's links give them.
    fn drop(&mut self) {
        self.core.port.abandon();
    }
}
