//! What is refused before anything starts, and specs that come as words.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::spec::{
    AutoShutdown, ChildId, ChildKind, ChildPolicy, ChildSpec, Restart, RestartIntensity, Shape, Shutdown, Strategy,
    SupervisorSpec,
};
use crate::start::StartChild;

/// Why a spec was refused. Nothing was started.
///
/// The typed builders can only fail with the last four and with a period of zero; the others come from
/// [`SupervisorWords`] and [`ChildWords`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError<Id> {
    /// No such strategy.
    #[error("`{0}` is no strategy")]
    InvalidStrategy(String),
    /// Not a whole number, or negative.
    #[error("`{0}` is no number of restarts")]
    InvalidIntensity(String),
    /// Not a whole number of seconds, or not positive.
    #[error("`{0}` is no period of a second or more")]
    InvalidPeriod(String),
    /// No such automatic shutdown.
    #[error("`{0}` is no automatic shutdown")]
    InvalidAutoShutdown(String),
    /// No such restart type.
    #[error("`{0}` is no restart type")]
    InvalidRestart(String),
    /// Neither `true` nor `false`.
    #[error("a child is significant or not, `{0}` is neither")]
    InvalidSignificant(String),
    /// No such kind of child.
    #[error("`{0}` is no kind of child")]
    InvalidKind(String),
    /// No such shutdown.
    #[error("`{0}` is no shutdown")]
    InvalidShutdown(String),
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
        return Err(SpecError::InvalidPeriod("0".to_owned()));
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
#[derive(Debug, Clone, Copy, Default)]
pub struct SupervisorWords<'a> {
    /// `one_for_one`, `one_for_all`, `rest_for_one` or `simple_one_for_one`.
    pub strategy: Option<&'a str>,
    /// Restarts granted within the period: a number. Default 1.
    pub intensity: Option<&'a str>,
    /// A number of seconds. Default 5.
    pub period: Option<&'a str>,
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
    /// Reads the words in OTP's order; the first that means nothing is told.
    pub fn read<Id>(&self) -> Result<SupervisorFlags, SpecError<Id>> {
        let strategy = match self.strategy {
            None | Some("one_for_one") => Some(Strategy::OneForOne),
            Some("one_for_all") => Some(Strategy::OneForAll),
            Some("rest_for_one") => Some(Strategy::RestForOne),
            Some("simple_one_for_one") => None,
            Some(other) => return Err(SpecError::InvalidStrategy(other.to_owned())),
        };
        let restarts = match self.intensity.map(|word| (word, word.parse::<u64>())) {
            None => 1,
            // More than a supervisor could ever count is no limit, here as there.
            Some((_, Ok(restarts))) => u32::try_from(restarts).unwrap_or(u32::MAX),
            Some((word, Err(_))) => return Err(SpecError::InvalidIntensity(word.to_owned())),
        };
        let seconds = match self.period.map(|word| (word, word.parse::<u64>())) {
            None => 5,
            Some((_, Ok(seconds))) if seconds > 0 => seconds,
            Some((word, Ok(_) | Err(_))) => return Err(SpecError::InvalidPeriod(word.to_owned())),
        };
        let auto_shutdown = match self.auto_shutdown {
            None | Some("never") => AutoShutdown::Never,
            Some("any_significant") => AutoShutdown::AnySignificant,
            Some("all_significant") => AutoShutdown::AllSignificant,
            Some(other) => return Err(SpecError::InvalidAutoShutdown(other.to_owned())),
        };
        let intensity = RestartIntensity { restarts, within: Duration::from_secs(seconds) };
        Ok(SupervisorFlags { strategy, intensity, auto_shutdown })
    }
}

impl SupervisorFlags {
    /// The spec of a supervisor with these children, each checked in its turn, as OTP does. A dynamic supervisor takes
    /// exactly one, its template, whose start function is not used.
    pub fn spec<'a, Id: ChildId>(
        self,
        children: impl IntoIterator<Item = (Id, ChildWords<'a>, StartChild<Id>)>,
    ) -> Result<SupervisorSpec<Id>, SpecError<Id>> {
        let children: Vec<_> = children.into_iter().collect();
        let number = children.len();
        if self.strategy.is_none() && number != 1 {
            return Err(SpecError::NotOneTemplate(number));
        }
        let mut specs: Vec<ChildSpec<Id>> = Vec::with_capacity(number);
        for (id, words, start) in children {
            let child = ChildSpec::new(words.read(id, self.auto_shutdown)?, start);
            if specs.iter().any(|earlier| earlier.id() == child.id()) {
                return Err(SpecError::DuplicateId(child.policy.id));
            }
            specs.push(child);
        }
        let spec = match (self.strategy, specs.pop()) {
            (None, Some(template)) => SupervisorSpec::dynamic(template.policy),
            (None, None) => return Err(SpecError::NotOneTemplate(0)),
            (Some(strategy), last) => SupervisorSpec::new(strategy).children(specs).children(last),
        };
        Ok(spec.intensity(self.intensity).auto_shutdown(self.auto_shutdown))
    }
}

/// The policy of a child as a configuration file has it, in OTP's words. `None` is OTP's default.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChildWords<'a> {
    /// `permanent`, `transient` or `temporary`.
    pub restart: Option<&'a str>,
    /// `true` or `false`.
    pub significant: Option<&'a str>,
    /// `worker` or `supervisor`.
    pub kind: Option<&'a str>,
    /// `brutal_kill`, `infinity` or a number of milliseconds.
    pub shutdown: Option<&'a str>,
}

impl ChildWords<'_> {
    /// Reads the words of a child below a supervisor with this automatic shutdown, in OTP's order; the first that means
    /// nothing, or does not go with the others, is told.
    pub fn read<Id: ChildId>(&self, id: Id, auto_shutdown: AutoShutdown) -> Result<ChildPolicy<Id>, SpecError<Id>> {
        let restart = match self.restart {
            None | Some("permanent") => Restart::Permanent,
            Some("transient") => Restart::Transient,
            Some("temporary") => Restart::Temporary,
            Some(other) => return Err(SpecError::InvalidRestart(other.to_owned())),
        };
        let significant = match self.significant {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(SpecError::InvalidSignificant(other.to_owned())),
        };
        let policy = ChildPolicy::worker(id).restart(restart).significant(significant);
        check_child(&policy, auto_shutdown)?;
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
    use crate::start::Started;

    #[test]
    fn words_default_as_in_otp() {
        let flags = SupervisorWords::default().read::<&str>().unwrap();
        assert_eq!(flags.strategy, Some(Strategy::OneForOne));
        assert_eq!(flags.intensity, RestartIntensity { restarts: 1, within: Duration::from_secs(5) });
        let words = ChildWords { kind: Some("supervisor"), ..ChildWords::default() };
        assert_eq!(words.read("s", AutoShutdown::Never), Ok(ChildPolicy::supervisor("s")));
    }

    #[test]
    fn numbers_have_no_upper_limit_and_no_sign() {
        let words = |intensity, period| SupervisorWords { intensity, period, ..SupervisorWords::default() };
        let flags = words(Some("100000000000"), Some("100000000000")).read::<&str>().unwrap();
        let within = Duration::from_secs(100_000_000_000);
        assert_eq!(flags.intensity, RestartIntensity { restarts: u32::MAX, within });
        assert_eq!(words(Some("-1"), None).read::<&str>(), Err(SpecError::InvalidIntensity("-1".to_owned())));
        assert_eq!(words(None, Some("0")).read::<&str>(), Err(SpecError::InvalidPeriod("0".to_owned())));
    }

    #[test]
    fn children_are_checked_in_order_each_with_all_its_words() {
        let start = || StartChild::new(|_| async { Ok(Started::ignore()) });
        let plain = ChildWords::default();
        let bad = ChildWords { restart: Some("often"), significant: Some("maybe"), ..plain };
        let flags = SupervisorWords::default().read::<&str>().unwrap();
        let refused = |children: Vec<(&'static str, ChildWords<'static>)>| {
            flags.spec(children.into_iter().map(|(id, words)| (id, words, start()))).unwrap_err()
        };
        assert_eq!(refused(vec![("a", plain), ("a", plain), ("b", bad)]), SpecError::DuplicateId("a"));
        assert_eq!(
            refused(vec![("b", bad), ("a", plain), ("a", plain)]),
            SpecError::InvalidRestart("often".to_owned())
        );
        let significant =
            ChildWords { restart: Some("transient"), significant: Some("true"), shutdown: Some("soon"), ..plain };
        assert_eq!(refused(vec![("a", significant), ("b", bad)]), SpecError::SignificantWithoutAutoShutdown("a"));
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
