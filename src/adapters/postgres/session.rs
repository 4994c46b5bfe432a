//! The one session with the local server that stays open, and short ones beside it.

use super::layout::Layout;
use crate::ports::PostgresError;
use crate::settings::Settings;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// A row as text.
pub(super) type Row = Vec<Option<String>>;

/// Opens sessions over the Unix socket; keeps one open.
pub(super) struct Sessions {
    config: Config,
    kept: Mutex<Option<Arc<Client>>>,
}

impl Sessions {
    pub(super) fn new(settings: &Settings, layout: &Layout) -> Self {
        let mut config = Config::new();
        config
            .host_path(&layout.socket_dir)
            .port(settings.postgres.port)
            .user(&settings.postgres.superuser)
            .dbname("postgres")
            .application_name("leaderl")
            .options("-c synchronous_commit=local -c log_statement=none -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s");
        Self { config, kept: Mutex::new(None) }
    }

    /// Runs statements on the session that stays open; opens it first when needed. Answers the last statement's rows.
    ///
    /// A session that fails to answer in time is dropped: a frozen server never answers it.
    pub(super) async fn rows(&self, sql: &str, limit: Duration) -> Result<Vec<Row>, PostgresError> {
        self.all(sql, limit).await.map(|mut statements| statements.pop().unwrap_or_default())
    }

    /// Like [`Sessions::rows`], with the rows of every statement.
    pub(super) async fn all(&self, sql: &str, limit: Duration) -> Result<Vec<Vec<Row>>, PostgresError> {
        let work = async {
            let client = self.kept().await?;
            ask(&client, sql).await
        };
        let answer = match tokio::time::timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(PostgresError::TimedOut { what: "a query of the local PostgreSQL".into(), limit }),
        };
        if let Err(PostgresError::TimedOut { .. } | PostgresError::NoAnswer { .. }) = &answer {
            self.forget().await;
        }
        answer
    }

    /// The kept session, opened when it is not there or has ended.
    async fn kept(&self) -> Result<Arc<Client>, PostgresError> {
        let mut kept = self.kept.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new(connect(&self.config, "here").await?);
        *kept = Some(client.clone());
        Ok(client)
    }

    /// Closes the kept session.
    pub(super) async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    /// Opens a session that ends when dropped. The caller bounds the wait.
    pub(super) async fn fresh(&self) -> Result<Client, PostgresError> {
        connect(&self.config, "here").await
    }
}

/// Opens a session and drives it until the client is dropped. The caller bounds the wait.
pub(super) async fn connect(config: &Config, whom: &str) -> Result<Client, PostgresError> {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .map_err(|source| PostgresError::NoAnswer { whom: whom.to_owned(), source: source.into() })?;
    // Ends with the client; its error reaches the client's next query.
    tokio::spawn(connection);
    Ok(client)
}

/// Runs statements and collects every statement's rows.
pub(super) async fn ask(client: &Client, sql: &str) -> Result<Vec<Vec<Row>>, PostgresError> {
    let messages = client.simple_query(sql).await.map_err(|source| {
        if client.is_closed() || source.is_closed() {
            return PostgresError::NoAnswer { whom: "here".into(), source: source.into() };
        }
        // Statements with a password in them are never quoted.
        let what = sql.lines().next().unwrap_or_default().chars().take(60).collect();
        PostgresError::Query { what, source: source.into() }
    })?;
    let mut statements = vec![Vec::new()];
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)).collect();
                if let Some(rows) = statements.last_mut() {
                    rows.push(cells);
                }
            }
            SimpleQueryMessage::CommandComplete(_) => statements.push(Vec::new()),
            _ => {}
        }
    }
    statements.pop();
    Ok(statements)
}

/// Runs statements that must end within `limit` on a session that is not the kept one.
pub(super) async fn within<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer,
        Err(_) => Err(PostgresError::TimedOut { what: what.to_owned(), limit }),
    }
}
