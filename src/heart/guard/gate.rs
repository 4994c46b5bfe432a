//! The port gate: what it must be for what is armed, and the daemon's orders about it.
//!
//! | armed | PostgreSQL | members | clients |
//! |---|---|---|---|
//! | no | something of an armed epoch may live | shut | shut |
//! | no | a standby, or nothing | free | shut |
//! | yes | any | until the deadline | until the deadline, from the daemon's word until it ends the epoch |
//!
//! So nothing passes after a deadline but what stays inside the node, and nothing of an old epoch when the gate opens again:
//! its sockets are destroyed first.

use super::super::protocol::GateState;
use super::*;
use leaderl_decision::model::Door;
use std::net::IpAddr;

/// How often the gate's deadline is renewed while armed, and the table looked at for foreign changes.
pub const GATE_REFRESH: Duration = Duration::from_millis(200);
/// How often the table is looked at otherwise.
pub const GATE_LOOK: Duration = Duration::from_millis(500);
/// The kernel may refuse for so long before the gate counts as lost; its last deadline holds meanwhile.
pub const GATE_PATIENCE: Duration = Duration::from_secs(1);
/// More nodes than any cluster has; a bound for what one order may hold.
const MAX_MEMBERS: usize = 64;

/// How long a kind of packet passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// Not at all.
    #[default]
    Shut,
    /// Existing sessions, until this instant; no new ones.
    Ending(Timestamp),
    /// Until this instant.
    Until(Timestamp),
    /// Without a limit: nothing here can acknowledge a write.
    Free,
}

impl Passage {
    /// Whether the other differs in nothing but its instant.
    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// What the gate must be. The default: shut to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatePlan {
    /// Under which epoch.
    pub epoch: Option<Epoch>,
    /// Packets between members' addresses and this node's publish address.
    pub member_passage: Passage,
    /// All others.
    pub client_passage: Passage,
    /// The members' addresses.
    pub members: Vec<IpAddr>,
}

/// Whose sockets on PostgreSQL's port must be destroyed before the gate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// All but those that stay inside the node: no server is left that they belong to.
    Everybodys,
    /// The same without the members'.
    Clients,
}

/// What the guard remembers of the gate.
#[derive(Debug, Default)]
pub(super) struct Gatekeeping {
    /// Why there is none.
    off: Option<String>,
    members: Vec<IpAddr>,
    /// The daemon's last word, and for which epoch.
    door: Option<(Epoch, Door)>,
    /// Something that ran under an armed epoch may live.
    unreaped: bool,
    /// Sockets of such a process may exist.
    stale: bool,
    /// Clients' older sockets are destroyed for this epoch.
    ended_for: Option<Epoch>,
    /// The kernel holds what was wanted for this epoch: bounded by its deadline, open to clients, shut to them.
    bounded_for: Option<Epoch>,
    open_for: Option<Epoch>,
    shut_for: Option<Epoch>,
    /// As last ordered from the shell.
    ordered: Option<GatePlan>,
    refresh_at: Timestamp,
    failing_since: Option<Timestamp>,
    failure: Option<String>,
}

impl Gatekeeping {
    /// Nothing is known of what a previous heart left behind.
    pub(super) fn new(off: Option<String>) -> Self {
        Self { off, unreaped: true, stale: true, ..Self::default() }
    }

    /// Whether all fences of this epoch are armed.
    pub(super) fn bounds(&self, epoch: Epoch) -> bool {
        self.off.is_some() || self.bounded_for == Some(epoch)
    }

    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.off.is_none().then_some(self.refresh_at)
    }

    /// From now on something here may acknowledge writes.
    pub(super) fn armed_for(&mut self, epoch: Epoch) {
        self.unreaped = true;
        self.stale = true;
        if self.door.is_some_and(|(of, _)| of < epoch) {
            self.door = None;
        }
    }

    /// [`Effect::CloseGate`] was given.
    pub(super) fn shut(&mut self, now: Timestamp) {
        self.ordered = Some(GatePlan { members: self.members.clone(), ..GatePlan::default() });
        self.refresh_at = now.plus(GATE_REFRESH);
    }

    #[cfg(test)]
    pub(super) fn ordered(&self) -> &Option<GatePlan> {
        &self.ordered
    }

    fn is_open_for(&self, epoch: Epoch) -> bool {
        self.door == Some((epoch, Door::Open)) && (self.off.is_some() || self.open_for == Some(epoch))
    }

    fn is_shut_for(&self, epoch: Epoch) -> bool {
        self.door == Some((epoch, Door::Shut)) && (self.off.is_some() || self.shut_for == Some(epoch))
    }
}

impl Guard {
    pub(super) fn gate_state(&self) -> GateState {
        let gate = &self.gate;
        let armed = self.armed.as_ref().map(|lease| lease.epoch);
        GateState {
            off: gate.off.clone(),
            failure: gate.failure.clone(),
            open_for: armed.filter(|epoch| gate.is_open_for(*epoch)),
            shut_for: armed.filter(|epoch| gate.is_shut_for(*epoch)),
            closed_for: gate.door.filter(|(_, door)| *door != Door::Open).map(|(epoch, _)| epoch).max(self.fenced),
            members: gate.members.clone(),
        }
    }

    fn gate_plan(&self) -> GatePlan {
        let gate = &self.gate;
        let (member_passage, client_passage) = match &self.armed {
            None if gate.unreaped => (Passage::Shut, Passage::Shut),
            None => (Passage::Free, Passage::Shut),
            Some(lease) => {
                let deadline = lease.fence_at;
                let clients = match gate.door {
                    Some((epoch, Door::Open)) if epoch == lease.epoch => Passage::Until(deadline),
                    // What was never opened has no sessions that could go on.
                    Some((epoch, Door::Ending)) if epoch == lease.epoch && gate.ended_for == Some(epoch) => {
                        Passage::Ending(deadline)
                    }
                    Some((_, Door::Open | Door::Ending | Door::Shut)) | None => Passage::Shut,
                };
                (Passage::Until(deadline), clients)
            }
        };
        let epoch = self.armed.as_ref().map(|lease| lease.epoch);
        GatePlan { epoch, member_passage, client_passage, members: gate.members.clone() }
    }

    /// What of the old must be gone before this plan may be in force.
    fn ends_first(&self, plan: &GatePlan) -> Option<Sessions> {
        let opens = matches!(plan.client_passage, Passage::Until(_));
        if plan.member_passage == Passage::Free && self.gate.stale {
            Some(Sessions::Everybodys)
        } else if opens && self.gate.ended_for != plan.epoch {
            Some(Sessions::Clients)
        } else {
            None
        }
    }

    /// Orders the gate from the shell if anything but the deadline's distance changed, or a refresh is due.
    pub(super) fn keep_gate(&mut self, now: Timestamp) {
        if self.armed.is_none() && self.postgres_gone() {
            self.gate.unreaped = false;
        }
        let plan = self.gate_plan();
        let same = self.gate.ordered.as_ref().is_some_and(|last| {
            last.epoch == plan.epoch
                && last.member_passage.is_like(plan.member_passage)
                && last.client_passage.is_like(plan.client_passage)
                && last.members == plan.members
        });
        if self.gate.off.is_none() && (!same || self.gate.refresh_at <= now) {
            self.order_gate(plan, None, now);
        }
    }

    /// As [`Self::keep_gate`], at once, with an answer to whoever asked.
    pub(super) fn keep_gate_for(&mut self, asked: Asker, now: Timestamp) {
        if self.gate.off.is_some() {
            return self.answer(asked, None);
        }
        let plan = self.gate_plan();
        self.order_gate(plan, Some(asked), now);
    }

    fn order_gate(&mut self, plan: GatePlan, asked: Option<Asker>, now: Timestamp) {
        let ends = self.ends_first(&plan);
        self.gate.refresh_at = now.plus(if self.armed.is_some() { GATE_REFRESH } else { GATE_LOOK });
        self.gate.ordered = Some(plan.clone());
        self.effects.push(Effect::SetGate { plan, ends, asked });
    }

    /// heart ends for good; nobody would keep the gate otherwise.
    pub(super) fn leave_gate_shut(&mut self) {
        if self.gate.off.is_none() {
            self.effects.push(Effect::SetGate { plan: GatePlan::default(), ends: None, asked: None });
        }
    }

    pub(super) fn set_door(&mut self, asked: Asker, epoch: Epoch, door: Door, now: Timestamp) {
        let shut_before = self.gate.door.is_some_and(|(of, was)| of >= epoch && was > door);
        let refused = match &self.armed {
            // What is not armed is shut.
            None if door != Door::Open => return self.answer(asked, None),
            _ if self.terminating && door == Door::Open => Some("heart is ending".to_owned()),
            None => Some("not armed".to_owned()),
            Some(armed) if armed.epoch != epoch => Some(format!("armed for epoch {}, not {epoch}", armed.epoch)),
            Some(_) if door == Door::Open && shut_before => {
                Some(format!("the port gate was shut for epoch {epoch}; it opens again under a newer one"))
            }
            Some(_) => None,
        };
        if refused.is_some() {
            return self.answer(asked, refused);
        }
        if self.gate.is_open_for(epoch) && door == Door::Open {
            return self.answer(asked, None);
        }
        // One way within an epoch.
        if !shut_before {
            self.gate.door = Some((epoch, door));
        }
        self.keep_gate_for(asked, now);
    }

    pub(super) fn set_members(&mut self, asked: Asker, members: Vec<IpAddr>, now: Timestamp) {
        if members.len() > MAX_MEMBERS {
            return self.answer(asked, Some(format!("more than {MAX_MEMBERS} members")));
        }
        self.gate.members = members;
        self.keep_gate_for(asked, now);
    }

    /// What became of an order to the gate. The step's first look at the time has fenced if the deadline passed meanwhile, and
    /// the kernel's own clocks have kept what came too late shut (P17).
    pub(super) fn gate_set(
        &mut self,
        plan: &GatePlan,
        ends: Option<Sessions>,
        asked: Option<Asker>,
        failed: Option<String>,
        now: Timestamp,
    ) {
        if let Some(reason) = failed {
            let since = *self.gate.failing_since.get_or_insert(now);
            self.gate.refresh_at = now.plus(GATE_REFRESH);
            if now.since(since) >= GATE_PATIENCE {
                self.gate.failure = Some(reason.clone());
            }
            if let Some(asked) = asked {
                self.answer(asked, Some(format!("no port gate: {reason}")));
            }
            return;
        }
        self.gate.failing_since = None;
        self.gate.failure = None;
        match ends {
            Some(Sessions::Everybodys) => self.gate.stale = false,
            Some(Sessions::Clients) => self.gate.ended_for = plan.epoch,
            None => {}
        }
        let current = self.armed.as_ref().map(|lease| lease.epoch);
        if plan.epoch == current {
            self.gate.bounded_for = current;
            self.gate.open_for = current.filter(|_| matches!(plan.client_passage, Passage::Until(_)));
            self.gate.shut_for = current.filter(|_| plan.client_passage == Passage::Shut);
        }
        if let Some(asked) = asked {
            let late = plan.epoch.is_some() && plan.epoch != current;
            self.answer(asked, late.then(|| "fenced meanwhile".to_owned()));
        }
    }
}
