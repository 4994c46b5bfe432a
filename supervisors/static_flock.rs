//! The children of a static supervisor: restarted and stopped in their order.

use ractor::ActorId;

use crate::children::{Child, ChildState, Children};
use crate::exit_reason::ExitReason;
use crate::restart_policy::{Admission, Verdict, ends_supervisor, scope, verdict};
use crate::spec::{ChildId, ChildSpec, Strategy};
use crate::start::StartError;
use crate::supervisor::{Core, Retry, Turn};

pub(crate) struct StaticFlock<Id> {
    pub(crate) strategy: Strategy,
    pub(crate) children: Children<Id>,
}

/// A child that did not start, by its place.
struct FailedStart<Id> {
    place: usize,
    error: StartError<Id>,
}

impl<Id: ChildId> StaticFlock<Id> {
    pub(crate) fn new(strategy: Strategy, children: Vec<ChildSpec<Id>>) -> Self {
        Self { strategy, children: Children::new(children) }
    }

    /// The first start: all children in order, or none.
    pub(crate) async fn start_all(&mut self, core: &Core<Id>) -> Result<(), StartError<Id>> {
        let count = self.children.len();
        let Err(FailedStart { place, error }) = self.start_range(core, 0, count).await else { return Ok(()) };
        let id = self.children.at(place).id().clone();
        self.stop_from(core, 0).await;
        Err(StartError::Child { id, source: Box::new(error) })
    }

    /// A child's process is gone. Unknown ones were stopped by us: their exit is no news.
    pub(crate) async fn exited(&mut self, core: &mut Core<Id>, pid: ActorId) -> Turn {
        let Some(place) = self.children.place_of(pid) else { return Turn::Continue };
        let child = self.children.at_mut(place);
        let reason = child.record.note_exit();
        core.report_exit(&child.spec.policy, pid, &reason);
        match verdict(child.spec.policy.restart, &reason) {
            Verdict::Restart => self.restart(core, place, Some(pid), &reason).await,
            Verdict::Retire => {
                let significant = child.spec.policy.significant;
                self.children.retire(place);
                let ends = ends_supervisor(core.auto_shutdown, significant, || self.children.any_significant_alive());
                if ends { Turn::End(ExitReason::Shutdown) } else { Turn::Continue }
            }
        }
    }

    /// The retry of a restart that failed, unless somebody stopped or started the child meanwhile.
    pub(crate) async fn try_again(&mut self, core: &mut Core<Id>, id: Id) -> Turn {
        let Some(place) = self.children.place(&id) else { return Turn::Continue };
        let record = &self.children.at(place).record;
        match record.state {
            ChildState::Restarting(old) => {
                let reason = record.last_exit.clone().unwrap_or(ExitReason::Shutdown);
                self.restart(core, place, old, &reason).await
            }
            ChildState::Running(..) | ChildState::Down => Turn::Continue,
        }
    }

    /// Counts a restart and carries it out. `old` is the process that ended.
    async fn restart(&mut self, core: &mut Core<Id>, place: usize, old: Option<ActorId>, reason: &ExitReason) -> Turn {
        if core.admit_restart() == Admission::TooMany {
            self.children.retire(place);
            return Turn::End(ExitReason::Shutdown);
        }
        let child = self.children.at_mut(place);
        child.record.note_restart(reason.clone());
        let predecessor = child.record.process().cloned();
        let policy = child.spec.policy.clone();
        let group = scope(self.strategy, place, self.children.len());
        let mut end = group.end;
        if self.strategy != Strategy::OneForOne {
            self.children.at_mut(place).record.set(ChildState::Down);
            self.stop_from(core, group.start).await;
            // The temporary ones are gone.
            end = self.children.len();
        }
        if let Some(predecessor) = predecessor {
            // A killed supervisor is dead at once, the children it leaves behind are not.
            predecessor.gone().await;
        }
        match self.start_range(core, group.start, end).await {
            Ok(()) => core.report_restart(&policy, reason),
            Err(FailedStart { place, error }) => {
                let child = self.children.at_mut(place);
                core.report_failed_restart(&child.spec.policy, &error);
                let old = if *child.id() == policy.id { old } else { None };
                child.record.set(ChildState::Restarting(old));
                core.retry_later(Retry::Static(child.id().clone()));
            }
        }
        Turn::Continue
    }

    /// Starts the children from `place` up to `end`, in order.
    async fn start_range(&mut self, core: &Core<Id>, mut place: usize, mut end: usize) -> Result<(), FailedStart<Id>> {
        while place < end {
            let child = self.children.at(place);
            let state = match core.start(&child.spec.policy, &child.spec.start).await {
                Ok(started) => ChildState::of(started),
                Err(error) => return Err(FailedStart { place, error }),
            };
            if self.children.keeps(place, &state) {
                self.children.at_mut(place).record.set(state);
                place += 1;
            } else {
                self.children.remove(place);
                end -= 1;
            }
        }
        Ok(())
    }

    /// Stops the children from the last one down to `first`. Temporary ones are forgotten.
    pub(crate) async fn stop_from(&mut self, core: &Core<Id>, first: usize) {
        for place in (first..self.children.len()).rev() {
            stop(core, self.children.at(place)).await;
            self.children.retire(place);
        }
    }
}

/// Stops one child as its spec says, if it has a process.
pub(crate) async fn stop<Id: ChildId>(core: &Core<Id>, child: &Child<Id>) {
    if let Some(process) = child.record.process() {
        process.shut_down().await;
        core.report_odd_stop(&child.spec.policy, process);
    }
}
