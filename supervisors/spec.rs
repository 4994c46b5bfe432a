//! Supervision trees as data.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::Duration;

use crate::spec_check::SpecError;
use crate::start::StartChild;
use crate::supervisor_ref::SupervisorRef;

/// What identifies a child within its supervisor: an enum of the program's actors, a string, a number.
///
/// Implemented for every type that fits.
pub trait ChildId: Clone + Eq + Ord + Hash + Debug + Display + Send + Sync + 'static {}

impl<T: Clone + Eq + Ord + Hash + Debug + Display + Send + Sync + 'static> ChildId for T {}

/// Which children a restart touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Only the child that ended.
    #[default]
    OneForOne,
    /// All children: the others are stopped, the last started first, then all are started in order.
    OneForAll,
    /// The child that ended and those started after it: they depend on it, the earlier ones do not.
    RestForOne,
}

/// Whether a child that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Unless it ended with an [orderly reason](crate::ExitReason::is_orderly).
    Transient,
    /// Never, and its spec is forgotten when it ends, also when a group restart stopped it.
    Temporary,
}

/// How a child is stopped. Stopping a ractor actor lets the message in hand finish and then runs `post_stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Killed at its next `.await`; `post_stop` does not run.
    BrutalKill,
    /// Asked to stop, and killed if it still runs after this time. The default of a worker: 5 s.
    Within(Duration),
    /// Asked to stop and waited for. The default of a supervisor: its subtree has its own limits.
    Infinity,
}

/// What a child is: counted and shown, and it decides the default of [`Shutdown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChildKind {
    /// Does the work.
    #[default]
    Worker,
    /// Watches others.
    Supervisor,
}

/// Whether the end of a [significant](ChildSpec::significant) child ends the supervisor, with the reason `shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoShutdown {
    /// No child is significant.
    #[default]
    Never,
    /// The first significant child that ends for good.
    AnySignificant,
    /// The last one.
    AllSignificant,
}

/// How many restarts a supervisor grants before it gives up and leaves the matter to its own supervisor.
///
/// The limit holds for all children together; a group restart counts once, an attempt that failed counts too.
/// Limits multiply up the tree: with three levels of 5 a child that cannot start is tried 125 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartIntensity {
    /// Restarts granted within the time; one more ends the supervisor. Default 1.
    pub restarts: u32,
    /// The time, counted in whole seconds as OTP does. Default 5 s, must not be zero.
    pub within: Duration,
}

impl Default for RestartIntensity {
    fn default() -> Self {
        Self { restarts: 1, within: Duration::from_secs(5) }
    }
}

/// Begins a [`RestartIntensity`]: `restarts(5).within(Duration::from_secs(30))`.
pub const fn restarts(restarts: u32) -> RestartIntensity {
    RestartIntensity { restarts, within: Duration::from_secs(5) }
}

impl RestartIntensity {
    /// The same number of restarts within another time.
    pub const fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

/// Everything a supervisor knows about a child before it runs, except how to start it.
///
/// Also the template of a [dynamic supervisor](SupervisorSpec::dynamic), and what
/// [`get_childspec`](crate::SupervisorHandle::get_childspec) answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildPolicy<Id> {
    /// Unique within its supervisor.
    pub id: Id,
    /// Whether it comes back.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// What it is.
    pub kind: ChildKind,
    /// Whether its end may end the supervisor.
    pub significant: bool,
}

impl<Id: ChildId> ChildPolicy<Id> {
    /// A permanent worker that gets 5 s to stop.
    pub fn worker(id: Id) -> Self {
        Self {
            id,
            restart: Restart::Permanent,
            shutdown: Shutdown::Within(Duration::from_secs(5)),
            kind: ChildKind::Worker,
            significant: false,
        }
    }

    /// A permanent supervisor that gets all the time its subtree needs.
    pub fn supervisor(id: Id) -> Self {
        Self { shutdown: Shutdown::Infinity, kind: ChildKind::Supervisor, ..Self::worker(id) }
    }

    /// See [`Restart`].
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// See [`Shutdown`].
    #[must_use]
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// See [`AutoShutdown`].
    #[must_use]
    pub fn significant(self, significant: bool) -> Self {
        Self { significant, ..self }
    }

    /// Changes the label alone, for a worker that is to be counted as a supervisor or the other way round.
    #[must_use]
    pub fn kind(self, kind: ChildKind) -> Self {
        Self { kind, ..self }
    }
}

/// One child of a supervisor: its [`ChildPolicy`] and its start function.
///
/// ```
/// # use std::time::Duration;
/// # use ractor::{Actor, ActorProcessingErr, ActorRef};
/// # use supervisors::{ChildSpec, Restart, Shutdown, start_actor};
/// # struct Clock;
/// # impl Actor for Clock {
/// #     type Msg = (); type State = (); type Arguments = ();
/// #     async fn pre_start(&self, _: ActorRef<()>, _: ()) -> Result<(), ActorProcessingErr> { Ok(()) }
/// # }
/// let clock: ChildSpec<&str> = ChildSpec::worker("clock", start_actor(|| (Clock, ())))
///     .restart(Restart::Transient)
///     .shutdown(Shutdown::Within(Duration::from_secs(1)));
/// ```
#[derive(Debug, Clone)]
pub struct ChildSpec<Id> {
    pub(crate) policy: ChildPolicy<Id>,
    pub(crate) start: StartChild<Id>,
}

impl<Id: ChildId> ChildSpec<Id> {
    /// A permanent worker that gets 5 s to stop.
    pub fn worker(id: Id, start: StartChild<Id>) -> Self {
        Self::new(ChildPolicy::worker(id), start)
    }

    /// A permanent supervisor that gets all the time its subtree needs.
    pub fn supervisor(id: Id, spec: SupervisorSpec<Id>) -> Self {
        Self::new(ChildPolicy::supervisor(id), spec.starts())
    }

    /// A child of any policy.
    pub fn new(policy: ChildPolicy<Id>, start: StartChild<Id>) -> Self {
        Self { policy, start }
    }

    /// See [`Restart`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// See [`Shutdown`].
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.policy.shutdown = shutdown;
        self
    }

    /// Whether the end of this child may end its supervisor. Needs an [`AutoShutdown`] other than `Never`, and a child
    /// that is not permanent.
    #[must_use]
    pub fn significant(mut self, significant: bool) -> Self {
        self.policy.significant = significant;
        self
    }

    /// The child's id.
    pub fn id(&self) -> &Id {
        &self.policy.id
    }

    /// The spec without the start function.
    pub fn policy(&self) -> &ChildPolicy<Id> {
        &self.policy
    }
}

/// A supervisor and its children, as data. Nothing runs before [`start_root`](crate::start_root).
#[derive(Debug, Clone)]
pub struct SupervisorSpec<Id> {
    pub(crate) shape: Shape<Id>,
    pub(crate) intensity: RestartIntensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) published: Option<SupervisorRef<Id>>,
}

/// The two shapes of a supervisor.
#[derive(Debug, Clone)]
pub(crate) enum Shape<Id> {
    /// Different children, in an order that matters.
    Static { strategy: Strategy, children: Vec<ChildSpec<Id>> },
    /// Any number of children of one kind, without order.
    /// `others`: children it was given all the same; it will refuse to start.
    Dynamic { template: ChildPolicy<Id>, others: usize },
}

impl<Id: ChildId> SupervisorSpec<Id> {
    /// A supervisor without children yet, with the default intensity (1 restart in 5 s).
    pub fn new(strategy: Strategy) -> Self {
        Self::of(Shape::Static { strategy, children: Vec::new() })
    }

    /// OTP's `simple_one_for_one`: starts empty; every child is added by
    /// [`start_dynamic`](crate::SupervisorHandle::start_dynamic) and follows the template. Its children are
    /// stopped all at once. Usually used through [`DynamicSupervisor`](crate::DynamicSupervisor).
    pub fn dynamic(template: ChildPolicy<Id>) -> Self {
        Self::of(Shape::Dynamic { template, others: 0 })
    }

    fn of(shape: Shape<Id>) -> Self {
        Self { shape, intensity: RestartIntensity::default(), auto_shutdown: AutoShutdown::Never, published: None }
    }

    /// See [`RestartIntensity`].
    #[must_use]
    pub fn intensity(self, intensity: RestartIntensity) -> Self {
        Self { intensity, ..self }
    }

    /// See [`AutoShutdown`].
    #[must_use]
    pub fn auto_shutdown(self, auto_shutdown: AutoShutdown) -> Self {
        Self { auto_shutdown, ..self }
    }

    /// Adds a child behind the others: started after them, stopped before them. A dynamic supervisor refuses to start
    /// with children.
    #[must_use]
    pub fn child(self, child: ChildSpec<Id>) -> Self {
        self.children([child])
    }

    /// Adds children in this order.
    #[must_use]
    pub fn children(mut self, more: impl IntoIterator<Item = ChildSpec<Id>>) -> Self {
        match &mut self.shape {
            Shape::Static { children, .. } => children.extend(more),
            Shape::Dynamic { others, .. } => *others += more.into_iter().count(),
        }
        self
    }

    /// Lets `supervisor` reach every incarnation of this supervisor.
    #[must_use]
    pub fn published_as(self, supervisor: &SupervisorRef<Id>) -> Self {
        Self { published: Some(supervisor.clone()), ..self }
    }

    /// Checks what the types leave open: unique ids, and significant children only where they have a meaning.
    pub fn check(&self) -> Result<(), SpecError<Id>> {
        crate::spec_check::check(self)
    }

    /// The start function of a supervisor with this spec.
    pub fn starts(self) -> StartChild<Id> {
        StartChild::new(move |context| {
            let spec = self.clone();
            async move { context.supervise(spec).await }
        })
    }
}
