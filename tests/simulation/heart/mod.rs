//! The guardian process: the real `Guard` decides; in here are its process, its socket and the shell around it.

mod carry_out;
mod link;

use crate::network::gate::Clocks;
use crate::world::{MS, Time, World, note};
use leaderl::heart::guard::{ConnectionId, Event, GatePlan, Guard};
use leaderl::heart::protocol::HeartOrder;
use leaderl_decision::model::Timestamp;
pub(crate) use link::Attachment;
use std::collections::VecDeque;

/// One node's guardian.
#[derive(Default)]
pub(crate) struct Heart {
    guard: Option<Guard>,
    pid: u32,
    /// Stopped by a signal.
    pub(crate) frozen: bool,
    /// Stop it when it next refreshes the VIP, in the middle of that, for so long.
    pub(crate) stop_at_refresh: Option<Time>,
    /// The clocks as it read them before it was stopped in the middle of setting the gate.
    read: Option<Clocks>,
    /// Once it has gone on from there, stop it again for so long.
    pub(crate) stop_after_refresh: Option<Time>,
    /// What waits in its sockets while it is stopped.
    inbox: VecDeque<Event>,
    /// An effect that it was stopped in the middle of.
    interrupted: VecDeque<leaderl::heart::guard::Effect>,
    /// The planned wake-up.
    wake: u64,
    connections: ConnectionId,
    pub(crate) attachment: Attachment,
    pub(crate) starts: u64,
}

impl Heart {
    pub(crate) fn runs(&self) -> bool {
        self.guard.is_some()
    }
}

impl World {
    pub(crate) fn heart_starts(&mut self, id: usize) {
        if self.nodes[id].heart.runs() || !self.nodes[id].power {
            return;
        }
        let pid = 500 + u32::try_from(self.truth.fresh_id() % 400).unwrap_or(0);
        let now = self.local_now(id);
        let heart = &mut self.nodes[id].heart;
        heart.guard = Some(Guard::new(pid, now, None));
        heart.pid = pid;
        heart.frozen = false;
        heart.stop_at_refresh = None;
        heart.read = None;
        heart.inbox.clear();
        heart.interrupted.clear();
        heart.starts += 1;
        note!(self, "n{id} heart starts (pid {pid})");
        // The gate is shut and a previous heart's address swept before anything else.
        let read = self.clocks(id);
        self.set_gate(id, &GatePlan::default(), None, read);
        self.drop_vip(id);
        self.heart_feed(id, Event::Tick);
        self.plan_attach(id, MS);
    }

    /// SIGKILL, or its machine went. The kernel then sends SIGQUIT to the postmaster and SIGKILL to a tool.
    pub(crate) fn heart_dies(&mut self, id: usize, comes_back: bool) {
        if self.nodes[id].heart.guard.take().is_none() {
            return;
        }
        note!(self, "n{id} heart dies");
        self.nodes[id].heart.frozen = false;
        self.detach(id, "heart has ended");
        self.nodes[id].postgres.tool = None;
        self.stop_immediately(id);
        if comes_back {
            let wait = self.millis(300, 1500);
            self.after(wait, move |w| w.heart_starts(id));
        }
    }

    pub(crate) fn freeze_heart(&mut self, id: usize) {
        if self.nodes[id].heart.runs() && !self.nodes[id].heart.frozen {
            self.nodes[id].heart.frozen = true;
            note!(self, "n{id} heart is stopped (SIGSTOP)");
        }
    }

    pub(crate) fn thaw_heart(&mut self, id: usize) {
        if !self.nodes[id].heart.frozen {
            return;
        }
        self.nodes[id].heart.frozen = false;
        note!(self, "n{id} heart goes on (SIGCONT)");
        self.heart_goes_on(id);
    }

    /// It runs again, after a signal or with its machine: first what it was in the middle of, then what waits in its sockets.
    pub(crate) fn heart_goes_on(&mut self, id: usize) {
        if !self.heart_moves(id) {
            return;
        }
        let interrupted = std::mem::take(&mut self.nodes[id].heart.interrupted);
        for effect in interrupted {
            if let Some(event) = self.heart_effect(id, effect) {
                self.heart_feed(id, event);
            }
        }
        if let Some(again) = self.nodes[id].heart.stop_after_refresh.take() {
            self.after(5 * MS, move |w| {
                w.freeze_heart(id);
                w.undo(again, crate::faults::Scope::Process, id, move |w| w.thaw_heart(id));
            });
        }
        // As the shell: who has ended, then the time, then what was sent.
        let inbox = std::mem::take(&mut self.nodes[id].heart.inbox);
        let (ended, sent): (Vec<_>, Vec<_>) =
            inbox.into_iter().partition(|event| matches!(event, Event::Reaped { .. }));
        for event in ended.into_iter().chain([Event::Tick]).chain(sent) {
            self.heart_feed(id, event);
        }
    }

    pub(crate) fn local_now(&self, id: usize) -> Timestamp {
        self.nodes[id].clock.local(self.now)
    }

    /// Whether heart can act now.
    fn heart_moves(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        node.heart.runs() && !node.heart.frozen && node.is_running()
    }

    /// Tells heart something, as its shell does: effects that bring news are told too, then the process table is looked at.
    pub(crate) fn heart_feed(&mut self, id: usize, event: Event) {
        if !self.nodes[id].heart.runs() {
            return;
        }
        if !self.heart_moves(id) {
            // A tick is only time, and time is looked at first in any case.
            if !matches!(event, Event::Tick) {
                self.nodes[id].heart.inbox.push_back(event);
            }
            if !self.nodes[id].power {
                self.nodes[id].heart.inbox.clear();
            }
            return;
        }
        if matches!(&event, Event::Request { request, .. } if matches!(request.order, HeartOrder::StartPostgres { .. }))
        {
            self.heart_step(id, self.census(id));
        }
        self.heart_step(id, event);
        for _ in 0..8 {
            let now = self.local_now(id);
            let wants = self.heart_moves(id)
                && self.nodes[id].heart.guard.as_ref().is_some_and(|guard| guard.wants_census(now));
            if !wants {
                break;
            }
            self.heart_step(id, self.census(id));
        }
        self.plan_heart(id);
    }

    fn census(&self, id: usize) -> Event {
        Event::Census { postgres: self.postgres_processes(id), tool: u32::from(self.nodes[id].postgres.tool.is_some()) }
    }

    fn heart_step(&mut self, id: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.local_now(id);
            let Some(guard) = self.nodes[id].heart.guard.as_mut() else { return };
            let mut effects: VecDeque<_> = guard.step(event, now).into();
            while let Some(effect) = effects.pop_front() {
                if self.stops_in(id, &effect) {
                    effects.push_front(effect);
                    self.nodes[id].heart.interrupted.extend(effects.drain(..));
                    self.nodes[id].heart.inbox.extend(events.drain(..));
                    return;
                }
                events.extend(self.heart_effect(id, effect));
            }
        }
    }

    fn plan_heart(&mut self, id: usize) {
        let Some(at) = self.nodes[id].heart.guard.as_ref().and_then(Guard::next_wake) else { return };
        let at = self.nodes[id].clock.world(at).max(self.now + 1);
        let heart = &mut self.nodes[id].heart;
        heart.wake += 1;
        let (wake, pid) = (heart.wake, heart.pid);
        self.at(at, move |w| w.heart_wakes(id, pid, wake));
    }

    fn heart_wakes(&mut self, id: usize, pid: u32, wake: u64) {
        let heart = &self.nodes[id].heart;
        if heart.pid != pid || heart.wake != wake || !heart.runs() {
            return;
        }
        if !self.heart_moves(id) {
            // Its timer has run out; it looks at it when it goes on.
            if self.nodes[id].power {
                self.after(10 * MS, move |w| w.heart_wakes(id, pid, wake));
            }
            return;
        }
        self.heart_feed(id, Event::Tick);
    }

    pub(crate) fn heart_reaps(&mut self, id: usize, pid: u32, exit_code: Option<i32>) {
        self.heart_feed(id, Event::Reaped { pid, exit_code });
    }

    pub(crate) fn heart_hears_daemon_end(&mut self, id: usize) {
        let Some(connection) = self.nodes[id].heart.attachment.connection else {
            self.detach(id, "the daemon has ended");
            return;
        };
        self.detach(id, "the daemon has ended");
        self.heart_feed(id, Event::Disconnected { connection });
        self.heart_feed(id, Event::DaemonEnded);
    }
}
