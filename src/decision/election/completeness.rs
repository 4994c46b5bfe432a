//! Whether the bids at hand prove that no acknowledged commit is elsewhere (rules R1, R7, R12, R13).

use crate::cluster::{ClusterView, Seen};
use crate::model::{Epoch, NodeId, Position, Revision};
use crate::planted::{Planted, planted};
use crate::records::{BidRecord, LeaderValue};

/// What the bids for one revision of `leader` prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Whoever is at or past `sure` has every acknowledged commit.
    Complete {
        /// The highest position of all valid bids (and of the vacancy).
        best: Position,
        /// Whose it is; `None` when only the vacancy names it.
        best_by: Option<NodeId>,
        /// The highest position among the voters if enough of them have bid: what lies between it and `best` was written and
        /// never acknowledged. Otherwise `best`.
        sure: Position,
        /// Whose `sure` is, as with `best_by`.
        sure_by: Option<NodeId>,
        /// The bids this rests on: every valid one. The acquiring transaction compares each.
        used: Vec<(NodeId, Revision)>,
    },
    /// More bids are needed.
    Missing {
        /// Any `needed` more of these.
        whose: Vec<NodeId>,
        /// How many.
        needed: usize,
    },
}

/// The node that took the newest epoch, or (before the first) the creator that left the first vacancy.
pub fn last_leader(view: &ClusterView) -> Option<NodeId> {
    if let Some((_, newest)) = view.history.last_key_value() {
        return Some(newest.node.clone());
    }
    match &view.leader.as_ref()?.record {
        LeaderValue::Vacancy(vacancy) => vacancy.left_by.clone(),
        LeaderValue::Holder(holder) => Some(holder.guid.clone()),
    }
}

/// Every bid made against `revision`. Any renewal voids all bids.
pub(super) fn valid_bids(view: &ClusterView, revision: Revision) -> impl Iterator<Item = (&NodeId, &Seen<BidRecord>)> {
    // Rule R8: an absent key has revision 0, and so it has every time it is absent.
    let counts = revision != Revision(0) || planted(Planted::R8BidsOnAbsentKey);
    view.bids.iter().filter(move |(node, bid)| {
        let of_this_seat = bid.record.revision == revision || planted(Planted::OlderBidCounts);
        counts && of_this_seat && bid.record.guid == **node && view.members.contains_key(*node)
    })
}

/// Judges the bids for the seat as it stands in `view`.
///
/// Two proofs, each sufficient: the last leader has written everything that was acknowledged, and the voters have flushed it.
pub fn completeness(view: &ClusterView, revision: Revision) -> Completeness {
    let bids: Vec<_> = valid_bids(view, revision).collect();
    let left_at = final_position(view);
    let by_last = (left_at.is_some() || last_leader_bids(view, &bids)) && !planted(Planted::R12LastLeaderNoBid);
    let by_voters = match voters_best(view, &bids) {
        Ok(theirs) => Some(theirs),
        Err(_) if by_last => None,
        Err((whose, needed)) => return Completeness::Missing { whose, needed },
    };
    let (mut best, mut best_by) = highest(bids.iter().copied());
    if let Some(left_at) = left_at
        && order_of(left_at) > order_of(best)
    {
        best = left_at;
        best_by = None;
    }
    let used = bids.iter().map(|(node, bid)| ((*node).clone(), bid.revision)).collect();
    let (sure, sure_by) = by_voters.unwrap_or_else(|| (best, best_by.clone()));
    Completeness::Complete { best, best_by, sure, sure_by, used }
}

/// The highest bid, and whose it is. Among equals one that may not lead: whoever may does so by itself, unless it is gone, and then
/// it has no WAL to give (R14).
fn highest<'a>(bids: impl Iterator<Item = (&'a NodeId, &'a Seen<BidRecord>)>) -> (Position, Option<NodeId>) {
    match bids.max_by_key(|(_, bid)| (order_of(bid.record.position), !bid.record.ineligible.is_empty())) {
        Some((node, bid)) => (bid.record.position, Some(node.clone())),
        None => (Position::default(), None),
    }
}

/// The highest position that a voter has bid and whose it is, if |V| - q + 1 of them have; otherwise whose bids are missing, and how
/// many.
fn voters_best(
    view: &ClusterView,
    bids: &[(&NodeId, &Seen<BidRecord>)],
) -> Result<(Position, Option<NodeId>), (Vec<NodeId>, usize)> {
    let record = view.voters.as_ref().map(|seen| seen.record.clone()).unwrap_or_default();
    let voters = &record.voters;
    if voters.is_empty() {
        return Err((last_leader(view).into_iter().collect(), 1));
    }
    let quorum = (record.quorum.max(1) as usize).min(voters.len());
    let required = if planted(Planted::OneBidIsEnough) { 1 } else { voters.len() - quorum + 1 };
    let (have, whose): (Vec<_>, Vec<_>) =
        voters.iter().cloned().partition(|voter| bids.iter().any(|(node, _)| *node == voter));
    if have.len() < required {
        return Err((whose, required - have.len()));
    }
    Ok(highest(bids.iter().copied().filter(|(node, _)| voters.contains(*node))))
}

/// By which positions are compared: the epoch of the timeline first (rule R13).
pub(super) fn order_of(position: Position) -> Position {
    if planted(Planted::R13LsnAlone) { Position { epoch: Epoch(0), ..position } } else { position }
}

/// The final position in a vacancy counts as the leaver's bid (rule R12).
fn final_position(view: &ClusterView) -> Option<Position> {
    match &view.leader.as_ref()?.record {
        LeaderValue::Vacancy(vacancy) if vacancy.left_by.is_some() => vacancy.final_position,
        LeaderValue::Vacancy(_) | LeaderValue::Holder(_) => None,
    }
}

/// Where the copy ended that took this epoch.
fn fork_of(view: &ClusterView, epoch: Epoch) -> Option<Position> {
    let taken = view.history.get(&epoch)?;
    let parent = view.history.values().find(|record| record.timeline == taken.parent_timeline);
    let epoch = parent.map_or(Epoch(0), |record| record.epoch);
    Some(order_of(Position { epoch, lsn: taken.fork_lsn, timeline: taken.parent_timeline }))
}

/// The last leader's own bid is complete if the token inside its PGDATA shows that it is that very copy (rule R7): the one it
/// led with, or the one it took the epoch with and has never promoted, so that nothing was acknowledged under that epoch. The
/// latter ends no earlier than where it was then: what does, was put back from before.
fn last_leader_bids(view: &ClusterView, bids: &[(&NodeId, &Seen<BidRecord>)]) -> bool {
    let Some(epoch) = view.epoch.as_ref().map(|seen| &seen.record) else { return false };
    bids.iter().any(|(node, bid)| {
        let token = bid.record.token.as_ref();
        let same_copy = token.is_some_and(|token| {
            let led_with = token.epoch == epoch.epoch && token.nonce == epoch.nonce;
            let took = epoch.taken_with.as_ref() == Some(token);
            led_with || took && fork_of(view, epoch.epoch).is_some_and(|fork| order_of(bid.record.position) >= fork)
        });
        **node == epoch.guid && (same_copy || planted(Planted::R7TokenIgnored))
    })
}
