//! Why a supervisor did not do what it was asked to.

use ractor::ActorCell;

use crate::spec_check::SpecError;
use crate::start::StartError;

/// The supervisor is not running. OTP's exit `noproc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor is not running")]
pub struct NoSupervisor;

/// Why [`start_child`](crate::SupervisorHandle::start_child) and
/// [`start_dynamic`](crate::SupervisorHandle::start_dynamic) started nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StartChildError<Id> {
    /// The supervisor is not running.
    #[error(transparent)]
    NoSupervisor(#[from] NoSupervisor),
    /// A child with this id is running.
    #[error("the child runs already")]
    AlreadyStarted(ActorCell),
    /// A child with this id is there, without a process.
    #[error("the child is present already")]
    AlreadyPresent,
    /// It did not start, and is not kept.
    #[error(transparent)]
    Failed(StartError<Id>),
    /// The spec was refused.
    #[error("the spec was refused")]
    Spec(#[source] SpecError<Id>),
    /// `start_child` is for static supervisors, `start_dynamic` for dynamic ones.
    #[error("this kind of supervisor starts children otherwise")]
    WrongKind,
}

/// Why [`terminate_child`](crate::SupervisorHandle::terminate_child) stopped nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TerminateChildError {
    /// The supervisor is not running.
    #[error(transparent)]
    NoSupervisor(#[from] NoSupervisor),
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
    /// A dynamic supervisor knows its children by their actors, not by ids. OTP's `simple_one_for_one`.
    #[error("the children of a dynamic supervisor have no ids")]
    Dynamic,
}

/// Why [`restart_child`](crate::SupervisorHandle::restart_child) started nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RestartChildError<Id> {
    /// The supervisor is not running.
    #[error(transparent)]
    NoSupervisor(#[from] NoSupervisor),
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
    /// It has a process.
    #[error("the child runs")]
    Running,
    /// It is between two attempts to restart it.
    #[error("the child is being restarted")]
    Restarting,
    /// Children of a dynamic supervisor are not kept without a process.
    #[error("the children of a dynamic supervisor have no ids")]
    Dynamic,
    /// It did not start. It stays as it was, and there is no retry.
    #[error(transparent)]
    Failed(StartError<Id>),
}

/// Why [`delete_child`](crate::SupervisorHandle::delete_child) deleted nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeleteChildError {
    /// The supervisor is not running.
    #[error(transparent)]
    NoSupervisor(#[from] NoSupervisor),
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
    /// It has a process; terminate it first.
    #[error("the child runs")]
    Running,
    /// It is between two attempts to restart it.
    #[error("the child is being restarted")]
    Restarting,
    /// Children of a dynamic supervisor are not kept without a process.
    #[error("the children of a dynamic supervisor have no ids")]
    Dynamic,
}

/// Why [`get_childspec`](crate::SupervisorHandle::get_childspec) has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChildSpecError {
    /// The supervisor is not running.
    #[error(transparent)]
    NoSupervisor(#[from] NoSupervisor),
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
}
