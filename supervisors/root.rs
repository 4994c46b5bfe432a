//! The top of a tree, and the way in from outside.

use std::sync::Arc;

use ractor::SpawnErr;

use crate::errors::NoSupervisor;
use crate::exit_port::ExitPort;
use crate::exit_reason::ExitReason;
use crate::process::Process;
use crate::requests::ReplaceError;
use crate::snapshot::{ChildNow, TreeSnapshot};
use crate::spec::{ChildId, Shutdown, SupervisorSpec};
use crate::start::{Outcome, StartChild, StartContext, StartError};
use crate::supervisor_ref::SupervisorHandle;
use crate::telemetry::{Telemetry, Tree};

/// Starts a tree and waits until all its children run; if one does not start, those started before it are stopped again.
///
/// Trees know nothing of each other, however many run in one process.
pub async fn start_root<Id: ChildId>(spec: SupervisorSpec<Id>) -> Result<RootHandle<Id>, StartError<Id>> {
    let root = start_root_with(spec.starts(), None).await?;
    root.ok_or_else(|| StartError::Failed(ExitReason::Failed("the root has nothing to run".to_owned())))
}

/// As [`start_root`], from a start function, which may find nothing to run (`None`), and with a telemetry.
pub async fn start_root_with<Id: ChildId>(
    start: StartChild<Id>,
    telemetry: Option<Arc<dyn Telemetry<Id>>>,
) -> Result<Option<RootHandle<Id>>, StartError<Id>> {
    let port = ExitPort::open(Box::new(|_| {})).await.map_err(no_port)?;
    let guard = ClosePort(port.clone());
    let tree = Tree::new(telemetry);
    let started = start.run(StartContext { port, tree, path: Vec::new(), shutdown: Shutdown::Infinity }).await?;
    let supervisor = started.supervisor().cloned();
    match (started.outcome, supervisor) {
        (Outcome::Runs(process), Some(supervisor)) => {
            Ok(Some(RootHandle { root: Arc::new(Root { process, supervisor, _port: guard }) }))
        }
        (Outcome::Runs(process), None) => {
            process.shut_down().await;
            Err(StartError::Failed(ExitReason::Failed("the root of a tree is a supervisor".to_owned())))
        }
        (Outcome::Ignored, _) => Ok(None),
    }
}

fn no_port<Id: ChildId>(error: SpawnErr) -> StartError<Id> {
    StartError::Failed(ExitReason::Failed(error.to_string()))
}

/// The port ends with the tree, not with the handle.
struct ClosePort(ExitPort);

impl Drop for ClosePort {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A running tree. Cloning it gives another handle to the same tree; dropping all of them leaves the tree running.
pub struct RootHandle<Id> {
    root: Arc<Root<Id>>,
}

struct Root<Id> {
    process: Process,
    supervisor: SupervisorHandle<Id>,
    _port: ClosePort,
}

/// Why [`RootHandle::kill`] or [`RootHandle::restart`] did nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InterventionError {
    /// No child of this id, or its supervisor was too busy to say so.
    #[error("there is no such child, or its supervisor is busy")]
    NotFound,
    /// It has no process.
    #[error("the child is not running")]
    NotRunning,
    /// It was stopped but did not start again; its supervisor goes on trying as after a failed restart.
    #[error("the child was stopped and did not start again yet: {0}")]
    NotStarted(String),
}

impl<Id: ChildId> RootHandle<Id> {
    /// Stops the tree: every supervisor its children in reverse start order, each within its limit and with its
    /// `post_stop`, and answers with the root's exit reason: this one, unless the root ended before.
    pub async fn stop(&self, reason: ExitReason) -> ExitReason {
        self.root.process.signal(reason);
        self.wait().await
    }

    /// Waits until the root has ended, because it was stopped or because it gave up, and everything below it is gone.
    pub async fn wait(&self) -> ExitReason {
        self.root.process.gone().await;
        self.root.process.fate().ended().cloned().unwrap_or(ExitReason::Killed)
    }

    /// What the tree looks like; `None` if the root has ended or is busy with a slow child.
    pub async fn snapshot(&self) -> Option<TreeSnapshot<Id>> {
        self.root.supervisor.snapshot().await
    }

    /// Kills the child of this id, wherever it is (the first from above, if several have it). Its supervisor does what
    /// it does about every child that was killed.
    pub async fn kill(&self, id: &Id) -> Result<(), InterventionError> {
        let (_, child) = self.root.supervisor.find(id).await.ok_or(InterventionError::NotFound)?;
        match child {
            ChildNow::Running(actor) => {
                actor.kill();
                Ok(())
            }
            ChildNow::Restarting | ChildNow::Down => Err(InterventionError::NotRunning),
        }
    }

    /// Stops the child of this id in order and starts it again; its siblings are not touched and no restart is counted.
    /// A temporary child is stopped only.
    ///
    /// One turn of its supervisor, which goes on with it also when whoever asked is gone.
    pub async fn restart(&self, id: &Id) -> Result<(), InterventionError> {
        let (supervisor, _) = self.root.supervisor.find(id).await.ok_or(InterventionError::NotFound)?;
        match supervisor.replace_child(id.clone()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ReplaceError::Failed(error))) => Err(InterventionError::NotStarted(error.to_string())),
            Ok(Err(ReplaceError::NotFound)) | Err(NoSupervisor) => Err(InterventionError::NotFound),
        }
    }

    /// The root supervisor.
    pub fn supervisor(&self) -> &SupervisorHandle<Id> {
        &self.root.supervisor
    }
}

impl<Id> Clone for RootHandle<Id> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}
