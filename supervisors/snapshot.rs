//! What a tree looks like at one moment.

use std::time::Duration;

use ractor::ActorCell;

use crate::children::{ChildState, Record};
use crate::exit_reason::ExitReason;
use crate::process::Vitals;
use crate::spec::{ChildId, ChildKind, ChildPolicy, Restart, RestartIntensity, Strategy};
use crate::supervisor_ref::SupervisorHandle;

/// An entry of [`which_children`](crate::SupervisorHandle::which_children).
#[derive(Debug, Clone)]
pub struct ChildInfo<Id> {
    /// `None` under a dynamic supervisor.
    pub id: Option<Id>,
    /// What the child is now.
    pub child: ChildNow,
    /// What it is declared to be.
    pub kind: ChildKind,
    /// How to ask it in its turn, if it is a supervisor that runs.
    pub supervisor: Option<SupervisorHandle<Id>>,
}

/// What a child is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildNow {
    /// It has an actor.
    Running(ActorCell),
    /// Its restart failed and will be tried again.
    Restarting,
    /// Stopped, ended for good, or ignored. OTP's `undefined`.
    Down,
}

/// The answer of [`count_children`](crate::SupervisorHandle::count_children).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildCounts {
    /// Child specs; 1 for a dynamic supervisor.
    pub specs: usize,
    /// Children that are alive.
    pub active: usize,
    /// Children declared as supervisors, dead or alive.
    pub supervisors: usize,
    /// Children declared as workers, dead or alive.
    pub workers: usize,
}

/// A supervisor and everything below it.
#[derive(Debug, Clone)]
pub struct TreeSnapshot<Id> {
    /// `None`: a dynamic supervisor.
    pub strategy: Option<Strategy>,
    /// Its limit.
    pub intensity: RestartIntensity,
    /// Restarts that count against the limit now.
    pub recent_restarts: usize,
    /// In start order.
    pub children: Vec<ChildSnapshot<Id>>,
}

/// One child.
#[derive(Debug, Clone)]
pub struct ChildSnapshot<Id> {
    /// Its id; that of the template under a dynamic supervisor.
    pub id: Id,
    /// What it is declared to be.
    pub kind: ChildKind,
    /// Whether it comes back.
    pub restart: Restart,
    /// What it is now. The actor's id is its pid.
    pub now: ChildNow,
    /// How long it has been so.
    pub in_state: Duration,
    /// Starts so far.
    pub incarnation: u64,
    /// Restarts so far by its supervisor's current incarnation.
    pub restarts: u64,
    /// The last 16 of them, the oldest first.
    pub recent_restarts: Vec<RestartRecord>,
    /// Why its last process ended.
    pub last_exit: Option<ExitReason>,
    /// Messages handled by the current process.
    pub handled: u64,
    /// Whether it is handling one now.
    pub busy: bool,
    /// Messages sent to the current process through its [`ChildRef`](crate::ChildRef), if it has one.
    pub sent: Option<u64>,
    /// Messages in its mailbox, if it has a [`ChildRef`](crate::ChildRef): those sent through the reference and not yet
    /// taken. What an actor gets otherwise, as from its own timers, is not seen and makes this too small.
    pub waiting: Option<u64>,
    /// What is below it; `None` for workers, and for a supervisor too busy to answer in time.
    pub subtree: Option<TreeSnapshot<Id>>,
    pub(crate) supervisor: Option<SupervisorHandle<Id>>,
}

/// A restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartRecord {
    /// How long ago.
    pub ago: Duration,
    /// Why the process before it had ended.
    pub after: ExitReason,
}

/// One level: what a supervisor itself knows.
pub(crate) type SupervisorSnapshot<Id> = TreeSnapshot<Id>;

/// A supervisor that stops or starts a slow child does not answer; the snapshot goes on without its subtree.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

impl<Id: ChildId> SupervisorHandle<Id> {
    /// The supervisor and everything below it.
    ///
    /// Asked from above, level by level: a supervisor that does not answer within a second is shown without its
    /// children, as `None` if it is this one.
    pub async fn snapshot(&self) -> Option<TreeSnapshot<Id>> {
        let mut tree = tokio::time::timeout(ANSWER_LIMIT, self.own_snapshot()).await.ok()?.ok()?;
        for child in &mut tree.children {
            if let Some(supervisor) = &child.supervisor {
                child.subtree = Box::pin(supervisor.snapshot()).await;
            }
        }
        Some(tree)
    }

    /// The child of this id, wherever it is below this supervisor: its supervisor, and what it is now.
    pub(crate) async fn find(&self, id: &Id) -> Option<(SupervisorHandle<Id>, ChildNow)> {
        let children = tokio::time::timeout(ANSWER_LIMIT, self.which_children()).await.ok()?.ok()?;
        if let Some(found) = children.iter().find(|child| child.id.as_ref() == Some(id)) {
            return Some((self.clone(), found.child.clone()));
        }
        for supervisor in children.iter().rev().filter_map(|child| child.supervisor.as_ref()) {
            if let Some(found) = Box::pin(supervisor.find(id)).await {
                return Some(found);
            }
        }
        None
    }
}

impl ChildNow {
    fn of<Id>(state: &ChildState<Id>) -> Self {
        match state {
            ChildState::Running(process, _) => Self::Running(process.cell().clone()),
            ChildState::Restarting(_) => Self::Restarting,
            ChildState::Down => Self::Down,
        }
    }
}

impl<Id: ChildId> ChildInfo<Id> {
    pub(crate) fn of(id: Option<Id>, kind: ChildKind, record: &Record<Id>) -> Self {
        Self { id, kind, child: ChildNow::of(&record.state), supervisor: record.supervisor().cloned() }
    }
}

impl<Id: ChildId> ChildSnapshot<Id> {
    pub(crate) fn of(policy: &ChildPolicy<Id>, record: &Record<Id>) -> Self {
        let vitals = record.process().map(|process| &process.fate().vitals);
        let recent = record.recent.iter().map(|(at, after)| RestartRecord { ago: at.elapsed(), after: after.clone() });
        Self {
            id: policy.id.clone(),
            kind: policy.kind,
            restart: policy.restart,
            now: ChildNow::of(&record.state),
            in_state: record.since.elapsed(),
            incarnation: record.incarnation,
            restarts: record.restarts,
            recent_restarts: recent.collect(),
            last_exit: record.last_exit.clone(),
            handled: vitals.map_or(0, Vitals::handled),
            busy: vitals.is_some_and(Vitals::is_busy),
            sent: vitals.and_then(Vitals::sent),
            waiting: vitals.and_then(Vitals::waiting),
            subtree: None,
            supervisor: record.supervisor().cloned(),
        }
    }
}
