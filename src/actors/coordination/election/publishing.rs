//! What the election publishes on the board: its state, its reasons, and whether clients are let in.

use super::ElectionActorState;
use crate::board::ElectionView;
use leaderl_decision::election::{self, DownPhase, Stage, State};
use leaderl_decision::model::{Epoch, Nonce, Timestamp};
use leaderl_decision::postgres_report::PostgresState;

/// What the incarnation before had promised to clients: 200 until then, under that epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promised {
    epoch: Epoch,
    until: Timestamp,
}

impl Promised {
    pub(super) fn by(before: &ElectionView) -> Option<Self> {
        before.serves.then_some(Self { epoch: before.epoch, until: before.serves_until })
    }
}

impl ElectionActorState {
    pub(super) fn publish(&mut self) {
        let now = self.ctx.clock.now();
        let view = self.view(now);
        let changed = self.ctx.board.election.send_if_modified(|old| {
            let differs = *old != view;
            let visible = old.state != view.state || old.role != view.role || old.serves != view.serves;
            if differs {
                *old = view;
            }
            visible
        });
        if changed {
            self.effects.post_status();
        }
    }

    fn view(&mut self, now: Timestamp) -> ElectionView {
        let nonce = Nonce(String::new());
        let facts = self.facts(now, &nonce);
        let reasons = election::reasons(&self.decided, &facts);
        let role = election::role(&self.decided, &facts).to_owned();
        let leader = election::holder(&facts);
        let eligible = facts.ineligible().is_empty();
        let step_down_after = facts.timing.step_down_after();
        let is_open = self.decided.hold().is_some_and(|hold| facts.is_gate_open(hold.epoch));
        let aged = |reason: leaderl_decision::model::Reason| {
            let known = self.reasons.iter().find(|(old, _)| old.code == reason.code);
            let since = known.map_or(now, |(_, since)| *since);
            (reason, since)
        };
        let reasons: Vec<_> = reasons.into_iter().map(aged).collect();
        self.reasons = reasons.clone();
        let serving = match &self.decided {
            State::Holding(hold) => hold.stage == Stage::Serving,
            State::SteppingDown(down) => down.phase == DownPhase::Checkpointing,
            State::Undecided | State::Observing(_) | State::Claiming(_) => false,
        };
        let promised = if serving { None } else { self.promise_holds(now) };
        let hold = self.decided.hold();
        let own = hold.map(|hold| hold.t0.plus(step_down_after)).unwrap_or_default();
        ElectionView {
            state: self.decided.name().to_owned(),
            role,
            epoch: self.cluster.as_ref().map(|view| view.newest_epoch()).unwrap_or_default(),
            leader,
            holds_key: hold.is_some(),
            writable: matches!(&self.decided, State::Holding(hold) if hold.stage != Stage::Promoting) || serving,
            awaits_voters: hold.filter(|hold| hold.stage == Stage::AwaitingVoters && !is_open).map(|hold| hold.epoch),
            serves: (serving && is_open || promised.is_some()) && self.enough_followers(),
            eligible,
            serves_until: promised.unwrap_or(own),
            reasons,
            faults: self.faults.clone(),
            since: self.since,
        }
    }

    /// Until when the promise of the incarnation before holds: while this one is on its way back to serving, heart guards the
    /// epoch and lets clients in, and PostgreSQL is its primary. Once it does not hold it is forgotten.
    fn promise_holds(&mut self, now: Timestamp) -> Option<Timestamp> {
        let Promised { epoch, until } = self.promised?;
        let on_its_way = match &self.decided {
            State::Undecided => true,
            State::Claiming(claim) => claim.adopts,
            State::Holding(hold) => hold.stage != Stage::Serving && hold.epoch == epoch,
            State::Observing(_) | State::SteppingDown(_) => false,
        };
        let armed = self.heart.as_ref().and_then(|heart| heart.armed.as_ref());
        let guarded = armed.is_some_and(|(armed, _, fence_at)| *armed == epoch && *fence_at > now);
        let is_open = self.heart.as_ref().is_some_and(|heart| heart.gate.open_for == Some(epoch));
        // Of one epoch there is one primary, never started again: it took writes when the promise was made.
        let primary = match &self.postgres.state {
            PostgresState::Primary(primary) => primary.epoch == epoch,
            PostgresState::Unknown
            | PostgresState::Down { .. }
            | PostgresState::Starting
            | PostgresState::Standby { .. }
            | PostgresState::Promoting { .. }
            | PostgresState::Stopping => false,
        };
        let holds = on_its_way && guarded && is_open && primary && now < until;
        if !holds {
            self.promised = None;
        }
        holds.then_some(until)
    }

    /// The original's `required_active_followers`: it gates `/leader`, nothing else.
    fn enough_followers(&self) -> bool {
        let required = self.ctx.settings.http.required_active_followers as usize;
        match &self.postgres.state {
            PostgresState::Primary(primary) => {
                primary.followers.values().filter(|follower| follower.streaming).count() >= required
            }
            PostgresState::Unknown
            | PostgresState::Down { .. }
            | PostgresState::Starting
            | PostgresState::Standby { .. }
            | PostgresState::Promoting { .. }
            | PostgresState::Stopping => required == 0,
        }
    }
}
