//! How often a service may fail in a row before it counts as failed.

use crate::model::ServiceName;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It answers.
    Passed,
    /// It does not answer because leaderl itself is starting, stopping or rebuilding it: that is no failure.
    Excused,
    /// It does not.
    Failed {
        /// What was seen, for people.
        detail: String,
    },
    /// It does not, and asking again is of no use (the disk itself refuses to be written).
    Final {
        /// What was seen, for people.
        detail: String,
    },
}

/// Failures of one service in a row.
///
/// It trips when there are *more* than `allowed` (the original's documentation leaves open whether the fifth or the sixth
/// failure trips; here `max_*_failures = 5` means that the sixth does). Any success resets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCounter {
    allowed: u32,
    failures: u32,
    finally: bool,
    detail: String,
}

impl HealthCounter {
    /// Nothing checked yet; `allowed` failures in a row are tolerated.
    pub fn new(allowed: u32) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// Goes on where another counter was, as it was told of: failures in a row, whether it had tripped, and the last words.
    pub fn resumed(allowed: u32, failures: u32, tripped: bool, detail: &str) -> Self {
        Self { allowed, failures, finally: tripped && failures <= allowed, detail: detail.to_owned() }
    }

    /// Takes one check's outcome into account.
    pub fn record(&mut self, outcome: CheckOutcome) {
        match outcome {
            CheckOutcome::Passed | CheckOutcome::Excused => *self = Self::new(self.allowed),
            CheckOutcome::Failed { detail } => self.fail(detail, false),
            CheckOutcome::Final { detail } => self.fail(detail, true),
        }
    }

    fn fail(&mut self, detail: String, finally: bool) {
        self.failures = self.failures.saturating_add(1);
        self.finally |= finally;
        self.detail = detail;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// More than allowed, or one that no further check can excuse.
    pub fn tripped(&self) -> bool {
        self.finally || self.failures > self.allowed
    }

    /// The last failure's words; empty after a success.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Whether a tripped service counts against leading at all.
///
/// etcd only informs: a session that cannot reach its local member goes to another one, and the election itself notices when
/// renewals fail. Disks do unless `health.fatal_system_checks` is off.
pub fn counts_against_leading(service: ServiceName, fatal_system_checks: bool) -> bool {
    match service {
        ServiceName::Postgres | ServiceName::Search => true,
        ServiceName::Etcd => false,
        ServiceName::System => fatal_system_checks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> CheckOutcome {
        CheckOutcome::Failed { detail: "no answer".to_owned() }
    }

    #[test]
    fn one_more_failure_than_allowed_trips() {
        let mut counter = HealthCounter::new(5);
        for _ in 0..5 {
            counter.record(failed());
            assert!(!counter.tripped());
        }
        counter.record(failed());
        assert!(counter.tripped());
        assert_eq!((counter.failures(), counter.detail()), (6, "no answer"));
    }

    #[test]
    fn any_success_and_any_excuse_resets() {
        for outcome in [CheckOutcome::Passed, CheckOutcome::Excused] {
            let mut counter = HealthCounter::new(0);
            counter.record(failed());
            assert!(counter.tripped());
            counter.record(outcome);
            assert_eq!(counter, HealthCounter::new(0));
        }
    }

    #[test]
    fn a_final_failure_trips_at_once_and_stays_until_a_success() {
        let mut counter = HealthCounter::new(5);
        counter.record(CheckOutcome::Final { detail: "read-only".to_owned() });
        assert!(counter.tripped());
        counter.record(failed());
        assert!(counter.tripped(), "a milder failure after it is no success");
        counter.record(CheckOutcome::Passed);
        assert!(!counter.tripped());
    }

    #[test]
    fn a_counter_goes_on_where_another_was() {
        let mut counter = HealthCounter::new(1);
        for outcome in [failed(), CheckOutcome::Final { detail: "read-only".to_owned() }, failed()] {
            let resumed = HealthCounter::resumed(1, counter.failures(), counter.tripped(), counter.detail());
            assert_eq!((resumed.tripped(), resumed.failures()), (counter.tripped(), counter.failures()));
            counter = resumed;
            counter.record(outcome);
        }
        counter.record(CheckOutcome::Passed);
        assert_eq!(counter, HealthCounter::new(1));
    }

    #[test]
    fn etcd_only_informs_and_disks_do_as_the_settings_say() {
        assert!(counts_against_leading(ServiceName::Postgres, false));
        assert!(counts_against_leading(ServiceName::Search, false));
        assert!(!counts_against_leading(ServiceName::Etcd, true));
        assert!(counts_against_leading(ServiceName::System, true));
        assert!(!counts_against_leading(ServiceName::System, false));
    }
}
