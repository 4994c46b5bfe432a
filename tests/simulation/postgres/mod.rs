//! PostgreSQL: a data directory that survives, a server that does not, and the streams between servers.
//!
//! Times and orders follow PostgreSQL 15: a reload reaches each process at a time of its own, a commit waits for what *its*
//! walsenders count, an emptied name list releases every waiter, a promotion takes the next free timeline.

mod commits;
mod keepalive;
mod lifecycle;
mod look;
mod replication;
mod statements;
mod tools;
mod wal;

use crate::world::Time;
use leaderl_decision::model::{Epoch, Lsn, NodeId, Revision, Timeline};
use leaderl_decision::records::Token;
use leaderl_decision::replication_plan::{Source, SyncNames, UnsyncedMark, Upstream, UpstreamRefusal};
use std::collections::{BTreeMap, BTreeSet};
pub(crate) use wal::{Data, Row, What};

/// One node's PostgreSQL.
#[derive(Default)]
pub(crate) struct Postgres {
    pub(crate) data: Option<Data>,
    /// A copy beside PGDATA, and whether it is finished and marked so.
    pub(crate) side: Option<Side>,
    /// Old copies that are kept.
    pub(crate) kept: u32,
    pub(crate) marks: Marks,
    pub(crate) server: Option<Server>,
    /// Processes that outlive their postmaster until then.
    pub(crate) orphans_until: Time,
    /// Since when it bears a mark.
    pub(crate) unsynced_since: Option<Time>,
    /// A backend that only SIGKILL ends, until then.
    pub(crate) stuck_until: Time,
    /// Its backend, left over from a primary, still answers its client until then.
    pub(crate) orphan_answers_until: Time,
    /// Processes read a new configuration up to so much later.
    pub(crate) slow_reload: Time,
    /// What is received is replayed so much later.
    pub(crate) replay_lag: Time,
    /// A backup of it as a standby, in an operator's hands.
    pub(crate) backup: Option<Data>,
    pub(crate) tool: Option<Tool>,
    pub(crate) tool_words: String,
    pub(crate) starts: u32,
    /// Promotions take so long, or never end.
    pub(crate) slow_promotion: Option<Time>,
    /// Recovery takes so much longer.
    pub(crate) slow_recovery: Time,
    /// Its server cannot be started (a broken configuration, say).
    pub(crate) start_refused: bool,
}

/// Files outside PGDATA.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) promised: Revision,
    pub(crate) unsynced: Option<UnsyncedMark>,
    pub(crate) epochs: BTreeMap<Timeline, Epoch>,
    pub(crate) upstream: Upstream,
    pub(crate) sync_names: SyncNames,
    pub(crate) refusal: Option<UpstreamRefusal>,
    pub(crate) copies: u64,
}

/// A base copy beside PGDATA.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) data: Option<Data>,
    pub(crate) ready: bool,
}

/// A running tool of PostgreSQL's.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) pid: u32,
    pub(crate) name: &'static str,
    pub(crate) number: u64,
}

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Crash or archive recovery before it answers.
    Starting,
    /// In recovery, answers.
    Standby,
    /// Promotion was asked for.
    Promoting,
    Primary,
    /// Told to end; sessions are closed.
    Ending,
}

/// A running postmaster and its children.
pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) phase: Phase,
    /// Stopped by a signal: nothing in it moves.
    pub(crate) frozen: bool,
    /// `primary_conninfo` as the startup process has it.
    pub(crate) conninfo: Upstream,
    pub(crate) receiver: Receiver,
    /// The planned attempt to connect upstream.
    attempt: u64,
    pub(crate) paused: bool,
    /// Replayed up to here (index into the log).
    pub(crate) replayed: usize,
    /// Names as the postmaster, and so every new process, has them.
    pub(crate) names: SyncNames,
    /// The checkpointer's switch: commits wait at all.
    pub(crate) waits: bool,
    pub(crate) senders: Vec<Sender>,
    pub(crate) waiters: Vec<commits::Waiter>,
    /// Where its timeline began, once promoted.
    pub(crate) promoted_at: Lsn,
    pub(crate) sessions: BTreeSet<u64>,
    /// Checkpoints begun and completed.
    pub(crate) checkpoints: (u64, u64),
    /// Counts reloads; a process that reads its configuration late reads the newest.
    pub(crate) reloads: u64,
    /// The daemon's sessions of an earlier life still run a statement until then.
    pub(crate) predecessor_until: Time,
}

/// The walreceiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Receiver {
    #[default]
    None,
    /// It tries to reach a node: the startup process waits for it as for one that streams.
    Connecting,
    /// Hangs at the daemon's own listener under this name.
    AtSentinel(String),
    Streaming {
        source: Source,
        node: usize,
        stream: u64,
        last_heard: Time,
    },
}

/// A walsender.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) stream: u64,
    pub(crate) to: usize,
    pub(crate) guid: NodeId,
    pub(crate) flushed: Lsn,
    pub(crate) sent: usize,
    pub(crate) in_flight: bool,
    pub(crate) streaming: bool,
    /// It has read its names and is one of them.
    pub(crate) counted: bool,
    pub(crate) names: SyncNames,
    pub(crate) last_reply: Time,
    /// Stopped by a signal.
    pub(crate) frozen: bool,
}

/// A slot's place in PGDATA.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) restart: Lsn,
    pub(crate) lost: bool,
}

/// The token inside PGDATA.
pub(crate) type TokenFile = Option<Token>;
