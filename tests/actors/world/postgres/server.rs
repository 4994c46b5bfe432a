//! What one node's daemon asks of its PostgreSQL.

use super::*;
use async_trait::async_trait;
use leaderl::heart::protocol::{PostgresStart, ToolRequest};
use leaderl::ports::*;
use leaderl_decision::model::Lsn;
use leaderl_decision::records::MemberRecord;
use std::time::Duration;
use tokio::time::sleep;

const SYSTEM: &str = "7000000000000000001";

/// One node's PostgreSQL.
pub struct Postgres {
    pub node: NodeId,
    pub copies: Arc<Copies>,
}

impl Postgres {
    fn with<T>(&self, work: impl FnOnce(&mut Replica) -> T) -> Result<T, PostgresError> {
        let mut copies = self.copies.lock();
        let copy = copies.get_mut(&self.node).ok_or_else(|| PostgresError::Unfit("no such node".to_owned()))?;
        let done = work(copy);
        flow(&mut copies);
        Ok(done)
    }

    /// Something the server itself is asked.
    async fn ask<T: Send>(&self, work: impl FnOnce(&mut Disk, &mut Server) -> T + Send) -> Result<T, PostgresError> {
        sleep(self.copies.query()).await;
        let done = self.with(|copy| copy.server.as_mut().map(|server| work(&mut copy.disk, server)))?;
        done.ok_or_else(|| PostgresError::NoAnswer { whom: "here".into(), source: "it does not run".into() })
    }
}

fn not_here<T>(what: &str) -> Result<T, PostgresError> {
    Err(PostgresError::Unfit(format!("{what}: in this world every copy stays a prefix of the leader's")))
}

#[async_trait]
impl PostgresServer for Postgres {
    async fn files(&self) -> Result<FilesSeen, PostgresError> {
        self.with(|copy| {
            let disk = &copy.disk;
            let control = Control {
                system_identifier: SYSTEM.to_owned(),
                shut_down_as_primary: disk.ended == Ended::AsPrimary,
                ended_cleanly: matches!(disk.ended, Ended::AsPrimary | Ended::AsStandby),
                checkpoint: Lsn(disk.checkpoint),
                timeline: Timeline(disk.timeline),
            };
            FilesSeen {
                data: DataSeen::Present(control),
                standby_signal: disk.standby_signal,
                token: disk.token.clone(),
                promised: disk.promised,
                unsynced: disk.unsynced.clone(),
                upstream: disk.upstream.clone(),
                sync_names: disk.names.clone(),
                ..FilesSeen::default()
            }
        })
    }
    async fn server(&self, _limit: Duration) -> Result<Option<ServerSeen>, PostgresError> {
        sleep(self.copies.query()).await;
        let mut copies = self.copies.lock();
        flow(&mut copies);
        let Some(copy) = copies.get(&self.node) else { return Ok(None) };
        let Some(server) = &copy.server else { return Ok(None) };
        let streams = source_of(&copies, &self.node).is_some();
        let streaming_from = match &server.upstream {
            Upstream::Node(source) if streams => Some((source.address.clone(), source.port)),
            Upstream::Node(_) | Upstream::Sentinel { .. } | Upstream::Unset => None,
        };
        let follows = |node: &&NodeId| {
            let upstream = copies.get(*node).and_then(|copy| copy.server.as_ref()).map(|server| &server.upstream);
            matches!(upstream, Some(Upstream::Node(source)) if source.node == self.node)
        };
        let sender = |node: &NodeId| SenderSeen {
            streaming: source_of(&copies, node).is_some(),
            flushed: Lsn(copies.get(node).map_or(0, |copy| copy.disk.end)),
            counted: server.names.names.contains(node),
        };
        let slot = |name: &String| (name.clone(), SlotSeen { lost: false, restart_lsn: Some(Lsn(copy.disk.end)) });
        Ok(Some(ServerSeen {
            in_recovery: server.in_recovery,
            timeline: Timeline(copy.disk.timeline),
            position: Lsn(copy.disk.end),
            received: server.in_recovery.then_some(Lsn(copy.disk.end)),
            waiting_for_wal: server.in_recovery,
            at_sentinel: match &server.upstream {
                Upstream::Sentinel { name, .. } => Some(name.clone()),
                Upstream::Node(_) | Upstream::Unset => None,
            },
            streaming_from,
            slots: copy.disk.slots.iter().map(slot).collect(),
            senders: copies.keys().filter(follows).map(|node| (node.clone(), sender(node))).collect(),
            promoted_at: Lsn(copy.disk.began),
            ..ServerSeen::default()
        }))
    }
    async fn epochs(&self) -> Result<BTreeMap<Timeline, Epoch>, PostgresError> {
        self.with(|copy| copy.disk.epochs.clone())
    }
    async fn remember_epochs(&self, epochs: &BTreeMap<Timeline, Epoch>) -> Result<(), PostgresError> {
        self.with(|copy| copy.disk.epochs = epochs.clone())
    }
    async fn prepare_start(&self) -> Result<(), PostgresError> {
        self.with(|copy| copy.disk.standby_signal = true)
    }
    fn start_request(&self) -> Result<PostgresStart, PostgresError> {
        Ok(PostgresStart {
            program: "/pg/postgres".into(),
            data_dir: "/data".into(),
            args: Vec::new(),
            uid: 1,
            gid: 1,
            log_file: "/log".into(),
        })
    }
    async fn await_answer(&self, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|_, _| ()).await
    }
    async fn reload(&self, _postmaster: Option<u32>, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|disk, server| (server.upstream, server.names) = (disk.upstream.clone(), disk.names.clone())).await
    }
    async fn write_access(&self, _members: &BTreeMap<NodeId, MemberRecord>) -> Result<(), PostgresError> {
        Ok(())
    }
    async fn promise(&self, revision: Revision, mark: Option<Token>) -> Result<(), PostgresError> {
        self.with(|copy| {
            if revision > copy.disk.promised {
                copy.disk.token = mark.or_else(|| copy.disk.token.take());
                copy.disk.promised = revision;
            }
        })
    }
    async fn point_at_sentinel(&self, revision: Revision) -> Result<(), PostgresError> {
        self.with(|copy| {
            copy.disk.pointed += 1;
            let name = format!("sentinel-{}", copy.disk.pointed);
            copy.disk.upstream = Upstream::Sentinel { revision, name };
        })
    }
    async fn point_at(&self, source: &Source, revision: Revision, catch_up: bool) -> Result<(), PostgresError> {
        self.with(|copy| {
            let promised = copy.disk.promised;
            if !catch_up && revision <= promised {
                return Err(PostgresError::Promised { promised, revision });
            }
            copy.disk.upstream = Upstream::Node(source.clone());
            Ok(())
        })?
    }
    async fn resume_replay(&self, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|_, _| ()).await
    }
    async fn await_proof(&self, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|_, _| ()).await
    }
    async fn await_streaming(&self, _source: &Source, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|_, _| ()).await
    }
    async fn create_slot(&self, name: &str, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|disk, _| disk.slots.insert(name.to_owned())).await.map(drop)
    }
    async fn drop_slot(&self, name: &str, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|disk, _| disk.slots.remove(name)).await.map(drop)
    }
    async fn advance_slots(&self, _to: Lsn, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|_, _| ()).await
    }
    async fn mark_unsynced(&self, mark: Option<&UnsyncedMark>) -> Result<(), PostgresError> {
        self.with(|copy| copy.disk.unsynced = mark.cloned())
    }
    async fn ask_holder(&self, _: &Source, _: Timeline, _: Duration) -> Result<Lsn, PostgresError> {
        not_here("asking a holder")
    }
    async fn await_source_checkpoint(&self, _: &Source, _: Option<Timeline>, _: Duration) -> Result<(), PostgresError> {
        not_here("waiting for a source's checkpoint")
    }
    async fn begin_rewind(&self, _source: &Source) -> Result<ToolRequest, PostgresError> {
        not_here("pg_rewind")
    }
    async fn finish_rewind(&self) -> Result<(), PostgresError> {
        not_here("pg_rewind")
    }
    async fn begin_copy(&self, _source: &Source) -> Result<ToolRequest, PostgresError> {
        not_here("pg_basebackup")
    }
    async fn finish_copy(&self) -> Result<(), PostgresError> {
        not_here("pg_basebackup")
    }
    async fn swap_in(&self, _epoch: Epoch) -> Result<(), PostgresError> {
        not_here("swapping a copy in")
    }
    async fn tool_words(&self) -> String {
        String::new()
    }
    async fn write_token(&self, token: &Token) -> Result<(), PostgresError> {
        self.with(|copy| copy.disk.token = Some(token.clone()))
    }
    async fn write_sync_names(&self, names: &SyncNames) -> Result<(), PostgresError> {
        self.with(|copy| copy.disk.names = names.clone())
    }
    async fn prove_sync_names(&self, names: &SyncNames, _: bool, _: Duration) -> Result<Lsn, PostgresError> {
        let effective = self.ask(|disk, server| (server.names == *names).then_some(Lsn(disk.end))).await?;
        effective.ok_or_else(|| PostgresError::Unfit("other names are in force".to_owned()))
    }
    async fn place_history(&self, _after: Timeline, up_to: Timeline) -> Result<(), PostgresError> {
        self.with(|copy| copy.disk.placed = copy.disk.placed.max(up_to.0))
    }
    async fn promote(&self, _limit: Duration) -> Result<(), PostgresError> {
        sleep(20 * self.copies.query()).await;
        self.ask(|disk, server| {
            if server.in_recovery {
                disk.timeline = disk.placed.max(disk.timeline) + 1;
                (disk.placed, disk.began) = (disk.timeline, disk.end);
                disk.standby_signal = false;
                server.in_recovery = false;
            }
        })
        .await
    }
    async fn end_predecessors(&self, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|_, _| ()).await
    }
    async fn test_write(&self, _epoch: Epoch, _limit: Duration) -> Result<(), PostgresError> {
        let wrote = self
            .ask(|disk, server| {
                !server.in_recovery && {
                    disk.end += 8;
                    true
                }
            })
            .await?;
        if wrote { Ok(()) } else { Err(PostgresError::Unfit("cannot write during recovery".to_owned())) }
    }
    async fn make_roles(&self, _limit: Duration) -> Result<(), PostgresError> {
        self.ask(|disk, _| disk.end += 8).await
    }
    async fn checkpoint(&self, _limit: Duration) -> Result<(), PostgresError> {
        sleep(50 * self.copies.query()).await;
        self.ask(|disk, _| disk.checkpoint = disk.end).await
    }
}

#[async_trait]
impl PostgresProbe for Postgres {
    async fn check(&self, _limit: Duration) -> Result<PostgresAnswer, PostgresProbeError> {
        let answered = self.ask(|_, _| ()).await;
        answered.map(|()| PostgresAnswer::Answers).map_err(|why| PostgresProbeError::Failed { detail: why.to_string() })
    }
}
