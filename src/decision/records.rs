//! The JSON documents under the cluster's prefix in etcd, and the keys they live at.
//!
//! Every document carries `schema`; unknown fields are ignored on reading. A document that cannot be read is a reason, never
//! a failure: see [`read`].

use crate::model::{Epoch, Lsn, NodeId, Nonce, Position, Reason, ReplicationMode, Revision, Timeline};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of every document's shape.
pub const SCHEMA: u32 = 1;

fn schema() -> u32 {
    SCHEMA
}

/// Key names below `/leaderl/<cluster-id>/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys of one cluster.
    pub fn new(cluster_id: &str) -> Self {
        Self { prefix: format!("/leaderl/{cluster_id}/") }
    }

    /// Everything of this cluster starts with this.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Holder or vacancy.
    pub fn leader(&self) -> String {
        self.at("leader")
    }

    /// The fencing token.
    pub fn epoch(&self) -> String {
        self.at("epoch")
    }

    /// The voter record.
    pub fn voters(&self) -> String {
        self.at("voters")
    }

    /// One epoch's timeline, fork and node.
    pub fn history(&self, epoch: Epoch) -> String {
        self.at(&format!("history/{:010}", epoch.0))
    }

    /// One node's bid.
    pub fn bid(&self, node: &NodeId) -> String {
        self.at(&format!("bids/{node}"))
    }

    /// One member's name and addresses.
    pub fn member(&self, node: &NodeId) -> String {
        self.at(&format!("members/{node}"))
    }

    /// One node's posted status.
    pub fn node(&self, node: &NodeId) -> String {
        self.at(&format!("nodes/{node}"))
    }

    /// The cluster's failover switch.
    pub fn cluster_failover(&self) -> String {
        self.at("control/failover")
    }

    /// One node's failover switch.
    pub fn node_failover(&self, node: &NodeId) -> String {
        self.at(&format!("control/nodes/{node}"))
    }

    /// One operator's request.
    pub fn request(&self, id: &str) -> String {
        self.at(&format!("control/requests/{id}"))
    }

    /// The queue of joins.
    pub fn join(&self) -> String {
        self.at("control/join")
    }

    /// Cluster-wide settings and identity (system identifier, mode).
    pub fn settings(&self) -> String {
        self.at("settings")
    }
}

/// The value of the `leader` key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LeaderValue {
    /// Somebody holds the lease.
    Holder(Holder),
    /// Nobody does.
    Vacancy(Vacancy),
}

/// Who holds the lease; rewritten with `seq + 1` at every renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The holder.
    pub guid: NodeId,
    /// The holder's kernel boot id.
    pub boot_id: String,
    /// Fresh for every acquisition and every daemon that adopts one.
    pub nonce: Nonce,
    /// The acquisition's epoch.
    pub epoch: Epoch,
    /// Grows by one with each renewal under one nonce.
    pub seq: u64,
}

/// An empty seat, written by the last holder or (holder unknown) on an absent key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vacancy {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Who left it; `None`: the key was absent and nobody knows who held it (rule R8).
    pub left_by: Option<NodeId>,
    /// The last epoch that was held.
    pub epoch: Epoch,
    /// Where the leaver's copy ended, after all its processes were gone (rule R12); `None` when unknown.
    pub final_position: Option<Position>,
    /// Whom the leaver wants to succeed it; others hold back for a bounded time.
    pub designated: Option<NodeId>,
    /// Why the seat is empty.
    pub cause: String,
    /// Distinguishes two vacancies.
    pub nonce: Nonce,
}

/// The value of the `epoch` key; its mod_revision guards every write that only a leader may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The newest epoch taken.
    pub epoch: Epoch,
    /// Who took it.
    pub guid: NodeId,
    /// With which nonce.
    pub nonce: Nonce,
    /// The token that its copy bore then, if it was proven complete. A copy that still bears it was neither promoted under this
    /// epoch nor rebuilt since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_with: Option<Token>,
}

/// `history/<epoch>`: where an epoch's timeline left its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The epoch.
    pub epoch: Epoch,
    /// Its timeline.
    pub timeline: Timeline,
    /// The timeline it forked from.
    pub parent_timeline: Timeline,
    /// Where it forked.
    pub fork_lsn: Lsn,
    /// Who leads or led it.
    pub node: NodeId,
}

/// The published voter record: every acknowledged commit is flushed on at least `quorum` members of `voters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotersRecord {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// V. Empty means degraded: only the last leader is known to be complete.
    pub voters: BTreeSet<NodeId>,
    /// q, at least 1 when V is not empty.
    pub quorum: u32,
    /// The epoch under which this was written.
    pub epoch: Epoch,
    /// The replication mode in force.
    pub mode: ReplicationMode,
    /// Grows with each change.
    pub version: u64,
}

/// `bids/<guid>`: a promise bound to one revision of `leader` (rules R4, R5, R12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidRecord {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The bidder.
    pub guid: NodeId,
    /// The mod_revision of `leader` this promise was made against.
    pub revision: Revision,
    /// What the bidder has.
    pub position: Position,
    /// The token inside the bidder's PGDATA, if any: proof of being the very copy that took this epoch (rule R7).
    pub token: Option<Token>,
    /// Why the bidder itself may not lead; empty when it may.
    pub ineligible: Vec<Reason>,
    /// Higher goes first among equals.
    pub priority: u32,
}

/// The mark inside PGDATA that a copy which led an epoch carries; a rebuild destroys it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The epoch this copy led.
    pub epoch: Epoch,
    /// The acquisition's nonce.
    pub nonce: Nonce,
}

/// `members/<guid>`: who belongs to the cluster and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Identity.
    pub guid: NodeId,
    /// Host name, unique in the cluster.
    pub name: String,
    /// Publish address (IP).
    pub address: String,
    /// leaderl's version.
    pub version: String,
    /// PostgreSQL's port.
    pub postgres_port: u16,
    /// etcd's client URL.
    pub etcd_client_url: String,
    /// etcd's peer URL.
    pub etcd_peer_url: String,
    /// Search engine's HTTP and transport ports, when one runs here.
    pub search_ports: Option<(u16, u16)>,
}

/// `nodes/<guid>`: a node's posted status; judged stale by the observer's own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Identity.
    pub guid: NodeId,
    /// Grows with each post.
    pub seq: u64,
    /// `initializing`, `waiting_for_leader`, `promoting`, `leader`, `follower`, `deposed_leader`.
    pub role: String,
    /// Whom its PostgreSQL streams from.
    pub following: Option<NodeId>,
    /// `leader`, `offline`, `syncing`, `synced`.
    pub pg: String,
    /// `master`, `not_master`, `offline`, `external`.
    pub search: String,
    /// Whether the `unsynced` mark is there.
    pub partially_synced: bool,
    /// Whether it can stream only with a copy made anew, and waits for that until `voters` does not name it (rule R7).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_remake: bool,
    /// Whether it could lead now.
    pub eligible: bool,
    /// Why it does not lead.
    pub reasons: Vec<AgedReason>,
    /// PostgreSQL's position.
    pub position: Option<Position>,
    /// Bytes behind the leader, when known.
    pub lag_bytes: Option<u64>,
    /// PostgreSQL's system identifier.
    pub system_identifier: Option<String>,
    /// Service name to `ok` or the failure.
    pub health: BTreeMap<String, String>,
    /// The newest epoch the node knows.
    pub epoch: Epoch,
    /// Three facts: holds the key, writable, serves.
    pub holds_key: bool,
    /// PostgreSQL takes writes.
    pub writable: bool,
    /// VIP and `/leader` say so.
    pub serves: bool,
}

/// A reason and how long it has held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgedReason {
    /// The reason.
    #[serde(flatten)]
    pub reason: Reason,
    /// Whole seconds since it began to hold.
    pub age_secs: u64,
}

/// A failover switch; an absent key means `on`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverSwitch {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Whether leadership may change (cluster) or this node may take it (node).
    pub enabled: bool,
    /// Who or what switched it.
    pub reason: String,
}

/// `control/requests/<id>`: an operator's order, which survives its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The order.
    pub kind: RequestKind,
    /// How far it is.
    pub state: RequestState,
    /// The epoch whose leader is asked; another epoch makes the request void.
    pub epoch: Epoch,
    /// For people.
    pub detail: String,
}

/// What an operator can ask of the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "order")]
pub enum RequestKind {
    /// Make exactly this node the leader.
    Promote {
        /// The node.
        target: NodeId,
    },
    /// Let somebody else lead.
    Demote,
    /// Lead although the switches say no, or (flag) although completeness is unproven.
    ForceLeader {
        /// The node that shall lead.
        target: NodeId,
        /// The operator named the loss.
        accept_data_loss: bool,
    },
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// Nobody has taken it up.
    Pending,
    /// The leader is stepping down for it.
    Working,
    /// The asked state is there.
    Done,
    /// Refused or failed; `detail` says why.
    Refused,
}

/// `settings`: what must be the same on all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// Document version.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The cluster.
    pub cluster_id: String,
    /// PostgreSQL's system identifier, once known.
    pub system_identifier: Option<String>,
    /// D in milliseconds; every node must use the same.
    pub leader_ttl_ms: u64,
    /// The replication mode.
    pub mode: ReplicationMode,
}

/// Reads a document; garbage becomes a reason.
pub fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Reason> {
    serde_json::from_slice(value)
        .map_err(|why| Reason::new("unreadable-document", format!("`{key}` cannot be read ({why}); it is ignored")))
}
