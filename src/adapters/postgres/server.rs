//! [`PostgresServer`] for the real PostgreSQL.

use super::session::within;
use super::{POLL, RealPostgres, remote, upstream};
use crate::heart::protocol::{PostgresStart, ToolRequest};
use crate::ports::{PostgresError, PostgresServer};
use async_trait::async_trait;
use leaderl_decision::model::{Epoch, Lsn, NodeId, Revision, Timeline};
use leaderl_decision::records::{MemberRecord, Token};
use leaderl_decision::replication_plan::{FilesSeen, ServerSeen, Source, SyncNames, UnsyncedMark, Upstream};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often a connection is tried while a server starts.
const CONNECT_AGAIN: Duration = Duration::from_millis(10);

#[async_trait]
impl PostgresServer for RealPostgres {
    async fn files(&self) -> Result<FilesSeen, PostgresError> {
        self.with_files(|files| files.look()).await
    }

    async fn server(&self, limit: Duration) -> Result<Option<ServerSeen>, PostgresError> {
        self.look(limit).await
    }

    async fn epochs(&self) -> Result<BTreeMap<Timeline, Epoch>, PostgresError> {
        self.with_files(|files| files.epochs()).await
    }

    async fn remember_epochs(&self, epochs: &BTreeMap<Timeline, Epoch>) -> Result<(), PostgresError> {
        let epochs = epochs.clone();
        self.with_files(move |files| files.remember_epochs(&epochs)).await
    }

    async fn prepare_start(&self) -> Result<(), PostgresError> {
        self.sentinel().await?;
        self.with_files(|files| files.prepare_start()).await
    }

    fn start_request(&self) -> Result<PostgresStart, PostgresError> {
        let layout = &self.layout;
        Ok(PostgresStart {
            program: layout.bin.join("postgres"),
            data_dir: layout.data.clone(),
            args: vec![
                "-D".into(),
                layout.data.display().to_string(),
                "-c".into(),
                format!("config_file={}", layout.conf_file("postgresql.conf").display()),
            ],
            uid: self.owner.uid,
            gid: self.owner.gid,
            log_file: layout.server_log.clone(),
        })
    }

    async fn await_answer(&self, limit: Duration) -> Result<(), PostgresError> {
        let mut last = Ok(());
        let answered = timeout(limit, async {
            loop {
                match self.sessions.rows("select 1", limit).await {
                    Ok(_) => return,
                    Err(why) => last = Err(why),
                }
                sleep(CONNECT_AGAIN).await;
            }
        });
        match answered.await {
            Ok(()) => Ok(()),
            Err(_) => last.and(Err(PostgresError::TimedOut { what: "starting".into(), limit })),
        }
    }

    async fn reload(&self, postmaster: Option<u32>, limit: Duration) -> Result<(), PostgresError> {
        match self.sessions.rows("select pg_reload_conf()", limit).await {
            Ok(_) => Ok(()),
            Err(no_session) => match postmaster {
                Some(pid) => super::init::signal_reload(pid),
                None => Err(no_session),
            },
        }
    }

    async fn write_access(&self, members: &BTreeMap<NodeId, MemberRecord>) -> Result<(), PostgresError> {
        let members = members.clone();
        self.with_files(move |files| files.write_access(&members)).await
    }

    async fn promise(&self, revision: Revision, mark: Option<Token>) -> Result<(), PostgresError> {
        self.with_files(move |files| files.promise(revision, mark.as_ref())).await
    }

    async fn point_at_sentinel(&self, revision: Revision) -> Result<(), PostgresError> {
        self.sentinel().await?;
        self.with_files(move |files| files.point_at(&upstream::sentinel(revision), revision, false)).await
    }

    async fn point_at(&self, source: &Source, revision: Revision, catch_up: bool) -> Result<(), PostgresError> {
        let target = Upstream::Node(source.clone());
        self.with_files(move |files| files.point_at(&target, revision, catch_up)).await
    }

    async fn resume_replay(&self, limit: Duration) -> Result<(), PostgresError> {
        self.sessions.rows("select pg_wal_replay_resume()", limit).await.map(|_| ())
    }

    async fn await_proof(&self, limit: Duration) -> Result<(), PostgresError> {
        let Upstream::Sentinel { revision, name } = self.files().await?.upstream else { return Ok(()) };
        let sentinel = self.sentinel().await?;
        if timeout(limit, sentinel.until(&name)).await.is_err() {
            // A server that answers but does not come here under this name gets a new one to come under.
            self.point_at_sentinel(revision).await?;
            return self.reload(None, limit).await;
        }
        let consumed = timeout(limit, async {
            while !self.waits_for_wal(limit).await? {
                sleep(POLL).await;
            }
            Ok(())
        });
        consumed.await.unwrap_or(Ok(()))
    }

    async fn await_streaming(&self, source: &Source, limit: Duration) -> Result<(), PostgresError> {
        let sql = "select sender_host || ' ' || sender_port from pg_stat_wal_receiver where status = 'streaming'";
        let wanted = format!("{} {}", source.address, source.port);
        let streaming = timeout(limit, async {
            loop {
                let rows = self.sessions.rows(sql, limit).await?;
                if rows.first().and_then(|row| row.first()).cloned().flatten().as_deref() == Some(wanted.as_str()) {
                    return Ok(());
                }
                sleep(POLL).await;
            }
        });
        streaming.await.unwrap_or(Ok(()))
    }

    async fn create_slot(&self, name: &str, limit: Duration) -> Result<(), PostgresError> {
        let sql = format!(
            "select pg_create_physical_replication_slot('{name}', true) \
             where not exists (select from pg_replication_slots where slot_name = '{name}')"
        );
        self.sessions.rows(&sql, limit).await.map(|_| ())
    }

    async fn drop_slot(&self, name: &str, limit: Duration) -> Result<(), PostgresError> {
        let busy = format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{name}' and active"
        );
        within("ending a slot's walsender", limit, async {
            while !self.sessions.rows(&busy, limit).await?.is_empty() {
                sleep(POLL).await;
            }
            let drop = format!(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{name}'"
            );
            self.sessions.rows(&drop, limit).await.map(|_| ())
        })
        .await
    }

    async fn advance_slots(&self, to: Lsn, limit: Duration) -> Result<(), PostgresError> {
        let sql = format!(
            "select pg_replication_slot_advance(slot_name, '{to}') from pg_replication_slots \
             where slot_name like 'leaderl\\_%' and slot_type = 'physical' and not active and restart_lsn < '{to}'"
        );
        self.sessions.rows(&sql, limit).await.map(|_| ())
    }

    async fn mark_unsynced(&self, mark: Option<&UnsyncedMark>) -> Result<(), PostgresError> {
        let mark = mark.cloned();
        self.with_files(move |files| files.mark_unsynced(mark.as_ref())).await
    }

    async fn ask_holder(&self, source: &Source, timeline: Timeline, limit: Duration) -> Result<Lsn, PostgresError> {
        within("asking the leader's PostgreSQL", limit, async {
            let client = remote::open(source, &self.replication_user, &self.passwords.replication.0).await?;
            remote::flushed(&client, timeline).await
        })
        .await
    }

    async fn await_source_checkpoint(
        &self,
        source: &Source,
        timeline: Option<Timeline>,
        limit: Duration,
    ) -> Result<(), PostgresError> {
        within("the leader's checkpoint on its timeline", limit, async {
            let client = remote::open(source, &self.replication_user, &self.passwords.replication.0).await?;
            remote::checkpointed(&client, timeline).await
        })
        .await
    }

    async fn begin_rewind(&self, source: &Source) -> Result<ToolRequest, PostgresError> {
        let source = source.clone();
        self.with_files(move |files| files.begin_rewind(&source)).await
    }

    async fn finish_rewind(&self) -> Result<(), PostgresError> {
        self.with_files(|files| files.finish_rewind()).await
    }

    async fn begin_copy(&self, source: &Source) -> Result<ToolRequest, PostgresError> {
        let source = source.clone();
        self.with_files(move |files| {
            files.prepare_conf()?;
            files.begin_copy(&source)
        })
        .await
    }

    async fn finish_copy(&self) -> Result<(), PostgresError> {
        self.with_files(|files| files.finish_copy()).await
    }

    async fn swap_in(&self, epoch: Epoch) -> Result<(), PostgresError> {
        self.with_files(move |files| files.swap_in(epoch)).await
    }

    async fn tool_words(&self) -> String {
        self.with_files(|files| Ok(files.tool_words())).await.unwrap_or_default()
    }

    async fn write_token(&self, token: &Token) -> Result<(), PostgresError> {
        let token = token.clone();
        self.with_files(move |files| files.write_token(&token)).await
    }

    async fn write_sync_names(&self, names: &SyncNames) -> Result<(), PostgresError> {
        let names = names.clone();
        self.with_files(move |files| files.write_sync_names(&names)).await
    }

    async fn prove_sync_names(
        &self,
        names: &SyncNames,
        checkpoint: bool,
        limit: Duration,
    ) -> Result<Lsn, PostgresError> {
        self.prove_names(names, checkpoint, limit).await
    }

    async fn place_history(&self, after: Timeline, up_to: Timeline) -> Result<(), PostgresError> {
        self.with_files(move |files| files.place_history(after, up_to)).await
    }

    async fn promote(&self, limit: Duration) -> Result<(), PostgresError> {
        self.promote_and_wait(limit).await
    }

    async fn end_predecessors(&self, limit: Duration) -> Result<(), PostgresError> {
        self.end_earlier_sessions(limit).await
    }

    async fn test_write(&self, epoch: Epoch, limit: Duration) -> Result<(), PostgresError> {
        self.write_something(epoch, limit).await
    }

    async fn make_roles(&self, limit: Duration) -> Result<(), PostgresError> {
        self.create_roles(limit).await
    }

    async fn checkpoint(&self, limit: Duration) -> Result<(), PostgresError> {
        self.checkpoint_alone(limit).await
    }
}
