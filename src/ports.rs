//! The traits through which actors act, at the level of the outside system's own operations.
//!
//! Adapters implement them for the real systems; the simulation implements them in memory. A port returns `Result`, never
//! `bool`, and every operation takes its time limit from the caller.

use crate::heart::protocol::{HeartState, ToolOutcome, ToolRequest, VipAddress};
use async_trait::async_trait;
use leaderl_decision::model::{Door, Epoch, Nonce, Revision, Timestamp};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

mod addresses;
mod doors;
mod files;
mod health;
mod postgres;
mod search;
mod services;

pub use addresses::*;
pub use doors::*;
pub use files::*;
pub use health::*;
pub use postgres::*;
pub use search::*;
pub use services::*;

/// This node's clock: CLOCK_BOOTTIME, which counts suspend.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// The wall clock, for people only: nothing may be decided by it.
    fn wall(&self) -> std::time::SystemTime {
        std::time::SystemTime::now()
    }
}

// ---------------------------------------------------------------------------------------------------- etcd

/// One key, its value and the revision that last wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Full key.
    pub key: String,
    /// Raw value.
    pub value: Vec<u8>,
    /// Last writing revision.
    pub mod_revision: Revision,
}

/// A linearizable read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeAnswer {
    /// etcd's own cluster id; a different one means a different or restored store.
    pub store_id: u64,
    /// The store's revision at the read.
    pub revision: Revision,
    /// The keys in order.
    pub entries: Vec<KeyValue>,
}

/// A condition of a transaction: the key's mod_revision equals this one (0: the key is absent).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Full key.
    pub key: String,
    /// Expected mod_revision.
    pub mod_revision: Revision,
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Set the key.
    Put {
        /// Full key.
        key: String,
        /// New value.
        value: Vec<u8>,
    },
    /// Remove the key.
    Delete {
        /// Full key.
        key: String,
    },
}

/// If all compares hold, do all writes in one revision; otherwise read `else_reads`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions.
    pub compares: Vec<Compare>,
    /// Effects.
    pub writes: Vec<Write>,
    /// What to read when a condition fails.
    pub else_reads: Vec<String>,
}

/// What became of a transaction that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnAnswer {
    /// All compares held; the writes are committed at this revision.
    Committed {
        /// The writes' mod_revision.
        revision: Revision,
    },
    /// A compare failed; nothing was written.
    Refused {
        /// The store's revision.
        revision: Revision,
        /// The keys asked for by `else_reads` that exist.
        reads: Vec<KeyValue>,
    },
}

/// Why the store did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No member could be asked: surely nothing happened.
    #[error("no etcd member can be reached ({detail})")]
    Unreachable {
        /// What each member said.
        detail: String,
    },
    /// The request was sent and its outcome is not known: read before deciding.
    #[error("the outcome of a request to etcd is unknown ({detail})")]
    Unknown {
        /// What happened.
        detail: String,
    },
    /// etcd refused the request itself (too large, not allowed, no space).
    #[error("etcd refused the request: {detail}")]
    Refused {
        /// etcd's words.
        detail: String,
    },
}

/// One message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchMessage {
    /// Changes up to and including `revision`; a `None` value means deleted.
    Changes {
        /// The store's revision.
        revision: Revision,
        /// Key, new value (with its mod_revision) or deletion, in order.
        changes: Vec<(String, Option<KeyValue>)>,
    },
    /// The stream lives and has shown everything up to `revision`.
    Progress {
        /// The store's revision.
        revision: Revision,
    },
}

/// An open watch. It ends with an error on cancel, compaction or silence: list again, then watch from the next revision.
#[async_trait]
pub trait WatchStream: Send {
    /// The next message, or an error when nothing (not even requested progress) came within `limit`.
    async fn next(&mut self, limit: Duration) -> Result<WatchMessage, StoreError>;
}

/// An etcd member as etcd lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreMember {
    /// etcd's id.
    pub id: u64,
    /// Name (our node identity); empty until it has started.
    pub name: String,
    /// Peer URLs.
    pub peer_urls: Vec<String>,
    /// Client URLs; empty until it has started.
    pub client_urls: Vec<String>,
    /// Not yet voting.
    pub is_learner: bool,
}

/// etcd as the daemon uses it: one client per member, hedged, every call bounded.
#[async_trait]
pub trait CoordinationStore: Send + Sync {
    /// Linearizable read of every key that starts with `prefix` (hedged: a read may be asked twice).
    async fn range_prefix(&self, prefix: &str, limit: Duration) -> Result<RangeAnswer, StoreError>;
    /// Linearizable read of one key (hedged).
    async fn get(&self, key: &str, limit: Duration) -> Result<RangeAnswer, StoreError>;
    /// A transaction, sent to one member; another is tried only when it surely was not sent.
    async fn txn(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError>;
    /// A transaction that is safe to send twice, because it is recognised by its nonce afterwards: local member first,
    /// another after 200 ms or on an error. A `Refused` answer may be the second copy's: read before believing it.
    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError>;
    /// Opens a watch of a prefix from `from` (inclusive).
    async fn watch(&self, prefix: &str, from: Revision, limit: Duration) -> Result<Box<dyn WatchStream>, StoreError>;
    /// etcd's members.
    async fn members(&self, limit: Duration) -> Result<Vec<StoreMember>, StoreError>;
    /// Adds a learner.
    async fn add_learner(&self, peer_url: &str, limit: Duration) -> Result<StoreMember, StoreError>;
    /// Makes a caught-up learner a voter; `Refused` while it is behind.
    async fn promote_learner(&self, id: u64, limit: Duration) -> Result<(), StoreError>;
    /// Removes a member.
    async fn remove_member(&self, id: u64, limit: Duration) -> Result<(), StoreError>;
    /// Tells the store which client URLs exist now (from the member list), local first.
    fn set_endpoints(&self, local: &str, others: &[String]);
    /// Compacts history up to `revision`; what is compacted already is no error. A store that keeps no history does nothing.
    async fn compact(&self, _revision: Revision, _limit: Duration) -> Result<(), StoreError> {
        Ok(())
    }
    /// Compacts history up to `revision`, and defragments the local member only.
    async fn compact_and_defragment(&self, revision: Revision, limit: Duration) -> Result<(), StoreError>;
    /// Database size in bytes and whether NOSPACE is raised, of the local member.
    async fn local_status(&self, limit: Duration) -> Result<LocalStoreStatus, StoreError>;
    /// Clears a NOSPACE alarm.
    async fn disarm_no_space(&self, limit: Duration) -> Result<(), StoreError>;
}

/// The local etcd member's own view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalStoreStatus {
    /// Database size in bytes.
    pub db_bytes: u64,
    /// Whether any member raised NOSPACE.
    pub no_space: bool,
    /// Whether the member knows a raft leader.
    pub has_leader: bool,
    /// etcd's version.
    pub version: String,
}

// --------------------------------------------------------------------------------------------------- heart

/// A confirmed renewal as heart keeps it; `fence_at` is absolute.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ArmedLease {
    /// The epoch that is held.
    pub epoch: Epoch,
    /// The acquisition's (or adopting daemon's) nonce.
    pub nonce: Nonce,
    /// The renewal.
    pub seq: u64,
    /// Read before the first sending of this seq.
    pub t0: Timestamp,
    /// t0 + 2D/3: PostgreSQL and the VIP are gone by then.
    pub fence_at: Timestamp,
}

/// Why heart did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GuardianError {
    /// heart is not there or does not answer.
    #[error("leaderl-heart does not answer ({detail}); is its service running?")]
    Silent {
        /// What happened.
        detail: String,
    },
    /// heart refused: older epoch, deadline passed, not armed, already running.
    #[error("leaderl-heart refused: {reason}")]
    Refused {
        /// heart's words.
        reason: String,
    },
}

/// The guardian process (design 3.2), over its socket. Only one daemon is attached at a time.
#[async_trait]
pub trait Guardian: Send + Sync {
    /// heart's last reported state, updated on every change it pushes; `None` while not attached.
    fn state(&self) -> watch::Receiver<Option<HeartState>>;
    /// Arms the fences for an acquisition or adopts a running epoch; must be acknowledged before promotion.
    async fn arm(&self, lease: ArmedLease, limit: Duration) -> Result<(), GuardianError>;
    /// Moves the deadline; same epoch, and a nonce that differs only after `arm`. Refused when fenced already.
    async fn renewed(&self, lease: ArmedLease, limit: Duration) -> Result<(), GuardianError>;
    /// Ends the arming after PostgreSQL and VIP are gone (refused otherwise).
    async fn disarm(&self, epoch: Epoch, limit: Duration) -> Result<(), GuardianError>;
    /// Starts the postmaster (always as a standby: heart refuses when `standby.signal` is missing).
    async fn start_postgres(
        &self,
        start: crate::heart::protocol::PostgresStart,
        limit: Duration,
    ) -> Result<(), GuardianError>;
    /// Signals the postmaster; heart escalates to SIGKILL of every descendant at `kill_at`. Gone when the state says so.
    async fn stop_postgres(
        &self,
        stop: crate::heart::protocol::PostgresStop,
        limit: Duration,
    ) -> Result<(), GuardianError>;
    /// Runs one of PostgreSQL's tools to its end (initdb, pg_basebackup, pg_rewind, postgres --single).
    async fn run_tool(&self, tool: ToolRequest, limit: Duration) -> Result<ToolOutcome, GuardianError>;
    /// Kills the running tool, if any, and waits for its descendants.
    async fn cancel_tool(&self, limit: Duration) -> Result<(), GuardianError>;
    /// Adds the addresses and keeps their kernel lifetime fresh while armed for `epoch`.
    async fn assign_vips(&self, epoch: Epoch, vips: Vec<VipAddress>, limit: Duration) -> Result<(), GuardianError>;
    /// Kills heart itself because it does not answer. PostgreSQL dies with it (its parent-death signal); the service manager
    /// starts a new heart, which sweeps what is left.
    async fn kill(&self) -> Result<(), GuardianError>;
    /// Removes the addresses and stops refreshing.
    async fn release_vips(&self, limit: Duration) -> Result<(), GuardianError>;
    /// Opens or narrows the port gate while armed for `epoch`; acknowledged when the kernel obeys. Within one epoch it never
    /// opens again. Clients' sessions that are older than the opening are ended first.
    async fn set_door(&self, epoch: Epoch, door: Door, limit: Duration) -> Result<(), GuardianError>;
    /// The publish addresses of the other nodes: their packets pass the gate while they need to stream. Kept until replaced.
    async fn set_members(&self, members: Vec<IpAddr>, limit: Duration) -> Result<(), GuardianError>;
}
