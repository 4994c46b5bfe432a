//! What is refused before anything starts, and specs that come as words.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::spec::{
    AutoShutdown, ChildId, ChildKind, ChildPolicy, Restart, RestartIntensity, Shape, Shutdown, Strategy, SupervisorSpec,
};

/// Why a spec was refused. Nothing was started.
///
/// The typed builders can only fail with the last four; the others come from [`SupervisorWords`] and [`ChildWords`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError<Id> {
    /// No such strategy.
    #[error("`{0}` is no strategy")]
    InvalidStrategy(String),
    /// The number of restarts is negative or too large.
    #[error("{0} is no number of restarts")]
    InvalidIntensity(i64),
    /// The period is not positive.
    #[error("a period of {0} s is not positive")]
    InvalidPeriod(i64),
    /// No such automatic shutdown.
    #[error("`{0}` is no automatic shutdown")]
    InvalidAutoShutdown(String),
    /// No such restart type.
    #[error("`{0}` is no restart type")]
    InvalidRestart(String),
    /// No such shutdown.
    #[error("`{0}` is no shutdown")]
    InvalidShutdown(String),
    /// No such kind of child.
    #[error("`{0}` is no kind of child")]
    InvalidKind(String),
    /// Two children have this id.
    #[error("two children are called {0}")]
    DuplicateId(Id),
    /// A significant child, but the supervisor never shuts down automatically.
    #[error("{0} is significant, but its supervisor's automatic shutdown is `never`")]
    SignificantWithoutAutoShutdown(Id),
    /// A permanent child never ends for good, so it cannot be significant.
    #[error("{0} is significant, but a permanent child never ends for good")]
    SignificantPermanent(Id),
    /// A dynamic supervisor has one template.
    #[error("a dynamic supervisor has one template, not {0}")]
    NotOneTemplate(usize),
}

pub(crate) fn check<Id: ChildId>(spec: &SupervisorSpec<Id>) -> Result<(), SpecError<Id>> {
    if spec.intensity.within.is_zero() {
        return Err(SpecError::InvalidPeriod(0));
    }
    match &spec.shape {
        Shape::Dynamic { others, .. } if *others > 0 => Err(SpecError::NotOneTemplate(1 + others)),
        Shape::Dynamic { template, .. } => check_child(template, spec.auto_shutdown),
        Shape::Static { children, .. } => {
            let mut seen = BTreeSet::new();
            for child in children {
                check_child(&child.policy, spec.auto_shutdown)?;
                if !seen.insert(child.id()) {
                    return Err(SpecError::DuplicateId(child.id().clone()));
                }
            }
            Ok(())
        }
    }
}

pub(crate) fn check_child<Id: ChildId>(
    policy: &ChildPolicy<Id>,
    auto_shutdown: AutoShutdown,
) -> Result<(), SpecError<Id>> {
    if policy.significant && auto_shutdown == AutoShutdown::Never {
        return Err(SpecError::SignificantWithoutAutoShutdown(policy.id.clone()));
    }
    if policy.significant && policy.restart == Restart::Permanent {
        return Err(SpecError::SignificantPermanent(policy.id.clone()));
    }
    Ok(())
}

/// The settings of a supervisor as a configuration file has them, in OTP's words. `None` is OTP's default.
#[derive(Debug, Clone, Default)]
pub struct SupervisorWords<'a> {
    /// `one_for_one`, `one_for_all`, `rest_for_one` or `simple_one_for_one`.
    pub strategy: Option<&'a str>,
    /// Restarts granted within the period. Default 1.
    pub intensity: Option<i64>,
    /// In seconds. Default 5.
    pub period: Option<i64>,
    /// `never`, `any_significant` or `all_significant`.
    pub auto_shutdown: Option<&'a str>,
}

/// What [`SupervisorWords`] mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisorFlags {
    /// `None`: `simple_one_for_one`, a [dynamic supervisor](SupervisorSpec::dynamic).
    pub strategy: Option<Strategy>,
    /// The limit of restarts.
    pub intensity: RestartIntensity,
    /// The automatic shutdown.
    pub auto_shutdown: AutoShutdown,
}

impl SupervisorWords<'_> {
    /// Reads the words.
    pub fn read<Id>(&self) -> Result<SupervisorFlags, SpecError<Id>> {
        let strategy = match self.strategy {
            None | Some("one_for_one") => Some(Strategy::OneForOne),
            Some("one_for_all") => Some(Strategy::OneForAll),
            Some("rest_for_one") => Some(Strategy::RestForOne),
            Some("simple_one_for_one") => None,
            Some(other) => return Err(SpecError::InvalidStrategy(other.to_owned())),
        };
        let wanted = self.intensity.unwrap_or(1);
        let restarts = u32::try_from(wanted).map_err(|_| SpecError::InvalidIntensity(wanted))?;
        let period = self.period.unwrap_or(5);
        let within = match u64::try_from(period) {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
            Ok(_) | Err(_) => return Err(SpecError::InvalidPeriod(period)),
        };
        let auto_shutdown = match self.auto_shutdown {
            None | Some("never") => AutoShutdown::Never,
            Some("any_significant") => AutoShutdown::AnySignificant,
            Some("all_significant") => AutoShutdown::AllSignificant,
            Some(other) => return Err(SpecError::InvalidAutoShutdown(other.to_owned())),
        };
        Ok(SupervisorFlags { strategy, intensity: RestartIntensity { restarts, within }, auto_shutdown })
    }
}

/// The policy of a child as a configuration file has it, in OTP's words. `None` is OTP's default.
#[derive(Debug, Clone, Default)]
pub struct ChildWords<'a> {
    /// `permanent`, `transient` or `temporary`.
    pub restart: Option<&'a str>,
    /// `brutal_kill`, `infinity` or a number of milliseconds.
    pub shutdown: Option<&'a str>,
    /// `worker` or `supervisor`.
    pub kind: Option<&'a str>,
    /// Default false.
    pub significant: bool,
}

impl ChildWords<'_> {
    /// Reads the words. Whether they fit the supervisor is checked when the child is given to it.
    pub fn read<Id: ChildId>(&self, id: Id) -> Result<ChildPolicy<Id>, SpecError<Id>> {
        let restart = match self.restart {
            None | Some("permanent") => Restart::Permanent,
            Some("transient") => Restart::Transient,
            Some("temporary") => Restart::Temporary,
            Some(other) => return Err(SpecError::InvalidRestart(other.to_owned())),
        };
        let policy = ChildPolicy::worker(id).restart(restart).significant(self.significant);
        let policy = match self.kind {
            None | Some("worker") => policy,
            Some("supervisor") => policy.kind(ChildKind::Supervisor).shutdown(Shutdown::Infinity),
            Some(other) => return Err(SpecError::InvalidKind(other.to_owned())),
        };
        Ok(match self.shutdown {
            None => policy,
            Some("brutal_kill") => policy.shutdown(Shutdown::BrutalKill),
            Some("infinity") => policy.shutdown(Shutdown::Infinity),
            Some(other) => match other.parse() {
                Ok(ms) => policy.shutdown(Shutdown::Within(Duration::from_millis(ms))),
                Err(_) => return Err(SpecError::InvalidShutdown(other.to_owned())),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ChildSpec;

    #[test]
    fn words_default_as_in_otp() {
        let flags = SupervisorWords::default().read::<&str>().unwrap();
        assert_eq!(flags.strategy, Some(Strategy::OneForOne));
        assert_eq!(flags.intensity, RestartIntensity { restarts: 1, within: Duration::from_secs(5) });
        let policy = ChildWords { kind: Some("supervisor"), ..ChildWords::default() }.read("s").unwrap();
        assert_eq!(policy, ChildPolicy::supervisor("s"));
    }

    #[test]
    fn a_significant_child_needs_a_supervisor_that_shuts_down() {
        let spec = SupervisorSpec::dynamic(ChildPolicy::worker("t").restart(Restart::Transient).significant(true));
        assert_eq!(spec.check(), Err(SpecError::SignificantWithoutAutoShutdown("t")));
        let spec = SupervisorSpec::dynamic(ChildPolicy::worker("t").significant(true))
            .auto_shutdown(AutoShutdown::AnySignificant);
        assert_eq!(spec.check(), Err(SpecError::SignificantPermanent("t")));
    }

    #[test]
    fn a_dynamic_supervisor_refuses_other_children() {
        let child = ChildSpec::supervisor("s", SupervisorSpec::new(Strategy::OneForOne));
        let spec = SupervisorSpec::dynamic(ChildPolicy::worker("t")).child(child);
        assert_eq!(spec.check(), Err(SpecError::NotOneTemplate(2)));
    }
}
