//! The wish `Follow`: stream from the holder, remaking the copy first where its history differs.

use super::command::Command;
use super::lineage::{Relation, relate};
use super::observed::{
    DataSeen, Observed, Process, RemakeWork, ServerSeen, Source, UnsyncedMark, Upstream, UpstreamRefusal,
};
use super::plan::{Plan, aim_at_sentinel, housekeeping, prove, remake_first, start};
use crate::model::{Lsn, Timeline};
use crate::planted::{Planted, planted};
use crate::postgres_report::{DIVERGED_VOTER, FollowOrder, REMADE_VOTER};

pub(super) fn plan(order: &FollowOrder, seen: &Observed) -> Plan {
    let source = Source { node: order.leader.clone(), address: order.address.clone(), port: order.port };
    let allowed = order.catch_up || order.leader_revision > seen.files.promised;
    if !allowed && !planted(Planted::R4PromiseForgotten) {
        return promised(order, seen);
    }
    match (seen.process, &seen.server) {
        (Process::Gone, _) => from_files(order, source, seen),
        (_, None) if to_be_remade(seen) => Plan::commands(vec![Command::StopPostgres { fast: true }]),
        (_, None) if catching_up(seen) && seen.files.upstream_refusal.is_some() => copy_instead(order),
        (_, None) => {
            let aim = catching_up(seen).then(|| aim_at(&source, order, seen)).flatten();
            let reload = aim.is_some().then_some(Command::Reload);
            Plan::commands(aim.into_iter().chain(reload).chain([Command::AwaitAnswer]).collect())
        }
        (_, Some(server)) if !server.in_recovery => Plan::commands(vec![Command::StopPostgres { fast: true }]),
        (_, Some(server)) => from_standby(order, source, server, seen),
    }
}

/// The promise forbids to stream from a holder this old (rule R4): stay, or get, detached.
fn promised(order: &FollowOrder, seen: &Observed) -> Plan {
    let revision = seen.files.promised;
    let mut planned = Plan::waits(
        "promised",
        format!("revision {revision} is promised; the leader's revision {} is not newer", order.leader_revision),
    );
    if matches!(seen.files.data, DataSeen::Missing) {
        return planned;
    }
    planned.commands = match (seen.process, &seen.server) {
        (Process::Gone, _) if remake_first(seen).is_some() => Vec::new(),
        (Process::Gone, _) => start(aim_at_sentinel(revision, seen)),
        (_, None) => vec![Command::AwaitAnswer],
        (_, Some(server)) if !server.in_recovery => vec![Command::StopPostgres { fast: true }],
        (_, Some(server)) => prove(revision, server, seen),
    };
    planned
}

fn from_files(order: &FollowOrder, source: Source, seen: &Observed) -> Plan {
    if seen.files.side_ready {
        return Plan::commands(vec![Command::SwapIn { epoch: order.epoch }]);
    }
    let DataSeen::Present(control) = &seen.files.data else {
        return copy(order, source, "there was no data directory", seen);
    };
    let mark = seen.files.unsynced.as_ref();
    match mark.map(|mark| mark.work) {
        Some(RemakeWork::CopyNeeded) => {
            let cause = mark.map(|mark| mark.cause.as_str()).unwrap_or_default();
            return copy(order, source, cause, seen);
        }
        Some(RemakeWork::RewindBegun) => return copy(order, source, "pg_rewind was cut short", seen),
        Some(RemakeWork::CatchUp) | None => {}
    }
    let diverged = seen.memory.stood_at.is_some_and(|(timeline, lsn)| diverged(timeline, lsn, order));
    if !diverged || !control.ended_cleanly {
        // A remade copy may need the source's WAL before it answers at all; any other is looked at first.
        let aim = match mark {
            Some(_) => aim_at(&source, order, seen),
            None => aim_at_sentinel(seen.files.promised, seen),
        };
        return Plan::commands(start(aim));
    }
    if order.named_voter {
        return diverged_voter();
    }
    let work = |work| UnsyncedMark { cause: format!("diverged from epoch {}", order.epoch), work, target: None };
    let timeline = (!order.catch_up).then(|| newest_timeline(order)).flatten();
    let mut commands = vec![
        Command::AwaitSourceCheckpoint { source: source.clone(), timeline },
        Command::MarkUnsynced(work(RemakeWork::RewindBegun)),
        Command::Rewind(source),
        Command::MarkUnsynced(work(RemakeWork::CatchUp)),
    ];
    if planted(Planted::RewindWithoutMark) {
        commands.retain(|command| !matches!(command, Command::MarkUnsynced(_)));
    }
    Plan::commands(commands)
}

/// Streaming cannot bring this copy up to date: it is made anew.
fn copy_instead(order: &FollowOrder) -> Plan {
    if order.named_voter {
        return remade_voter();
    }
    let cause = "the WAL this copy needs next is not to be had from the leader".to_owned();
    let needed = UnsyncedMark { cause, work: RemakeWork::CopyNeeded, target: None };
    Plan::commands(vec![Command::MarkUnsynced(needed), Command::StopPostgres { fast: true }])
}

fn remade_voter() -> Plan {
    Plan::waits(REMADE_VOTER, "the voter record still names this node; its copy is remade when it does not")
}

fn copy(order: &FollowOrder, source: Source, cause: &str, seen: &Observed) -> Plan {
    if order.named_voter {
        return remade_voter();
    }
    let work = |work| UnsyncedMark { cause: cause.to_owned(), work, target: None };
    let needed = work(RemakeWork::CopyNeeded);
    let mut commands = Vec::new();
    if seen.files.unsynced.as_ref() != Some(&needed) {
        commands.push(Command::MarkUnsynced(needed));
    }
    // The mark changes before the rename: a finished copy beside PGDATA goes first in the next plan, whatever the mark says.
    let caught = Command::MarkUnsynced(work(RemakeWork::CatchUp));
    commands.extend([Command::CopyBase(source), caught, Command::SwapIn { epoch: order.epoch }]);
    Plan::commands(commands)
}

fn from_standby(order: &FollowOrder, source: Source, server: &ServerSeen, seen: &Observed) -> Plan {
    let mark = seen.files.unsynced.as_ref();
    if to_be_remade(seen) {
        return Plan::commands(vec![Command::StopPostgres { fast: true }]);
    }
    if diverged(server.timeline, server.position, order) {
        let aim = aim_at_sentinel(seen.files.promised, seen);
        if order.named_voter {
            let reload = aim.is_some().then_some(Command::Reload);
            return Plan { commands: aim.into_iter().chain(reload).collect(), ..diverged_voter() };
        }
        return Plan::commands(aim.into_iter().chain([Command::StopPostgres { fast: true }]).collect());
    }
    let streams = server.streaming_from.as_ref() == Some(&(source.address.clone(), source.port));
    if seen.files.upstream_refusal == Some(UpstreamRefusal::WalMissing) && !streams {
        return copy_instead(order);
    }
    let mut commands: Vec<Command> = aim_at(&source, order, seen).into_iter().collect();
    if server.paused {
        commands.push(Command::ResumeReplay);
    }
    if !commands.is_empty() || !streams {
        commands.extend([Command::Reload, Command::AwaitStreaming(source.clone())]);
    }
    commands.extend(housekeeping(&order.members, server, seen));
    commands.extend(mark.and_then(|mark| leave_the_mark(mark, order, source, server, streams)));
    Plan::commands(commands)
}

/// The copy is in sync again once it has flushed past what the holder had after the copy was remade (rule R7).
fn leave_the_mark(
    mark: &UnsyncedMark,
    order: &FollowOrder,
    source: Source,
    server: &ServerSeen,
    streams: bool,
) -> Option<Command> {
    let flushed = server.received.unwrap_or_default().max(server.position);
    if mark.target.is_some_and(|(timeline, lsn)| server.timeline == timeline && flushed >= lsn) {
        return Some(Command::ClearUnsynced);
    }
    // A promised bidder holds nothing: the mark stays until a holder confirms. What a holder of an older epoch had said may
    // not be on this one's line at all.
    let timeline = newest_timeline(order).filter(|_| streams && !order.catch_up)?;
    let must_ask = mark.target.is_none_or(|(of, _)| of != timeline);
    must_ask.then_some(Command::AskTarget { source, timeline })
}

fn aim_at(source: &Source, order: &FollowOrder, seen: &Observed) -> Option<Command> {
    let there = match &seen.files.upstream {
        Upstream::Node(at) => at == source || planted(Planted::FollowsOldEpoch),
        Upstream::Unset | Upstream::Sentinel { .. } => false,
    };
    let (revision, catch_up) = (order.leader_revision, order.catch_up);
    (!there).then(|| Command::PointAt { source: source.clone(), revision, catch_up })
}

fn to_be_remade(seen: &Observed) -> bool {
    seen.files.unsynced.as_ref().is_some_and(|mark| mark.work != RemakeWork::CatchUp)
}

fn catching_up(seen: &Observed) -> bool {
    seen.files.unsynced.as_ref().is_some_and(|mark| mark.work == RemakeWork::CatchUp)
}

fn diverged(timeline: Timeline, lsn: Lsn, order: &FollowOrder) -> bool {
    relate(timeline, lsn, &order.lineage) == Relation::Diverged
}

fn diverged_voter() -> Plan {
    Plan::waits(
        DIVERGED_VOTER,
        "this copy has records that the leader has not, and the voter record still names it; it is rewound when it does not",
    )
}

fn newest_timeline(order: &FollowOrder) -> Option<Timeline> {
    order.lineage.iter().max_by_key(|record| record.epoch).map(|record| record.timeline)
}
