//! What kind of cluster a seed is: size, mode, timing, clocks.

use super::rng::Rng;
use super::{MS, SEC, Time};
use crate::faults::mixes::Mix;
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
    /// Which faults are drawn.
    pub(crate) mix: &'static str,
    /// Usual delay between two nodes, in microseconds.
    pub(crate) delay_us: (u64, u64),
    pub(crate) writers: usize,
}

impl Profile {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 2);
        let mix = Mix::of(seed);
        let everything = mix.gap_ds == 0;
        let nodes = match rng.index(20) {
            0 if everything => 1,
            1 if everything => 5,
            _ => 3,
        };
        let mode = match rng.index(10) {
            0 | 1 => ReplicationMode::Strict,
            2 if everything => ReplicationMode::Async,
            _ => ReplicationMode::Quorum,
        };
        let mode = if mix.name == "async" { ReplicationMode::Async } else { mode };
        let adrift = mix.name == "adrift";
        let wild_clocks = rng.one_in(40) && everything || mix.name == "wild" || adrift;
        let edge = |rng: &mut Rng| if rng.percent(50) { 845_300 } else { 1_183_200 };
        let far = |rng: &mut Rng| if rng.percent(50) { 400_000 } else { 2_000_000 };
        let one = |rng: &mut Rng| {
            if mix.name == "wild" {
                far(rng)
            } else if mix.edge_clocks {
                edge(rng)
            } else {
                rate(rng, wild_clocks)
            }
        };
        let rates: Vec<u64> = (0..nodes).map(|_| one(&mut rng)).collect();
        // One clock that is far too slow: whoever has it leads long after the others have stopped waiting.
        let rates =
            if adrift { (0..nodes).map(|id| if id == 0 { 400_000 } else { 2_000_000 }).collect() } else { rates };
        let ttl = if rng.one_in(6) { rng.between(4, 8) * SEC } else { 5 * SEC };
        // The longer D, the more an error of one renewal's round trip weighs against what is left.
        let ttl = if mix.edge_clocks && rng.percent(60) { 8 * SEC } else { ttl };
        let ttl = if adrift { 8 * SEC } else { ttl };
        let delay_us = if rng.one_in(5) { (500, 8000) } else { (80, 900) };
        Self {
            seed,
            nodes,
            mode,
            ttl,
            rates,
            wild_clocks,
            faulty: 120 * SEC,
            faults: mix.count(120 * SEC).unwrap_or(usize::try_from(rng.between(12, 20)).unwrap_or(12)),
            mix: mix.name,
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
