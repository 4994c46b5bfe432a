//! What is asked of another node's server directly, as the replication role.

use super::session::{Row, ask, connect};
use crate::ports::PostgresError;
use leaderl_decision::model::{Lsn, Timeline};
use leaderl_decision::replication_plan::Source;
use std::time::Duration;
use tokio_postgres::{Client, Config};

/// How often a source is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Opens a session with a source. The caller bounds the wait.
pub(super) async fn open(source: &Source, user: &str, password: &str) -> Result<Client, PostgresError> {
    let mut config = Config::new();
    config
        .host(&source.address)
        .port(source.port)
        .user(user)
        .password(password)
        .dbname("postgres")
        .application_name("leaderl_ask")
        .options("-c statement_timeout=5s")
        .connect_timeout(Duration::from_secs(5));
    connect(&config, &format!("at {}:{}", source.address, source.port)).await
}

/// What a primary on `timeline` has flushed now.
pub(super) async fn flushed(client: &Client, timeline: Timeline) -> Result<Lsn, PostgresError> {
    if one(client, "select pg_is_in_recovery()").await? != "f" {
        return Err(PostgresError::Unfit("the leader's PostgreSQL is still in recovery".into()));
    }
    let both = "select pg_current_wal_flush_lsn() || ' ' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)";
    let answer = one(client, both).await?;
    let unfit = || PostgresError::Unfit(format!("the leader answered `{answer}`"));
    let (lsn, there) = answer.split_once(' ').ok_or_else(unfit)?;
    let there = Timeline(u32::from_str_radix(there, 16).map_err(|_| unfit())?);
    if there != timeline {
        return Err(PostgresError::Unfit(format!("the leader is on timeline {there}, not on {timeline}")));
    }
    lsn.parse().map_err(|_| unfit())
}

/// Waits until the control file of a source shows `timeline`; the caller bounds the wait.
pub(super) async fn checkpointed(client: &Client, timeline: Option<Timeline>) -> Result<(), PostgresError> {
    loop {
        let there = one(client, "select timeline_id from pg_control_checkpoint()").await?;
        if timeline.is_none_or(|timeline| there == timeline.to_string()) {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn one(client: &Client, sql: &str) -> Result<String, PostgresError> {
    let rows: Vec<Row> = ask(client, sql).await?.pop().unwrap_or_default();
    let cell = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    cell.ok_or_else(|| PostgresError::Unfit(format!("`{sql}` answered nothing")))
}
