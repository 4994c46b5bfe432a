//! This node's bid: where its copy ends for good (rules R1, R3, R8).

use super::{Command, Facts, Observing};
use crate::cluster::ClusterView;
use crate::model::{Position, Revision};
use crate::planted::{Planted, planted};
use crate::records::BidRecord;

/// Puts this node's bid if the proof is there and etcd does not show it yet.
pub(super) fn put_bid(
    state: &mut Observing,
    view: &ClusterView,
    facts: &Facts<'_>,
    revision: Revision,
    commands: &mut Vec<Command>,
) {
    let Some((promised, position)) = proven_position(facts, revision) else { return };
    let unsynced = facts.postgres.unsynced.is_some() && !planted(Planted::R7UnsyncedBids);
    if promised != revision || state.busy_since.is_some() || unsynced {
        return;
    }
    let bid = BidRecord {
        schema: crate::records::SCHEMA,
        guid: facts.me.clone(),
        revision,
        position,
        token: facts.postgres.token.clone(),
        ineligible: facts.ineligible(),
        priority: facts.priority,
    };
    if view.bids.get(facts.me).is_some_and(|seen| seen.record == bid) {
        return;
    }
    state.busy_since = Some(facts.now);
    state.bid_sent = Some((revision, position));
    commands.push(Command::PutBid(bid));
}

/// Where this copy ends for good, and the promised revision until which it stays there.
pub(super) fn proven_position(facts: &Facts<'_>, revision: Revision) -> Option<(Revision, Position)> {
    if planted(Planted::BidWithoutPromise) {
        return facts.postgres.position.map(|position| (revision, position));
    }
    if planted(Planted::R8BidsOnAbsentKey) && revision == Revision(0) {
        return facts.postgres.detached.map(|(_, position)| (revision, position));
    }
    facts.postgres.detached
}
