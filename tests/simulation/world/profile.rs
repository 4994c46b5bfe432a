//! What kind of cluster a seed is: size, mode, timing, clocks.

use super::rng::Rng;
use super::{MS, SEC, Time};
use leaderl_decision::model::ReplicationMode;

/// The parameters of one run, all from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) mode: ReplicationMode,
    /// D.
    pub(crate) ttl: Time,
    /// Per node: how fast its clock runs, in millionths of world time.
    pub(crate) rates: Vec<u64>,
    /// Clocks differ by more than the tolerated ratio: only I3 is asserted, in quorum and strict mode.
    pub(crate) wild_clocks: bool,
    /// How long the phase with faults lasts.
    pub(crate) faulty: Time,
    pub(crate) faults: usize,
    /// Usual delay between two nodes, in microseconds.
    pub(crate) delay_us: (u64, u64),
    pub(crate) writers: usize,
}

impl Profile {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 2);
        let nodes = match rng.index(20) {
            0 => 1,
            1 => 5,
            _ => 3,
        };
        let mode = match rng.index(10) {
            0 | 1 => ReplicationMode::Strict,
            2 => ReplicationMode::Async,
            _ => ReplicationMode::Quorum,
        };
        let wild_clocks = rng.one_in(40);
        let rates = (0..nodes).map(|_| rate(&mut rng, wild_clocks)).collect();
        let ttl = if rng.one_in(6) { rng.between(4, 8) * SEC } else { 5 * SEC };
        let delay_us = if rng.one_in(5) { (500, 8000) } else { (80, 900) };
        Self {
            seed,
            nodes,
            mode,
            ttl,
            rates,
            wild_clocks,
            faulty: 120 * SEC,
            faults: usize::try_from(rng.between(12, 20)).unwrap_or(12),
            delay_us,
            writers: if nodes == 1 { 2 } else { 4 },
        }
    }

    pub(crate) fn ttl_ms(&self) -> u64 {
        self.ttl / MS
    }
}

/// Most clocks are right; some differ by up to 1.4 between any two nodes.
fn rate(rng: &mut Rng, wild: bool) -> u64 {
    if wild {
        return rng.between(400_000, 2_000_000);
    }
    match rng.index(3) {
        0 => rng.between(845_300, 1_183_200),
        1 => rng.between(990_000, 1_010_000),
        _ => 1_000_000,
    }
}
