//! Why a command did not reach the asked state.

use crate::settings::load::SettingsError;
use leaderl_decision::model::Reason;

/// An error for people: what is the matter and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct CliError {
    text: String,
    /// The exit code; 1 unless a command says otherwise.
    pub code: u8,
}

/// The cluster's state could not be read at all.
pub const UNREADABLE: u8 = 3;

impl CliError {
    /// The asked state is not there.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// With another exit code.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// An error with its causes, joined in one sentence.
    pub fn from_chain(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let said = next.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = next.source();
        }
        Self::new(text)
    }
}

impl From<Reason> for CliError {
    fn from(reason: Reason) -> Self {
        Self::new(reason.text)
    }
}

macro_rules! chained {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::from_chain(&error)
            }
        })*
    };
}

chained!(
    SettingsError,
    std::io::Error,
    serde_json::Error,
    crate::settings::identity::IdentityError,
    crate::settings::secrets::SecretsError,
    crate::settings::private_file::PrivateFileError,
    crate::ports::StoreError,
    crate::ports::ServiceError,
);

chained!(crate::settings::edit::EditError);
