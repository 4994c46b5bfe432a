//! Start functions: how a child comes to life, inside its supervisor's turn.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};

use crate::child_ref::ChildRef;
use crate::exit_port::ExitPort;
use crate::exit_reason::{ExitReason, PanicReport};
use crate::panics::{caught, caught_now};
use crate::process::{Fate, Hooks, Process, Signals};
use crate::spec::{ChildId, Shutdown, SupervisorSpec};
use crate::spec_check::SpecError;
use crate::supervised::{Publication, Supervised};
use crate::supervisor::{Birth, Place, Supervisor};
use crate::supervisor_ref::SupervisorHandle;
use crate::telemetry::{ChildHooks, Tree};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type StartFn<Id> = dyn Fn(StartContext<Id>) -> BoxFuture<Result<Started<Id>, StartError<Id>>> + Send + Sync;

/// How to start a child; called for its first start and for every restart.
///
/// Usually made by [`start_actor`] or [`ChildRef::starts`]. A start function of your own decides with its
/// [`StartContext`] what to spawn, or that there is nothing to run here ([`Started::ignore`]):
///
/// ```
/// # use ractor::{Actor, ActorProcessingErr, ActorRef};
/// use supervisors::{ChildSpec, StartChild, Started};
/// # struct Tls;
/// # impl Actor for Tls {
/// #     type Msg = (); type State = (); type Arguments = String;
/// #     async fn pre_start(&self, _: ActorRef<()>, _: String) -> Result<(), ActorProcessingErr> { Ok(()) }
/// # }
/// # let certificate: Option<String> = None;
/// let tls: ChildSpec<&str> = ChildSpec::worker("tls", StartChild::new(move |context| {
///     let certificate = certificate.clone();
///     async move {
///         match certificate {
///             Some(path) => context.spawn(Tls, path).await,
///             None => Ok(Started::ignore()),
///         }
///     }
/// }));
/// ```
///
/// While it runs the supervisor serves nobody: keep it and the actor's `pre_start` short, and connect to others in a
/// message to yourself.
pub struct StartChild<Id> {
    run: Arc<StartFn<Id>>,
}

/// The start function of an actor: the closure makes a fresh actor and its arguments for each incarnation.
pub fn start_actor<Id, A, F>(make: F) -> StartChild<Id>
where
    Id: ChildId,
    A: Actor,
    F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
{
    StartChild::new(move |context| {
        let (actor, arguments) = make();
        async move { context.spawn(actor, arguments).await }
    })
}

impl<Id: ChildId> StartChild<Id> {
    /// A start function.
    pub fn new<F, R>(start: F) -> Self
    where
        F: Fn(StartContext<Id>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Started<Id>, StartError<Id>>> + Send + 'static,
    {
        Self { run: Arc::new(move |context| Box::pin(start(context))) }
    }

    /// Runs it, and catches what it panics with.
    pub(crate) async fn run(&self, context: StartContext<Id>) -> Result<Started<Id>, StartError<Id>> {
        let mut future = caught_now(|| (self.run)(context)).map_err(StartError::Raised)?;
        caught(Pin::new(&mut future)).await.map_err(StartError::Raised)?
    }
}

/// What a start function spawns its child with: the link to the supervisor.
pub struct StartContext<Id> {
    pub(crate) port: ExitPort,
    pub(crate) tree: Arc<Tree<Id>>,
    /// From the root's first child down to this one.
    pub(crate) path: Vec<Id>,
    pub(crate) shutdown: Shutdown,
}

impl<Id: ChildId> StartContext<Id> {
    /// Spawns an actor as this child and waits for its `pre_start`.
    pub async fn spawn<A: Actor>(self, actor: A, arguments: A::Arguments) -> Result<Started<Id>, StartError<Id>> {
        self.spawn_worker(actor, arguments, None, |_| Signals::Stop).await
    }

    /// As [`spawn`](Self::spawn), and publishes the actor before its `pre_start` runs.
    pub async fn spawn_published<A: Actor>(
        self,
        child: &ChildRef<A::Msg>,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<Started<Id>, StartError<Id>> {
        self.spawn_worker(actor, arguments, Some(child.clone()), |_| Signals::Stop).await
    }

    /// Spawns an actor that does not trap exits: when it is to stop, it ends at its next `.await`, without `post_stop`.
    pub async fn spawn_untrapped<A: Actor>(
        self,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<Started<Id>, StartError<Id>> {
        self.spawn_worker(actor, arguments, None, |_| Signals::Cut).await
    }

    /// Spawns a supervisor as this child and waits until all its children have started.
    pub async fn supervise(self, spec: SupervisorSpec<Id>) -> Result<Started<Id>, StartError<Id>> {
        let published = spec.published.as_ref().map(|supervisor| supervisor.slot().clone());
        let fate = self.fate();
        let birth = Birth { spec, fate: fate.clone(), tree: self.tree.clone(), path: self.path.clone() };
        let (actor, process) = self.link(Supervisor::new(), birth, published, fate, Supervisor::signals).await?;
        Ok(Started { outcome: Outcome::Runs(process), supervisor: Some(SupervisorHandle::new(actor)), info: None })
    }

    /// The ids from the root's child down to this one.
    pub fn path(&self) -> &[Id] {
        &self.path
    }

    async fn spawn_worker<A: Actor>(
        self,
        actor: A,
        arguments: A::Arguments,
        child: Option<ChildRef<A::Msg>>,
        signals: fn(&ActorRef<A::Msg>) -> Signals,
    ) -> Result<Started<Id>, StartError<Id>> {
        let fate = self.fate();
        let (_, process) = self.link(actor, arguments, child, fate, signals).await?;
        Ok(Started { outcome: Outcome::Runs(process), supervisor: None, info: None })
    }

    /// Spawns the wrapped actor, linked to the exit port.
    async fn link<A: Actor>(
        self,
        actor: A,
        arguments: A::Arguments,
        child: Option<ChildRef<A::Msg>>,
        fate: Arc<Fate>,
        signals: fn(&ActorRef<A::Msg>) -> Signals,
    ) -> Result<(ActorRef<A::Msg>, Process), StartError<Id>> {
        let shutdown = self.shutdown;
        let port = self.port.cell();
        let published = child.map(Publication::new);
        let span = tracing::info_span!("child", path = %Place(&self.path));
        let wrapped = Supervised { actor, fate: fate.clone(), signals, shutdown, span, port: self.port, published };
        let (actor, task) = Actor::spawn_linked(None, wrapped, arguments, port).await.map_err(StartError::of_spawn)?;
        fate.runs_as(task);
        let process = Process::new(actor.get_cell(), fate, signals(&actor), shutdown);
        Ok((actor, process))
    }

    fn fate(&self) -> Arc<Fate> {
        let telemetry = self.tree.telemetry.clone();
        let path = &self.path;
        Fate::new(telemetry.map(|telemetry| Box::new(ChildHooks { telemetry, path: path.clone() }) as Box<dyn Hooks>))
    }
}

/// What a start function achieved.
pub struct Started<Id> {
    pub(crate) outcome: Outcome,
    supervisor: Option<SupervisorHandle<Id>>,
    info: Option<Info>,
}

/// Anything a start function wants to tell who asked for the start.
pub type Info = Arc<dyn Any + Send + Sync>;

pub(crate) enum Outcome {
    Runs(Process),
    Ignored,
}

impl<Id: ChildId> Started<Id> {
    /// There is nothing to run. The child is kept without a process (unless it is temporary) and tried again by
    /// `restart_child` and by group restarts.
    pub fn ignore() -> Self {
        Self { outcome: Outcome::Ignored, supervisor: None, info: None }
    }

    /// Adds something for the caller of [`start_child`](SupervisorHandle::start_child) or
    /// [`restart_child`](SupervisorHandle::restart_child); OTP's `{ok, Pid, Info}`.
    #[must_use]
    pub fn with_info(self, info: impl Any + Send + Sync) -> Self {
        Self { info: Some(Arc::new(info)), ..self }
    }

    /// The actor, unless it was ignored.
    pub fn cell(&self) -> Option<ActorCell> {
        match &self.outcome {
            Outcome::Runs(process) => Some(process.cell().clone()),
            Outcome::Ignored => None,
        }
    }

    /// The handle of the supervisor that was started, if it is one.
    pub fn supervisor(&self) -> Option<&SupervisorHandle<Id>> {
        self.supervisor.as_ref()
    }

    /// What [`with_info`](Self::with_info) added.
    pub fn info(&self) -> Option<&Info> {
        self.info.as_ref()
    }
}

/// Why a child did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError<Id> {
    /// Its `pre_start` ended with this reason, or the start function returned it.
    Failed(ExitReason),
    /// The start function panicked.
    Raised(PanicReport),
    /// A supervisor's child did not start; those started before it were stopped in reverse order.
    Child {
        /// The child.
        id: Id,
        /// Why.
        source: Box<StartError<Id>>,
    },
    /// A supervisor's spec was refused; nothing was started.
    Spec(SpecError<Id>),
}

impl<Id: fmt::Display> fmt::Display for StartError<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => write!(f, "the start failed: {reason}"),
            Self::Raised(panic) => write!(f, "the start function panicked {panic}"),
            Self::Child { id, .. } => write!(f, "child {id} did not start"),
            Self::Spec(_) => f.write_str("the spec was refused"),
        }
    }
}

impl<Id: ChildId> std::error::Error for StartError<Id> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(_) | Self::Raised(_) => None,
            Self::Child { source, .. } => Some(source.as_ref()),
            Self::Spec(error) => Some(error),
        }
    }
}

impl<Id: ChildId> StartError<Id> {
    fn of_spawn(error: SpawnErr) -> Self {
        match error {
            SpawnErr::StartupFailed(error) => Self::of_pre_start(error),
            SpawnErr::ActorAlreadyStarted | SpawnErr::ActorAlreadyRegistered(_) => {
                Self::Failed(ExitReason::Failed(error.to_string()))
            }
        }
    }

    fn of_pre_start(error: ActorProcessingErr) -> Self {
        match error.downcast::<Self>() {
            Ok(of_supervisor) => *of_supervisor,
            Err(error) => Self::Failed(ExitReason::from_error(error.as_ref())),
        }
    }
}

impl<Id> Clone for StartChild<Id> {
    fn clone(&self) -> Self {
        Self { run: self.run.clone() }
    }
}

impl<Id> fmt::Debug for StartChild<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartChild(..)")
    }
}
