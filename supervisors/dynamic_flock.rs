//! The children of a dynamic supervisor: no order and no ids, only processes.

use std::collections::BTreeMap;

use ractor::ActorId;
use tokio::time::timeout;

use crate::children::{ChildState, Record};
use crate::exit_reason::ExitReason;
use crate::process::Process;
use crate::restart_policy::{Admission, Verdict, ends_supervisor, verdict};
use crate::spec::{ChildId, ChildPolicy, Shutdown};
use crate::start::StartChild;
use crate::supervisor::{Core, Retry, Turn};

/// What a dynamic child is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DynamicKey {
    /// Its process.
    Running(ActorId),
    /// The process it had before its restart failed.
    Restarting(ActorId),
    /// Its restart was ignored. One entry for all such children, as in OTP 25.
    Ignored,
}

/// A dynamic child: its start function holds its arguments.
pub(crate) struct DynamicChild<Id> {
    pub(crate) start: StartChild<Id>,
    pub(crate) record: Record<Id>,
}

pub(crate) struct DynamicFlock<Id> {
    pub(crate) template: ChildPolicy<Id>,
    /// Sorted by process, that is by age.
    pub(crate) children: BTreeMap<DynamicKey, DynamicChild<Id>>,
    /// OTP 25's count of restarting children, which `count_children` subtracts. Terminating a restarting child leaves it
    /// as it is, so `active` is then one too low; we count as OTP does.
    restarting: usize,
}

impl<Id: ChildId> DynamicFlock<Id> {
    pub(crate) fn new(template: ChildPolicy<Id>) -> Self {
        Self { template, children: BTreeMap::new(), restarting: 0 }
    }

    /// The child whose process this is or was.
    pub(crate) fn find(&self, pid: ActorId) -> Option<DynamicKey> {
        [DynamicKey::Running(pid), DynamicKey::Restarting(pid)].into_iter().find(|key| self.children.contains_key(key))
    }

    pub(crate) fn active(&self) -> usize {
        self.children.len().saturating_sub(self.restarting)
    }

    pub(crate) async fn exited(&mut self, core: &mut Core<Id>, pid: ActorId) -> Turn {
        let key = DynamicKey::Running(pid);
        let Some(child) = self.children.get_mut(&key) else { return Turn::Continue };
        let reason = child.record.note_exit();
        core.report_exit(&self.template, pid, &reason);
        match verdict(self.template.restart, &reason) {
            Verdict::Restart => self.restart(core, key).await,
            Verdict::Retire => {
                self.children.remove(&key);
                let significant = self.template.significant;
                let ends = ends_supervisor(core.auto_shutdown, significant, || !self.children.is_empty());
                if ends { Turn::End(ExitReason::Shutdown) } else { Turn::Continue }
            }
        }
    }

    pub(crate) async fn try_again(&mut self, core: &mut Core<Id>, key: DynamicKey) -> Turn {
        if self.children.contains_key(&key) { self.restart(core, key).await } else { Turn::Continue }
    }

    async fn restart(&mut self, core: &mut Core<Id>, key: DynamicKey) -> Turn {
        let Some(DynamicChild { start, mut record }) = self.children.remove(&key) else { return Turn::Continue };
        if core.admit_restart() == Admission::TooMany {
            return Turn::End(ExitReason::Shutdown);
        }
        if let DynamicKey::Restarting(_) = key {
            self.restarting = self.restarting.saturating_sub(1);
        }
        let reason = record.last_exit.clone().unwrap_or(ExitReason::Shutdown);
        record.note_restart(reason.clone());
        if let Some(predecessor) = record.process() {
            predecessor.gone().await;
        }
        let key = match (core.start(&self.template, &start).await, key) {
            (Ok(started), _) => {
                record.set(ChildState::of(started));
                core.report_restart(&self.template, &reason);
                record.process().map_or(DynamicKey::Ignored, |process| DynamicKey::Running(process.pid()))
            }
            (Err(error), DynamicKey::Running(old) | DynamicKey::Restarting(old)) => {
                core.report_failed_restart(&self.template, &error);
                self.restarting += 1;
                record.set(ChildState::Restarting(Some(old)));
                core.retry_later(Retry::Dynamic(DynamicKey::Restarting(old)));
                DynamicKey::Restarting(old)
            }
            // Never restarted: it has no process that could end.
            (Err(_), DynamicKey::Ignored) => DynamicKey::Ignored,
        };
        self.children.insert(key, DynamicChild { start, record });
        Turn::Continue
    }

    /// Stops all at once; they share one shutdown time.
    pub(crate) async fn stop_all(&mut self) {
        let running: Vec<Process> =
            self.children.values().filter_map(|child| child.record.process().cloned()).collect();
        self.children.clear();
        match self.template.shutdown {
            Shutdown::BrutalKill => {}
            Shutdown::Infinity => return ask_all(&running).await,
            Shutdown::Within(limit) => {
                if timeout(limit, ask_all(&running)).await.is_ok() {
                    return;
                }
            }
        }
        for process in &running {
            process.kill();
        }
        for process in &running {
            process.kill_and_wait().await;
        }
    }
}

async fn ask_all(processes: &[Process]) {
    for process in processes {
        process.signal(ExitReason::Shutdown);
    }
    for process in processes {
        process.gone().await;
    }
}
