//! What a run really exercised.

use std::collections::{BTreeMap, BTreeSet};

/// Numbers of one run, or of many added up.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counts {
    pub(crate) simulated_ns: u64,
    pub(crate) events: u64,
    pub(crate) leader_changes: u64,
    pub(crate) takeovers_by_expiry: u64,
    pub(crate) late_renewals: u64,
    pub(crate) unknown_outcomes: u64,
    pub(crate) hedged_duplicates: u64,
    pub(crate) voter_changes: u64,
    pub(crate) degradations: u64,
    pub(crate) bids_voided: u64,
    pub(crate) acknowledged_rows: u64,
    pub(crate) promotions: u64,
    pub(crate) adoptions: u64,
    pub(crate) fences: u64,
    pub(crate) gate_stops: u64,
    pub(crate) rewinds: u64,
    pub(crate) base_copies: u64,
    pub(crate) orders: u64,
    pub(crate) removed: u64,
    pub(crate) joined: u64,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) pairs: BTreeSet<(String, String)>,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        for ((_, mine), (_, theirs)) in self.numbers_mut().into_iter().zip(other.clone().numbers_mut()) {
            *mine += *theirs;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        self.pairs.extend(other.pairs.iter().cloned());
    }

    /// Every number that must not be zero over a whole run of many seeds.
    pub(crate) fn numbers_mut(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("simulated_ns", &mut self.simulated_ns),
            ("events", &mut self.events),
            ("leader changes", &mut self.leader_changes),
            ("takeovers by expiry", &mut self.takeovers_by_expiry),
            ("late committed renewals", &mut self.late_renewals),
            ("unknown outcomes", &mut self.unknown_outcomes),
            ("hedged duplicates", &mut self.hedged_duplicates),
            ("voter changes", &mut self.voter_changes),
            ("degradations", &mut self.degradations),
            ("bids voided", &mut self.bids_voided),
            ("acknowledged rows", &mut self.acknowledged_rows),
            ("promotions", &mut self.promotions),
            ("adoptions", &mut self.adoptions),
            ("fences by heart", &mut self.fences),
            ("clients' packets stopped by a port gate", &mut self.gate_stops),
            ("rewinds", &mut self.rewinds),
            ("base copies", &mut self.base_copies),
            ("operators' orders", &mut self.orders),
            ("nodes removed", &mut self.removed),
            ("nodes joined", &mut self.joined),
        ]
    }
}
