//! The guard's tests: a world of one attached daemon, in which each test tells the guard what happens.

mod gate;
mod leases;
mod processes;

use super::super::protocol::{HeartOrder, HeartRequest, PostgresStart, ToolRequest};
use super::*;
use leaderl_decision::model::Nonce;
use std::net::Ipv4Addr;

pub(super) const S: Duration = Duration::from_secs(1);
pub(super) const CONNECTION: ConnectionId = 1;
pub(super) const DAEMON: u32 = 100;
pub(super) const POSTMASTER: u32 = 200;
pub(super) const TOOL: u32 = 300;

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn at(ms_after_boot: u64) -> Timestamp {
    Timestamp(0).plus(ms(ms_after_boot))
}

/// A lease whose fence is at `fence_at`.
pub(super) fn lease(epoch: u64, nonce: &str, seq: u64, t0: Timestamp, fence_at: Timestamp) -> ArmedLease {
    ArmedLease { epoch: Epoch(epoch), nonce: Nonce(nonce.to_owned()), seq, t0, fence_at }
}

pub(super) fn vip() -> VipAddress {
    VipAddress { ip: Ipv4Addr::new(10, 0, 0, 100).into(), prefix: 32, interface: "eth0".to_owned() }
}

pub(super) fn start() -> PostgresStart {
    PostgresStart {
        program: "/pg/postgres".into(),
        data_dir: "/data".into(),
        args: vec![],
        uid: 1,
        gid: 1,
        log_file: "/log".into(),
    }
}

pub(super) fn tool(name: &str) -> ToolRequest {
    let program = format!("/pg/{name}").into();
    ToolRequest { id: 9, program, args: vec![], env: vec![], uid: 1, gid: 1, log_file: "/log".into() }
}

/// A guard with its shell's habits: answers effects as a healthy system would.
pub(super) struct World {
    pub(super) guard: Guard,
    pub(super) now: Timestamp,
    /// What the kernel says to every order about the gate.
    pub(super) gate_fails: Option<String>,
    next_id: u64,
}

impl World {
    /// Attached, nothing of PostgreSQL.
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    /// The same; `no_gate` says why there is no port gate.
    pub(super) fn with(no_gate: Option<&str>) -> Self {
        let now = at(1000);
        let guard = Guard::new(1, now, no_gate.map(str::to_owned));
        let mut world = Self { guard, now, gate_fails: None, next_id: 0 };
        world.step(Event::Census { postgres: 0, tool: 0 });
        assert_eq!(world.order(attach()), Ok(()));
        world
    }

    /// PostgreSQL runs, armed for epoch 7 with the fence in 4 s, VIP assigned.
    pub(super) fn leading() -> Self {
        let mut world = Self::new();
        world.lead();
        world
    }

    pub(super) fn lead(&mut self) {
        self.start_postgres();
        let fence_at = self.now.plus(4 * S);
        assert_eq!(self.order(HeartOrder::Arm { lease: lease(7, "a", 1, self.now, fence_at) }), Ok(()));
        assert_eq!(self.assign(7), Ok(()));
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = self.guard.step(event, self.now);
        if let Some(index) = effects.iter().position(|it| matches!(it, Effect::RefreshVips { .. }))
            && let Effect::RefreshVips { asked, valid_s, .. } = effects[index].clone()
        {
            effects.extend(self.step(Event::VipsRefreshed { asked, valid_s, failed: None }));
        }
        if let Some(Effect::SetGate { plan, ends, asked }) =
            effects.iter().find(|it| matches!(it, Effect::SetGate { .. })).cloned()
        {
            let failed = self.gate_fails.clone();
            let more = self.guard.step(Event::GateSet { plan, ends, asked, failed }, self.now);
            effects.extend(more);
        }
        effects
    }

    pub(super) fn tick(&mut self, after: Duration) -> Vec<Effect> {
        self.now = self.now.plus(after);
        self.step(Event::Tick)
    }

    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        pid: u32,
        order: HeartOrder,
    ) -> (Vec<Effect>, Option<Result<(), String>>) {
        self.next_id += 1;
        let id = self.next_id;
        let effects = self.step(Event::Request { connection, pid, request: HeartRequest { id, order } });
        let answer = effects.iter().find_map(|it| match it {
            Effect::Reply { to, refused } if to.id == id => Some(refused.clone().map_or(Ok(()), Err)),
            _ => None,
        });
        (effects, answer)
    }

    pub(super) fn order(&mut self, order: HeartOrder) -> Result<(), String> {
        self.request(CONNECTION, DAEMON, order).1.expect("an answer at once")
    }

    pub(super) fn assign(&mut self, epoch: u64) -> Result<(), String> {
        self.order(HeartOrder::AssignVips { epoch: Epoch(epoch), vips: vec![vip()] })
    }

    pub(super) fn start_postgres(&mut self) {
        let (effects, _) = self.request(CONNECTION, DAEMON, HeartOrder::StartPostgres { start: start() });
        let asked = effects.iter().find_map(|it| match it {
            Effect::StartPostmaster { asked, .. } => Some(*asked),
            _ => None,
        });
        self.step(Event::PostmasterStarted { asked: asked.expect("a start"), result: Ok(POSTMASTER) });
    }

    pub(super) fn start_tool(&mut self, name: &str) -> Result<(), String> {
        let (effects, answer) = self.request(CONNECTION, DAEMON, HeartOrder::RunTool { tool: tool(name) });
        if let Some(answer) = answer {
            return answer;
        }
        let asked = effects.iter().find_map(|it| match it {
            Effect::StartTool { asked, .. } => Some(*asked),
            _ => None,
        });
        let asked = asked.expect("a start");
        self.step(Event::ToolStarted { asked, tool: 9, result: Ok(TOOL) });
        Ok(())
    }
}

pub(super) fn attach() -> HeartOrder {
    HeartOrder::Attach { version: "1".to_owned() }
}

pub(super) fn refused(result: Result<(), String>, why: &str) {
    let reason = result.expect_err(why);
    assert!(reason.contains(why), "refused because `{reason}`, not because `{why}`");
}

pub(super) fn acts(effects: &[Effect]) -> Vec<Effect> {
    let kept = |it: &&Effect| !matches!(it, Effect::Push | Effect::RefreshVips { .. } | Effect::SetGate { .. });
    effects.iter().filter(kept).cloned().collect()
}

pub(super) const QUIT: Effect = Effect::SignalPostmaster { pid: POSTMASTER, mode: StopMode::Immediate };
pub(super) const FAST: Effect = Effect::SignalPostmaster { pid: POSTMASTER, mode: StopMode::Fast };
