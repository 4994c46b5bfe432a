//! What the guardian decides: what is armed, what must end, and when. Pure: no clock, no syscall.
//!
//! One [`Guard::step`] per observation. Every step looks at the time first, so a deadline that passed while heart itself
//! was frozen acts before any packet that waited in the socket is read. Order of a step's effects: actions, the pushed
//! state, answers; whoever reads an answer has therefore already been sent the state it speaks of.

mod events;
mod gate;
mod orders;
#[cfg(test)]
mod tests;

pub use events::{Asker, ConnectionId, Effect, Event};
pub use gate::{GATE_LOOK, GATE_PATIENCE, GATE_REFRESH, GatePlan, Passage, Sessions};

use super::protocol::{HeartState, PostgresProcess, StopMode, ToolOutcome, VipAddress};
use crate::ports::ArmedLease;
use leaderl_decision::model::{Epoch, Timestamp};
use leaderl_decision::planted::{Planted, planted};
use std::time::Duration;

/// SIGQUIT goes out this long before the deadline, while anything of PostgreSQL or the VIP is left.
pub const QUIT_BEFORE_DEADLINE: Duration = Duration::from_millis(500);
/// What SIGQUIT has not ended after this long is killed (SIGQUIT takes about 20 ms).
pub const KILL_AFTER_QUIT: Duration = Duration::from_millis(300);
/// How often the VIP's kernel lifetime is renewed.
pub const VIP_REFRESH: Duration = Duration::from_millis(200);
/// How long a fast stop may take when heart itself is told to end.
pub const ORDERLY_STOP: Duration = Duration::from_secs(15);
/// How often the process table is read while something must end now, at first.
const LOOK_OFTEN: Duration = Duration::from_millis(5);
/// The same after [`PATIENT_AFTER`] looks (unkillable processes), and while a stop or a tool runs.
const LOOK_SELDOM: Duration = Duration::from_millis(100);
const PATIENT_AFTER: u32 = 200;

/// A stop that has begun.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    mode: StopMode,
    kill_at: Timestamp,
    killing: bool,
}

#[derive(Clone, Debug, Default)]
struct Postgres {
    postmaster: Option<u32>,
    starts: u64,
    /// As the last census said.
    left: u32,
    /// A census after the last postmaster's end found nothing.
    settled: bool,
    stopping: Option<Stopping>,
}

#[derive(Clone, Debug)]
struct Tool {
    id: u64,
    pid: u32,
    beside_postgres: bool,
    /// Set when the tool itself was reaped; its descendants may live.
    exit: Option<Option<i32>>,
    killed: bool,
    cancel_askers: Vec<Asker>,
}

#[derive(Clone, Copy, Debug)]
struct Daemon {
    pid: u32,
    connection: Option<ConnectionId>,
}

#[derive(Clone, Copy, Debug)]
struct Attaching {
    asked: Asker,
    pid: u32,
}

/// The guardian's state.
#[derive(Debug)]
pub struct Guard {
    pid: u32,
    armed: Option<ArmedLease>,
    /// The newest epoch ever armed: an older one is never armed again.
    highest: Epoch,
    fenced: Option<Epoch>,
    postgres: Postgres,
    tool: Option<Tool>,
    tool_finished: Option<ToolOutcome>,
    /// Non-empty only while armed for the epoch they were assigned under.
    vips: Vec<VipAddress>,
    /// None: PostgreSQL has ended since, and nobody refreshes what would lead to nobody.
    refresh_vips_at: Option<Timestamp>,
    /// The epoch whose addresses outlived its PostgreSQL. No other server serves clients under it (rule R6).
    outlived: Option<Epoch>,
    gate: gate::Gatekeeping,
    daemon: Option<Daemon>,
    attaching: Option<Attaching>,
    terminating: bool,
    exit_sent: bool,
    look_at: Option<Timestamp>,
    looked_at: Timestamp,
    looks: u32,
    published: HeartState,
    effects: Vec<Effect>,
    answers: Vec<Effect>,
}

impl Guard {
    /// A fresh guardian: it knows of nothing, and PostgreSQL is not `Gone` before the first census says so. `no_gate`: why
    /// there is no port gate, if there is none.
    pub fn new(pid: u32, now: Timestamp, no_gate: Option<String>) -> Self {
        Self {
            pid,
            armed: None,
            highest: Epoch(0),
            fenced: None,
            postgres: Postgres::default(),
            tool: None,
            tool_finished: None,
            vips: Vec::new(),
            refresh_vips_at: None,
            outlived: None,
            gate: gate::Gatekeeping::new(no_gate),
            daemon: None,
            attaching: None,
            terminating: false,
            exit_sent: false,
            look_at: Some(now),
            looked_at: Timestamp(0),
            looks: 0,
            published: HeartState::default(),
            effects: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// One observation at `now`; what must be done about it.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        self.timers(now);
        let is_tick = matches!(event, Event::Tick);
        match event {
            Event::Request { connection, pid, request } => self.request(connection, pid, request, now),
            Event::Disconnected { connection } => self.disconnected(connection),
            Event::DaemonEnded => self.daemon = None,
            Event::Census { postgres, tool } => self.census(postgres, tool, now),
            Event::Reaped { pid, exit_code } => self.reaped(pid, exit_code, now),
            Event::PostmasterStarted { asked, result } => self.postmaster_started(asked, result),
            Event::ToolStarted { asked, tool, result } => self.tool_started(asked, tool, result, now),
            Event::VipsRefreshed { asked, valid_s, failed } => self.vips_refreshed(asked, valid_s, failed, now),
            Event::GateSet { plan, ends, asked, failed } => self.gate_set(&plan, ends, asked, failed, now),
            Event::Terminate => self.terminate(now),
            Event::Tick => {}
        }
        self.timers(now);
        if is_tick {
            self.keep_vips(now);
        }
        self.keep_gate(now);
        self.finish()
    }

    /// Whether the shell should read the process table now and say so by [`Event::Census`].
    pub fn wants_census(&self, now: Timestamp) -> bool {
        self.look_at.is_some_and(|at| at <= now)
    }

    /// When the next [`Event::Tick`] or census is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let stop = self.postgres.stopping.filter(|stop| !stop.killing).map(|stop| stop.kill_at);
        let refresh = self.refresh_vips_at.filter(|_| !self.vips.is_empty());
        [self.act_at(), stop, refresh, self.look_at, self.gate.next_look()].into_iter().flatten().min()
    }

    /// The state as the daemon sees it.
    pub fn view(&self) -> HeartState {
        HeartState {
            pid: self.pid,
            armed: self.armed.clone().filter(|lease| self.gate.bounds(lease.epoch)),
            fenced: self.fenced,
            postgres: self.postgres_process(),
            vips: self.vips.clone(),
            gate: self.gate_state(),
            tool_running: self.tool.as_ref().map(|tool| tool.id),
            tool_finished: self.tool_finished.clone(),
        }
    }

    /// The connection of the attached daemon.
    pub fn attached(&self) -> Option<ConnectionId> {
        self.daemon.and_then(|daemon| daemon.connection)
    }

    /// The running tool's pid.
    pub fn tool_pid(&self) -> Option<u32> {
        self.tool.as_ref().map(|tool| tool.pid)
    }

    /// The postmaster's pid, until it is reaped.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.postgres.postmaster
    }

    /// Whether nothing of PostgreSQL exists.
    pub fn postgres_gone(&self) -> bool {
        self.postgres.postmaster.is_none() && self.postgres.settled
    }

    fn postgres_process(&self) -> PostgresProcess {
        match (self.postgres.postmaster, self.postgres.stopping) {
            (Some(pid), None) => PostgresProcess::Running { pid, start: self.postgres.starts },
            (Some(_), Some(_)) => PostgresProcess::Ending { left: self.postgres.left.max(1) },
            (None, _) if self.postgres.settled => PostgresProcess::Gone,
            (None, _) => PostgresProcess::Ending { left: self.postgres.left },
        }
    }

    /// When the fence acts: early enough for SIGQUIT and SIGKILL to be over at the deadline, if there is anything to end.
    fn act_at(&self) -> Option<Timestamp> {
        let deadline = self.armed.as_ref()?.fence_at;
        let nothing_left = self.postgres_gone() && self.vips.is_empty();
        Some(if nothing_left { deadline } else { deadline.minus(QUIT_BEFORE_DEADLINE) })
    }

    fn timers(&mut self, now: Timestamp) {
        if self.act_at().is_some_and(|at| at <= now) {
            self.fence(now);
        }
        if let Some(stop) = &mut self.postgres.stopping
            && !stop.killing
            && stop.kill_at <= now
        {
            stop.killing = true;
            self.effects.push(Effect::KillPostgres);
            self.look_soon(now);
        }
    }

    /// Only by a tick, before which the shell reaps: a heart that stood still would bring an address back for a server that has
    /// ended meanwhile.
    fn keep_vips(&mut self, now: Timestamp) {
        if !self.vips.is_empty() && self.refresh_vips_at.is_some_and(|at| at <= now) {
            self.refresh_vips(None, now);
        }
    }

    /// The deadline: this epoch is over here, whatever the daemon says or does.
    fn fence(&mut self, now: Timestamp) {
        let Some(lease) = self.armed.take() else { return };
        self.fenced = self.fenced.max(Some(lease.epoch));
        self.effects.push(Effect::CloseGate);
        self.gate.shut(now);
        // The signal before the addresses: it takes a microsecond, whereas netlink waits for whoever holds the kernel's
        // lock, and the addresses have their own lifetime.
        let quit_at = lease.fence_at.minus(QUIT_BEFORE_DEADLINE);
        self.stop_postgres(StopMode::Immediate, quit_at.plus(KILL_AFTER_QUIT), now);
        self.drop_vips();
    }

    fn stop_postgres(&mut self, mode: StopMode, kill_at: Timestamp, now: Timestamp) {
        let Some(pid) = self.postgres.postmaster else { return };
        let before = self.postgres.stopping;
        if before.is_none_or(|stop| stop.mode == StopMode::Fast && mode == StopMode::Immediate) {
            self.effects.push(Effect::SignalPostmaster { pid, mode });
        }
        let before = before.unwrap_or(Stopping { mode, kill_at, killing: false });
        self.postgres.stopping = Some(Stopping {
            mode: if mode == StopMode::Immediate { mode } else { before.mode },
            kill_at: before.kill_at.min(kill_at),
            killing: before.killing,
        });
        self.look_soon(now);
    }

    fn reaped(&mut self, pid: u32, exit_code: Option<i32>, now: Timestamp) {
        if self.postgres.postmaster == Some(pid) {
            // Backends that outlive their postmaster must neither write nor acknowledge.
            self.postgres.postmaster = None;
            self.postgres.settled = false;
            self.postgres.stopping = None;
            self.refresh_vips_at = None;
            if !self.vips.is_empty() {
                self.outlived = self.armed.as_ref().map(|lease| lease.epoch);
            }
            if !planted(Planted::FenceLeavesBackends) {
                self.effects.push(Effect::KillPostgres);
            }
            self.look_soon(now);
        }
        if let Some(tool) = &mut self.tool
            && tool.pid == pid
        {
            tool.exit = Some(exit_code);
        }
        let tool_ending = self.tool.as_ref().is_some_and(|tool| tool.killed || tool.exit.is_some());
        if !self.postgres.settled || self.postgres.stopping.is_some() || tool_ending {
            // Hundreds may end at once, and they need the processor more than heart does.
            self.look_soon(now.max(self.looked_at.plus(LOOK_OFTEN)));
        }
    }

    fn census(&mut self, postgres: u32, tool: u32, now: Timestamp) {
        self.looked_at = now;
        self.postgres.left = postgres;
        if self.postgres.postmaster.is_none() {
            self.postgres.settled = postgres == 0 || planted(Planted::FenceLeavesBackends);
            if postgres > 0 && !planted(Planted::FenceLeavesBackends) {
                self.effects.push(Effect::KillPostgres);
            }
        } else if self.postgres.stopping.is_some_and(|stop| stop.killing) {
            self.effects.push(Effect::KillPostgres);
        }
        self.tool_census(tool);
        let urgent = match self.postgres.stopping {
            Some(stop) => stop.killing,
            None => self.postgres.postmaster.is_none() && !self.postgres.settled,
        } || self.tool.as_ref().is_some_and(|tool| tool.killed || tool.exit.is_some());
        let waiting = self.postgres.stopping.is_some() || self.tool.is_some();
        self.looks = if urgent { self.looks.saturating_add(1) } else { 0 };
        self.look_at = match (urgent, waiting) {
            (true, _) if self.looks < PATIENT_AFTER => Some(now.plus(LOOK_OFTEN)),
            (true, _) | (false, true) => Some(now.plus(LOOK_SELDOM)),
            (false, false) => None,
        };
    }

    fn tool_census(&mut self, left: u32) {
        let Some(tool) = &mut self.tool else { return };
        match tool.exit {
            Some(exit_code) if left == 0 => {
                self.tool_finished = Some(ToolOutcome { id: tool.id, exit_code });
                let askers = std::mem::take(&mut tool.cancel_askers);
                self.tool = None;
                for asker in askers {
                    self.answer(asker, None);
                }
            }
            // What a tool leaves behind has nobody to wait for it.
            Some(_) => self.effects.push(Effect::KillTool),
            None if tool.killed => self.effects.push(Effect::KillTool),
            None => {}
        }
    }

    fn kill_tool(&mut self, now: Timestamp) {
        if let Some(tool) = &mut self.tool {
            tool.killed = true;
            self.effects.push(Effect::KillTool);
            self.look_soon(now);
        }
    }

    fn look_soon(&mut self, when: Timestamp) {
        self.look_at = Some(self.look_at.map_or(when, |at| at.min(when)));
    }

    fn terminate(&mut self, now: Timestamp) {
        self.terminating = true;
        self.kill_tool(now);
        self.stop_postgres(StopMode::Fast, now.plus(ORDERLY_STOP), now);
    }

    fn drop_vips(&mut self) {
        if !self.vips.is_empty() {
            self.effects.push(Effect::RemoveVips(std::mem::take(&mut self.vips)));
        }
    }

    fn answer(&mut self, to: Asker, refused: Option<String>) {
        self.answers.push(Effect::Reply { to, refused });
    }

    fn finish(&mut self) -> Vec<Effect> {
        self.complete_attach();
        let exit = self.terminating && !self.exit_sent && self.postgres_gone() && self.tool.is_none();
        if exit {
            self.drop_vips();
            self.leave_gate_shut();
            self.exit_sent = true;
        }
        let view = self.view();
        if view != self.published {
            self.published = view;
            self.effects.push(Effect::Push);
        }
        self.effects.append(&mut self.answers);
        if exit {
            self.effects.push(Effect::Exit);
        }
        std::mem::take(&mut self.effects)
    }
}
