//! What a plan sees: heart's word on the processes, the files, the running server, and what this actor's life has proven so far.

use crate::model::{Epoch, Lsn, NodeId, Revision, Timeline, Timestamp};
use crate::planted::{Planted, planted};
use crate::records::{MemberRecord, Token};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything a plan may look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// This node's clock at the observation.
    pub now: Timestamp,
    /// PostgreSQL's processes, in heart's words.
    pub process: Process,
    /// The epoch heart is armed for, and the instant at which it fences.
    pub armed: Option<(Epoch, Timestamp)>,
    /// Files.
    pub files: FilesSeen,
    /// The server, when it answers queries.
    pub server: Option<ServerSeen>,
    /// What was proven or done in this actor's life; empty after its restart.
    pub memory: Memory,
    /// The cluster's system identifier, when recorded.
    pub expected_system_identifier: Option<String>,
    /// Which epoch made which timeline. Timeline 1 is epoch 0.
    pub epochs: BTreeMap<Timeline, Epoch>,
}

/// PostgreSQL's processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Process {
    /// heart is not attached: nobody knows.
    #[default]
    Unknown,
    /// All reaped.
    Gone,
    /// The postmaster runs.
    Running,
    /// Being stopped or reaped.
    Ending,
}

/// The files of this node's PostgreSQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesSeen {
    /// PGDATA.
    pub data: DataSeen,
    /// `standby.signal` is in PGDATA.
    pub standby_signal: bool,
    /// A finished copy waits beside PGDATA to be renamed into its place.
    pub side_ready: bool,
    /// The token inside PGDATA.
    pub token: Option<Token>,
    /// The durable promise; 0 when none was made.
    pub promised: Revision,
    /// The `unsynced` mark.
    pub unsynced: Option<UnsyncedMark>,
    /// The `no-start` mark's reason.
    pub no_start: Option<String>,
    /// Where `primary_conninfo` on disk points.
    pub upstream: Upstream,
    /// `synchronous_standby_names` on disk.
    pub sync_names: SyncNames,
    /// What the source answered to our walreceiver, found in PostgreSQL's log since it was last pointed somewhere.
    pub upstream_refusal: Option<UpstreamRefusal>,
}

/// PGDATA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DataSeen {
    /// Not looked at, or it cannot be read; why.
    Unreadable(String),
    /// No data directory.
    #[default]
    Missing,
    /// A data directory with this control file.
    Present(Control),
}

/// The part of pg_control that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// `Database system identifier`.
    pub system_identifier: String,
    /// The state is `shut down`: a primary ended cleanly.
    pub shut_down_as_primary: bool,
    /// The state is `shut down` or `shut down in recovery`: pg_rewind may work on it.
    pub ended_cleanly: bool,
    /// `Latest checkpoint location`.
    pub checkpoint: Lsn,
    /// `Latest checkpoint's TimeLineID`.
    pub timeline: Timeline,
}

/// Where `primary_conninfo` points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upstream {
    /// Nothing of ours is written.
    #[default]
    Unset,
    /// Our own listener: streams from nobody.
    Sentinel {
        /// The promised revision it was written for.
        revision: Revision,
        /// application_name; unique for every time it is written, so that an old connection proves nothing.
        name: String,
    },
    /// Another node.
    Node(Source),
}

/// Why a source does not send what the walreceiver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamRefusal {
    /// The WAL it needs next is removed there.
    WalMissing,
    /// The source's history left this copy's path before the copy's end.
    OtherHistory,
}

/// A server to stream or copy from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The node.
    pub node: NodeId,
    /// Its address.
    pub address: String,
    /// See `address`.
    pub port: u16,
}

/// `synchronous_standby_names` = `ANY quorum (names)`; empty names: commits wait for nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncNames {
    /// The names.
    pub names: BTreeSet<NodeId>,
    /// How many of them confirm; at least 1 when there are names.
    pub quorum: u32,
}

impl SyncNames {
    /// What every server starts with: a name that nobody bears.
    ///
    /// The checkpointer alone switches on that commits wait at all, as it begins or when it next reads the configuration. A
    /// standby that began without names, and is promoted before its checkpointer has read those of its epoch, lets commits
    /// pass that no other node has. One that began with this name lets none pass before it has read them.
    pub fn of_nobody() -> Self {
        if planted(Planted::NamesAfterPromotion) {
            return Self::default();
        }
        Self { names: [NodeId("nobody".to_owned())].into(), quorum: 1 }
    }
}

/// `marks/unsynced.json`: this copy is being remade, or was and has not yet caught up with the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsyncedMark {
    /// For people.
    pub cause: String,
    /// What has to be done to the copy.
    pub work: RemakeWork,
    /// What the holder had flushed, read after the copy was remade, on the holder's timeline; flushed past this, it is in sync.
    pub target: Option<(Timeline, Lsn)>,
}

/// How far remaking a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemakeWork {
    /// pg_rewind has begun on PGDATA: if it is found in this state afterwards, PGDATA is not to be trusted.
    RewindBegun,
    /// A new base copy is needed.
    CopyNeeded,
    /// The files are whole; WAL up to the target is missing.
    CatchUp,
}

/// A server that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSeen {
    /// In recovery.
    pub in_recovery: bool,
    /// The timeline replayed (standby) or written (primary).
    pub timeline: Timeline,
    /// End of the last replayed record (standby) or flushed position (primary); read *after* `waiting_for_wal`.
    pub position: Lsn,
    /// Flushed by the walreceiver of this server run.
    pub received: Option<Lsn>,
    /// Replay is paused.
    pub paused: bool,
    /// The startup process waits for more WAL from its walreceiver, having consumed everything there is.
    pub waiting_for_wal: bool,
    /// The application_name of the walreceiver that hangs at our own listener now, looked at before the server was asked.
    pub at_sentinel: Option<String>,
    /// The walreceiver streams from this host and port.
    pub streaming_from: Option<(String, u16)>,
    /// Physical slots whose names begin with `leaderl_`.
    pub slots: BTreeMap<String, SlotSeen>,
    /// pg_stat_replication by application_name, newest reply when doubled.
    pub senders: BTreeMap<NodeId, SenderSeen>,
    /// Primary: where the timeline began.
    pub promoted_at: Lsn,
}

/// A slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSeen {
    /// `wal_status` is `lost`.
    pub lost: bool,
    /// Where it holds WAL back.
    pub restart_lsn: Option<Lsn>,
}

/// A walsender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderSeen {
    /// State `streaming`.
    pub streaming: bool,
    /// Flushed there.
    pub flushed: Lsn,
    /// sync_priority > 0.
    pub counted: bool,
}

/// What one life of the actor knows beyond what can be observed. All of it may be lost at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Sessions of an earlier daemon are gone (under this epoch).
    pub predecessors_ended: Option<Epoch>,
    /// A test write succeeded (under this epoch).
    pub written: Option<Epoch>,
    /// Roles and grants exist.
    pub roles_made: Option<Epoch>,
    /// A checkpoint was asked for and completed (under this epoch).
    pub checkpointed: Option<Epoch>,
    /// These names were proven effective, and the flushed position read after that. Forgotten when names are written.
    pub names_proven: Option<(SyncNames, Lsn)>,
    /// These names are being proven, beside everything else.
    pub names_in_proof: Option<SyncNames>,
    /// Names were proven, and none were emptied since: the checkpointer has switched the waiting on.
    pub waiting_switched_on: bool,
    /// Members in the access file as last written.
    pub access: Option<BTreeMap<NodeId, MemberRecord>>,
    /// Where the copy stood when its server was last looked at; outlives a stop, not a start.
    pub stood_at: Option<(Timeline, Lsn)>,
    /// Why the last attempt at something failed, by its code, and when it may be tried again.
    pub failed: Option<(String, Timestamp)>,
}
