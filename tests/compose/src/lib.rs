//! leaderl on real containers.
//!
//! - [`checker`]: writers, observers and the judgement over what they recorded. Runs in the frontend container, outside the nodes.
//! - [`cluster`]: three nodes and a frontend in containers, questions to them, and faults injected from outside.
//! - [`rows`]: one function per behaviour; the runner gives each a verdict.

pub mod bench;
pub mod checker;
pub mod cluster;
pub mod demo;
pub mod rows;
pub mod selftest;

/// Why a step or a row did not do what it should: text for the person who reads the run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// What every step here returns.
pub type Outcome<T> = Result<T, Failure>;

/// `Err` with a text.
///
/// # Errors
/// Always: that is its purpose.
pub fn fail<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure(text.into()))
}

/// Says what was being done when something failed.
pub trait While<T> {
    /// Puts `doing` before the cause.
    ///
    /// # Errors
    /// The same as before, with the text in front.
    fn during(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: std::fmt::Display> While<T> for Result<T, E> {
    fn during(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{}: {error}", doing())))
    }
}
