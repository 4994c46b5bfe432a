//! Stepping down: one way, in order, and nothing is resigned before every process of PostgreSQL is reaped.
//!
//! Planned: checkpoint, `/leader` 503, port gate shut to new sessions, PostgreSQL stopped fast and reaped, gate shut to all, VIP
//! off, vacancy with the final position. Emergency: gate shut, VIP off and PostgreSQL killed at once; the vacancy only if etcd
//! still takes it.

use super::{Command, DownPhase, Event, Facts, Hold, Observing, Stage, State, SteppingDown, hold, record};
use crate::model::{Door, NodeId, Position, Reason};
use crate::planted::{Planted, planted};
use crate::postgres_report::{PostgresOrder, PostgresState};
use crate::records::{RequestState, SCHEMA, Vacancy};
use std::time::Duration;

/// A planned stop goes on without its checkpoint after so long.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(10);
/// A vacancy whose sending nobody answered for so long is over all the same (rule R11).
const VACATE_LIMIT: Duration = Duration::from_secs(5);

/// The cause of a step-down because heart does not acknowledge renewals.
pub(super) const HEART_SILENT: &str = "heart-silent";

/// The cause of a step-down because the daemon ends for good.
pub(super) const STOPPED: &str = "stopped";

/// How much order there is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Checkpoint first, while clients are still served.
    Orderly,
    /// Fast stop at once.
    Quick,
    /// VIP off and immediate stop at once.
    Emergency,
}

/// The operator's request that a step-down serves.
pub(super) struct Asked {
    /// The request.
    pub request: String,
    /// Who shall lead next.
    pub designated: Option<NodeId>,
}

pub(super) fn begin(
    held: Hold,
    cause: Reason,
    manner: Manner,
    asked: Option<Asked>,
    facts: &Facts<'_>,
) -> (State, Vec<Command>) {
    let mut commands = vec![record("stepping-down", held.epoch, cause.text.clone())];
    let (request, designated) = match asked {
        Some(asked) => (Some(asked.request), asked.designated),
        None => (None, None),
    };
    if let Some(id) = &request {
        let detail = "the leader steps down".to_owned();
        commands.push(Command::UpdateRequest { id: id.clone(), state: RequestState::Working, detail });
    }
    if cause.code == HEART_SILENT {
        commands.push(Command::KillHeart);
    }
    let serving = held.stage == Stage::Serving && matches!(facts.postgres.state, PostgresState::Primary(_));
    let phase = if manner == Manner::Orderly && serving {
        commands.push(Command::Checkpoint);
        DownPhase::Checkpointing
    } else {
        DownPhase::Stopping
    };
    let down = SteppingDown {
        // An adopted hold may have been, under the election before.
        was_writable: held.stage != Stage::Promoting || held.nonce != held.acquired_with,
        planned: manner != Manner::Emergency,
        hold: held,
        cause,
        designated,
        since: facts.now,
        phase,
        request,
    };
    let (state, more) = step(down, &Event::Look, facts);
    commands.extend(more);
    (state, commands)
}

pub(super) fn step(mut down: SteppingDown, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    if let Event::Renewed { nonce, seq, t0, revision } = event
        && *nonce == down.hold.nonce
        && *seq > down.hold.seq
    {
        down.hold.seq = *seq;
        down.hold.t0 = *t0;
        down.hold.revision = *revision;
        if planted(Planted::LateRenewalRevives) {
            return (State::Holding(Hold { stage: Stage::Promoting, ..down.hold }), Vec::new());
        }
    }
    let lost = matches!(event, Event::HoldLost { nonce } if *nonce == down.hold.nonce) || *event == Event::HeartSilent;
    let late = facts.now.since(down.hold.t0) >= facts.timing.step_down_after();
    if down.planned && (lost || late || facts.heart.is_none()) {
        down.planned = false;
    }
    // heart may freeze during an orderly stop as well: then nothing but its death ends PostgreSQL. Once no renewal is sent to
    // it any more, only its deadline tells; what it said before this node stood still itself is given time to be replaced.
    let has_time_passed = !down.planned && facts.now.since(down.since) >= facts.timing.heart_grace();
    let stands_still = has_time_passed && facts.heart_missed_its_deadline(down.hold.epoch);
    let kill_heart = (*event == Event::HeartSilent || stands_still) && down.phase != DownPhase::Vacating;
    let (state, mut commands) = match down.phase {
        DownPhase::Checkpointing => checkpointing(down, event, facts),
        DownPhase::Stopping => stopping(down, facts),
        DownPhase::Releasing => releasing(down, event, facts),
        DownPhase::Vacating => vacating(down, event, facts),
    };
    commands.extend(kill_heart.then_some(Command::KillHeart));
    (state, commands)
}

fn checkpointing(mut down: SteppingDown, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    let over = *event == Event::CheckpointEnded || facts.now.since(down.since) > CHECKPOINT_LIMIT;
    if over || !down.planned {
        down.phase = DownPhase::Stopping;
        return stopping(down, facts);
    }
    // Clients are still served: the hold goes on as it was.
    let commands = vec![
        Command::Renew { hold: down.hold.clone() },
        Command::KeepVoters { epoch: down.hold.epoch, nonce: down.hold.acquired_with.clone() },
        hold::let_in(&down.hold, facts),
    ];
    (State::SteppingDown(down), commands)
}

fn stopping(mut down: SteppingDown, facts: &Facts<'_>) -> (State, Vec<Command>) {
    let gone = postgres_gone(facts);
    let door = if down.planned && !gone { Door::Ending } else { Door::Shut };
    let mut commands = vec![
        Command::SetDoor { epoch: down.hold.epoch, door },
        Command::RestVoters,
        Command::OrderPostgres(PostgresOrder::Stop { fast: down.planned }),
    ];
    if down.planned {
        commands.push(Command::Renew { hold: down.hold.clone() });
    } else {
        commands.push(Command::ReleaseVip);
        commands.push(Command::StopRenewing { nonce: down.hold.nonce.clone() });
    }
    if !gone {
        return (State::SteppingDown(down), commands);
    }
    down.phase = DownPhase::Releasing;
    commands.push(Command::ReleaseVip);
    (State::SteppingDown(down), commands)
}

/// Both heart and the replication actor say that nothing is left. Without heart nobody can know (a stopped backend may
/// outlive the postmaster): then nothing is resigned, and D runs.
fn postgres_gone(facts: &Facts<'_>) -> bool {
    if planted(Planted::ResignBeforeReaped) {
        return matches!(facts.postgres.state, PostgresState::Down { .. } | PostgresState::Stopping);
    }
    let down = matches!(facts.postgres.state, PostgresState::Down { .. });
    down && facts.heart.is_some_and(|heart| heart.postgres_gone)
}

fn releasing(mut down: SteppingDown, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    if !postgres_gone(facts) {
        down.phase = DownPhase::Stopping;
        return stopping(down, facts);
    }
    // What PostgreSQL had answered may still wait in its sockets: nobody else leads before the gate is shut to it.
    if *event != Event::VipGone || !facts.is_gate_shut(down.hold.epoch) {
        let mut commands = vec![Command::SetDoor { epoch: down.hold.epoch, door: Door::Shut }, Command::ReleaseVip];
        if down.planned {
            commands.push(Command::Renew { hold: down.hold.clone() });
        }
        return (State::SteppingDown(down), commands);
    }
    down.phase = DownPhase::Vacating;
    down.since = facts.now;
    let vacancy = Vacancy {
        schema: SCHEMA,
        left_by: Some(facts.me.clone()),
        epoch: down.hold.epoch,
        final_position: final_position(&down, facts),
        designated: down.designated.clone(),
        cause: down.cause.text.clone(),
        nonce: facts.fresh_nonce.clone(),
    };
    let story = match &vacancy.final_position {
        Some(position) => format!("resigning; this copy ends at {} on timeline {}", position.lsn, position.timeline),
        None => "resigning without a final position".to_owned(),
    };
    let commands = vec![
        Command::SendVacancy { hold: down.hold.clone(), vacancy },
        Command::Disarm { epoch: down.hold.epoch },
        record("resigning", down.hold.epoch, story),
    ];
    (State::SteppingDown(down), commands)
}

/// Only a cleanly stopped primary of this very epoch knows where it ended (rule R12); an unsynced copy proves nothing.
fn final_position(down: &SteppingDown, facts: &Facts<'_>) -> Option<Position> {
    facts
        .postgres
        .final_position
        .filter(|position| down.was_writable && position.epoch == down.hold.epoch && facts.postgres.unsynced.is_none())
}

fn vacating(down: SteppingDown, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    if planted(Planted::R11HoldAfterVacancy) && *event == Event::VacancySent {
        return (State::Holding(Hold { stage: Stage::Promoting, since: facts.now, ..down.hold }), Vec::new());
    }
    if *event == Event::VacancySent || facts.now.since(down.since) > VACATE_LIMIT {
        return (State::Observing(Observing::default()), Vec::new());
    }
    (State::SteppingDown(down), Vec::new())
}

/// Why a node that steps down does not lead.
pub(super) fn reasons(down: &SteppingDown) -> Vec<Reason> {
    vec![down.cause.clone()]
}
