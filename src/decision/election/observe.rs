//! Observing: somebody else leads, or the seat is stale or empty and this node bids for it.

use super::bid::{proven_position, put_bid};
use super::completeness::{order_of, valid_bids};
use super::requests::{self, Forced};
use super::{Command, Completeness, Event, Facts, Observing, State, claim, completeness, last_leader, orders};
use crate::cluster::{ClusterView, Seen};
use crate::model::{Epoch, NodeId, Position, Reason, ReplicationMode, Revision, Timestamp};
use crate::planted::{Planted, planted};
use crate::postgres_report::PostgresOrder;
use crate::records::{LeaderValue, Vacancy};
use std::time::Duration;

/// An effect that has not answered for so long is asked for again.
const EFFECT_LIMIT: Duration = Duration::from_secs(2);
/// Among equal copies each rank waits this much longer than the one before it.
const RANK_DELAY: Duration = Duration::from_millis(150);
/// How long the highest bidder may be unable to lead before others fetch its WAL (rule R14).
const CATCH_UP_AFTER: Duration = Duration::from_millis(500);

/// How the seat looks from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// The key is absent.
    Absent,
    /// Renewed recently enough.
    Taken { by: NodeId, epoch: Epoch },
    /// Voters bid (and promise); nobody may take it before `open_at`.
    Bidding { open_at: Timestamp, designated: Option<NodeId> },
}

pub(super) fn seat(leader: Option<&Seen<LeaderValue>>, facts: &Facts<'_>) -> Seat {
    let Some(leader) = leader else { return Seat::Absent };
    let age = facts.now.since(leader.at);
    match &leader.record {
        LeaderValue::Holder(holder) if age < facts.timing.fence_after() => {
            Seat::Taken { by: holder.guid.clone(), epoch: holder.epoch }
        }
        LeaderValue::Holder(_) => Seat::Bidding { open_at: leader.at.plus(facts.timing.ttl), designated: None },
        // Nobody knows whether the former holder is fenced: D runs from here (rule R8).
        LeaderValue::Vacancy(vacancy) if vacancy.left_by.is_none() && !planted(Planted::AbsentKeyIsVacancy) => {
            Seat::Bidding { open_at: leader.at.plus(facts.timing.ttl), designated: None }
        }
        LeaderValue::Vacancy(vacancy) => {
            let designated = vacancy.designated.clone().filter(|_| age < facts.timing.designation_window());
            Seat::Bidding { open_at: leader.at, designated }
        }
    }
}

pub(super) fn step(mut state: Observing, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    match event {
        Event::LeaderRead(revision) => {
            state.confirmed = Some(*revision);
            state.busy_since = None;
        }
        Event::EffectEnded => state.busy_since = None,
        Event::Look
        | Event::ClaimWon { .. }
        | Event::ClaimLost { .. }
        | Event::Renewed { .. }
        | Event::HoldLost { .. }
        | Event::HeartSilent
        | Event::CheckpointEnded
        | Event::VipGone
        | Event::VacancySent
        | Event::StopForGood => {}
    }
    if state.busy_since.is_some_and(|since| facts.now.since(since) > EFFECT_LIMIT) {
        state.busy_since = None;
    }
    let silent = |state| (State::Observing(state), facts.end_what_heart_does_not().into_iter().collect());
    let Some(view) = facts.cluster else { return silent(state) };
    if view.went_back.is_some() {
        return silent(state);
    }
    let mut commands = leftovers(facts);
    match seat(view.leader.as_ref(), facts) {
        Seat::Absent if planted(Planted::R8BidsOnAbsentKey) => {
            return bid(state, view, facts, commands, facts.now, None);
        }
        Seat::Absent => create_vacancy(&mut state, view, facts, &mut commands),
        Seat::Taken { by, epoch } => {
            state.confirmed = None;
            state.complete_since = None;
            state.surplus_since = None;
            if by == *facts.me {
                commands.extend(stop_renewing(view));
            } else {
                commands.extend(orders::attach(view, facts, &by, epoch).map(Command::OrderPostgres));
            }
        }
        Seat::Bidding { open_at, designated } => {
            return bid(state, view, facts, commands, open_at, designated.as_ref());
        }
    }
    (State::Observing(state), commands)
}

/// A VIP or an arming of an earlier time has no business here; heart refuses to disarm while PostgreSQL lives.
fn leftovers(facts: &Facts<'_>) -> Vec<Command> {
    let mut commands = vec![Command::RestVoters];
    commands.extend(facts.end_what_heart_does_not());
    if let Some(heart) = facts.heart {
        if heart.vip_held {
            commands.push(Command::ReleaseVip);
        }
        if let Some((epoch, _, _)) = &heart.armed
            && heart.postgres_gone
            && !heart.vip_held
        {
            commands.push(Command::Disarm { epoch: *epoch });
        }
    }
    commands
}

/// The key names this node, which does not hold: whatever of ours still renews it keeps everybody from a leader.
fn stop_renewing(view: &ClusterView) -> Option<Command> {
    match &view.leader.as_ref()?.record {
        LeaderValue::Holder(holder) => Some(Command::StopRenewing { nonce: holder.nonce.clone() }),
        LeaderValue::Vacancy(_) => None,
    }
}

fn create_vacancy(state: &mut Observing, view: &ClusterView, facts: &Facts<'_>, commands: &mut Vec<Command>) {
    if state.busy_since.is_some() {
        return;
    }
    state.busy_since = Some(facts.now);
    commands.push(Command::CreateVacancy(Vacancy {
        schema: crate::records::SCHEMA,
        left_by: None,
        epoch: view.newest_epoch(),
        final_position: None,
        designated: None,
        cause: "the leader key was absent".to_owned(),
        nonce: facts.fresh_nonce.clone(),
    }));
}

fn bid(
    mut state: Observing,
    view: &ClusterView,
    facts: &Facts<'_>,
    mut commands: Vec<Command>,
    open_at: Timestamp,
    designated: Option<&NodeId>,
) -> (State, Vec<Command>) {
    let revision = view.leader_revision();
    if state.confirmed != Some(revision) {
        if state.busy_since.is_none() {
            state.busy_since = Some(facts.now);
            commands.push(Command::ReadLeader);
        }
        return (State::Observing(state), commands);
    }
    let judged = completeness(view, revision);
    note_completeness(&mut state, &judged, revision, facts.now);
    match source_to_catch_up_from(&state, view, facts, &judged, revision) {
        Some(order) => commands.push(Command::OrderPostgres(order)),
        None if planted(Planted::BidWithoutPromise) => {}
        None if planted(Planted::R8BidsOnAbsentKey) => {
            let revision = revision.max(facts.postgres.promised);
            commands.push(Command::OrderPostgres(orders::detach(view, facts, revision)));
        }
        None => commands.push(Command::OrderPostgres(orders::detach(view, facts, revision))),
    }
    put_bid(&mut state, view, facts, revision, &mut commands);
    let forced = requests::forced(view, facts);
    if let Some(forced) = &forced
        && let Some(refusal) = requests::refusal(view, forced, &judged)
    {
        commands.push(refusal);
        return (State::Observing(state), commands);
    }
    if may_claim(&state, view, facts, &judged, open_at, designated, forced.as_ref()).is_ok() {
        return claim::begin(view, facts, revision, &judged, commands, forced);
    }
    (State::Observing(state), commands)
}

fn note_completeness(state: &mut Observing, judged: &Completeness, revision: Revision, now: Timestamp) {
    let (complete, surplus) = match judged {
        Completeness::Missing { .. } => (false, false),
        Completeness::Complete { best, sure, .. } => (true, order_of(*sure) < order_of(*best)),
    };
    for (since, holds) in [(&mut state.complete_since, complete), (&mut state.surplus_since, surplus)] {
        *since = holds.then(|| since.filter(|(of, _)| *of == revision).unwrap_or((revision, now)));
    }
}

/// Until when the owner of what was written and never acknowledged is waited for: it may lead, or be caught up with.
fn surplus_until(state: &Observing, facts: &Facts<'_>) -> Option<Timestamp> {
    state.surplus_since.map(|(_, since)| since.plus(facts.timing.surplus_window()))
}

/// Rule R14: the highest bidder cannot lead, this node could, but lacks WAL that only the other has. What was not acknowledged is
/// worth a while, and no more: from then on the highest voter is enough.
fn source_to_catch_up_from(
    state: &Observing,
    view: &ClusterView,
    facts: &Facts<'_>,
    judged: &Completeness,
    revision: Revision,
) -> Option<PostgresOrder> {
    let Completeness::Complete { best, best_by, sure, sure_by, .. } = judged else { return None };
    let mine = facts.postgres.position?;
    let waited_for_surplus = surplus_until(state, facts).is_some_and(|until| facts.now >= until);
    let (wanted, source) = if waited_for_surplus { (sure, sure_by.as_ref()?) } else { (best, best_by.as_ref()?) };
    let (_, since) = state.complete_since?;
    let cannot_lead = view.bids.get(source).is_some_and(|bid| !bid.record.ineligible.is_empty());
    let could_lead = facts.ineligible().is_empty() && facts.postgres.promised == revision;
    let waited = facts.now.since(since) > CATCH_UP_AFTER;
    let behind = order_of(mine) < order_of(*wanted) && !planted(Planted::R14NoCatchUp);
    (source != facts.me && behind && cannot_lead && could_lead && waited)
        .then(|| orders::catch_up(view, facts, source, revision))
        .flatten()
}

/// Whether this node may send the acquiring transaction now; otherwise why not.
pub(super) fn may_claim(
    state: &Observing,
    view: &ClusterView,
    facts: &Facts<'_>,
    judged: &Completeness,
    open_at: Timestamp,
    designated: Option<&NodeId>,
    forced: Option<&Forced>,
) -> Result<(), Reason> {
    let revision = view.leader_revision();
    let mine = my_valid_bid(view, facts, revision)?;
    if facts.now < open_at {
        return Err(Reason::new("not-yet", "the last renewal is younger than leader_ttl"));
    }
    if let Some(reason) = facts.ineligible().into_iter().find(|reason| !forced.is_some_and(|f| f.overrides(reason))) {
        return Err(reason);
    }
    if forced.is_none() {
        switches_allow(view, facts)?;
        if let Some(other) = designated.filter(|other| *other != facts.me) {
            return Err(Reason::new("designated-other", format!("{} is to lead next", view.name_of(other))));
        }
    }
    if forced.is_some_and(|f| f.accept_data_loss) {
        return Ok(());
    }
    if forced.is_none()
        && requests::has_just_handed_over(view, facts)
        && facts.now < open_at.plus(facts.timing.designation_window())
    {
        return Err(Reason::new("handed-over", "this node has just handed over: others go first"));
    }
    if forced.is_none()
        && designated.is_none()
        && facts.faults.too_many(facts.now)
        && facts.now < open_at.plus(facts.timing.designation_window())
    {
        return Err(Reason::new("flapping", "this node lost its leadership too often lately: others go first"));
    }
    if facts.mode == ReplicationMode::Async {
        return best_of_window(view, facts, judged, mine);
    }
    match judged {
        Completeness::Missing { .. } if planted(Planted::SyncSetNotChecked) => Ok(()),
        Completeness::Missing { whose, needed } => Err(bids_missing(view, whose, *needed)),
        Completeness::Complete { best, best_by, sure, sure_by, .. } => {
            let mut since = state.complete_since.map(|(_, since)| since);
            if order_of(mine) < order_of(*best) && !planted(Planted::LesserBidCampaigns) {
                since = surplus_until(state, facts).filter(|until| facts.now >= *until);
                let by = if since.is_some() { sure_by } else { best_by };
                let of = by.as_ref().map_or_else(|| "the last leader".to_owned(), |by| view.name_of(by));
                if order_of(mine) < order_of(*sure) {
                    return Err(Reason::new("behind-best", format!("{of} has more of the write-ahead log")));
                }
                if since.is_none() {
                    let text = format!("{of} has more of the write-ahead log, none of it acknowledged, and goes first");
                    return Err(Reason::new("surplus-awaited", text));
                }
            }
            wait_for_rank(view, facts, mine, revision, since)
        }
    }
}

fn my_valid_bid(view: &ClusterView, facts: &Facts<'_>, revision: Revision) -> Result<Position, Reason> {
    let bid = valid_bids(view, revision).find(|(node, _)| *node == facts.me);
    let detached = proven_position(facts, revision).filter(|(promised, _)| *promised == revision);
    match (bid, detached) {
        (Some((_, bid)), Some((_, position))) if bid.record.position == position => Ok(position),
        (Some(_) | None, Some(_) | None) => {
            Err(Reason::new("no-bid", "this node's own bid for the empty seat is not recorded yet"))
        }
    }
}

fn switches_allow(view: &ClusterView, facts: &Facts<'_>) -> Result<(), Reason> {
    if planted(Planted::SwitchOffIgnored) {
        return Ok(());
    }
    // The last leader taking over again is no change of leadership.
    if !view.cluster_failover_on() && last_leader(view).as_ref() != Some(facts.me) {
        return Err(Reason::new("cluster-failover-off", "failover is switched off for the cluster"));
    }
    Ok(())
}

fn bids_missing(view: &ClusterView, whose: &[NodeId], needed: usize) -> Reason {
    let names: Vec<_> = whose.iter().map(|node| view.name_of(node)).collect();
    Reason::new(
        "bids-missing",
        format!("{needed} more bid(s) needed to prove completeness; missing: {}", names.join(", ")),
    )
}

/// Without synchronous commit: after a bid window the best position takes the key; a proven complete set need not wait.
fn best_of_window(view: &ClusterView, facts: &Facts<'_>, judged: &Completeness, mine: Position) -> Result<(), Reason> {
    let best = valid_bids(view, view.leader_revision()).map(|(_, bid)| bid.record.position).max().unwrap_or_default();
    if mine < best {
        return Err(Reason::new("behind-best", "another node has more of the write-ahead log"));
    }
    if let Completeness::Complete { best, .. } = judged
        && mine >= *best
    {
        return Ok(());
    }
    let since = view.leader.as_ref().map(|leader| leader.at).unwrap_or_default();
    if facts.now < since.plus(facts.timing.bid_window()) {
        return Err(Reason::new("bid-window", "bids are still being collected"));
    }
    Ok(())
}

/// Equal copies go one after another: priority first, identity last.
fn wait_for_rank(
    view: &ClusterView,
    facts: &Facts<'_>,
    mine: Position,
    revision: Revision,
    since: Option<Timestamp>,
) -> Result<(), Reason> {
    let ahead = valid_bids(view, revision)
        .filter(|(node, bid)| *node != facts.me && bid.record.ineligible.is_empty() && bid.record.position >= mine)
        .filter(|(node, bid)| (bid.record.priority, facts.me) > (facts.priority, *node))
        .count();
    let waited = since.map(|since| facts.now.since(since)).unwrap_or_default();
    let turn = RANK_DELAY.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
    if waited < turn { Err(Reason::new("rank", "an equal copy with a higher rank goes first")) } else { Ok(()) }
}

/// Why this node does not lead, seen from observing.
pub(super) fn reasons(state: &Observing, facts: &Facts<'_>) -> Vec<Reason> {
    let Some(view) = facts.cluster else {
        return vec![Reason::new("etcd-unseen", "etcd has not answered yet")];
    };
    if let Some(reason) = &view.went_back {
        return vec![reason.clone()];
    }
    let silent = facts.now.since(view.heard_at);
    let mut reasons = Vec::new();
    if silent > facts.timing.step_down_after() {
        reasons.push(Reason::new("etcd-silent", "etcd does not answer with a quorum"));
    }
    match seat(view.leader.as_ref(), facts) {
        Seat::Absent => reasons.push(Reason::new("key-absent", "the leader key is absent; a vacancy is being created")),
        Seat::Taken { by, .. } => {
            reasons.push(Reason::new("other-leads", format!("{} leads", view.name_of(&by))));
            reasons.extend(facts.ineligible());
        }
        Seat::Bidding { open_at, designated } => {
            let judged = completeness(view, view.leader_revision());
            let claim = may_claim(state, view, facts, &judged, open_at, designated.as_ref(), None);
            reasons.extend(facts.ineligible());
            reasons.extend(claim.err());
            if let Completeness::Missing { whose, needed } = &judged {
                reasons.push(bids_missing(view, whose, *needed));
            }
            if let Err(switch) = switches_allow(view, facts) {
                reasons.push(switch);
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    reasons.retain(|reason| seen.insert(reason.code.clone()));
    reasons
}
