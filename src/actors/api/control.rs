//! What the daemon and AdminSocketActor share: the way into the tree, and what an announced stop means.

use crate::actors::inside::Inside;
use leaderl_decision::model::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// How long an announcement holds: a stop that comes later is an ordinary one.
pub const ANNOUNCEMENT_HOLDS: Duration = Duration::from_secs(60);

/// What SIGTERM means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopMode {
    /// Step down, hand over, end. The default.
    #[default]
    StepDown,
    /// The daemon comes back at once: heart holds PostgreSQL, VIP and deadline meanwhile; nothing is demoted.
    Restart,
    /// The same, with a new binary.
    Upgrade,
}

/// Shared between the daemon's main task, which sets `inside` and reads the stop mode, and AdminSocketActor.
#[derive(Default)]
pub struct Control {
    /// Set once, after the tree has been started.
    pub inside: OnceLock<Inside>,
    announced: Mutex<(StopMode, Timestamp)>,
}

impl Control {
    /// Nothing announced, no tree yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next SIGTERM, if it comes before [`ANNOUNCEMENT_HOLDS`] is over, means this.
    pub fn announce(&self, mode: StopMode, now: Timestamp) {
        let mut announced = self.announced.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *announced = (mode, now.plus(ANNOUNCEMENT_HOLDS));
    }

    /// What a SIGTERM at `now` means.
    pub fn stop_mode(&self, now: Timestamp) -> StopMode {
        let (mode, until) = *self.announced.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if now < until { mode } else { StopMode::StepDown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_holds_a_minute_and_then_a_stop_is_a_stop() {
        let control = Control::new();
        let now = Timestamp(5);
        assert_eq!(control.stop_mode(now), StopMode::StepDown);
        control.announce(StopMode::Upgrade, now);
        assert_eq!(control.stop_mode(now.plus(Duration::from_secs(59))), StopMode::Upgrade);
        assert_eq!(control.stop_mode(now.plus(Duration::from_secs(60))), StopMode::StepDown);
    }
}
