//! Reads the rows of a run from every node.

use super::report::RowName;
use crate::{Failure, Outcome, While, fail};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, Config, NoTls};

/// For a connection, and for the log-in on it.
pub const LOG_IN_LIMIT: Duration = Duration::from_secs(3);
const READ_LIMIT: Duration = Duration::from_secs(60);
/// Until a follower has replayed what the leader had when reading began.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A session with a node for questions. Closes with the client.
///
/// # Errors
/// The node does not take the log-in within 3 s.
pub async fn connect(address: IpAddr, port: u16, user: &str, password: &str) -> Outcome<Client> {
    let config = log_in(address, port, user, password);
    let (client, connection) = timeout(LOG_IN_LIMIT, config.connect(NoTls))
        .await
        .during(|| format!("connecting to {address}"))?
        .map_err(|error| Failure(format!("connecting to {address}: {}", explain(&error))))?;
    tokio::spawn(connection);
    Ok(client)
}

/// How the reader logs in.
#[must_use]
pub fn log_in(address: IpAddr, port: u16, user: &str, password: &str) -> Config {
    let mut config = Config::new();
    config.hostaddr(address).host(address.to_string()).port(port).user(user).password(password);
    config.dbname("postgres").application_name("row-checker-reader").connect_timeout(LOG_IN_LIMIT);
    config
}

/// The server's own words, which the driver's `Display` leaves out.
#[must_use]
pub fn explain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}

/// One value as text, or the reason why there is none.
///
/// # Errors
/// The statement fails or takes longer than a minute.
pub async fn ask(client: &Client, sql: &str) -> Outcome<String> {
    let messages = timeout(READ_LIMIT, client.simple_query(sql))
        .await
        .during(|| sql.into())?
        .map_err(|error| Failure(format!("{sql}: {}", explain(&error))))?;
    for message in messages {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).unwrap_or_default().to_string());
        }
    }
    fail(format!("{sql}: no row"))
}

/// All rows of `run` on each node, by a session with it; followers first catch up with what the writable node has flushed now.
///
/// # Errors
/// No node, or more than one, is writable; a node cannot be read; a follower does not catch up in 30 s.
pub async fn rows(sessions: &[(String, Client)], run: i32) -> Outcome<BTreeMap<String, Vec<RowName>>> {
    let mut writable = Vec::new();
    for (name, session) in sessions {
        if ask(session, "SELECT pg_is_in_recovery()").await? == "f" {
            writable.push((name.clone(), ask(session, "SELECT pg_current_wal_flush_lsn()").await?));
        }
    }
    let [(_, end)] = &writable[..] else {
        let names: Vec<&String> = writable.iter().map(|(name, _)| name).collect();
        return fail(format!("exactly one node should be writable, but {names:?} are"));
    };
    let mut rows = BTreeMap::new();
    for (name, session) in sessions {
        catch_up(name, session, end).await?;
        rows.insert(name.clone(), read(name, session, run).await?);
    }
    Ok(rows)
}

async fn catch_up(name: &str, session: &Client, end: &str) -> Outcome<()> {
    let limit = Instant::now() + CATCH_UP_LIMIT;
    let sql = format!("SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '{end}'");
    while ask(session, &sql).await? != "t" {
        if Instant::now() > limit {
            let at = ask(session, "SELECT pg_last_wal_replay_lsn()").await?;
            return fail(format!("{name} has replayed {at} and does not reach {end} within 30 s"));
        }
        sleep(POLL).await;
    }
    Ok(())
}

async fn read(name: &str, session: &Client, run: i32) -> Outcome<Vec<RowName>> {
    let found = timeout(READ_LIMIT, session.query("SELECT client, seq FROM row_checker WHERE run = $1", &[&run]))
        .await
        .during(|| format!("reading rows on {name}"))?
        .map_err(|error| Failure(format!("reading rows on {name}: {}", explain(&error))))?;
    Ok(found
        .iter()
        .map(|row| RowName { client: row.get::<_, i32>(0).cast_unsigned(), seq: row.get::<_, i64>(1).cast_unsigned() })
        .collect())
}
