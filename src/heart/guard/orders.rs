//! The daemon's orders: which are obeyed and which refused.

use super::super::protocol::{HeartOrder, HeartRequest, PostgresStart, ToolRequest};
use super::*;
use leaderl_decision::planted::{Planted, planted};

/// The kernel's lifetime may last up to this many hundredths of the seconds asked for (its timer rounds up by about 8 %).
const LIFETIME_STRETCH_PERCENT: u64 = 108;
const NS_PER_S: u64 = 1_000_000_000;
/// More addresses than anybody has VIPs; a bound for what one order may hold.
const MAX_VIPS: usize = 32;

/// The longest whole-second kernel lifetime that surely ends by `deadline`; `None` below one second.
pub(super) fn vip_lifetime(now: Timestamp, deadline: Timestamp) -> Option<u32> {
    let left = u64::try_from(deadline.since(now).as_nanos()).ok()?;
    let seconds = left / (NS_PER_S / 100 * LIFETIME_STRETCH_PERCENT);
    u32::try_from(seconds).ok().filter(|&seconds| seconds >= 1)
}

/// Whether an address given this lifetime at `now` may still be there at `deadline`.
fn outlives(now: Timestamp, valid_s: u32, deadline: Timestamp) -> bool {
    now.plus(Duration::from_millis(u64::from(valid_s) * LIFETIME_STRETCH_PERCENT * 10)) > deadline
}

/// A base backup fills a directory of its own, so the old copy may go on serving meanwhile; every other tool works on PGDATA.
fn may_run_beside_postgres(tool: &ToolRequest) -> bool {
    tool.program.file_name().is_some_and(|name| name == "pg_basebackup")
}

impl Guard {
    pub(super) fn request(&mut self, connection: ConnectionId, pid: u32, request: HeartRequest, now: Timestamp) {
        let asked = Asker { connection, id: request.id };
        if let HeartOrder::Attach { .. } = request.order {
            return self.attach(asked, pid, now);
        }
        if self.attached() != Some(connection) {
            return self.answer(asked, Some("not attached".to_owned()));
        }
        let outcome = match request.order {
            // Answered above.
            HeartOrder::Attach { .. } => Ok(()),
            HeartOrder::Arm { lease } => match self.arm(lease, now) {
                // Acknowledged when the port gate is armed as well.
                Ok(()) => return self.keep_gate_for(asked, now),
                refused => refused,
            },
            HeartOrder::Renewed { lease } => self.renewed(lease, now),
            HeartOrder::Disarm { epoch } => self.disarm(epoch),
            HeartOrder::StopPostgres { stop } => {
                self.stop_postgres(stop.mode, stop.kill_at, now);
                Ok(())
            }
            HeartOrder::ReleaseVips => {
                self.drop_vips();
                Ok(())
            }
            HeartOrder::StartPostgres { start } => return self.start_postgres(asked, start),
            HeartOrder::RunTool { tool } => return self.run_tool(asked, tool),
            HeartOrder::CancelTool => return self.cancel_tool(asked, now),
            HeartOrder::AssignVips { epoch, vips } => return self.assign_vips(asked, epoch, vips, now),
            HeartOrder::SetDoor { epoch, door } => return self.set_door(asked, epoch, door, now),
            HeartOrder::SetMembers { members } => return self.set_members(asked, members, now),
        };
        self.answer(asked, outcome.err());
    }

    fn attach(&mut self, asked: Asker, pid: u32, now: Timestamp) {
        if self.terminating {
            return self.answer(asked, Some("heart is ending".to_owned()));
        }
        if let Some(earlier) = self.attaching.replace(Attaching { asked, pid }) {
            self.answer(earlier.asked, Some("another daemon attaches".to_owned()));
        }
        if let Some(daemon) = &mut self.daemon {
            if let Some(old) = daemon.connection.take_if(|old| *old != asked.connection) {
                self.effects.push(Effect::CloseConnection(old));
            }
            if daemon.pid == pid || planted(Planted::TwoDaemons) {
                self.daemon = None;
            } else {
                self.effects.push(Effect::KillDaemon);
            }
        }
        self.kill_tool(now);
    }

    /// Answers an attach once the daemon before it is dead and its tool has ended.
    pub(super) fn complete_attach(&mut self) {
        if self.daemon.is_some() || self.tool.is_some() {
            return;
        }
        if let Some(Attaching { asked, pid }) = self.attaching.take() {
            self.daemon = Some(Daemon { pid, connection: Some(asked.connection) });
            self.effects.push(Effect::Adopt(asked.connection));
            // Even an unchanged state is news to this daemon.
            self.published = HeartState::default();
            self.answer(asked, None);
        }
    }

    pub(super) fn disconnected(&mut self, connection: ConnectionId) {
        // The process may live on: it stays the one to kill before another is attached.
        if let Some(daemon) = &mut self.daemon {
            daemon.connection.take_if(|it| *it == connection);
        }
        self.attaching.take_if(|it| it.asked.connection == connection);
        if let Some(tool) = &mut self.tool {
            tool.cancel_askers.retain(|asker| asker.connection != connection);
        }
    }

    fn check_lease(&self, lease: &ArmedLease, now: Timestamp) -> Result<(), String> {
        if self.fenced.is_some_and(|fenced| lease.epoch <= fenced) && !planted(Planted::LateRenewalRevives) {
            return Err(format!("epoch {} is fenced", lease.epoch));
        }
        if lease.fence_at <= now {
            return Err(format!("the deadline of epoch {} passed {:?} ago", lease.epoch, now.since(lease.fence_at)));
        }
        if lease.fence_at.minus(QUIT_BEFORE_DEADLINE) <= now {
            return Err(format!("the deadline of epoch {} is too near", lease.epoch));
        }
        if lease.t0 > now || lease.fence_at <= lease.t0 {
            return Err("the lease's times contradict this node's clock".to_owned());
        }
        Ok(())
    }

    fn arm(&mut self, lease: ArmedLease, now: Timestamp) -> Result<(), String> {
        if self.terminating {
            return Err("heart is ending".to_owned());
        }
        self.check_lease(&lease, now)?;
        if lease.epoch < self.highest {
            return Err(format!("epoch {} is older than {}", lease.epoch, self.highest));
        }
        match &self.armed {
            Some(armed) if armed.epoch == lease.epoch && armed.nonce == lease.nonce => return self.renewed(lease, now),
            Some(armed) if armed.epoch < lease.epoch => self.drop_vips(),
            Some(_) | None => {}
        }
        self.highest = lease.epoch;
        self.gate.armed_for(lease.epoch);
        self.armed = Some(Self::as_counted(lease, now));
        Ok(())
    }

    fn renewed(&mut self, lease: ArmedLease, now: Timestamp) -> Result<(), String> {
        self.check_lease(&lease, now)?;
        let Some(armed) = &self.armed else { return Err("not armed".to_owned()) };
        if armed.epoch != lease.epoch {
            return Err(format!("armed for epoch {}, not {}", armed.epoch, lease.epoch));
        }
        if armed.nonce != lease.nonce {
            return Err("armed for another nonce".to_owned());
        }
        if lease.seq < armed.seq || lease.fence_at < armed.fence_at {
            return Err(format!("renewal {} is older than {}", lease.seq, armed.seq));
        }
        self.armed = Some(Self::as_counted(lease, now));
        Ok(())
    }

    fn disarm(&mut self, epoch: Epoch) -> Result<(), String> {
        match &self.armed {
            None => Ok(()),
            Some(armed) if armed.epoch != epoch => Err(format!("armed for epoch {}, not {epoch}", armed.epoch)),
            Some(_) if !self.postgres_gone() => Err("PostgreSQL is not gone".to_owned()),
            Some(_) => {
                if !planted(Planted::VipKept) {
                    self.drop_vips();
                }
                self.armed = None;
                Ok(())
            }
        }
    }

    fn start_postgres(&mut self, asked: Asker, start: PostgresStart) {
        let refused = if self.terminating {
            Some("heart is ending")
        } else if self.postgres.postmaster.is_some() {
            Some("a postmaster runs already")
        } else if !self.postgres_gone() {
            Some("processes of the data directory are left and are being killed; ask again")
        } else if self.tool.as_ref().is_some_and(|tool| !tool.beside_postgres) {
            Some("a tool works on the data directory")
        } else {
            None
        };
        match refused {
            Some(reason) => self.answer(asked, Some(reason.to_owned())),
            None => self.effects.push(Effect::StartPostmaster { start, asked }),
        }
    }

    pub(super) fn postmaster_started(&mut self, asked: Asker, result: Result<u32, String>) {
        if let Ok(pid) = result {
            self.postgres = Postgres {
                postmaster: Some(pid),
                starts: self.postgres.starts + 1,
                left: 1,
                settled: false,
                stopping: None,
            };
        }
        self.answer(asked, result.err());
    }

    fn run_tool(&mut self, asked: Asker, tool: ToolRequest) {
        let refused = if self.terminating {
            Some("heart is ending")
        } else if self.tool.is_some() {
            Some("a tool runs already")
        } else if !self.postgres_gone() && !may_run_beside_postgres(&tool) {
            Some("PostgreSQL is not gone")
        } else {
            None
        };
        if let Some(reason) = refused {
            return self.answer(asked, Some(reason.to_owned()));
        }
        self.tool = Some(Tool {
            id: tool.id,
            pid: 0,
            beside_postgres: may_run_beside_postgres(&tool),
            exit: None,
            killed: false,
            cancel_askers: Vec::new(),
        });
        self.effects.push(Effect::StartTool { tool, asked });
    }

    pub(super) fn tool_started(&mut self, asked: Asker, id: u64, result: Result<u32, String>, now: Timestamp) {
        match (&mut self.tool, result) {
            (Some(tool), Ok(pid)) if tool.id == id => {
                tool.pid = pid;
                self.tool_finished = None;
                self.answer(asked, None);
            }
            (_, Ok(_)) => self.answer(asked, Some("another tool was started meanwhile".to_owned())),
            (_, Err(reason)) => {
                self.tool = None;
                self.answer(asked, Some(reason));
            }
        }
        self.look_soon(now);
    }

    fn cancel_tool(&mut self, asked: Asker, now: Timestamp) {
        match &mut self.tool {
            Some(tool) => tool.cancel_askers.push(asked),
            None => return self.answer(asked, None),
        }
        self.kill_tool(now);
    }

    fn assign_vips(&mut self, asked: Asker, epoch: Epoch, vips: Vec<VipAddress>, now: Timestamp) {
        let refused = match &self.armed {
            _ if self.terminating => Some("heart is ending".to_owned()),
            None => Some("not armed".to_owned()),
            Some(armed) if armed.epoch != epoch => Some(format!("armed for epoch {}, not {epoch}", armed.epoch)),
            Some(armed) if vip_lifetime(now, armed.fence_at).is_none() => Some("the deadline is too near".to_owned()),
            Some(_) if !vips.is_empty() && self.outlived == Some(epoch) => {
                Some(format!("the PostgreSQL of epoch {epoch} has ended"))
            }
            Some(_) if vips.len() > MAX_VIPS => Some(format!("more than {MAX_VIPS} addresses")),
            Some(_) => None,
        };
        if refused.is_some() {
            return self.answer(asked, refused);
        }
        let dropped: Vec<VipAddress> = self.vips.iter().filter(|vip| !vips.contains(vip)).cloned().collect();
        if !dropped.is_empty() {
            self.effects.push(Effect::RemoveVips(dropped));
        }
        self.vips = vips;
        if self.vips.is_empty() {
            return self.answer(asked, None);
        }
        self.refresh_vips(Some(asked), now);
    }

    /// Gives the addresses the lifetime that the deadline allows. Below one second nothing is renewed: the kernel's last
    /// lifetime, or the fence, takes them.
    pub(super) fn refresh_vips(&mut self, asked: Option<Asker>, now: Timestamp) {
        self.refresh_vips_at = Some(now.plus(VIP_REFRESH));
        let valid_s = self.armed.as_ref().and_then(|armed| vip_lifetime(now, armed.fence_at));
        if let Some(valid_s) = valid_s {
            self.effects.push(Effect::RefreshVips { vips: self.vips.clone(), valid_s, asked });
        }
    }

    /// A refresh that was late must not leave the address beyond the deadline: shorten or remove it (P17).
    /// A planted bug counts the deadline from when heart hears of it.
    fn as_counted(lease: ArmedLease, now: Timestamp) -> ArmedLease {
        if planted(Planted::RelativeDeadline) {
            return ArmedLease { fence_at: now.plus(lease.fence_at.since(lease.t0)), ..lease };
        }
        lease
    }

    pub(super) fn vips_refreshed(
        &mut self,
        asked: Option<Asker>,
        valid_s: u32,
        failed: Option<String>,
        now: Timestamp,
    ) {
        let Some(armed) = &self.armed else {
            // The deadline passed during the call; the step's first look at the time has removed the addresses.
            if let Some(asked) = asked {
                self.answer(asked, Some("fenced meanwhile".to_owned()));
            }
            return;
        };
        if let (Some(asked), Some(reason)) = (asked, &failed) {
            self.answer(asked, Some(reason.clone()));
            return self.drop_vips();
        }
        if failed.is_none() && !planted(Planted::VipRefreshUnchecked) && outlives(now, valid_s, armed.fence_at) {
            match vip_lifetime(now, armed.fence_at) {
                Some(_) => return self.refresh_vips(asked, now),
                None => self.effects.push(Effect::RemoveVips(self.vips.clone())),
            }
        }
        if let Some(asked) = asked {
            self.answer(asked, None);
        }
    }
}
