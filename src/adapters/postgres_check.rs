//! PostgreSQL's health check: a fresh connection over the local socket and one query, as a client would do it.

use crate::ports::{PostgresAnswer, PostgresProbe, PostgresProbeError};
use crate::settings::Settings;
use crate::settings::secrets::Secret;
use async_trait::async_trait;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

/// Name of the socket directory below `runtime_dir`.
const SOCKET_DIR: &str = "pg";

/// Connects as the superuser: its reserved connections let the check in when clients have used up all others.
pub struct PostgresCheck {
    config: Config,
}

impl PostgresCheck {
    /// For the server of these settings.
    pub fn new(settings: &Settings, password: &Secret) -> Self {
        let socket: PathBuf = settings.node.runtime_dir.join(SOCKET_DIR);
        let mut config = Config::new();
        config
            .host_path(socket)
            .port(settings.postgres.port)
            .user(&settings.postgres.superuser)
            .password(&password.0)
            .dbname("postgres")
            .application_name("leaderl");
        Self { config }
    }

    async fn ask(&self) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // Driven here and not in a task of its own: when this future is dropped, the connection is closed with it.
        let mut connection = std::pin::pin!(connection);
        let mut query = std::pin::pin!(client.simple_query("SELECT 1"));
        tokio::select! {
            biased;
            answer = &mut query => answer.map(|_| ()),
            // The query learns of the connection's end itself.
            ended = &mut connection => match ended {
                Err(error) => Err(error),
                Ok(()) => query.await.map(|_| ()),
            },
        }
    }
}

#[async_trait]
impl PostgresProbe for PostgresCheck {
    async fn check(&self, limit: Duration) -> Result<PostgresAnswer, PostgresProbeError> {
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(Ok(())) => Ok(PostgresAnswer::Answers),
            Ok(Err(error)) => judge(&error),
            Err(_) => Err(PostgresProbeError::Silent { limit }),
        }
    }
}

fn judge(error: &tokio_postgres::Error) -> Result<PostgresAnswer, PostgresProbeError> {
    match error.code() {
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => Ok(PostgresAnswer::Starting),
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => Ok(PostgresAnswer::Full),
        Some(_) | None => Err(PostgresProbeError::Failed { detail: chain(error) }),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    fn server() -> (tempfile::TempDir, UnixListener, PostgresCheck) {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.node.runtime_dir = dir.path().to_path_buf();
        std::fs::create_dir(dir.path().join("pg")).unwrap();
        let listener = UnixListener::bind(dir.path().join("pg/.s.PGSQL.5432")).unwrap();
        (dir, listener, PostgresCheck::new(&settings, &Secret("secret".to_owned())))
    }

    /// Answers the startup packet with these bytes and keeps the connection open.
    async fn answer(listener: UnixListener, bytes: Vec<u8>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut startup = [0; 512];
        let _ = stream.read(&mut startup).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let _ = stream.read(&mut startup).await;
        std::future::pending::<()>().await;
    }

    fn error_packet(code: &str) -> Vec<u8> {
        let body = format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0");
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [b"E".as_slice(), &length, body.as_bytes()].concat()
    }

    async fn check(bytes: Vec<u8>) -> Result<PostgresAnswer, PostgresProbeError> {
        let (_dir, listener, check) = server();
        tokio::select! {
            biased;
            found = check.check(Duration::from_millis(500)) => found,
            () = answer(listener, bytes) => unreachable!("the server never ends"),
        }
    }

    #[tokio::test]
    async fn a_starting_server_and_a_full_one_are_answers() {
        assert_eq!(check(error_packet("57P03")).await, Ok(PostgresAnswer::Starting));
        assert_eq!(check(error_packet("53300")).await, Ok(PostgresAnswer::Full));
    }

    #[tokio::test]
    async fn any_other_refusal_is_a_failure_with_its_cause() {
        let found = check(error_packet("28P01")).await;
        assert!(matches!(&found, Err(PostgresProbeError::Failed { detail }) if detail.contains("no")), "{found:?}");
    }

    #[tokio::test]
    async fn a_frozen_server_accepts_and_says_nothing() {
        let limit = Duration::from_millis(500);
        assert_eq!(check(Vec::new()).await, Err(PostgresProbeError::Silent { limit }));
    }

    #[tokio::test]
    async fn without_a_server_it_fails_at_once() {
        let (dir, listener, check) = server();
        drop((listener, dir));
        let found = check.check(Duration::from_secs(5)).await;
        assert!(matches!(found, Err(PostgresProbeError::Failed { .. })), "{found:?}");
    }
}
