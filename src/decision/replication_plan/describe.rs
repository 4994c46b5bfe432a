//! The report that the election reads, from the same observation that the plan saw.

use super::observed::{DataSeen, Observed, Process, RemakeWork, ServerSeen, Upstream};
use crate::model::NodeId;
use crate::model::{Epoch, Position, Revision, Timeline};
use crate::planted::{Planted, planted};
use crate::postgres_report::{FollowerReport, PostgresReport, PostgresState, PrimaryReport};
use crate::records::MemberRecord;
use std::collections::BTreeMap;

/// The promised revision at which this standby is proven detached now.
///
/// All of it in one observation: the walreceiver hangs at our listener under the very name that is on disk, so the startup
/// process has read that conninfo and no older walreceiver lives (rule R5); and the startup process waits for more WAL, so
/// everything received is replayed.
pub fn proven_detached(seen: &Observed) -> Option<Revision> {
    let server = seen.server.as_ref()?;
    let Upstream::Sentinel { revision, name } = &seen.files.upstream else { return None };
    let let_go = planted(Planted::R5DetachedOnSight) && server.streaming_from.is_none();
    let hangs = server.at_sentinel.as_ref() == Some(name) || let_go;
    let replayed = (server.waiting_for_wal && !server.paused) || planted(Planted::PositionBeforeReplay);
    (server.in_recovery && hangs && replayed).then_some(*revision)
}

/// Turns an observation into a report. `members` gives addresses their names; `promoting` is the epoch of a promotion under way.
pub fn describe(seen: &Observed, members: &BTreeMap<NodeId, MemberRecord>, promoting: Option<Epoch>) -> PostgresReport {
    let control = match &seen.files.data {
        DataSeen::Present(control) => Some(control),
        DataSeen::Missing | DataSeen::Unreadable(_) => None,
    };
    let position = match (&seen.server, seen.process) {
        (Some(server), _) => position(seen, server.timeline, server),
        (None, Process::Gone) => final_position(seen).or_else(|| stood_at(seen)),
        (None, Process::Unknown | Process::Running | Process::Ending) => stood_at(seen),
    };
    let detached = proven_detached(seen).filter(|revision| *revision == seen.files.promised);
    PostgresReport {
        state: state(seen, members, promoting),
        system_identifier: control.map(|control| control.system_identifier.clone()),
        position,
        detached: detached.zip(position),
        promised: seen.files.promised,
        final_position: final_position(seen),
        token: seen.files.token.clone(),
        unsynced: seen.files.unsynced.as_ref().map(|mark| match mark.work {
            RemakeWork::RewindBegun | RemakeWork::CopyNeeded => format!("{}; to be remade", mark.cause),
            RemakeWork::CatchUp => format!("{}; catching up", mark.cause),
        }),
        no_start: seen.files.no_start.clone(),
        busy: None,
        problems: Vec::new(),
        refused_epoch: None,
    }
}

fn position(seen: &Observed, timeline: Timeline, server: &ServerSeen) -> Option<Position> {
    let epoch = *seen.epochs.get(&timeline)?;
    Some(Position { epoch, lsn: server.position, timeline })
}

fn stood_at(seen: &Observed) -> Option<Position> {
    let (timeline, lsn) = seen.memory.stood_at?;
    Some(Position { epoch: *seen.epochs.get(&timeline)?, lsn, timeline })
}

/// Where a cleanly stopped primary ended: whoever is past the start of its shutdown record has all of it.
fn final_position(seen: &Observed) -> Option<Position> {
    let DataSeen::Present(control) = &seen.files.data else { return None };
    if seen.process != Process::Gone || !control.shut_down_as_primary || seen.files.unsynced.is_some() {
        return None;
    }
    let epoch = *seen.epochs.get(&control.timeline)?;
    Some(Position { epoch, lsn: crate::model::Lsn(control.checkpoint.0 + 1), timeline: control.timeline })
}

fn state(seen: &Observed, members: &BTreeMap<NodeId, MemberRecord>, promoting: Option<Epoch>) -> PostgresState {
    match (seen.process, &seen.server) {
        (Process::Unknown, _) => PostgresState::Unknown,
        (Process::Gone, _) => PostgresState::Down { initialised: matches!(seen.files.data, DataSeen::Present(_)) },
        (Process::Ending, _) => PostgresState::Stopping,
        (Process::Running, None) => PostgresState::Starting,
        (Process::Running, Some(server)) if !server.in_recovery => PostgresState::Primary(primary(seen, server)),
        (Process::Running, Some(server)) => match promoting {
            Some(epoch) => PostgresState::Promoting { epoch },
            None => PostgresState::Standby { streaming_from: streaming_from(server, seen, members) },
        },
    }
}

fn streaming_from(server: &ServerSeen, seen: &Observed, members: &BTreeMap<NodeId, MemberRecord>) -> Option<NodeId> {
    let (host, port) = server.streaming_from.as_ref()?;
    if let Upstream::Node(source) = &seen.files.upstream
        && source.address == *host
        && source.port == *port
    {
        return Some(source.node.clone());
    }
    members
        .values()
        .find(|member| member.address == *host && member.postgres_port == *port)
        .map(|member| member.guid.clone())
}

fn primary(seen: &Observed, server: &ServerSeen) -> PrimaryReport {
    let epoch = seen.files.token.as_ref().map(|token| token.epoch).unwrap_or_default();
    let memory = &seen.memory;
    let proven = memory.names_proven.as_ref().filter(|(names, _)| names.names == seen.files.sync_names.names);
    let followers = server.senders.iter().map(|(node, sender)| {
        let row = FollowerReport { streaming: sender.streaming, flushed: sender.flushed, counted: sender.counted };
        (node.clone(), row)
    });
    let (sync_names, names_effective_at) = if planted(Planted::R3NamesUnproven) {
        (Some(seen.files.sync_names.names.clone()), Some(server.position))
    } else {
        (proven.map(|(names, _)| names.names.clone()), proven.map(|(_, at)| *at))
    };
    PrimaryReport {
        epoch,
        timeline: server.timeline,
        promoted_at: server.promoted_at,
        writable: memory.written == Some(epoch) && seen.epochs.get(&server.timeline) == Some(&epoch),
        flushed: server.position,
        sync_names,
        names_effective_at,
        followers: followers.collect(),
    }
}
