//! The CLI's end of the admin socket.

use super::error::CliError;
use crate::actors::api::admin_protocol::{AdminAnswer, AdminRequest};
use crate::actors::api::admin_socket::SOCKET_NAME;
use crate::settings::Settings;
use leaderl_decision::model::Reason;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How long one question may take.
const ASK_LIMIT: Duration = Duration::from_secs(15);

/// Asks the daemon of this node.
pub struct Client {
    path: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("the daemon of this node does not answer on {} ({why}); is its service `leaderl` running? Are you root?", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// It said no.
    #[error("{0}")]
    Refused(Reason),
    /// It said something else.
    #[error("the daemon's answer cannot be read ({0}); is it another version?")]
    Broken(String),
}

impl From<AskError> for CliError {
    fn from(error: AskError) -> Self {
        Self::new(error.to_string())
    }
}

impl Client {
    /// The daemon with these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { path: settings.node.runtime_dir.join(SOCKET_NAME) }
    }

    /// One question, one answer.
    pub async fn ask<T: DeserializeOwned>(&self, request: &AdminRequest) -> Result<T, AskError> {
        let asked = tokio::time::timeout(ASK_LIMIT, self.converse(request)).await;
        let line = asked.map_err(|_| self.silent("no answer in time"))?.map_err(|why| self.silent(&why.to_string()))?;
        match serde_json::from_str(&line) {
            Ok(AdminAnswer::Done { value }) => {
                serde_json::from_value(value).map_err(|why| AskError::Broken(why.to_string()))
            }
            Ok(AdminAnswer::Refused { reason }) => Err(AskError::Refused(reason)),
            Err(why) => Err(AskError::Broken(why.to_string())),
        }
    }

    async fn converse(&self, request: &AdminRequest) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.path).await?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        if line.is_empty() {
            return Err(std::io::Error::other("it closed the connection"));
        }
        Ok(line)
    }

    fn silent(&self, why: &str) -> AskError {
        AskError::NoDaemon { path: self.path.clone(), why: why.to_owned() }
    }
}
