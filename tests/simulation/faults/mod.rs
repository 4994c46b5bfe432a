//! Faults: planned from the seed before the run, each applied and undone at its time.

use crate::world::{SEC, Time, World};
use std::collections::BTreeMap;

/// What faults have done so far.
#[derive(Default)]
pub(crate) struct FaultState {
    switched_off: BTreeMap<usize, Time>,
}

impl FaultState {
    /// How long failover has been off for this node.
    pub(crate) fn switched_off_for(&self, now: Time, id: usize) -> Time {
        self.switched_off.get(&id).map_or(0, |since| now - since)
    }
}

impl World {
    pub(crate) fn count_fault(&mut self, kind: &'static str) {
        *self.counts.faults.entry(kind).or_default() += 1;
        self.truth.justified = self.now + 10 * SEC;
    }
}
