//! The first look after a (re)start: either an own hold is still alive and is adopted, or this node observes.

use super::{Claiming, Command, Facts, Observing, State, claim, record};
use crate::cluster::ClusterView;
use crate::model::Door;
use crate::planted::{Planted, planted};
use crate::postgres_report::PostgresState;
use crate::records::{Holder, LeaderValue, Vacancy};

/// Undecided until etcd, heart and PostgreSQL have each been seen once. Also when the daemon stops: what is held here must be
/// adopted before it can be handed over.
pub(super) fn begin(facts: &Facts<'_>) -> (State, Vec<Command>) {
    let undecided = || (State::Undecided, facts.end_what_heart_does_not().into_iter().collect());
    let (Some(view), Some(heart)) = (facts.cluster, facts.heart) else { return undecided() };
    if facts.postgres.state == PostgresState::Unknown {
        return undecided();
    }
    match own_hold(view, facts) {
        // Nobody's, somebody else's, or from before a reboot: nothing of it can be alive here unless heart says so.
        None => (State::Observing(Observing::default()), Vec::new()),
        Some(holder) => {
            let armed = heart.armed.as_ref().is_some_and(|(epoch, _, fence_at)| {
                *epoch == holder.epoch && *fence_at > facts.now && heart.fenced.is_none_or(|fenced| fenced < *epoch)
            });
            if armed && !heart.postgres_gone { adopt(view, &holder, facts) } else { leave(view, &holder, facts) }
        }
    }
}

fn own_hold(view: &ClusterView, facts: &Facts<'_>) -> Option<Holder> {
    if view.went_back.is_some() {
        return None;
    }
    match &view.leader.as_ref()?.record {
        LeaderValue::Holder(holder) if holder.guid == *facts.me => Some(holder.clone()),
        LeaderValue::Holder(_) | LeaderValue::Vacancy(_) => None,
    }
}

/// Rule R11: an own renewal with a fresh nonce, before anything is promoted or served.
fn adopt(view: &ClusterView, holder: &Holder, facts: &Facts<'_>) -> (State, Vec<Command>) {
    let Some(leader) = &view.leader else { return (State::Undecided, Vec::new()) };
    let Some(acquired_with) =
        view.epoch.as_ref().filter(|seen| seen.record.epoch == holder.epoch).map(|seen| seen.record.nonce.clone())
    else {
        return (State::Observing(Observing::default()), Vec::new());
    };
    if planted(Planted::R11AdoptsWithoutRenewal) {
        let hold = claim::hold(facts, holder.epoch, holder.nonce.clone(), acquired_with, holder.seq, leader.revision);
        return (State::Holding(hold), Vec::new());
    }
    let nonce = facts.fresh_nonce.clone();
    let seq = holder.seq + 1;
    let renewed = Holder { nonce: nonce.clone(), seq, boot_id: facts.boot_id.to_owned(), ..holder.clone() };
    let hold = claim::hold(facts, holder.epoch, nonce, acquired_with, seq, leader.revision);
    let commands = vec![Command::Adopt { holder: renewed, revision: leader.revision }];
    (State::Claiming(Claiming { hold, adopts: true, since: facts.now }), commands)
}

/// The hold survived, its PostgreSQL did not: say so at once instead of letting D run.
fn leave(view: &ClusterView, holder: &Holder, facts: &Facts<'_>) -> (State, Vec<Command>) {
    let gone = match &facts.postgres.state {
        PostgresState::Down { .. } | PostgresState::Standby { .. } | PostgresState::Starting => true,
        PostgresState::Unknown
        | PostgresState::Promoting { .. }
        | PostgresState::Primary(_)
        | PostgresState::Stopping => false,
    };
    let heart_holds = facts.heart.is_some_and(|heart| heart.vip_held);
    let Some(leader) = view.leader.as_ref().filter(|_| gone && !heart_holds) else {
        return (State::Observing(Observing::default()), Vec::new());
    };
    if !facts.is_gate_shut(holder.epoch) {
        return (State::Undecided, vec![Command::SetDoor { epoch: holder.epoch, door: Door::Shut }]);
    }
    let hold =
        claim::hold(facts, holder.epoch, holder.nonce.clone(), holder.nonce.clone(), holder.seq, leader.revision);
    let vacancy = Vacancy {
        schema: crate::records::SCHEMA,
        left_by: Some(facts.me.clone()),
        epoch: holder.epoch,
        // As when stepping down (rule R12): a primary of that very epoch that was stopped cleanly knows where it ended.
        final_position: facts
            .postgres
            .final_position
            .filter(|position| position.epoch == holder.epoch && facts.postgres.unsynced.is_none()),
        designated: None,
        cause: "the daemon restarted and PostgreSQL was gone".to_owned(),
        nonce: facts.fresh_nonce.clone(),
    };
    let commands = vec![
        Command::SendVacancy { hold, vacancy },
        record("left", holder.epoch, "the daemon restarted and found its own hold without a primary"),
    ];
    (State::Observing(Observing::default()), commands)
}
