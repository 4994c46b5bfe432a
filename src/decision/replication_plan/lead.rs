//! The wish `Lead`: from standby to primary of exactly one epoch, or nothing.

use super::command::Command;
use super::describe::proven_detached;
use super::observed::{DataSeen, Observed, Process, ServerSeen, SyncNames, Upstream};
use super::plan::{NamesWish, Plan, aim_at_sentinel, housekeeping, prove, start};
use crate::planted::{Planted, planted, restarts_in_place};
use crate::postgres_report::LeadOrder;
use crate::records::Token;

pub(super) fn plan(order: &LeadOrder, names: Option<&NamesWish>, seen: &Observed) -> Plan {
    let armed = seen.armed.is_some_and(|(epoch, fence_at)| epoch == order.epoch && fence_at > seen.now);
    if !armed && !planted(Planted::PromoteUnarmed) {
        return Plan::waits("not-armed", format!("leaderl-heart is not armed for epoch {}", order.epoch));
    }
    if matches!(seen.files.data, DataSeen::Missing) {
        return Plan::waits("no-data-directory", "there is no data directory to lead with");
    }
    if let Some(mark) = seen.files.unsynced.as_ref().filter(|_| !planted(Planted::R7UnsyncedBids)) {
        return Plan::waits("unsynced", format!("this copy is not in sync ({}); it must not lead", mark.cause));
    }
    if seen.process == Process::Gone {
        return Plan::commands(start(aim_at_sentinel(seen.files.promised, seen)));
    }
    match &seen.server {
        None => Plan::commands(vec![Command::AwaitAnswer]),
        // A restarted daemon cannot know it otherwise: one epoch is promoted once (one epoch, one timeline).
        Some(server) if server.in_recovery && server.timeline >= order.timeline && !restarts_in_place() => Plan::waits(
            "promoted-before",
            format!("epoch {} was promoted here before and has ended; it is not promoted again", order.epoch),
        ),
        Some(server) if server.in_recovery => Plan::commands(promote(order, server, seen)),
        Some(server) => lead(order, names, server, seen),
    }
}

/// Everything that must be true before the first write, then the promotion.
fn promote(order: &LeadOrder, server: &ServerSeen, seen: &Observed) -> Vec<Command> {
    let detached_at = match &seen.files.upstream {
        Upstream::Sentinel { revision, .. } => *revision,
        Upstream::Unset | Upstream::Node(_) => seen.files.promised,
    };
    if proven_detached(seen).is_none() || server.paused {
        return prove(detached_at, server, seen);
    }
    let mut commands = Vec::new();
    let token = Token { epoch: order.epoch, nonce: order.nonce.clone() };
    if seen.files.token.as_ref() != Some(&token) {
        commands.push(Command::WriteToken(token));
    }
    let names = SyncNames { names: order.sync_names.clone(), quorum: order.sync_quorum };
    if !same_names(&seen.files.sync_names, &names) && !planted(Planted::NamesAfterPromotion) {
        commands.push(Command::WriteSyncNames(names));
    }
    commands.extend(housekeeping(&order.members, server, seen));
    if order.highest_timeline > server.timeline && !planted(Planted::R9TimelineTwice) {
        commands.push(Command::PlaceHistory { after: server.timeline, up_to: order.highest_timeline });
    }
    // The reload is not conditional: the names may have been written by a plan that got no further.
    commands.extend([Command::Reload, Command::Promote { epoch: order.epoch }]);
    commands
}

fn lead(order: &LeadOrder, names: Option<&NamesWish>, server: &ServerSeen, seen: &Observed) -> Plan {
    let other_epoch = seen.files.token.as_ref().map(|token| token.epoch) != Some(order.epoch);
    if other_epoch && !planted(Planted::R6RestartedInPlace) {
        // Promoted under another epoch: never reused (rule R6). It comes up again as a standby.
        return Plan::commands(vec![Command::StopPostgres { fast: true }]);
    }
    if server.timeline != order.timeline {
        return Plan::waits(
            "wrong-timeline",
            format!(
                "promotion made timeline {} where {} is recorded; it takes no clients",
                server.timeline, order.timeline
            ),
        );
    }
    let epoch = order.epoch;
    let memory = &seen.memory;
    let mut commands = Vec::new();
    if memory.predecessors_ended != Some(epoch) {
        commands.push(Command::EndPredecessors(epoch));
    }
    if memory.written != Some(epoch) {
        commands.push(Command::TestWrite(epoch));
    }
    if order.first_epoch && memory.roles_made != Some(epoch) {
        commands.push(Command::MakeRoles(epoch));
    }
    let wish = names.filter(|wish| wish.epoch == epoch).map_or(&seen.files.sync_names, |wish| &wish.names);
    let proven = memory.names_proven.as_ref().map(|(names, _)| names);
    let written = same_names(&seen.files.sync_names, wish);
    if !written {
        commands.push(Command::WriteSyncNames(wish.clone()));
    }
    let checkpoint = memory.checkpointed != Some(epoch) || (!memory.waiting_switched_on && !wish.names.is_empty());
    let in_proof = memory.names_in_proof.as_ref().is_some_and(|names| same_names(names, wish));
    let is_proven = proven.is_some_and(|proven| same_names(proven, wish)) && memory.checkpointed == Some(epoch);
    if !written || !(is_proven || in_proof) {
        commands.extend([Command::Reload, Command::ProveSyncNames { names: wish.clone(), checkpoint }]);
    }
    commands.extend(housekeeping(&order.members, server, seen));
    Plan::commands(commands)
}

/// Equal in effect: without names the quorum means nothing.
fn same_names(one: &SyncNames, other: &SyncNames) -> bool {
    one.names == other.names && (one.names.is_empty() || one.quorum == other.quorum)
}
