//! What only a primary, or a server about to become one, is asked.

use super::session::{Row, ask, within};
use super::upstream::names_text;
use super::{POLL, RealPostgres};
use crate::ports::PostgresError;
use leaderl_decision::model::{Epoch, Lsn, NodeId};
use leaderl_decision::replication_plan::SyncNames;
use std::time::Duration;
use tokio::time::sleep;

impl RealPostgres {
    /// Promotion by our own open session; recovery's end is looked for every millisecond.
    pub(super) async fn promote_and_wait(&self, limit: Duration) -> Result<(), PostgresError> {
        within("promotion", limit, async {
            self.sessions.rows("select pg_promote(false)", limit).await?;
            loop {
                let rows = self.sessions.rows("select pg_is_in_recovery()", limit).await?;
                if rows.first().and_then(|row| row.first()).cloned().flatten().as_deref() == Some("f") {
                    return Ok(());
                }
                sleep(POLL).await;
            }
        })
        .await
    }

    /// Ends every session named as ours but the one that asks, and sees them gone (rule R3).
    pub(super) async fn end_earlier_sessions(&self, limit: Duration) -> Result<(), PostgresError> {
        self.wal_session.forget().await;
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where application_name = 'leaderl' and pid <> pg_backend_pid()";
        within("ending an earlier daemon's sessions", limit, async {
            while !self.sessions.rows(sql, limit).await?.is_empty() {
                sleep(POLL).await;
            }
            Ok(())
        })
        .await
    }

    /// A transactional message: it takes a transaction id and its commit is flushed, and it needs no table.
    pub(super) async fn write_something(&self, epoch: Epoch, limit: Duration) -> Result<(), PostgresError> {
        let sql = format!("select pg_logical_emit_message(true, 'leaderl', 'epoch {epoch}')");
        self.sessions.rows(&sql, limit).await.map(|_| ())
    }

    /// The replication role with what pg_rewind needs, and the superuser's password; verifiers only, never logged.
    pub(super) async fn create_roles(&self, limit: Duration) -> Result<(), PostgresError> {
        let verifier = |password: &str| tokio_postgres_verifier(password);
        let (user, superuser) = (identifier(&self.replication_user), identifier(&self.superuser));
        let literal = self.replication_user.replace('\'', "''");
        let exists = format!("select 1 from pg_roles where rolname = '{literal}'");
        let verb = if self.sessions.rows(&exists, limit).await?.is_empty() { "create" } else { "alter" };
        let replication = verifier(&self.passwords.replication.0);
        let own = verifier(&self.passwords.superuser.0);
        let sql = format!(
            "set log_statement = 'none'; set log_min_error_statement = 'panic'; set log_min_duration_statement = -1; \n\
             {verb} role {user} login replication password '{replication}'; \n\
             alter role {superuser} password '{own}'; \n\
             grant execute on function pg_catalog.pg_ls_dir(text, boolean, boolean) to {user}; \n\
             grant execute on function pg_catalog.pg_stat_file(text, boolean) to {user}; \n\
             grant execute on function pg_catalog.pg_read_binary_file(text) to {user}; \n\
             grant execute on function pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) to {user}; \n\
             reset log_statement; reset log_min_error_statement; reset log_min_duration_statement"
        );
        self.sessions.rows(&sql, limit).await.map(|_| ())
    }

    /// On a session of its own, which the caller may abandon.
    pub(super) async fn checkpoint_alone(&self, limit: Duration) -> Result<(), PostgresError> {
        within("a checkpoint", limit, async {
            let client = self.sessions.fresh().await?;
            ask(&client, "set statement_timeout = 0").await?;
            ask(&client, "checkpoint").await.map(|_| ())
        })
        .await
    }

    /// See `PostgresServer::prove_sync_names`.
    ///
    /// A fresh session's value proves the postmaster's, and that the checkpointer and the walsenders were signalled. The
    /// checkpointer looks at its signal before it begins to serve a request, so after *two* checkpoints begun later it has
    /// surely published the switch that makes commits wait: the first may have been picked up just before the signal.
    pub(super) async fn prove_names(
        &self,
        names: &SyncNames,
        checkpoint: bool,
        limit: Duration,
    ) -> Result<Lsn, PostgresError> {
        within("proving synchronous_standby_names", limit, async {
            while self.fresh_names().await? != names_text(names) {
                sleep(POLL).await;
            }
            if checkpoint {
                self.checkpoint_alone(limit).await?;
                self.checkpoint_alone(limit).await?;
            }
            let client = self.sessions.fresh().await?;
            while !senders_agree(&ask(&client, SENDERS).await?.pop().unwrap_or_default(), names) {
                sleep(POLL).await;
            }
            let rows = ask(&client, "select pg_current_wal_flush_lsn()").await?.pop().unwrap_or_default();
            let answer = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten().unwrap_or_default();
            answer.parse().map_err(|why| PostgresError::Unfit(format!("no flushed position: {why}")))
        })
        .await
    }

    async fn fresh_names(&self) -> Result<String, PostgresError> {
        let client = self.sessions.fresh().await?;
        let rows = ask(&client, "show synchronous_standby_names").await?.pop().unwrap_or_default();
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten().unwrap_or_default())
    }
}

const SENDERS: &str =
    "select application_name, sync_priority > 0, state in ('streaming', 'catchup') from pg_stat_replication";

/// Every walsender counts exactly when it is named; one that does not stream yet reads the names when it begins to.
fn senders_agree(rows: &[Row], names: &SyncNames) -> bool {
    rows.iter().all(|row| {
        let cell = |at: usize| row.get(at).and_then(|cell| cell.as_deref()).unwrap_or_default();
        let (named, counted, streams) = (names.names.contains(&NodeId(cell(0).into())), cell(1) == "t", cell(2) == "t");
        counted == named || (named && !streams)
    })
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The SCRAM verifier PostgreSQL keeps instead of a password.
fn tokio_postgres_verifier(password: &str) -> String {
    postgres_protocol::password::scram_sha_256(password.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_name_that_still_counts_is_disagreement() {
        let (one, two) = ("0".repeat(32), "1".repeat(32));
        let names = SyncNames { names: [NodeId(one.clone())].into(), quorum: 1 };
        let row = |name: &str, counted: &str, streams: &str| -> Row {
            [name, counted, streams].iter().map(|cell| Some((*cell).to_owned())).collect()
        };
        assert!(senders_agree(&[row(&one, "t", "t"), row(&two, "f", "t"), row("leaderl_copy", "f", "f")], &names));
        assert!(!senders_agree(&[row(&one, "t", "t"), row(&two, "t", "t")], &names));
        assert!(!senders_agree(&[row(&one, "f", "t")], &names));
        assert!(senders_agree(&[row(&one, "f", "f")], &names));
    }
}
