//! How long things took, in buckets of growing width: half a kilobyte, whatever is counted.

use std::time::Duration;

/// Everything shorter is one bucket: 2^8 ns.
const FLOOR_BITS: u32 = 8;
/// Everything longer is one bucket: 2^40 ns, about 18 minutes.
const CEILING_BITS: u32 = 40;
/// Buckets per doubling, as a power of two: a value is told at most a quarter too long.
const STEP_BITS: u32 = 2;
const BUCKETS: usize = (((CEILING_BITS - FLOOR_BITS) << STEP_BITS) + 2) as usize;

/// Counts durations.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    longest: Duration,
}

/// What is told of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) count: u64,
    /// Half of them took at most so long.
    pub(super) p50: Duration,
    /// All but one of a hundred.
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, longest: Duration::ZERO }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, took: Duration) {
        let bucket = &mut self.buckets[bucket_of(took)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { count: self.count, p50: self.quantile(50), p99: self.quantile(99), max: self.longest }
    }

    /// The end of the bucket in which this percentage is reached, and never more than the longest.
    fn quantile(&self, percent: u64) -> Duration {
        let total: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return end_of(index).min(self.longest);
            }
        }
        self.longest
    }
}

fn bucket_of(took: Duration) -> usize {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    if ns < 1 << FLOOR_BITS {
        return 0;
    }
    if ns >= 1 << CEILING_BITS {
        return BUCKETS - 1;
    }
    let top = ns.ilog2();
    let within = (ns >> (top - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    ((top - FLOOR_BITS) << STEP_BITS) as usize + within as usize + 1
}

fn end_of(index: usize) -> Duration {
    if index == 0 {
        return Duration::from_nanos(1 << FLOOR_BITS);
    }
    let index = index as u64 - 1;
    let (top, within) = ((index >> STEP_BITS) + u64::from(FLOOR_BITS), index & ((1 << STEP_BITS) - 1));
    Duration::from_nanos((1 << top) + ((within + 1) << (top - u64::from(STEP_BITS))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.summary(), Summary::default());
        for took in 1..=1000 {
            histogram.record(us(took));
        }
        let told = histogram.summary();
        assert_eq!((told.count, told.max), (1000, us(1000)));
        assert!((us(500)..us(625)).contains(&told.p50), "{:?}", told.p50);
        assert!((us(990)..=us(1000)).contains(&told.p99), "{:?}", told.p99);
    }

    #[test]
    fn one_slow_message_among_many_is_the_maximum_and_not_the_median() {
        let mut histogram = Histogram::default();
        for _ in 0..199 {
            histogram.record(us(10));
        }
        histogram.record(Duration::from_secs(3600));
        let told = histogram.summary();
        assert!(told.p50 < us(13) && told.p99 < us(13));
        assert_eq!(told.max, Duration::from_secs(3600));
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_which_is_at_most_a_quarter_wide(ns in 1_u64 << FLOOR_BITS..1 << CEILING_BITS) {
            let took = Duration::from_nanos(ns);
            let end = end_of(bucket_of(took));
            prop_assert!(took < end && end.as_nanos() <= took.as_nanos() * 5 / 4 + 1, "{took:?} {end:?}");
        }
    }
}
