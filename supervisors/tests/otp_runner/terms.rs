//! Erlang's terms, as the scenarios spell them, and the crate's types.

use serde_json::{Value, json};
use supervisors::{ExitReason, SpecError, StartError};

pub type Failed = StartError<String>;

pub fn reason_of(term: &Value) -> ExitReason {
    match (term.as_str(), term.as_array().map(Vec::as_slice)) {
        (Some("normal"), _) => ExitReason::Normal,
        (Some("shutdown"), _) => ExitReason::Shutdown,
        (Some("killed"), _) => ExitReason::Killed,
        (_, Some([tag, why])) if tag == "shutdown" => ExitReason::ShutdownWith(why.to_string()),
        _ => ExitReason::Failed(term.to_string()),
    }
}

pub fn term_of(reason: &ExitReason) -> Value {
    match reason {
        ExitReason::Normal => json!("normal"),
        ExitReason::Shutdown => json!("shutdown"),
        ExitReason::ShutdownWith(why) => json!(["shutdown", read(why)]),
        ExitReason::Killed => json!("killed"),
        ExitReason::Failed(why) => read(why),
        ExitReason::Panicked(panic) => json!({ "raised": read(&panic.message) }),
    }
}

/// Failures and panics carry their term as JSON text; other texts are themselves.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

pub fn start_error(error: &Failed) -> Value {
    match error {
        StartError::Failed(reason) => term_of(reason),
        StartError::Raised(panic) => json!(["EXIT", { "raised": read(&panic.message) }]),
        StartError::Child { id, source } => json!(["shutdown", ["failed_to_start_child", id, start_error(source)]]),
        StartError::Spec(error) => match error {
            SpecError::InvalidStrategy(_)
            | SpecError::InvalidIntensity(_)
            | SpecError::InvalidPeriod(_)
            | SpecError::InvalidAutoShutdown(_) => json!(["supervisor_data", spec_error(error)]),
            SpecError::NotOneTemplate(_) => spec_error(error),
            SpecError::InvalidRestart(_)
            | SpecError::InvalidSignificant(_)
            | SpecError::InvalidKind(_)
            | SpecError::InvalidShutdown(_)
            | SpecError::DuplicateId(_)
            | SpecError::SignificantWithoutAutoShutdown(_)
            | SpecError::SignificantPermanent(_) => json!(["start_spec", spec_error(error)]),
        },
    }
}

pub fn spec_error(error: &SpecError<String>) -> Value {
    match error {
        SpecError::InvalidStrategy(word) => json!(["invalid_strategy", read(word)]),
        SpecError::InvalidIntensity(word) => json!(["invalid_intensity", read(word)]),
        SpecError::InvalidPeriod(word) => json!(["invalid_period", read(word)]),
        SpecError::InvalidAutoShutdown(word) => json!(["invalid_auto_shutdown", read(word)]),
        SpecError::InvalidRestart(word) => json!(["invalid_restart_type", read(word)]),
        SpecError::InvalidSignificant(word) => json!(["invalid_significant", read(word)]),
        SpecError::InvalidKind(word) => json!(["invalid_child_type", read(word)]),
        SpecError::InvalidShutdown(word) => json!(["invalid_shutdown", read(word)]),
        SpecError::DuplicateId(id) => json!(["duplicate_child_name", id]),
        SpecError::SignificantWithoutAutoShutdown(_) => {
            json!(["bad_combination", { "list": [["auto_shutdown", "never"], ["significant", true]] }])
        }
        SpecError::SignificantPermanent(_) => {
            json!(["bad_combination", { "list": [["restart", "permanent"], ["significant", true]] }])
        }
        SpecError::NotOneTemplate(_) => json!(["bad_start_spec"]),
    }
}
