//! Talking to a supervisor.

use std::fmt;
use std::sync::Arc;

use ractor::{ActorCell, ActorRef};
use tokio::sync::oneshot;

use crate::child_ref::{ChildRef, NotRunning};
use crate::errors::{
    ChildSpecError, DeleteChildError, NoSupervisor, RestartChildError, StartChildError, TerminateChildError,
};
use crate::exit_reason::ExitReason;
use crate::requests::{ChildKey, ReplaceError, Request, StartedChild};
use crate::snapshot::{ChildCounts, ChildInfo, SupervisorSnapshot};
use crate::spec::{ChildId, ChildPolicy, ChildSpec, SupervisorSpec};
use crate::start::StartChild;
use crate::supervisor::SupervisorMessage;

/// One incarnation of a supervisor.
///
/// Every method waits until the supervisor has served what was asked before it, and until it has done what is asked: as
/// long as its children take to start or to stop. Put a [`timeout`](tokio::time::timeout) around it where that matters,
/// and never call it from a child of the same supervisor's `pre_start` or `post_stop`: it is waiting for that child.
pub struct SupervisorHandle<Id> {
    actor: ActorRef<SupervisorMessage<Id>>,
}

impl<Id: ChildId> SupervisorHandle<Id> {
    pub(crate) fn new(actor: ActorRef<SupervisorMessage<Id>>) -> Self {
        Self { actor }
    }

    /// Adds a child behind the others and starts it.
    pub async fn start_child(&self, spec: ChildSpec<Id>) -> Result<StartedChild, StartChildError<Id>> {
        self.ask(|reply| Request::StartChild(spec, reply)).await?
    }

    /// Starts one more child of a dynamic supervisor. The start function keeps the child's arguments: a restart calls it
    /// again.
    pub async fn start_dynamic(&self, start: StartChild<Id>) -> Result<StartedChild, StartChildError<Id>> {
        self.ask(|reply| Request::StartDynamic(start, reply)).await?
    }

    /// Stops a child as its spec says. The spec is kept unless the child is temporary; a pending retry is cancelled.
    pub async fn terminate_child(&self, child: impl Into<ChildKey<Id>>) -> Result<(), TerminateChildError> {
        let child = child.into();
        self.ask(|reply| Request::Terminate(child, reply)).await?
    }

    /// Starts a child that has no process. Does not count as a restart.
    pub async fn restart_child(&self, child: impl Into<ChildKey<Id>>) -> Result<StartedChild, RestartChildError<Id>> {
        let child = child.into();
        self.ask(|reply| Request::Restart(child, reply)).await?
    }

    /// Stops a child in order and starts it again, in one turn of its supervisor.
    pub(crate) async fn replace_child(&self, child: Id) -> Result<Result<(), ReplaceError<Id>>, NoSupervisor> {
        self.ask(|reply| Request::Replace(child, reply)).await
    }

    /// Forgets a child that has no process.
    pub async fn delete_child(&self, child: impl Into<ChildKey<Id>>) -> Result<(), DeleteChildError> {
        let child = child.into();
        self.ask(|reply| Request::Delete(child, reply)).await?
    }

    /// The spec of a child, with the defaults filled in.
    pub async fn get_childspec(&self, child: impl Into<ChildKey<Id>>) -> Result<ChildPolicy<Id>, ChildSpecError> {
        let child = child.into();
        self.ask(|reply| Request::GetSpec(child, reply)).await?
    }

    /// All children, the last started first; those of a dynamic supervisor by age.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo<Id>>, NoSupervisor> {
        self.ask(Request::Which).await
    }

    /// How many children there are.
    pub async fn count_children(&self) -> Result<ChildCounts, NoSupervisor> {
        self.ask(Request::Count).await
    }

    pub(crate) async fn own_snapshot(&self) -> Result<SupervisorSnapshot<Id>, NoSupervisor> {
        self.ask(Request::Snapshot).await
    }

    /// Lets the supervisor stop its children and end with this reason, behind what was asked before. OTP's
    /// `sys:terminate`. For its own supervisor that is an exit like any other.
    pub fn exit(&self, reason: ExitReason) -> Result<(), NoSupervisor> {
        self.actor.send_message(SupervisorMessage::exit(reason)).map_err(|_| NoSupervisor)
    }

    /// The supervisor's actor.
    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Request<Id>) -> Result<T, NoSupervisor> {
        let (reply, answer) = oneshot::channel();
        self.actor.send_message(SupervisorMessage::request(question(reply))).map_err(|_| NoSupervisor)?;
        answer.await.map_err(|_| NoSupervisor)
    }
}

/// Reaches the current incarnation of a supervisor, as [`ChildRef`] does for an actor.
pub struct SupervisorRef<Id> {
    slot: ChildRef<SupervisorMessage<Id>>,
}

impl<Id: ChildId> SupervisorRef<Id> {
    /// A reference to a supervisor that is not started yet; give it to
    /// [`SupervisorSpec::published_as`](SupervisorSpec::published_as).
    pub fn new(name: impl Into<String>) -> Self {
        Self { slot: ChildRef::new(name) }
    }

    /// The current incarnation.
    pub fn handle(&self) -> Result<SupervisorHandle<Id>, NotRunning> {
        self.slot.actor().map(SupervisorHandle::new)
    }

    pub(crate) fn slot(&self) -> &ChildRef<SupervisorMessage<Id>> {
        &self.slot
    }
}

/// A dynamic supervisor whose children take an argument: OTP's `simple_one_for_one` with its extra arguments, typed.
///
/// ```
/// # use ractor::{Actor, ActorProcessingErr, ActorRef};
/// use supervisors::{ChildPolicy, ChildSpec, DynamicSupervisor, Restart, Strategy, SupervisorSpec, start_actor, start_root};
/// # #[derive(Clone)] struct Connection;
/// # impl Actor for Connection {
/// #     type Msg = (); type State = (); type Arguments = u32;
/// #     async fn pre_start(&self, _: ActorRef<()>, _: u32) -> Result<(), ActorProcessingErr> { Ok(()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connections = DynamicSupervisor::new(
///     ChildPolicy::worker("connection").restart(Restart::Temporary),
///     |number: u32| start_actor(move || (Connection, number)),
/// );
/// let spec = SupervisorSpec::new(Strategy::OneForOne).child(ChildSpec::supervisor("connections", connections.spec()));
/// let root = start_root(spec).await?;
///
/// let connection = connections.start_child(17).await?;
/// assert!(connection.actor.is_some());
/// # root.stop(supervisors::ExitReason::Shutdown).await;
/// # Ok(())
/// # }
/// ```
pub struct DynamicSupervisor<Id, Arg> {
    supervisor: SupervisorRef<Id>,
    template: ChildPolicy<Id>,
    build: Arc<dyn Fn(Arg) -> StartChild<Id> + Send + Sync>,
}

impl<Id: ChildId, Arg> DynamicSupervisor<Id, Arg> {
    /// A dynamic supervisor for children of one kind.
    pub fn new(template: ChildPolicy<Id>, build: impl Fn(Arg) -> StartChild<Id> + Send + Sync + 'static) -> Self {
        let supervisor = SupervisorRef::new(template.id.to_string());
        Self { supervisor, template, build: Arc::new(build) }
    }

    /// Its place in the tree. Use it once.
    pub fn spec(&self) -> SupervisorSpec<Id> {
        SupervisorSpec::dynamic(self.template.clone()).published_as(&self.supervisor)
    }

    /// Starts one more child.
    pub async fn start_child(&self, argument: Arg) -> Result<StartedChild, StartChildError<Id>> {
        let supervisor = self.supervisor.handle().map_err(|NotRunning| NoSupervisor)?;
        supervisor.start_dynamic((self.build)(argument)).await
    }

    /// Stops a child as the template says.
    pub async fn terminate_child(&self, child: ActorCell) -> Result<(), TerminateChildError> {
        let supervisor = self.supervisor.handle().map_err(|NotRunning| NoSupervisor)?;
        supervisor.terminate_child(ChildKey::Actor(child)).await
    }

    /// The supervisor itself.
    pub fn supervisor(&self) -> &SupervisorRef<Id> {
        &self.supervisor
    }
}

impl<Id> Clone for SupervisorHandle<Id> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone() }
    }
}

impl<Id> fmt::Debug for SupervisorHandle<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SupervisorHandle").field(&self.actor.get_id()).finish()
    }
}

impl<Id> Clone for SupervisorRef<Id> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

impl<Id> fmt::Debug for SupervisorRef<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorRef").finish_non_exhaustive()
    }
}

impl<Id, Arg> Clone for DynamicSupervisor<Id, Arg>
where
    Id: Clone,
{
    fn clone(&self) -> Self {
        Self { supervisor: self.supervisor.clone(), template: self.template.clone(), build: self.build.clone() }
    }
}
