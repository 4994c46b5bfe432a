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

#[cfg(test)]
mod tests {
    use super::super::tests::lineage;
    use super::*;

    #[test]
    fn a_position_is_diverged_when_its_path_left_the_lineage_behind_it() {
        let lineage = lineage();
        assert_eq!(relate(Timeline(3), Lsn(5000), &lineage), Relation::Prefix);
        assert_eq!(relate(Timeline(2), Lsn(900), &lineage), Relation::Prefix);
        assert_eq!(relate(Timeline(2), Lsn(901), &lineage), Relation::Diverged);
        assert_eq!(relate(Timeline(1), Lsn(100), &lineage), Relation::Prefix);
        assert_eq!(relate(Timeline(1), Lsn(101), &lineage), Relation::Diverged);
        assert_eq!(relate(Timeline(9), Lsn(1), &lineage), Relation::Diverged);
        assert_eq!(relate(Timeline(1), Lsn(1), &[]), Relation::Diverged);
    }
}
