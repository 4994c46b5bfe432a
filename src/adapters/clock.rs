//! This node's clock.

use crate::ports::Clock;
use leaderl_decision::model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME: the clock heart's deadlines are measured on. It counts suspend and nobody sets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoottimeClock;

impl Clock for BoottimeClock {
    fn now(&self) -> Timestamp {
        // Fails only for a clock that the kernel does not know; CLOCK_BOOTTIME exists since 2.6.39. The far future makes
        // every deadline look passed, which is the safe side.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Timestamp(u64::MAX), |time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
            Timestamp(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_go_backwards() {
        let clock = BoottimeClock;
        let before = clock.now();
        assert!(before > Timestamp(0) && clock.now() >= before);
    }
}
