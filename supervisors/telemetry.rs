//! Hooks for those who count or record what happens in a tree.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorId;
use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::panics::caught_now;
use crate::process::Hooks;
use crate::spec::ChildId;

/// Told of everything that starts and ends in a tree. Every method has an empty default; without a telemetry nothing is
/// called and nothing is allocated.
///
/// Called inside the supervisor's or the child's turn: do not block. A panic in here is caught and logged; it ends nobody.
pub trait Telemetry<Id>: Send + Sync {
    /// A child's process has ended. Its supervisor does not know yet.
    fn exited(&self, exit: &ChildExit<'_, Id>) {
        let _ = exit;
    }

    /// A child begins to handle a message. The message's type is the actor's, an enum usually: downcast it to tell which
    /// variant.
    fn handling(&self, path: &[Id], pid: ActorId, message: &dyn Any) {
        let _ = (path, pid, message);
    }

    /// It has handled the message.
    fn handled(&self, path: &[Id], pid: ActorId, took: Duration) {
        let _ = (path, pid, took);
    }

    /// A supervisor has carried out a restart of this child, with the others that its strategy touches.
    fn restarted(&self, path: &[Id], after: &ExitReason) {
        let _ = (path, after);
    }

    /// A supervisor gives up: more restarts than its intensity allows.
    fn gave_up(&self, path: &[Id]) {
        let _ = path;
    }
}

/// The end of a child's process.
#[derive(Debug, Clone, Copy)]
pub struct ChildExit<'a, Id> {
    /// The ids from the root's child down to this one; empty for the root.
    pub path: &'a [Id],
    /// The process.
    pub pid: ActorId,
    /// Why it ended.
    pub reason: &'a ExitReason,
}

/// The telemetry, for one child.
struct ChildHooks<Id> {
    telemetry: Arc<dyn Telemetry<Id>>,
    path: Vec<Id>,
}

impl<Id: ChildId> Hooks for ChildHooks<Id> {
    fn exited(&self, pid: ActorId, reason: &ExitReason) {
        told(|| self.telemetry.exited(&ChildExit { path: &self.path, pid, reason }));
    }

    fn handling(&self, pid: ActorId, message: &dyn Any) {
        told(|| self.telemetry.handling(&self.path, pid, message));
    }

    fn handled(&self, pid: ActorId, took: Duration) {
        told(|| self.telemetry.handled(&self.path, pid, took));
    }
}

/// Who listens must not be able to end who is listened to.
fn told(tell: impl FnOnce()) {
    if let Err(panic) = caught_now(tell) {
        tracing::error!(%panic, "panic in the telemetry");
    }
}

/// What all supervisors of a tree share.
pub(crate) struct Tree<Id> {
    telemetry: Option<Arc<dyn Telemetry<Id>>>,
    /// Restarts are counted in whole seconds since this moment.
    began: Instant,
}

impl<Id: ChildId> Tree<Id> {
    pub(crate) fn new(telemetry: Option<Arc<dyn Telemetry<Id>>>) -> Arc<Self> {
        Arc::new(Self { telemetry, began: Instant::now() })
    }

    /// The telemetry's hooks for a child, if there is a telemetry.
    pub(crate) fn hooks(&self, path: &[Id]) -> Option<Box<dyn Hooks>> {
        let telemetry = self.telemetry.clone()?;
        Some(Box::new(ChildHooks { telemetry, path: path.to_vec() }))
    }

    pub(crate) fn restarted(&self, path: impl FnOnce() -> Vec<Id>, after: &ExitReason) {
        if let Some(telemetry) = &self.telemetry {
            told(|| telemetry.restarted(&path(), after));
        }
    }

    pub(crate) fn gave_up(&self, path: &[Id]) {
        if let Some(telemetry) = &self.telemetry {
            told(|| telemetry.gave_up(path));
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }
}
