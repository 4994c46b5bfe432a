//! Whether a copy's position lies on the path that a lineage took.

use crate::model::{Lsn, Timeline};
use crate::records::HistoryRecord;

/// How a copy relates to a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Everything in the copy is in the lineage too: streaming brings it up to date.
    Prefix,
    /// The copy has records that the lineage has not.
    Diverged,
}

/// Relates a position to the lineage whose last entry is the newest epoch.
///
/// Walks from the newest timeline down to its parents. A timeline that the path never touched is diverged.
pub fn relate(timeline: Timeline, lsn: Lsn, lineage: &[HistoryRecord]) -> Relation {
    let Some(mut at) = lineage.iter().max_by_key(|record| record.epoch) else {
        return Relation::Diverged;
    };
    // Each step goes to an older epoch, so there are at most as many steps as records.
    for _ in 0..lineage.len() {
        if at.timeline == timeline {
            return Relation::Prefix;
        }
        if at.parent_timeline == timeline {
            return if lsn <= at.fork_lsn { Relation::Prefix } else { Relation::Diverged };
        }
        let parent = lineage.iter().find(|record| record.timeline == at.parent_timeline && record.epoch < at.epoch);
        match parent {
            Some(record) => at = record,
            None => return Relation::Diverged,
        }
    }
    Relation::Diverged
}
