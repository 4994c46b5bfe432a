//! The board: what each actor last published, for everyone who only reads (HTTP, CLI, metrics).
//!
//! One `watch` cell per fact; an actor replaces its whole value. Reading never waits and never asks an actor.

use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Epoch, NodeId, Reason, ServiceName, Timestamp};
use leaderl_decision::postgres_report::PostgresReport;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// All cells of one node.
#[derive(Debug)]
pub struct Board {
    /// From EtcdSessionActor.
    pub cluster: watch::Sender<Arc<ClusterView>>,
    /// From ElectionActor.
    pub election: watch::Sender<ElectionView>,
    /// From PgReplicationActor.
    pub postgres: watch::Sender<PostgresReport>,
    /// From VipActor.
    pub vip: watch::Sender<VipView>,
    /// From HeartLinkActor.
    pub gate: watch::Sender<GateView>,
    /// From EsActor.
    pub search: watch::Sender<SearchView>,
    /// From VotersActor.
    pub voters: watch::Sender<VotersView>,
    /// From each HealthActor.
    pub health: watch::Sender<BTreeMap<ServiceName, HealthView>>,
    /// From the daemon: where the supervision tree's snapshot comes from is `actors tree`'s business.
    pub started_at: Timestamp,
}

impl Board {
    /// An empty board.
    pub fn new(started_at: Timestamp) -> Self {
        Self {
            cluster: watch::Sender::default(),
            election: watch::Sender::default(),
            postgres: watch::Sender::default(),
            vip: watch::Sender::default(),
            gate: watch::Sender::default(),
            search: watch::Sender::default(),
            voters: watch::Sender::default(),
            health: watch::Sender::default(),
            started_at,
        }
    }
}

/// What the election knows and has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectionView {
    /// State name, as in the state diagram.
    pub state: String,
    /// Role word of `cluster-status`.
    pub role: String,
    /// The newest epoch known.
    pub epoch: Epoch,
    /// The present holder.
    pub leader: Option<NodeId>,
    /// First fact: this node holds the key.
    pub holds_key: bool,
    /// Second fact: its PostgreSQL is writable under that epoch.
    pub writable: bool,
    /// The epoch under which clients are still kept out until a voter has flushed past the promotion.
    pub awaits_voters: Option<Epoch>,
    /// Third fact: clients are let in (VIP ordered, `/leader` 200).
    pub serves: bool,
    /// `/leader` says 200 only before this instant (t0 + D/2), whatever else is written here.
    pub serves_until: Timestamp,
    /// Whether this node could lead if the seat were empty: identity, marks, switches, health, lag.
    pub eligible: bool,
    /// Why this node does not lead, each with the instant since when it holds.
    pub reasons: Vec<(Reason, Timestamp)>,
    /// When leaderships of this node ended by a fault, within the window that counts.
    pub faults: Vec<Timestamp>,
    /// Since when the state holds.
    pub since: Timestamp,
}

/// The addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VipView {
    /// Configured addresses; empty: none.
    pub configured: Vec<String>,
    /// Those bound here now, as the kernel says.
    pub bound: Vec<String>,
    /// Foreign holder, missing capability, ...
    pub problems: Vec<Reason>,
}

/// The port gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateView {
    /// `open` to clients, `shut`, `missing`, `off`; empty while heart is not attached.
    pub state: String,
    /// Why it is missing or off.
    pub reason: String,
}

/// The search engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchView {
    /// `master`, `not_master`, `offline`, `external`, `off`.
    pub role: String,
    /// `green`, `yellow`, `red` or empty.
    pub health: String,
    /// Nodes the engine sees.
    pub nodes: u32,
    /// Whether it knows a master.
    pub has_master: bool,
    /// What is wrong.
    pub problems: Vec<Reason>,
}

/// What the keeper of the voter record is waiting for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VotersView {
    /// The epoch whose record is kept; 0: none is.
    pub epoch: Epoch,
    /// Since when each follower that counts does not stream.
    pub missing_since: BTreeMap<NodeId, Timestamp>,
    /// Since when nobody streams.
    pub lonely_since: Option<Timestamp>,
}

/// One service's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthView {
    /// Checks in a row that failed.
    pub failures: u32,
    /// More than allowed in a row: the service counts as failed.
    pub tripped: bool,
    /// The last failure's words; empty when the last check passed.
    pub detail: String,
    /// When the last check ended.
    pub checked_at: Timestamp,
}
