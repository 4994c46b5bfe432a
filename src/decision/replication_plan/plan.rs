//! The plan's entry: what holds for every wish, and the wishes `Stop` and `Detach`.

use super::command::Command;
use super::describe::proven_detached;
use super::observed::{DataSeen, Observed, Process, RemakeWork, ServerSeen, SyncNames, Upstream};
use super::{follow, lead};
use crate::model::{Epoch, Lsn, NodeId, Reason, Revision};
use crate::postgres_report::PostgresOrder;
use crate::records::MemberRecord;
use std::collections::BTreeMap;

/// How far a standby's own copy of a slot may lie behind replay before it is advanced: one WAL segment.
const SLOT_SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// The names that the voters' keeper wants, under its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesWish {
    /// The epoch.
    pub epoch: Epoch,
    /// The names.
    pub names: SyncNames,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order; empty: the wish is fulfilled, or it has to wait for the reason named in `problems`.
    pub commands: Vec<Command>,
    /// Why the wish is not fulfilled and nothing can be done about it here and now.
    pub problems: Vec<Reason>,
}

impl Plan {
    pub(super) fn commands(commands: Vec<Command>) -> Self {
        Self { commands, problems: Vec::new() }
    }

    pub(super) fn waits(code: &str, text: impl Into<String>) -> Self {
        Self { commands: Vec::new(), problems: vec![Reason::new(code, text)] }
    }
}

/// The slot that holds WAL for a member.
pub fn slot_name(node: &NodeId) -> String {
    format!("leaderl_{node}")
}

/// Plans the next steps towards `order`. `names` is what the voters' keeper last asked for.
pub fn plan(order: &PostgresOrder, names: Option<&NamesWish>, seen: &Observed) -> Plan {
    let planned = match order {
        PostgresOrder::Undecided => return Plan::default(),
        PostgresOrder::Stop { fast } => return stop(*fast, seen),
        PostgresOrder::Detach { .. } | PostgresOrder::Follow(_) | PostgresOrder::Lead(_) => {
            if let Some(wait) = obstacle(seen) {
                return wait;
            }
            match order {
                PostgresOrder::Detach { revision, keeps_token } => detach(*revision, *keeps_token, seen),
                PostgresOrder::Follow(follow) => follow::plan(follow, seen),
                PostgresOrder::Lead(lead) => lead::plan(lead, names, seen),
                PostgresOrder::Undecided | PostgresOrder::Stop { .. } => Plan::default(),
            }
        }
    };
    held_back(planned, seen)
}

/// A step that failed is not repeated before its time; until then nothing that leads to it is done either.
fn held_back(mut planned: Plan, seen: &Observed) -> Plan {
    if let Some((failed, retry_at)) = &seen.memory.failed
        && *retry_at > seen.now
        && planned.commands.iter().any(|command| command.name() == failed)
    {
        planned.commands.clear();
        planned.problems.push(Reason::new("retry-later", format!("`{failed}` failed and is tried again shortly")));
    }
    planned
}

/// What forbids to touch PostgreSQL at all.
fn obstacle(seen: &Observed) -> Option<Plan> {
    if let Some(why) = &seen.files.no_start {
        return Some(Plan::waits(
            "no-start",
            format!("the `no-start` mark is set ({why}); remove it to let PostgreSQL start"),
        ));
    }
    match seen.process {
        Process::Unknown => {
            return Some(Plan::waits("heart-silent", "leaderl-heart does not answer; is its service running?"));
        }
        Process::Ending => return Some(Plan::waits("ending", "PostgreSQL is still ending")),
        Process::Gone | Process::Running => {}
    }
    match &seen.files.data {
        DataSeen::Unreadable(why) => {
            Some(Plan::waits("data-directory-unreadable", format!("the data directory cannot be read ({why})")))
        }
        DataSeen::Missing => None,
        DataSeen::Present(control) => match &seen.expected_system_identifier {
            Some(expected) if *expected != control.system_identifier => Some(Plan::waits(
                "foreign-data-directory",
                format!(
                    "the data directory belongs to another cluster (system identifier {}, here {expected}); move it away",
                    control.system_identifier
                ),
            )),
            Some(_) | None => None,
        },
    }
}

fn stop(fast: bool, seen: &Observed) -> Plan {
    match seen.process {
        Process::Unknown => Plan::waits("heart-silent", "leaderl-heart does not answer; is its service running?"),
        Process::Gone => Plan::default(),
        Process::Running => Plan::commands(vec![Command::StopPostgres { fast }]),
        // An immediate stop overtakes a fast one that is under way; repeating the same one changes nothing.
        Process::Ending => Plan::commands(vec![Command::StopPostgres { fast }]),
    }
}

fn detach(revision: Revision, keeps_token: bool, seen: &Observed) -> Plan {
    if revision < seen.files.promised {
        return Plan::waits("promise-newer", format!("revision {} is promised already", seen.files.promised));
    }
    let mut commands = Vec::new();
    if seen.files.promised < revision {
        let is_primary = seen.server.as_ref().is_some_and(|server| !server.in_recovery);
        let marks = !keeps_token && !is_primary && matches!(seen.files.data, DataSeen::Present(_));
        commands.push(Command::Promise { revision, marks });
    }
    if matches!(seen.files.data, DataSeen::Missing) {
        let mut planned =
            Plan::waits("no-data-directory", "there is no data directory; it is copied once there is a leader");
        planned.commands = commands;
        return planned;
    }
    if let Some(plan) = remake_first(seen) {
        return Plan { commands, ..plan };
    }
    if seen.process == Process::Gone {
        commands.extend(start(aim_at_sentinel(revision, seen)));
        return Plan::commands(commands);
    }
    match &seen.server {
        None => {
            commands.extend(aim_and_reload(revision, seen));
            commands.push(Command::AwaitAnswer);
        }
        Some(server) if !server.in_recovery => commands.push(Command::StopPostgres { fast: true }),
        Some(server) => commands.extend(prove(revision, server, seen)),
    }
    Plan::commands(commands)
}

/// A copy that is being remade is not started except to catch up.
pub(super) fn remake_first(seen: &Observed) -> Option<Plan> {
    let mark = seen.files.unsynced.as_ref()?;
    match mark.work {
        RemakeWork::CatchUp => None,
        RemakeWork::RewindBegun | RemakeWork::CopyNeeded if seen.process == Process::Gone => {
            Some(Plan::waits("unsynced", format!("the copy must be remade from a leader first ({})", mark.cause)))
        }
        // A copy that runs is whole enough to run; only following replaces it.
        RemakeWork::RewindBegun | RemakeWork::CopyNeeded => None,
    }
}

/// The steps to a proof of being detached at this revision, as far as they are missing.
pub(super) fn prove(revision: Revision, server: &ServerSeen, seen: &Observed) -> Vec<Command> {
    let mut commands: Vec<Command> = aim_at_sentinel(revision, seen).into_iter().collect();
    let aimed_before = commands.is_empty();
    if server.paused {
        commands.push(Command::ResumeReplay);
    }
    if !(aimed_before && proven_detached(seen) == Some(revision)) {
        // The reload is repeated with the wait: the write may have been the last thing an earlier plan got done.
        commands.extend([Command::Reload, Command::AwaitProof]);
    }
    commands
}

/// Points the conninfo at our listener for this revision, unless it is there already.
pub(super) fn aim_at_sentinel(revision: Revision, seen: &Observed) -> Option<Command> {
    match &seen.files.upstream {
        Upstream::Sentinel { revision: there, .. } if *there == revision => None,
        Upstream::Sentinel { .. } | Upstream::Unset | Upstream::Node(_) => Some(Command::PointAtSentinel(revision)),
    }
}

fn aim_and_reload(revision: Revision, seen: &Observed) -> Vec<Command> {
    aim_at_sentinel(revision, seen).map_or_else(Vec::new, |aim| vec![aim, Command::Reload])
}

/// Starts the server as a standby that streams from wherever `aim` points it.
pub(super) fn start(aim: Option<Command>) -> Vec<Command> {
    let mut commands = vec![Command::PrepareStart];
    commands.extend(aim);
    commands.extend([Command::StartStandby, Command::AwaitAnswer]);
    commands
}

/// The access file and the slots for these members; the same on every node, so that each can become the leader.
pub(super) fn housekeeping(
    members: &BTreeMap<NodeId, MemberRecord>,
    server: &ServerSeen,
    seen: &Observed,
) -> Vec<Command> {
    let mut commands = Vec::new();
    if seen.memory.access.as_ref() != Some(members) {
        commands.extend([Command::WriteAccess(members.clone()), Command::Reload]);
    }
    let wanted: Vec<String> = members.keys().map(slot_name).collect();
    for (name, slot) in &server.slots {
        if slot.lost || !wanted.contains(name) {
            commands.push(Command::DropSlot(name.clone()));
        }
    }
    for name in &wanted {
        if server.slots.get(name).is_none_or(|slot| slot.lost) {
            commands.push(Command::CreateSlot(name.clone()));
        }
    }
    if server.in_recovery && server.slots.values().any(|slot| lags(slot.restart_lsn, server.position)) {
        commands.push(Command::AdvanceSlots { to: server.position });
    }
    commands
}

fn lags(restart: Option<Lsn>, replayed: Lsn) -> bool {
    restart.is_some_and(|restart| replayed.ahead_of(restart).0 > SLOT_SLACK_BYTES)
}
