//! What PostgreSQL is told: whom to follow and how to lead.

use super::{Facts, Hold};
use crate::cluster::ClusterView;
use crate::model::{Epoch, NodeId, Position, Reason, ReplicationMode, Revision, Timeline};
use crate::planted::{Planted, planted};
use crate::postgres_report::{FollowOrder, LeadOrder, PostgresOrder, PostgresState};
use crate::records::{HistoryRecord, MemberRecord};
use std::collections::{BTreeMap, BTreeSet};

/// The recorded timelines from the first one to `epoch`'s, oldest first.
///
/// An epoch that the chain does not pass through acknowledged nothing (rule R13) and is left out.
pub fn lineage_of(view: &ClusterView, epoch: Epoch) -> Vec<HistoryRecord> {
    let mut lineage = Vec::new();
    let mut next = view.history.get(&epoch);
    while let Some(record) = next {
        let parent = record.parent_timeline;
        let older_than = record.epoch;
        lineage.push(record.clone());
        next = view.history.values().find(|other| other.timeline == parent && other.epoch < older_than);
    }
    lineage.reverse();
    lineage
}

/// The highest timeline that any epoch before `epoch` recorded; 1 (initdb's) when none did.
pub(super) fn highest_timeline_before(view: &ClusterView, epoch: Epoch) -> Timeline {
    view.history.range(..epoch).map(|(_, record)| record.timeline).max().unwrap_or_default().max(Timeline(1))
}

/// Every member but this one.
pub(super) fn others(view: &ClusterView, me: &NodeId) -> BTreeMap<NodeId, MemberRecord> {
    view.members
        .iter()
        .filter(|(node, _)| *node != me)
        .map(|(node, seen)| (node.clone(), seen.record.clone()))
        .collect()
}

/// The order to promise this revision.
pub(super) fn detach(view: &ClusterView, facts: &Facts<'_>, revision: Revision) -> PostgresOrder {
    let keeps_token = view.epoch.as_ref().is_some_and(|seen| seen.record.guid == *facts.me);
    PostgresOrder::Detach { revision, keeps_token }
}

/// The order to stream from the holder.
///
/// Without a durable promise there may still have been one, lost with the disk, and a bid for the present revision recorded or
/// on its way (rule R7). So this revision is promised first, and its successor followed.
pub(super) fn attach(view: &ClusterView, facts: &Facts<'_>, leader: &NodeId, epoch: Epoch) -> Option<PostgresOrder> {
    let revision = view.leader_revision();
    let never_promised = facts.postgres.promised == Revision(0) && !planted(Planted::R7BidForgotten);
    if never_promised {
        let looked = facts.postgres.state != PostgresState::Unknown;
        return looked.then(|| detach(view, facts, revision));
    }
    follow(view, facts, leader, epoch, revision).ok()
}

/// The order to stream from the present holder, or why that cannot be asked yet.
fn follow(
    view: &ClusterView,
    facts: &Facts<'_>,
    leader: &NodeId,
    epoch: Epoch,
    revision: Revision,
) -> Result<PostgresOrder, Reason> {
    let Some(member) = view.members.get(leader) else {
        return Err(Reason::new("leader-unknown", format!("the leader {} has no entry in members/", leader.short())));
    };
    let lineage = lineage_of(view, epoch);
    if lineage.last().is_none_or(|last| last.epoch != epoch) {
        return Err(Reason::new("history-unknown", format!("history/{epoch} has not been seen yet")));
    }
    Ok(PostgresOrder::Follow(FollowOrder {
        leader: leader.clone(),
        address: member.record.address.clone(),
        port: member.record.postgres_port,
        epoch,
        leader_revision: revision,
        lineage,
        named_voter: names_me(view, facts.me),
        members: others(view, facts.me),
        catch_up: false,
    }))
}

/// Rule R14: the order to fetch missing WAL from a promised bidder that is ahead but may not lead.
///
/// Its copy may stand on an older line than the newest epoch's, which was taken and never promoted. The order is of today all
/// the same: one of an older epoch is refused.
pub(super) fn catch_up(
    view: &ClusterView,
    facts: &Facts<'_>,
    source: &NodeId,
    revision: Revision,
) -> Option<PostgresOrder> {
    let member = view.members.get(source)?;
    let ahead: &Position = &view.bids.get(source)?.record.position;
    Some(PostgresOrder::Follow(FollowOrder {
        leader: source.clone(),
        address: member.record.address.clone(),
        port: member.record.postgres_port,
        epoch: view.newest_epoch(),
        leader_revision: revision,
        lineage: lineage_of(view, ahead.epoch),
        named_voter: names_me(view, facts.me),
        members: others(view, facts.me),
        catch_up: true,
    }))
}

/// The order to be the primary of a hold whose arming heart has acknowledged.
pub(super) fn lead(view: &ClusterView, facts: &Facts<'_>, hold: &Hold) -> Option<PostgresOrder> {
    let timeline = match view.history.get(&hold.epoch) {
        Some(recorded) => recorded.timeline,
        None if planted(Planted::PromoteBeforeHistory) => Timeline(highest_timeline_before(view, hold.epoch).0 + 1),
        None => return None,
    };
    let voters = view.voters.as_ref()?;
    let first_epoch = hold.epoch == Epoch(1);
    let members = others(view, facts.me);
    let mut sync_names: BTreeSet<NodeId> = voters.record.voters.clone();
    // A `strict` leader that had to give up its voters, and is promoted again before one is back, acknowledges nothing alone either.
    if sync_names.is_empty() && facts.mode == ReplicationMode::Strict && !first_epoch {
        sync_names.extend(members.keys().cloned());
    }
    Some(PostgresOrder::Lead(LeadOrder {
        epoch: hold.epoch,
        nonce: hold.acquired_with.clone(),
        timeline,
        highest_timeline: highest_timeline_before(view, hold.epoch),
        sync_names,
        sync_quorum: voters.record.quorum.max(1),
        members,
        first_epoch,
    }))
}

fn names_me(view: &ClusterView, me: &NodeId) -> bool {
    let named = view.voters.as_ref().is_some_and(|voters| voters.record.voters.contains(me));
    named && !planted(Planted::R7VoterRebuilt)
}
