//! Holding: promote, let clients in when the voters have it, renew, and notice every reason to stop.

use super::requests::{self, Judged};
use super::step_down::{Asked, Manner};
use super::{Command, Event, Facts, Hold, Stage, State, orders, record, step_down};
use crate::cluster::ClusterView;
use crate::model::{Door, NodeId, Reason, ReplicationMode, ServiceName};
use crate::planted::{Planted, planted, restarts_in_place};
use crate::postgres_report::{PostgresState, PrimaryReport};
use crate::records::{BidRecord, RequestKind, RequestState, SCHEMA, Token};

pub(super) fn step(mut hold: Hold, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    if let Event::Renewed { nonce, seq, t0, revision } = event
        && *nonce == hold.nonce
        && *seq > hold.seq
    {
        hold.seq = *seq;
        hold.t0 = *t0;
        hold.revision = *revision;
    }
    if let Some(cause) = emergency(&hold, event, facts) {
        return step_down::begin(hold, cause, Manner::Emergency, None, facts);
    }
    if *event == Event::StopForGood {
        let cause = Reason::new(step_down::STOPPED, "the daemon stops and hands over");
        return step_down::begin(hold, cause, Manner::Orderly, None, facts);
    }
    let mut commands = vec![Command::Renew { hold: hold.clone() }];
    if let Some((cause, manner)) = trouble(&hold, facts) {
        return step_down::begin(hold, cause, manner, None, facts);
    }
    if planted(Planted::VipBeforeWritable) {
        commands.push(Command::AssignVip { epoch: hold.epoch });
    }
    if planted(Planted::R10BidsWhileHolding)
        && let Some(bid) = own_bid(&hold, facts)
    {
        commands.push(Command::PutBid(bid));
        return (State::Holding(hold), commands);
    }
    let too_early = planted(Planted::PromoteUnarmed) && !matches!(facts.postgres.state, PostgresState::Primary(_));
    let armed = is_armed(&hold, facts) || too_early;
    if !armed {
        commands.push(Command::Arm { hold: hold.clone() });
        return (State::Holding(hold), commands);
    }
    commands.extend(facts.cluster.and_then(|view| orders::lead(view, facts, &hold)).map(Command::OrderPostgres));
    let (PostgresState::Primary(primary), Some(view)) = (&facts.postgres.state, facts.cluster) else {
        return (State::Holding(hold), commands);
    };
    if !primary.writable || primary.epoch != hold.epoch {
        return (State::Holding(hold), commands);
    }
    advance(&mut hold, primary, facts, &mut commands);
    if hold.stage == Stage::Serving {
        commands.push(let_in(&hold, facts));
        commands.extend(finished_request(view, facts.me, &hold));
        match requests::pending(view, facts, &hold) {
            Some(Judged::Accept { id, designated }) => return obey(hold, id, designated, facts),
            Some(Judged::Refuse { id, detail }) => {
                commands.push(Command::UpdateRequest { id, state: RequestState::Refused, detail });
            }
            None => {}
        }
    }
    (State::Holding(hold), commands)
}

/// The gate first: an address that answers with resets would only confuse clients.
pub(super) fn let_in(hold: &Hold, facts: &Facts<'_>) -> Command {
    if facts.is_gate_open(hold.epoch) {
        Command::AssignVip { epoch: hold.epoch }
    } else {
        Command::SetDoor { epoch: hold.epoch, door: Door::Open }
    }
}

/// What [`Planted::R10BidsWhileHolding`] bids, once for each hold.
fn own_bid(hold: &Hold, facts: &Facts<'_>) -> Option<BidRecord> {
    let view = facts.cluster.filter(|_| hold.stage == Stage::Promoting)?;
    let (_, position) = facts.postgres.detached?;
    let bid_before = view.bids.get(facts.me).is_some_and(|bid| bid.record.revision >= view.epoch_revision());
    (!bid_before).then(|| BidRecord {
        schema: SCHEMA,
        guid: facts.me.clone(),
        revision: hold.revision,
        position,
        token: Some(Token { epoch: hold.epoch, nonce: hold.acquired_with.clone() }),
        ineligible: Vec::new(),
        priority: facts.priority,
    })
}

fn is_armed(hold: &Hold, facts: &Facts<'_>) -> bool {
    facts
        .heart
        .and_then(|heart| heart.armed.as_ref())
        .is_some_and(|(epoch, nonce, fence_at)| *epoch == hold.epoch && *nonce == hold.nonce && *fence_at > facts.now)
}

/// What leaves no time for order: stop at once, VIP first.
fn emergency(hold: &Hold, event: &Event, facts: &Facts<'_>) -> Option<Reason> {
    let age = facts.now.since(hold.t0);
    if age >= facts.timing.step_down_after() {
        return Some(Reason::new("lease-in-doubt", format!("no renewal confirmed for {} ms", age.as_millis())));
    }
    match event {
        Event::HoldLost { nonce } if *nonce == hold.nonce => {
            return Some(Reason::new("hold-lost", "the leader key is not ours any more"));
        }
        Event::HeartSilent => return Some(Reason::new(step_down::HEART_SILENT, "heart does not acknowledge renewals")),
        Event::Look
        | Event::HoldLost { .. }
        | Event::LeaderRead(_)
        | Event::EffectEnded
        | Event::ClaimWon { .. }
        | Event::ClaimLost { .. }
        | Event::Renewed { .. }
        | Event::CheckpointEnded
        | Event::VipGone
        | Event::VacancySent
        | Event::StopForGood => {}
    }
    let Some(heart) = facts.heart else {
        return Some(Reason::new("heart-gone", "heart is gone, and PostgreSQL with it"));
    };
    if heart.fenced.is_some_and(|fenced| fenced >= hold.epoch) && !planted(Planted::LateRenewalRevives) {
        return Some(Reason::new("fenced", "heart has fenced this epoch"));
    }
    let view = facts.cluster?;
    if view.newest_epoch() > hold.epoch {
        // What another leader writes (an empty V, say) says nothing about this hold.
        return Some(Reason::new("hold-lost", format!("epoch {} is held by another", view.newest_epoch())));
    }
    view.went_back.clone()
}

/// Known failures resign at once instead of letting D run.
fn trouble(hold: &Hold, facts: &Facts<'_>) -> Option<(Reason, Manner)> {
    let quick = |code, text: &str| Some((Reason::new(code, text), Manner::Quick));
    let slow = facts.now.since(hold.since) > facts.promote_deadline;
    if let Some(gate) = facts.heart.map(|heart| &heart.gate) {
        if let Some(why) = &gate.failure {
            return quick("no-gate", &format!("heart cannot keep the port gate: {why}"));
        }
        // By a daemon before this one, in the middle of stepping down.
        if gate.closed_for.is_some_and(|closed| closed >= hold.epoch) && !planted(Planted::LateRenewalRevives) {
            return quick("gate-shut", "heart has shut the port gate of this epoch for good");
        }
    }
    let promoting = hold.stage == Stage::Promoting || planted(Planted::R6RestartedInPlace);
    let again = promoting && restarts_in_place();
    match &facts.postgres.state {
        // A claim rests on a running standby, so this is a crash in every stage.
        PostgresState::Down { .. } if !again => {
            return quick("postgres-down", "PostgreSQL has ended");
        }
        PostgresState::Stopping if !promoting => {
            return quick("postgres-down", "PostgreSQL has ended");
        }
        PostgresState::Standby { .. } | PostgresState::Starting if !promoting => {
            return quick("postgres-not-primary", "PostgreSQL is not the primary any more");
        }
        PostgresState::Stopping
        | PostgresState::Standby { .. }
        | PostgresState::Starting
        | PostgresState::Promoting { .. }
            if slow =>
        {
            return quick("promotion-slow", "PostgreSQL did not become writable within promote_deadline");
        }
        PostgresState::Unknown
        | PostgresState::Down { .. }
        | PostgresState::Starting
        | PostgresState::Standby { .. }
        | PostgresState::Promoting { .. }
        | PostgresState::Primary(_)
        | PostgresState::Stopping => {}
    }
    let hopeless = |reason: &&Reason| matches!(reason.code.as_str(), "wrong-timeline" | "promoted-before");
    if let Some(reason) = facts.postgres.problems.iter().find(hopeless) {
        return Some((reason.clone(), Manner::Quick));
    }
    if hold.stage == Stage::Promoting {
        return None;
    }
    if let Some(detail) = facts.tripped.get(&ServiceName::Postgres) {
        // It hangs: asking it to stop in order would only wait for the escalation.
        let cause = Reason::new("postgres-failing", format!("PostgreSQL fails its checks: {detail}"));
        return Some((cause, Manner::Emergency));
    }
    handover_cause(facts)
}

/// Failures that move the leadership only when somebody else can take it, and not back and forth.
fn handover_cause(facts: &Facts<'_>) -> Option<(Reason, Manner)> {
    let view = facts.cluster?;
    if facts.faults.too_many(facts.now) {
        return None;
    }
    let system = facts.tripped.get(&ServiceName::System).map(|detail| ("disk-failing", detail));
    if let Some((code, detail)) = system
        && requests::successor(view, facts).is_ok()
    {
        return Some((Reason::new(code, format!("disk check failed: {detail}")), Manner::Quick));
    }
    let detail = facts.tripped.get(&ServiceName::Search)?;
    let healthy = |node: &NodeId| {
        view.nodes.get(node).is_some_and(|seen| seen.record.health.get("search").is_some_and(|health| health == "ok"))
    };
    let target = requests::successor(view, facts).ok().filter(healthy)?;
    let name = view.name_of(&target);
    let text = format!("the search engine fails here ({detail}) and is healthy on {name}");
    Some((Reason::new("search-failing", text), Manner::Orderly))
}

/// Rule R6: clients are let in when q voters have flushed past the promotion point on the new timeline.
fn advance(hold: &mut Hold, primary: &PrimaryReport, facts: &Facts<'_>, commands: &mut Vec<Command>) {
    commands.push(Command::KeepVoters { epoch: hold.epoch, nonce: hold.acquired_with.clone() });
    let waited = facts.now.since(hold.since).as_millis();
    if hold.stage == Stage::Promoting {
        hold.stage = Stage::AwaitingVoters;
        let text = format!("PostgreSQL is writable on timeline {} {waited} ms after the key", primary.timeline);
        commands.push(record("writable", hold.epoch, text));
    }
    if hold.stage == Stage::AwaitingVoters && voters_have_it(primary, facts) {
        hold.stage = Stage::Serving;
        commands.push(record("serving", hold.epoch, format!("clients are let in {waited} ms after the key")));
    }
}

fn voters_have_it(primary: &PrimaryReport, facts: &Facts<'_>) -> bool {
    if planted(Planted::R6ClientsLetInEarly) {
        return true;
    }
    let Some(record) = facts.cluster.and_then(|view| view.voters.as_ref()).map(|seen| &seen.record) else {
        return false;
    };
    // A `strict` leader that had to give up its voters shows nobody what only it has.
    let waits_for_names =
        facts.mode == ReplicationMode::Strict && primary.sync_names.iter().any(|names| !names.is_empty());
    if facts.mode == ReplicationMode::Async || record.voters.is_empty() && !waits_for_names {
        return true;
    }
    let caught_up = primary
        .followers
        .iter()
        .filter(|(node, row)| record.voters.contains(*node) && row.streaming && row.flushed >= primary.promoted_at)
        .count();
    caught_up >= record.quorum.max(1) as usize
}

/// A request that an earlier leader (or this node, forced) took up ends with this node serving: as asked, or otherwise.
fn finished_request(view: &ClusterView, me: &NodeId, hold: &Hold) -> Option<Command> {
    let (id, seen) = view.requests.iter().find(|(_, seen)| seen.record.state == RequestState::Working)?;
    let asked_for = match &seen.record.kind {
        RequestKind::Promote { target } | RequestKind::ForceLeader { target, .. } => target == me,
        RequestKind::Demote => seen.record.epoch < hold.epoch,
    };
    let name = view.name_of(me);
    let (state, detail) = if asked_for {
        (RequestState::Done, format!("{name} leads and serves under epoch {}", hold.epoch))
    } else {
        (RequestState::Refused, format!("{name} took over instead, under epoch {}", hold.epoch))
    };
    Some(Command::UpdateRequest { id: id.clone(), state, detail })
}

fn obey(hold: Hold, id: String, designated: Option<NodeId>, facts: &Facts<'_>) -> (State, Vec<Command>) {
    let name = designated.as_ref().zip(facts.cluster).map(|(node, view)| view.name_of(node));
    let cause = match name {
        Some(name) => Reason::new("promote-ordered", format!("the operator promotes {name}")),
        None => Reason::new("demote-ordered", "the operator demotes this node"),
    };
    step_down::begin(hold, cause, Manner::Orderly, Some(Asked { request: id, designated }), facts)
}

/// Why a holder does not serve yet.
pub(super) fn reasons(hold: &Hold, facts: &Facts<'_>) -> Vec<Reason> {
    match hold.stage {
        Stage::Serving if facts.is_gate_open(hold.epoch) => Vec::new(),
        Stage::Serving => vec![Reason::new("opening", "waiting for heart to open the port gate")],
        Stage::AwaitingVoters => {
            vec![Reason::new("awaiting-voters", "waiting for a voter to flush past the promotion point")]
        }
        Stage::Promoting if !is_armed(hold, facts) => {
            vec![Reason::new("arming", "waiting for heart to arm its fences")]
        }
        Stage::Promoting => vec![Reason::new("promoting", "PostgreSQL is being promoted")],
    }
}
