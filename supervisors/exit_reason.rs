//! Why an actor ended: a type, where ractor has a string.

use std::error::Error;
use std::fmt;

/// Why a supervised actor ended.
///
/// An actor chooses its reason by returning it as the error of a callback; `post_stop` does not run then:
///
/// ```
/// use ractor::ActorProcessingErr;
/// use supervisors::ExitReason;
///
/// fn handle_closed_socket() -> Result<(), ActorProcessingErr> {
///     Err(ExitReason::ShutdownWith("peer closed the connection".into()).into())
/// }
/// ```
///
/// `myself.stop(None)` ends it with [`Normal`](Self::Normal) and runs `post_stop`; `myself.stop(Some(text))` ends it with
/// the reason that `text` spells (see [`ExitReason::from_text`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// The work is done.
    Normal,
    /// Ended on request, usually of the supervisor.
    Shutdown,
    /// As [`Shutdown`](Self::Shutdown), with a word about why. OTP's `{shutdown, Term}`.
    ShutdownWith(String),
    /// Killed from outside; `post_stop` did not run.
    Killed,
    /// A callback returned an error: the error and its sources, joined by `: `.
    Failed(String),
    /// A callback panicked.
    Panicked(PanicReport),
}

/// What a panic said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicReport {
    /// The panic's message.
    pub message: String,
    /// `file:line:column`; known once [`install_panic_hook`](crate::install_panic_hook) was called.
    pub location: Option<String>,
}

impl ExitReason {
    /// `Normal`, `Shutdown` and `ShutdownWith`: a transient child that ends so is not restarted.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Normal | Self::Shutdown | Self::ShutdownWith(_) => true,
            Self::Killed | Self::Failed(_) | Self::Panicked(_) => false,
        }
    }

    /// Reads the reason given to ractor's `stop`.
    ///
    /// `normal`, `shutdown`, `shutdown: ...` and `killed` are themselves, ractor's `Drained` is a normal end, and every
    /// other text is a failure: an actor that stops itself with the reason `disk full` has not ended normally.
    pub fn from_text(text: &str) -> Self {
        match text {
            "normal" | "Drained" => Self::Normal,
            "shutdown" => Self::Shutdown,
            "killed" | "actor_task_cancelled" => Self::Killed,
            other => match other.strip_prefix("shutdown: ") {
                Some(why) => Self::ShutdownWith(why.to_owned()),
                None => Self::Failed(other.to_owned()),
            },
        }
    }

    /// Finds the reason in the error of a callback; an error of another type is [`Failed`](Self::Failed) with its text.
    pub(crate) fn from_error(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        match error.downcast_ref::<Self>() {
            Some(reason) => reason.clone(),
            None => Self::Failed(chain(error)),
        }
    }
}

/// The error and everything below it, once each.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownWith(why) => write!(f, "shutdown: {why}"),
            Self::Killed => f.write_str("killed"),
            Self::Failed(why) => f.write_str(why),
            Self::Panicked(panic) => write!(f, "panicked {panic}"),
        }
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(place) => write!(f, "at {place}: {}", self.message),
            None => write!(f, "at an unknown place: {}", self.message),
        }
    }
}

impl Error for ExitReason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_with_an_unknown_word_is_a_failure() {
        assert_eq!(ExitReason::from_text("boom"), ExitReason::Failed("boom".into()));
        assert!(!ExitReason::from_text("boom").is_orderly());
    }

    #[test]
    fn the_text_of_an_orderly_reason_reads_back_as_itself() {
        for reason in
            [ExitReason::Normal, ExitReason::Shutdown, ExitReason::ShutdownWith("x".into()), ExitReason::Killed]
        {
            assert_eq!(ExitReason::from_text(&reason.to_string()), reason);
        }
    }

    #[test]
    fn an_error_is_told_with_its_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot bind")]
        struct Bind(#[source] std::io::Error);
        let error = Bind(std::io::Error::other("address in use"));
        assert_eq!(ExitReason::from_error(&error), ExitReason::Failed("cannot bind: address in use".into()));
    }
}
