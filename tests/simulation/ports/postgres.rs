//! PostgreSQL's port: files at once, questions to the server with their delay.

use super::asking::{Done, unfit};
use crate::faults::scenes::On;
use crate::postgres::Receiver;
use crate::world::reply::Line;
use crate::world::{MS, World};
use async_trait::async_trait;
use leaderl::heart::protocol::{PostgresStart, ToolRequest};
use leaderl::ports::*;
use leaderl_decision::model::{Epoch, Lsn, NodeId, Revision, Timeline};
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::records::{MemberRecord, Token};
use leaderl_decision::replication_plan::{FilesSeen, ServerSeen, Source, SyncNames, UnsyncedMark, Upstream};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct SimPostgres(pub(crate) Line);

#[async_trait]
impl PostgresServer for SimPostgres {
    async fn files(&self) -> Done<FilesSeen> {
        let node = self.0.node;
        Ok(self.0.local(move |w| w.files_of(node)).await)
    }

    async fn server(&self, limit: Duration) -> Done<Option<ServerSeen>> {
        match self.statement("look", limit, |w, node| Some(w.server_of(node))).await {
            Ok(seen) => Ok(seen),
            Err(PostgresError::NoAnswer { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn epochs(&self) -> Done<BTreeMap<Timeline, Epoch>> {
        let node = self.0.node;
        let mut epochs = self.0.local(move |w| w.nodes[node].postgres.marks.epochs.clone()).await;
        epochs.insert(Timeline(1), Epoch(0));
        Ok(epochs)
    }

    async fn remember_epochs(&self, epochs: &BTreeMap<Timeline, Epoch>) -> Done<()> {
        let epochs = epochs.clone();
        self.change_files(move |w, node| w.nodes[node].postgres.marks.epochs = epochs).await
    }

    async fn prepare_start(&self) -> Done<()> {
        self.change_files(|w, node| {
            let name = w.fresh_sentinel_name(Revision(0));
            let postgres = &mut w.nodes[node].postgres;
            if postgres.marks.upstream == Upstream::Unset {
                postgres.marks.upstream = Upstream::Sentinel { revision: Revision(0), name };
            }
            postgres.marks.refusal = None;
            postgres.marks.sync_names = SyncNames::of_nobody();
            if let Some(data) = postgres.data.as_mut() {
                data.standby_signal = true;
            }
        })
        .await
    }

    fn start_request(&self) -> Done<PostgresStart> {
        Ok(PostgresStart {
            program: "postgres".into(),
            data_dir: "data".into(),
            args: Vec::new(),
            uid: 1,
            gid: 1,
            log_file: "log".into(),
        })
    }

    async fn await_answer(&self, limit: Duration) -> Done<()> {
        let answers = self.until(limit, |w, node| w.server_of(node).map(|_| ())).await;
        answers.ok_or(PostgresError::TimedOut { what: "starting".into(), limit })
    }

    async fn reload(&self, _postmaster: Option<u32>, _limit: Duration) -> Done<()> {
        let node = self.0.node;
        let sent = self.0.local(move |w| w.nodes[node].postgres.server.is_some().then(|| w.reload_server(node)));
        sent.await.ok_or_else(|| unfit("no server to reload"))
    }

    async fn write_access(&self, _members: &BTreeMap<NodeId, MemberRecord>) -> Done<()> {
        self.change_files(|_, _| ()).await
    }

    async fn promise(&self, revision: Revision, mark: Option<Token>) -> Done<()> {
        self.change_files(move |w, node| {
            let postgres = &mut w.nodes[node].postgres;
            if revision <= postgres.marks.promised {
                return;
            }
            if let (Some(data), Some(mark)) = (postgres.data.as_mut(), mark) {
                data.token = Some(mark);
            }
            postgres.marks.promised = revision;
        })
        .await
    }

    async fn point_at_sentinel(&self, revision: Revision) -> Done<()> {
        self.change_files(move |w, node| {
            let name = w.fresh_sentinel_name(revision);
            let marks = &mut w.nodes[node].postgres.marks;
            marks.upstream = Upstream::Sentinel { revision, name };
            marks.refusal = None;
            w.spring(On::LetsGo, node);
        })
        .await
    }

    async fn point_at(&self, source: &Source, revision: Revision, catch_up: bool) -> Done<()> {
        let source = source.clone();
        self.change_files(move |w, node| {
            let marks = &mut w.nodes[node].postgres.marks;
            let promised = marks.promised;
            if !catch_up && revision <= promised && !planted(Planted::R4PromiseForgotten) {
                return Err(PostgresError::Promised { promised, revision });
            }
            marks.upstream = Upstream::Node(source);
            marks.refusal = None;
            Ok(())
        })
        .await?
    }

    async fn resume_replay(&self, limit: Duration) -> Done<()> {
        self.statement("resume", limit, |w, node| {
            let server = w.nodes[node].postgres.server.as_mut()?;
            server.paused = false;
            let pid = server.pid;
            w.replay(node, pid);
            Some(())
        })
        .await
    }

    async fn await_proof(&self, limit: Duration) -> Done<()> {
        let aimed = self.files().await?.upstream;
        let Upstream::Sentinel { revision, name } = aimed else { return Ok(()) };
        let hangs = self.until(limit, move |w, node| {
            let server = w.nodes[node].postgres.server.as_ref()?;
            (server.receiver == Receiver::AtSentinel(name.clone())).then_some(())
        });
        if hangs.await.is_none() {
            self.point_at_sentinel(revision).await?;
            return self.reload(None, limit).await;
        }
        let _consumed =
            self.until(limit, |w, node| w.server_of(node).filter(|seen| seen.waiting_for_wal).map(|_| ())).await;
        Ok(())
    }

    async fn await_streaming(&self, source: &Source, limit: Duration) -> Done<()> {
        let wanted = (source.address.clone(), source.port);
        let streams = move |w: &mut World, node: usize| {
            let seen = w.server_of(node)?;
            (seen.streaming_from.as_ref() == Some(&wanted)).then_some(())
        };
        let _streams = self.until(limit, streams).await;
        Ok(())
    }

    async fn create_slot(&self, name: &str, limit: Duration) -> Done<()> {
        let name = name.to_owned();
        self.statement("create a slot", limit, move |w, node| w.create_slot(node, &name)).await
    }

    async fn drop_slot(&self, name: &str, limit: Duration) -> Done<()> {
        let name = name.to_owned();
        self.statement("drop a slot", limit, move |w, node| w.drop_slot(node, &name)).await
    }

    async fn advance_slots(&self, to: Lsn, limit: Duration) -> Done<()> {
        self.statement("advance slots", limit, move |w, node| {
            let data = w.nodes[node].postgres.data.as_mut()?;
            data.slots.values_mut().for_each(|slot| slot.restart = slot.restart.max(to));
            Some(())
        })
        .await
    }

    async fn mark_unsynced(&self, mark: Option<&UnsyncedMark>) -> Done<()> {
        let mark = mark.cloned();
        self.change_files(move |w, node| {
            let now = w.now;
            let postgres = &mut w.nodes[node].postgres;
            postgres.unsynced_since = mark.is_some().then(|| postgres.unsynced_since.unwrap_or(now));
            postgres.marks.unsynced = mark;
        })
        .await
    }

    async fn ask_holder(&self, source: &Source, timeline: Timeline, limit: Duration) -> Done<Lsn> {
        let (node, source) = (self.0.node, source.clone());
        let asked = self.0.ask(limit, move |w, reply| w.ask_remote(node, &source, reply)).await;
        match asked {
            Some(Some((Timeline(its), lsn, _))) if Timeline(its) == timeline => Ok(lsn),
            Some(_) => Err(unfit("the holder is in recovery or on another timeline")),
            None => Err(PostgresError::TimedOut { what: "asking the holder".into(), limit }),
        }
    }

    async fn await_source_checkpoint(&self, source: &Source, timeline: Option<Timeline>, limit: Duration) -> Done<()> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Err(PostgresError::TimedOut { what: "the leader's checkpoint".into(), limit });
            }
            let (node, from) = (self.0.node, source.clone());
            let asked = self.0.ask(left, move |w, reply| w.ask_remote(node, &from, reply)).await;
            let control = asked.flatten().map(|(_, _, control)| control);
            if control.is_some_and(|control| timeline.is_none_or(|timeline| timeline == control)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn begin_rewind(&self, source: &Source) -> Done<ToolRequest> {
        let address = source.address.clone();
        self.change_files(move |w, node| {
            if let Some(data) = w.nodes[node].postgres.data.as_mut() {
                data.token = None;
            }
            w.tool_request("pg_rewind", &address)
        })
        .await
    }

    async fn finish_rewind(&self) -> Done<()> {
        self.change_files(|w, node| {
            if let Some(data) = w.nodes[node].postgres.data.as_mut() {
                data.token = None;
                data.slots.clear();
            }
        })
        .await
    }

    async fn begin_copy(&self, source: &Source) -> Done<ToolRequest> {
        let address = source.address.clone();
        self.change_files(move |w, node| {
            w.nodes[node].postgres.side = None;
            w.tool_request("pg_basebackup", &address)
        })
        .await
    }

    async fn finish_copy(&self) -> Done<()> {
        self.change_files(|w, node| {
            if let Some(side) = w.nodes[node].postgres.side.as_mut() {
                if let Some(data) = side.data.as_mut() {
                    data.token = None;
                    data.slots.clear();
                }
                side.ready = side.data.is_some();
            }
        })
        .await
    }

    async fn swap_in(&self, _epoch: Epoch) -> Done<()> {
        self.change_files(|w, node| w.swap_in(node)).await
    }

    async fn tool_words(&self) -> String {
        let node = self.0.node;
        self.0.local(move |w| w.nodes[node].postgres.tool_words.clone()).await
    }

    async fn write_token(&self, token: &Token) -> Done<()> {
        let token = token.clone();
        self.change_files(move |w, node| {
            if let Some(data) = w.nodes[node].postgres.data.as_mut() {
                data.token = Some(token);
            }
        })
        .await
    }

    async fn write_sync_names(&self, names: &SyncNames) -> Done<()> {
        let names = names.clone();
        self.change_files(move |w, node| {
            w.nodes[node].postgres.marks.sync_names = names;
            if w.truth.holder == Some(node) {
                w.spring(On::Voters, node);
            }
        })
        .await
    }

    async fn prove_sync_names(&self, names: &SyncNames, checkpoint: bool, limit: Duration) -> Done<Lsn> {
        self.prove(names, checkpoint, limit).await
    }

    async fn place_history(&self, after: Timeline, up_to: Timeline) -> Done<()> {
        self.change_files(move |w, node| {
            if let Some(data) = w.nodes[node].postgres.data.as_mut() {
                data.taken.extend(after.0 + 1..=up_to.0);
            }
        })
        .await
    }

    async fn promote(&self, limit: Duration) -> Done<()> {
        self.statement("promote", limit, |w, node| {
            crate::oracles::holds::promotes(w, node);
            w.promote_server(node);
            Some(())
        })
        .await?;
        let promoted = self.until(limit, |w, node| w.is_writable(node).then_some(())).await;
        promoted.ok_or(PostgresError::TimedOut { what: "promotion".into(), limit })
    }

    async fn end_predecessors(&self, limit: Duration) -> Done<()> {
        let ended = self.until(limit, |w, node| {
            let server = w.nodes[node].postgres.server.as_mut()?;
            // Told to end; it is seen gone a moment later.
            server.predecessor_until = server.predecessor_until.min(w.now + 20 * MS);
            (w.now >= server.predecessor_until).then_some(())
        });
        ended.await.ok_or(PostgresError::TimedOut { what: "ending sessions".into(), limit })
    }

    async fn test_write(&self, _epoch: Epoch, limit: Duration) -> Done<()> {
        self.statement("write", limit, |w, node| w.write_other(node)).await
    }

    async fn make_roles(&self, limit: Duration) -> Done<()> {
        self.statement("make roles", limit, |w, node| w.write_other(node)).await
    }

    async fn checkpoint(&self, limit: Duration) -> Done<()> {
        self.checkpoint_once(limit).await
    }
}

#[async_trait]
impl PostgresProbe for SimPostgres {
    async fn check(&self, limit: Duration) -> Result<PostgresAnswer, PostgresProbeError> {
        match self.statement("select 1", limit, |_, _| Some(())).await {
            Ok(()) => Ok(PostgresAnswer::Answers),
            Err(PostgresError::TimedOut { limit, .. }) => Err(PostgresProbeError::Silent { limit }),
            Err(error) => Err(PostgresProbeError::Failed { detail: error.to_string() }),
        }
    }
}
