//! How long heart may say nothing before this daemon ends it, and PostgreSQL with it.

use crate::heart::protocol::HeartState;
use crate::ports::Clock;
use leaderl_decision::election::Timing;
use leaderl_decision::model::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The least time for the answer to an attach: heart kills the daemon before us and its tool first.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// How long heart may say nothing.
pub(super) struct Patience {
    /// After an attach.
    pub(super) attach: Duration,
    /// Of its own deadline.
    timing: Timing,
    clock: Arc<dyn Clock>,
}

/// The deadlines of one connection.
pub(super) struct Watch<'a> {
    patience: &'a Patience,
    /// Not before this: this process had stood still itself, and heart's word may be under way.
    not_before: Timestamp,
}

impl Patience {
    pub(super) fn new(ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { attach: (ttl * 3 / 5).max(LEAST_PATIENCE), timing: Timing { ttl }, clock }
    }

    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { patience: self, not_before: Timestamp(0) }
    }
}

impl Watch<'_> {
    /// How long until heart should have said that it has fenced; `None`: it has, or is armed for nothing.
    pub(super) fn left(&self, state: Option<&HeartState>) -> Option<Duration> {
        let due = self.due(state)?;
        Some(due.max(self.not_before).since(self.patience.clock.now()))
    }

    /// Whether it has had its time.
    pub(super) fn is_over(&mut self, state: Option<&HeartState>) -> bool {
        let Some(due) = self.due(state) else { return false };
        let now = self.patience.clock.now();
        if now < due.max(self.not_before) {
            return false;
        }
        let grace = self.patience.timing.heart_grace();
        let stood_still = now.since(due) > grace / 2 && self.not_before <= due;
        if stood_still {
            self.not_before = now.plus(grace);
        }
        !stood_still
    }

    /// D/30 after the deadline of what it is armed for and has not fenced.
    fn due(&self, state: Option<&HeartState>) -> Option<Timestamp> {
        let state = state?;
        let armed = state.armed.as_ref()?;
        self.patience.timing.overdue_at(armed.epoch, armed.fence_at, state.fenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ArmedLease;
    use leaderl_decision::model::{Epoch, Nonce};
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    const MS: u64 = 1_000_000;

    fn armed(until_ms: u64, fenced: Option<u64>) -> HeartState {
        let lease = ArmedLease {
            epoch: Epoch(3),
            nonce: Nonce("a".into()),
            seq: 1,
            t0: Timestamp(0),
            fence_at: Timestamp(until_ms * MS),
        };
        HeartState { armed: Some(lease), fenced: fenced.map(Epoch), ..HeartState::default() }
    }

    #[test]
    fn heart_has_a_thirtieth_of_d_after_its_deadline() {
        let clock = Arc::new(Hand(AtomicU64::new(0)));
        let at = |ms: u64| clock.0.store(ms * MS, Ordering::Relaxed);
        let patience = Patience::new(Duration::from_secs(6), clock.clone());
        let mut watch = patience.watch();
        let state = armed(4000, None);
        assert_eq!(watch.left(Some(&state)), Some(Duration::from_millis(4200)));
        at(4199);
        assert!(!watch.is_over(Some(&state)));
        at(4200);
        assert!(watch.is_over(Some(&state)) && watch.left(Some(&state)) == Some(Duration::ZERO));
        assert!(!watch.is_over(Some(&armed(4000, Some(3)))), "it has fenced");
        assert!(!watch.is_over(Some(&armed(4500, None))), "a renewal has moved it");
        assert!(watch.left(Some(&HeartState::default())).is_none() && !watch.is_over(None));
    }

    #[test]
    fn a_daemon_that_stood_still_itself_gives_heart_as_long_again() {
        let clock = Arc::new(Hand(AtomicU64::new(0)));
        let patience = Patience::new(Duration::from_secs(6), clock.clone());
        let mut watch = patience.watch();
        let state = armed(4000, None);
        clock.0.store(30_000 * MS, Ordering::Relaxed);
        assert!(!watch.is_over(Some(&state)), "its word may be under way");
        assert_eq!(watch.left(Some(&state)), Some(Duration::from_millis(200)));
        clock.0.store(30_200 * MS, Ordering::Relaxed);
        assert!(watch.is_over(Some(&state)));
    }
}
