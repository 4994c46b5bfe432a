//! The rules, without any actor: an exit, the settings and the time go in, what to do comes out.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::exit_reason::ExitReason;
use crate::spec::{AutoShutdown, Restart, RestartIntensity, Strategy};

/// What the exit of a child asks of its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Restart it, and with it what the strategy says.
    Restart,
    /// Let it rest; a significant child may now end the supervisor.
    Retire,
}

/// Whether a child that ended for this reason comes back.
pub(crate) fn verdict(restart: Restart, reason: &ExitReason) -> Verdict {
    match restart {
        Restart::Permanent => Verdict::Restart,
        Restart::Transient if reason.is_orderly() => Verdict::Retire,
        Restart::Transient => Verdict::Restart,
        Restart::Temporary => Verdict::Retire,
    }
}

/// The children, by place in start order, that a restart of the one at `failed` stops and starts.
pub(crate) fn scope(strategy: Strategy, failed: usize, count: usize) -> Range<usize> {
    match strategy {
        Strategy::OneForOne => failed..failed + 1,
        Strategy::RestForOne => failed..count,
        Strategy::OneForAll => 0..count,
    }
}

/// Whether a child that retired takes its supervisor along. `others_alive`: another significant child is not yet down.
pub(crate) fn ends_supervisor(
    auto_shutdown: AutoShutdown,
    significant: bool,
    others_alive: impl FnOnce() -> bool,
) -> bool {
    significant
        && match auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !others_alive(),
        }
}

/// Whether one more restart is within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    TooMany,
}

/// The restarts of the near past, counted as OTP counts them: in whole seconds, each group restart once.
#[derive(Debug, Clone)]
pub(crate) struct RestartHistory {
    intensity: RestartIntensity,
    /// The second of each restart, the oldest first.
    seconds: VecDeque<u64>,
}

impl RestartHistory {
    pub(crate) fn new(intensity: RestartIntensity) -> Self {
        Self { intensity, seconds: VecDeque::new() }
    }

    /// Counts a restart at `now`, which is the time since any fixed moment.
    pub(crate) fn admit(&mut self, now: Duration) -> Admission {
        self.forget(now);
        self.seconds.push_back(now.as_secs());
        if self.seconds.len() > self.intensity.restarts as usize { Admission::TooMany } else { Admission::Granted }
    }

    /// How many restarts count at `now`.
    pub(crate) fn recent(&self, now: Duration) -> usize {
        self.seconds.iter().filter(|then| self.counts(**then, now)).count()
    }

    fn forget(&mut self, now: Duration) {
        while self.seconds.front().is_some_and(|then| !self.counts(*then, now)) {
            self.seconds.pop_front();
        }
    }

    /// The age is a difference of whole seconds and may equal the limit, hence 1.5 s may count within 1 s.
    fn counts(&self, then: u64, now: Duration) -> bool {
        Duration::from_secs(now.as_secs().saturating_sub(then)) <= self.intensity.within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(restarts: u32, within_s: u64) -> RestartHistory {
        RestartHistory::new(RestartIntensity { restarts, within: Duration::from_secs(within_s) })
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_permanent_child_always_comes_back_and_a_temporary_one_never() {
        for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed, ExitReason::Failed("boom".into())]
        {
            assert_eq!(verdict(Restart::Permanent, &reason), Verdict::Restart);
            assert_eq!(verdict(Restart::Temporary, &reason), Verdict::Retire);
        }
    }

    #[test]
    fn a_transient_child_comes_back_after_a_failure_and_a_kill_only() {
        assert_eq!(verdict(Restart::Transient, &ExitReason::ShutdownWith("done".into())), Verdict::Retire);
        assert_eq!(verdict(Restart::Transient, &ExitReason::Killed), Verdict::Restart);
        assert_eq!(verdict(Restart::Transient, &ExitReason::Failed("normal-ish".into())), Verdict::Restart);
    }

    #[test]
    fn no_restart_is_allowed_with_intensity_zero() {
        assert_eq!(history(0, 5).admit(ms(0)), Admission::TooMany);
    }

    #[test]
    fn a_restart_one_and_a_half_seconds_ago_counts_within_one_second() {
        let mut history = history(1, 1);
        assert_eq!(history.admit(ms(50)), Admission::Granted);
        assert_eq!(history.admit(ms(1_550)), Admission::TooMany);
    }

    #[test]
    fn a_restart_two_second_boundaries_ago_is_forgotten_within_one_second() {
        let mut history = history(1, 1);
        assert_eq!(history.admit(ms(800)), Admission::Granted);
        assert_eq!(history.admit(ms(2_150)), Admission::Granted);
    }

    #[test]
    fn rest_for_one_reaches_from_the_failed_child_to_the_last() {
        assert_eq!(scope(Strategy::RestForOne, 1, 4), 1..4);
        assert_eq!(scope(Strategy::OneForAll, 1, 4), 0..4);
        assert_eq!(scope(Strategy::OneForOne, 1, 4), 1..2);
    }

    #[test]
    fn only_significant_children_end_their_supervisor() {
        assert!(!ends_supervisor(AutoShutdown::AnySignificant, false, || false));
        assert!(ends_supervisor(AutoShutdown::AnySignificant, true, || true));
        assert!(!ends_supervisor(AutoShutdown::AllSignificant, true, || true));
        assert!(ends_supervisor(AutoShutdown::AllSignificant, true, || false));
        assert!(!ends_supervisor(AutoShutdown::Never, true, || false));
    }
}
