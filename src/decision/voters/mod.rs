//! The voter record (V, q) in etcd and `synchronous_standby_names` in PostgreSQL, changed in the one safe order.
//!
//! Invariant: each acknowledged commit is flushed on at least q members of V, and V contains every name PostgreSQL waits
//! for. So a name is added in etcd first and in PostgreSQL second; removed in PostgreSQL first, and in etcd only when the
//! remaining voters have flushed past everything acknowledged before. Degrading (V empty) goes through etcd first,
//! returning from it through PostgreSQL first (design 3.4, rules R2, R3, R15).

#[cfg(test)]
mod tests;

use crate::cluster::{ClusterView, Seen};
use crate::model::{Epoch, Lsn, NodeId, ReplicationMode, Revision, Timestamp};
use crate::planted::{Planted, planted};
use crate::postgres_report::{FollowerReport, PrimaryReport};
use crate::records::{Keys, NodeStatus, SCHEMA, VotersRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A follower that stopped streaming keeps its vote this long, so that a blink changes nothing.
const BLINK: Duration = Duration::from_millis(500);

/// A `strict` leader that may give its voters up does so after this many times `degrade_after`.
const STRICT_GIVES_UP: u32 = 5;

/// What the plan remembers between looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VotersState {
    /// Rule R2: this incarnation itself committed a put of `voters` since its start and since any unknown outcome.
    pub own_put: bool,
    /// Since when each follower does not stream.
    pub missing_since: BTreeMap<NodeId, Timestamp>,
    /// Since when nobody streams.
    pub lonely_since: Option<Timestamp>,
}

/// What the plan looks at.
#[derive(Clone, Debug)]
pub struct VotersFacts<'a> {
    /// CLOCK_BOOTTIME.
    pub now: Timestamp,
    /// The epoch held.
    pub epoch: Epoch,
    /// mod_revision of the `epoch` key: every write compares it.
    pub epoch_revision: Revision,
    /// The record as etcd has it.
    pub record: &'a Seen<VotersRecord>,
    /// The primary's own view.
    pub primary: &'a PrimaryReport,
    /// Who may vote: members whose copies are complete (rule R7).
    pub may_vote: &'a BTreeSet<NodeId>,
    /// The mode in force.
    pub mode: ReplicationMode,
    /// Without any streaming follower for this long, `quorum` degrades.
    pub degrade_after: Duration,
    /// Whether a `strict` leader may give its voters up: clients are still kept out until a voter has flushed past the promotion
    /// (rule R6), or [`all_must_be_remade`].
    pub may_give_up: bool,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoterStep {
    /// Put this record if `voters` and `epoch` still have these revisions.
    Put {
        /// The new record.
        record: VotersRecord,
        /// `voters` must have this mod_revision.
        voters_revision: Revision,
        /// `epoch` must have this one.
        epoch_revision: Revision,
        /// For people.
        why: String,
    },
    /// PostgreSQL waits for any one of these; empty: for nobody.
    SetNames {
        /// The names.
        names: BTreeSet<NodeId>,
        /// For people.
        why: String,
    },
}

/// Members whose copies are complete: an `unsynced` copy never enters V (rule R7).
///
/// A node that could not write to etcd for a while has not posted what became of its copy since. So whoever enters has posted that
/// it streams from this leader under the newest epoch; whoever is in V already need not say it again.
pub fn may_vote(view: &ClusterView, me: &NodeId) -> BTreeSet<NodeId> {
    let named = |node: &NodeId| view.voters.as_ref().is_some_and(|seen| seen.record.voters.contains(node));
    let complete = |node: &NodeId| {
        let status = view.nodes.get(node).map(|seen| &seen.record).filter(|status| !status.partially_synced);
        let of_now = |status: &NodeStatus| status.epoch == view.newest_epoch() && status.following.as_ref() == Some(me);
        status.is_some_and(|status| named(node) || of_now(status))
    };
    let may = |node: &&NodeId| *node != me && (complete(node) || planted(Planted::R7UnsyncedVotes));
    view.members.keys().filter(may).cloned().collect()
}

/// Whether every voter has posted that it can stream only with a copy made anew, which it is not while it is a voter (rule R7).
pub fn all_must_be_remade(view: &ClusterView, record: &VotersRecord) -> bool {
    let stuck = |node: &NodeId| view.nodes.get(node).is_some_and(|seen| seen.record.needs_remake);
    !record.voters.is_empty() && record.voters.iter().all(stuck)
}

/// Every key that must still have this mod_revision for a put of the record (rule R2).
pub fn put_compares(keys: &Keys, voters_revision: Revision, epoch_revision: Revision) -> Vec<(String, Revision)> {
    let mut compares = Vec::new();
    if !planted(Planted::VoterChangeIgnoresVoters) {
        compares.push((keys.voters(), voters_revision));
    }
    if !planted(Planted::VoterChangeIgnoresEpoch) {
        compares.push((keys.epoch(), epoch_revision));
    }
    compares
}

/// The next step, or none: nothing to change, or something to wait for.
pub fn plan(state: &mut VotersState, facts: &VotersFacts<'_>) -> Option<VoterStep> {
    let step = next_change(state, facts)?;
    match step {
        VoterStep::SetNames { .. } if !state.own_put && !planted(Planted::R2NoOwnPut) => put(
            facts,
            facts.record.record.voters.clone(),
            "the record is put again, so that no late put of another can follow",
        ),
        VoterStep::SetNames { .. } | VoterStep::Put { .. } => Some(step),
    }
}

fn next_change(state: &mut VotersState, facts: &VotersFacts<'_>) -> Option<VoterStep> {
    let good = note_followers(state, facts);
    // Names that are not proven effective everywhere say nothing: wait.
    let (Some(names), Some(effective_at)) = (&facts.primary.sync_names, facts.primary.names_effective_at) else {
        return None;
    };
    let voters = &facts.record.record.voters;
    if facts.mode == ReplicationMode::Async {
        return asynchronous(facts, voters, names);
    }
    if voters.is_empty() {
        return from_nobody(state, facts, names, &good, effective_at);
    }
    if !names.is_subset(voters) && planted(Planted::RemovedInEtcdFirst) {
        return Some(set_names(names.intersection(voters).cloned().collect(), "planted"));
    }
    if !names.is_subset(voters) {
        // Somebody else changed the names. V must contain them before anything else may happen.
        return put(facts, voters.union(names).cloned().collect(), "names outside the record are added to it");
    }
    if names.is_empty() && !planted(Planted::DegradedInPostgresFirst) {
        return Some(set_names(voters.clone(), "PostgreSQL waits for nobody although there are voters"));
    }
    let newcomers: BTreeSet<_> = good.difference(voters).cloned().collect();
    if !newcomers.is_empty() && planted(Planted::AddedInPostgresFirst) {
        return Some(set_names(names.union(&newcomers).cloned().collect(), "planted"));
    }
    if !newcomers.is_empty() {
        return put(facts, voters.union(&newcomers).cloned().collect(), "a follower streams: etcd first");
    }
    let unnamed: BTreeSet<_> = voters.difference(names).cloned().collect();
    let to_name: BTreeSet<_> = unnamed.intersection(&good).cloned().collect();
    if !to_name.is_empty() {
        return Some(set_names(names.union(&to_name).cloned().collect(), "the new voter is recorded: now PostgreSQL"));
    }
    if good.is_empty() {
        return lonely(state, facts, names);
    }
    let gone: BTreeSet<_> = names.iter().filter(|node| is_missing(state, facts, node)).cloned().collect();
    let rest: BTreeSet<_> = names.difference(&gone).cloned().collect();
    let replaced = !gone.is_empty() && rest.iter().any(|node| good.contains(node));
    if replaced && planted(Planted::RemovedInEtcdFirst) {
        return put(facts, rest, "planted");
    }
    if replaced && !planted(Planted::R15LostVoterStays) {
        return Some(set_names(rest, "a voter does not stream any more: PostgreSQL first"));
    }
    if !unnamed.is_empty() {
        // A removal under way: every remaining voter must have what was acknowledged before it took effect.
        let caught_up = names.iter().all(|node| caught_up(facts, node, effective_at));
        return caught_up
            .then(|| put(facts, names.clone(), "the removed voter's share is flushed by the rest"))
            .flatten();
    }
    None
}

/// Updates who streams since when; returns the followers that count now.
fn note_followers(state: &mut VotersState, facts: &VotersFacts<'_>) -> BTreeSet<NodeId> {
    let good: BTreeSet<NodeId> = facts
        .primary
        .followers
        .iter()
        .filter(|(node, row)| row.streaming && facts.may_vote.contains(*node))
        .map(|(node, _)| node.clone())
        .collect();
    state.missing_since.retain(|node, _| !good.contains(node));
    let recorded = &facts.record.record.voters;
    let named = facts.primary.sync_names.iter().flatten();
    for node in recorded.iter().chain(named).filter(|node| !good.contains(*node)) {
        state.missing_since.entry(node.clone()).or_insert(facts.now);
    }
    if good.is_empty() {
        state.lonely_since.get_or_insert(facts.now);
    } else {
        state.lonely_since = None;
    }
    good
}

fn is_missing(state: &VotersState, facts: &VotersFacts<'_>, node: &NodeId) -> bool {
    state.missing_since.get(node).is_some_and(|since| facts.now.since(*since) >= BLINK)
}

/// Whether the node has flushed everything that was acknowledged before the names took effect.
fn caught_up(facts: &VotersFacts<'_>, node: &NodeId, effective_at: Lsn) -> bool {
    flushed(facts, node).is_some_and(|lsn| lsn >= effective_at || planted(Planted::CatchUpNotAwaited))
}

fn flushed(facts: &VotersFacts<'_>, node: &NodeId) -> Option<Lsn> {
    facts.primary.followers.get(node).filter(|row: &&FollowerReport| row.streaming).map(|row| row.flushed)
}

/// V is empty: degraded, or on the way from or to that.
fn from_nobody(
    state: &VotersState,
    facts: &VotersFacts<'_>,
    names: &BTreeSet<NodeId>,
    good: &BTreeSet<NodeId>,
    effective_at: Lsn,
) -> Option<VoterStep> {
    if names.is_empty() {
        // Back from degraded: one voter first, in PostgreSQL first.
        let first = good.iter().max_by_key(|node| flushed(facts, node))?;
        if planted(Planted::ReturnedInEtcdFirst) {
            return put(facts, BTreeSet::from([first.clone()]), "planted");
        }
        return Some(set_names(BTreeSet::from([first.clone()]), "a follower is back: PostgreSQL first"));
    }
    if names.iter().any(|node| good.contains(node) && caught_up(facts, node, effective_at)) {
        // A `strict` leader that gave its voters up still names them all, also one that is being rebuilt (rule R7).
        let streaming: BTreeSet<_> = names.intersection(good).cloned().collect();
        if streaming != *names {
            return Some(set_names(streaming, "only who streams is waited for: PostgreSQL first"));
        }
        return put(facts, names.clone(), "the voter has flushed everything acknowledged before");
    }
    if names.iter().any(|node| good.contains(node)) {
        return None;
    }
    if facts.mode == ReplicationMode::Strict {
        // Nothing relaxes the names in this mode; another follower may be named beside them.
        let wider: BTreeSet<_> = names.union(good).cloned().collect();
        return (wider != *names).then(|| set_names(wider, "another follower streams"));
    }
    let waited = names.iter().all(|node| is_missing(state, facts, node));
    let lonely = state.lonely_since.is_some_and(|since| facts.now.since(since) >= facts.degrade_after);
    if !(lonely || waited && !good.is_empty()) {
        return None;
    }
    Some(set_names(BTreeSet::new(), "degraded: the record says so, now PostgreSQL"))
}

/// Nobody streams. `quorum` degrades after its time, through etcd first; `strict` lets commits wait.
///
/// But voters of a `strict` leader whose copies have all diverged or gone can never stream to it: a voter is not rebuilt (rule R7).
/// Then the record says that only this copy is complete, and the names stay: what is acknowledged is still flushed elsewhere.
fn lonely(state: &VotersState, facts: &VotersFacts<'_>, names: &BTreeSet<NodeId>) -> Option<VoterStep> {
    let lonely_for = |limit| state.lonely_since.is_some_and(|since| facts.now.since(since) >= limit);
    match facts.mode {
        ReplicationMode::Quorum if lonely_for(facts.degrade_after) => {}
        ReplicationMode::Strict if facts.may_give_up && lonely_for(facts.degrade_after * STRICT_GIVES_UP) => {
            return put(
                facts,
                BTreeSet::new(),
                "no voter can stream as it is: only this copy is complete, and commits wait",
            );
        }
        ReplicationMode::Quorum | ReplicationMode::Strict | ReplicationMode::Async => return None,
    }
    if planted(Planted::DegradedInPostgresFirst) && !names.is_empty() {
        return Some(set_names(BTreeSet::new(), "planted"));
    }
    put(facts, BTreeSet::new(), "no follower streams: degraded, etcd first")
}

/// The mode without voters: an old record is emptied through etcd first, as in degrading.
fn asynchronous(facts: &VotersFacts<'_>, voters: &BTreeSet<NodeId>, names: &BTreeSet<NodeId>) -> Option<VoterStep> {
    if !voters.is_empty() {
        return put(facts, BTreeSet::new(), "the mode is async: etcd first");
    }
    (!names.is_empty()).then(|| set_names(BTreeSet::new(), "the mode is async: now PostgreSQL"))
}

fn put(facts: &VotersFacts<'_>, voters: BTreeSet<NodeId>, why: &str) -> Option<VoterStep> {
    Some(VoterStep::Put {
        record: VotersRecord {
            schema: SCHEMA,
            voters,
            quorum: 1,
            epoch: facts.epoch,
            mode: facts.mode,
            version: facts.record.record.version + 1,
        },
        voters_revision: facts.record.revision,
        epoch_revision: facts.epoch_revision,
        why: why.to_owned(),
    })
}

fn set_names(names: BTreeSet<NodeId>, why: &str) -> VoterStep {
    VoterStep::SetNames { names, why: why.to_owned() }
}
