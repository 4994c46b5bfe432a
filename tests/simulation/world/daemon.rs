//! The daemon as a process: started, frozen, killed, restarted by its service manager. Its inside is the real tree.

use super::{Happening, MS, SEC, Time, World, drive, note};
use crate::network::gate::PortGate;
use std::collections::VecDeque;

/// The process table's view of one node's daemon.
#[derive(Default)]
pub(crate) struct Daemon {
    /// Counts processes; an answer to an earlier one finds nobody.
    pub(crate) incarnation: u64,
    pub(crate) state: Process,
    /// Stopped by a signal: it neither runs nor sends.
    pub(crate) frozen: bool,
    /// What it had sent when it was stopped in the middle of a call.
    held: VecDeque<Happening>,
    /// Stop it when it makes its so-and-so-manyth call from now.
    pub(crate) stop_point: Option<(u64, StopPoint)>,
    /// When it last went on after a stop.
    pub(crate) went_on: Option<Time>,
    /// The service manager starts it again when it ends.
    pub(crate) wanted: bool,
    /// SIGTERM was sent to it, perhaps announced as a restart.
    pub(crate) told_to_stop: Option<bool>,
    pub(crate) ends: u64,
    /// When this process was started.
    pub(crate) since: Option<Time>,
    /// Calls since the window began: time stands still for a daemon that spins.
    pub(crate) calls_in_window: u32,
}

/// So many calls within a few milliseconds are no work any more.
const SPINNING: u32 = 3000;

/// Whether there is a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Process {
    #[default]
    None,
    /// The driver shall make its runtime.
    Starting,
    Running,
    /// Killed; the driver drops its runtime.
    Dying,
}

/// What happens at a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopPoint {
    Kill,
    FreezeFor(Time),
}

impl World {
    pub(crate) fn start_daemon(&mut self, id: usize) {
        let joined = !self.has_not_joined(id);
        let node = &mut self.nodes[id];
        if node.daemon.state != Process::None || !node.power || !joined {
            return;
        }
        node.daemon.incarnation += 1;
        node.daemon.state = Process::Starting;
        node.daemon.since = Some(self.now);
        node.daemon.frozen = false;
        node.daemon.wanted = true;
        node.daemon.told_to_stop = None;
        node.daemon.stop_point = None;
        node.daemon.held.clear();
        node.kernel.changes = tokio::sync::watch::Sender::new(0);
        note!(self, "n{id} daemon starts");
    }

    /// Whether this very process still exists.
    pub(crate) fn lives(&self, id: usize, incarnation: u64) -> bool {
        let daemon = &self.nodes[id].daemon;
        daemon.incarnation == incarnation && matches!(daemon.state, Process::Running | Process::Starting)
    }

    pub(crate) fn kill_daemon(&mut self, id: usize, why: &str) {
        let node = &mut self.nodes[id];
        if !matches!(node.daemon.state, Process::Running | Process::Starting) {
            return;
        }
        node.daemon.state = Process::Dying;
        node.daemon.frozen = false;
        node.daemon.held.clear();
        note!(self, "n{id} daemon is killed ({why})");
        // A backend hears of its client's end only when it has something to say.
        let statement = if self.rng.one_in(3) { self.millis(50, 6000) } else { 0 };
        let until = self.now + statement;
        if let Some(server) = self.nodes[id].postgres.server.as_mut() {
            server.predecessor_until = server.predecessor_until.max(until);
        }
        self.after_daemon(id);
    }

    /// The driver has dropped the runtime, or the process ended by itself.
    pub(crate) fn daemon_is_gone(&mut self, id: usize) {
        self.nodes[id].daemon.state = Process::None;
    }

    /// What the kernel and the service manager do when it ends.
    pub(crate) fn after_daemon(&mut self, id: usize) {
        self.nodes[id].daemon.ends += 1;
        self.heart_hears_daemon_end(id);
        self.postgres_loses_listener(id);
        self.etcd_forgets_watches(id);
        if self.nodes[id].daemon.wanted {
            let pause = self.millis(200, 1500);
            self.after(pause, move |w| {
                if w.nodes[id].daemon.wanted {
                    w.start_daemon(id);
                }
            });
        }
    }

    pub(crate) fn freeze_daemon(&mut self, id: usize) {
        if self.nodes[id].daemon.state == Process::Running && !self.nodes[id].daemon.frozen {
            self.nodes[id].daemon.frozen = true;
            note!(self, "n{id} daemon is stopped (SIGSTOP)");
        }
    }

    pub(crate) fn thaw_daemon(&mut self, id: usize) {
        if !self.nodes[id].daemon.frozen {
            return;
        }
        self.nodes[id].daemon.frozen = false;
        self.nodes[id].daemon.went_on = Some(self.now);
        note!(self, "n{id} daemon goes on (SIGCONT)");
        let held = std::mem::take(&mut self.nodes[id].daemon.held);
        for what in held {
            self.after(0, what);
        }
    }

    /// A daemon's call reaches the world at its own node's time; what is held back leaves at the thaw.
    pub(crate) fn submit(&mut self, id: usize, incarnation: u64, at: Time, what: Happening) {
        if !self.lives(id, incarnation) {
            return;
        }
        self.pass_stop_point(id);
        if !self.lives(id, incarnation) {
            return;
        }
        if self.nodes[id].daemon.frozen {
            self.nodes[id].daemon.held.push_back(what);
            return;
        }
        // Syscalls and the way through the kernel take a moment.
        let delay = self.micros(20, 200);
        self.at(at + delay, move |w| {
            if w.lives(id, incarnation) {
                what(w);
            }
        });
    }

    /// One more effect of this daemon: here it may be stopped or killed.
    pub(crate) fn pass_stop_point(&mut self, id: usize) {
        let daemon = &mut self.nodes[id].daemon;
        daemon.calls_in_window += 1;
        if daemon.calls_in_window == SPINNING {
            self.violate("I7", format!("n{id} daemon spins: {SPINNING} calls within one window"));
            self.kill_daemon(id, "it spins");
            drive::halt();
            return;
        }
        let mut stopped = None;
        if let Some((calls, point)) = &mut self.nodes[id].daemon.stop_point {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                stopped = Some(*point);
            }
        }
        let Some(point) = stopped else { return };
        self.nodes[id].daemon.stop_point = None;
        match point {
            StopPoint::Kill => self.kill_daemon(id, "at a call"),
            StopPoint::FreezeFor(pause) => {
                self.freeze_daemon(id);
                self.after(pause, move |w| w.thaw_daemon(id));
            }
        }
        drive::halt();
    }

    /// SIGTERM; `announced`: as a restart that demotes nothing.
    pub(crate) fn stop_daemon(&mut self, id: usize, announced: bool, comes_back: bool) {
        let node = &mut self.nodes[id];
        if node.daemon.state != Process::Running || node.daemon.frozen || !node.is_running() {
            return;
        }
        node.daemon.told_to_stop = Some(announced);
        node.daemon.wanted = comes_back;
        note!(self, "n{id} daemon is told to end (announced as a restart: {announced})");
        let incarnation = self.nodes[id].daemon.incarnation;
        // runit sends SIGKILL in the end.
        self.after(40 * SEC, move |w| {
            if w.lives(id, incarnation) {
                w.kill_daemon(id, "it did not end");
            }
        });
    }

    /// Power off: everything volatile goes.
    pub(crate) fn cut_power(&mut self, id: usize) {
        if !self.nodes[id].power {
            return;
        }
        note!(self, "n{id} loses power");
        self.kill_daemon(id, "power");
        self.nodes[id].daemon.wanted = false;
        self.nodes[id].power = false;
        self.nodes[id].paused = false;
        self.heart_dies(id, false);
        self.postgres_dies(id);
        self.drop_vip(id);
        self.nodes[id].gate = PortGate::default();
        self.etcd_member_down(id);
        self.nodes[id].search.up = false;
    }

    /// Power on: the services start.
    pub(crate) fn restore_power(&mut self, id: usize) {
        if self.nodes[id].power {
            return;
        }
        note!(self, "n{id} boots");
        self.nodes[id].power = true;
        self.nodes[id].boots += 1;
        self.nodes[id].daemon.wanted = true;
        let (etcd, heart, daemon) = (self.millis(50, 800), self.millis(50, 600), self.millis(100, 1500));
        self.after(etcd, move |w| w.etcd_member_up(id));
        self.after(heart, move |w| w.heart_starts(id));
        self.after(daemon, move |w| w.start_daemon(id));
        self.nodes[id].search.up = true;
        self.nodes[id].search.since = self.now + 500 * MS;
    }
}
