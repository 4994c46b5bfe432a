//! The children of a static supervisor: an ordered table.

use std::collections::VecDeque;

use ractor::ActorId;
use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::process::Process;
use crate::spec::{ChildId, ChildSpec, Restart};
use crate::start::{Outcome, Started};
use crate::supervisor_ref::SupervisorHandle;

/// How many restarts of a child are remembered for the snapshot.
const REMEMBERED_RESTARTS: usize = 16;

/// A child of a supervisor: its spec, and what became of it so far.
pub(crate) struct Child<Id> {
    pub(crate) spec: ChildSpec<Id>,
    pub(crate) record: Record<Id>,
}

/// What became of a child so far; static and dynamic children have it alike.
pub(crate) struct Record<Id> {
    pub(crate) state: ChildState<Id>,
    /// When `state` became what it is.
    pub(crate) since: Instant,
    /// Successful starts.
    pub(crate) incarnation: u64,
    pub(crate) restarts: u64,
    pub(crate) recent: VecDeque<(Instant, ExitReason)>,
    /// Why the last process ended.
    pub(crate) last_exit: Option<ExitReason>,
}

/// OTP's `pid` field.
#[derive(Clone)]
pub(crate) enum ChildState<Id> {
    /// There is a process, dead or alive: its exit has not been handled.
    Running(Process, Option<SupervisorHandle<Id>>),
    /// A restart failed and is to be tried again. OTP's `{restarting, OldPid}`.
    Restarting(Option<ActorId>),
    /// There is no process: stopped, ended for good, or ignored.
    Down,
}

impl<Id: ChildId> ChildState<Id> {
    pub(crate) fn of(started: Started<Id>) -> Self {
        let supervisor = started.supervisor().cloned();
        match started.outcome {
            Outcome::Runs(process) => Self::Running(process, supervisor),
            Outcome::Ignored => Self::Down,
        }
    }
}

impl<Id> Record<Id> {
    pub(crate) fn new() -> Self {
        Self {
            state: ChildState::Down,
            since: Instant::now(),
            incarnation: 0,
            restarts: 0,
            recent: VecDeque::new(),
            last_exit: None,
        }
    }

    pub(crate) fn set(&mut self, state: ChildState<Id>) {
        if matches!(state, ChildState::Running(..)) {
            self.incarnation += 1;
        }
        self.state = state;
        self.since = Instant::now();
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.state {
            ChildState::Running(process, _) => Some(process),
            ChildState::Restarting(_) | ChildState::Down => None,
        }
    }

    pub(crate) fn supervisor(&self) -> Option<&SupervisorHandle<Id>> {
        match &self.state {
            ChildState::Running(_, supervisor) => supervisor.as_ref(),
            ChildState::Restarting(_) | ChildState::Down => None,
        }
    }

    /// Notes why the process ended.
    pub(crate) fn note_exit(&mut self) -> ExitReason {
        let reason = self.process().and_then(|process| process.fate().ended().cloned()).unwrap_or(ExitReason::Killed);
        self.last_exit = Some(reason.clone());
        reason
    }

    /// Notes that the child is being restarted because of this.
    pub(crate) fn note_restart(&mut self, reason: ExitReason) {
        self.restarts += 1;
        if self.recent.len() == REMEMBERED_RESTARTS {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), reason));
    }
}

/// In start order.
pub(crate) struct Children<Id> {
    list: Vec<Child<Id>>,
}

impl<Id: Eq> Children<Id> {
    pub(crate) fn new(specs: Vec<ChildSpec<Id>>) -> Self {
        Self { list: specs.into_iter().map(Child::new).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Child<Id>> {
        self.list.iter()
    }

    pub(crate) fn at(&self, place: usize) -> &Child<Id> {
        &self.list[place]
    }

    pub(crate) fn at_mut(&mut self, place: usize) -> &mut Child<Id> {
        &mut self.list[place]
    }

    pub(crate) fn place(&self, id: &Id) -> Option<usize> {
        self.list.iter().position(|child| child.spec.policy.id == *id)
    }

    pub(crate) fn place_of(&self, pid: ActorId) -> Option<usize> {
        self.list.iter().position(|child| child.record.process().is_some_and(|process| process.pid() == pid))
    }

    pub(crate) fn push(&mut self, child: Child<Id>) {
        self.list.push(child);
    }

    pub(crate) fn remove(&mut self, place: usize) {
        self.list.remove(place);
    }

    /// The child has no process any more; a temporary one is forgotten.
    pub(crate) fn retire(&mut self, place: usize) {
        if self.list[place].is_temporary() {
            self.list.remove(place);
        } else {
            self.list[place].record.set(ChildState::Down);
        }
    }

    /// Whether the child stays in the table in this state: a temporary child that was ignored does not.
    pub(crate) fn keeps(&self, place: usize, state: &ChildState<Id>) -> bool {
        match state {
            ChildState::Running(..) | ChildState::Restarting(_) => true,
            ChildState::Down => !self.list[place].is_temporary(),
        }
    }

    /// Whether a significant child is running or about to.
    pub(crate) fn any_significant_alive(&self) -> bool {
        self.list.iter().any(|child| {
            child.spec.policy.significant
                && match child.record.state {
                    ChildState::Running(..) | ChildState::Restarting(_) => true,
                    ChildState::Down => false,
                }
        })
    }
}

impl<Id> Child<Id> {
    pub(crate) fn new(spec: ChildSpec<Id>) -> Self {
        Self { spec, record: Record::new() }
    }

    pub(crate) fn id(&self) -> &Id {
        &self.spec.policy.id
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.spec.policy.restart == Restart::Temporary
    }
}
