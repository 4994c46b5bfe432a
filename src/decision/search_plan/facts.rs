//! The words of the search plan: what is known of the engine, its service and its cluster.

use crate::model::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The engines this plan knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Elasticsearch 6.8: zen1, the quorum is a setting.
    Elasticsearch6,
    /// Elasticsearch 7: voting configuration.
    Elasticsearch7,
    /// OpenSearch 2: voting configuration.
    Opensearch2,
}

impl Engine {
    /// Whether the quorum is `minimum_master_nodes`, which nobody but leaderl keeps right.
    pub fn has_quorum_setting(self) -> bool {
        match self {
            Self::Elasticsearch6 => true,
            Self::Elasticsearch7 | Self::Opensearch2 => false,
        }
    }

    /// The main file in the configuration directory.
    pub fn settings_file(self) -> &'static str {
        match self {
            Self::Elasticsearch6 | Self::Elasticsearch7 => "elasticsearch.yml",
            Self::Opensearch2 => "opensearch.yml",
        }
    }
}

/// `search/cluster` in etcd: who may found the engine's cluster, and which cluster that became.
///
/// Exactly one node is ever the founder; once `cluster_uuid` is known nobody founds again, so a node that lost its disk
/// cannot make a second cluster beside the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchRecord {
    /// Document version.
    pub schema: u32,
    /// The node that may found the cluster.
    pub founder: NodeId,
    /// The engine's own cluster id, once there is one.
    pub cluster_uuid: Option<String>,
}

/// `search/restart` in etcd: whose turn it is to restart its engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartTurn {
    /// Document version.
    pub schema: u32,
    /// The node.
    pub guid: NodeId,
}

/// What is known of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecordSeen {
    /// etcd has not been asked, or did not answer.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// This one.
    Present(SearchRecord),
}

/// What is known of the restart turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TurnSeen {
    /// etcd has not been asked, or did not answer.
    #[default]
    Unknown,
    /// Nobody has it, or its holder has been silent for too long.
    Free,
    /// This node has it.
    Mine,
    /// Another node has it.
    Other(NodeId),
}

/// The engine's service as the service manager shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceSeen {
    /// The manager did not answer.
    #[default]
    Unknown,
    /// It does not know the service.
    NotInstalled,
    /// Installed, not running, not wanted.
    Down,
    /// Between two states, or a restart ordered by this daemon is under way.
    Changing,
    /// Running for so long.
    Running(Duration),
}

/// The engine's colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// The engine did not say.
    #[default]
    Unknown,
    /// Every shard and its copies are there.
    Green,
    /// A copy is missing; normal while a node is away.
    Yellow,
    /// A primary shard is missing.
    Red,
}

impl Colour {
    /// As the engine writes it; empty when unknown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }
}

/// The voting configuration, by the engine's own node ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voting {
    /// The last committed configuration.
    pub committed: BTreeSet<String>,
    /// Excluded from it by request.
    pub excluded: BTreeSet<String>,
}

/// What the local engine answers, from its own memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineState {
    /// Version number.
    pub version: String,
    /// Cluster name.
    pub cluster_name: String,
    /// Cluster id; `None` before it belongs to one.
    pub cluster_uuid: Option<String>,
    /// Colour.
    pub colour: Colour,
    /// Engine's node id to node name (our identity).
    pub nodes: BTreeMap<String, NodeId>,
    /// The elected master's name.
    pub master: Option<NodeId>,
    /// The fingerprint this engine was started with.
    pub fingerprint: Option<String>,
    /// The quorum this engine was started with.
    pub start_quorum: Option<u32>,
    /// The quorum that was set while it ran.
    pub quorum: Option<u32>,
    /// Voting configuration, where the engine has one.
    pub voting: Option<Voting>,
}

/// Everything the plan looks at.
#[derive(Clone, Debug)]
pub struct SearchFacts<'a> {
    /// Which engine.
    pub engine: Engine,
    /// This node.
    pub me: &'a NodeId,
    /// Its members as etcd knows them.
    pub members: &'a BTreeSet<NodeId>,
    /// Whether `members` was confirmed within the last seconds; nothing of the quorum changes otherwise.
    pub members_fresh: bool,
    /// The founder's record.
    pub record: &'a RecordSeen,
    /// Whose turn it is to restart.
    pub turn: &'a TurnSeen,
    /// The cluster name from the secrets.
    pub cluster_name: &'a str,
    /// Whether the files on disk are the wanted ones.
    pub files_match: bool,
    /// The wanted files' fingerprint.
    pub fingerprint: &'a str,
    /// Whether the service's definition was written by this daemon since its start.
    pub service_defined: bool,
    /// The service.
    pub service: ServiceSeen,
    /// Whether an engine ever ran on this node's data directory.
    pub has_run: bool,
    /// What the engine answers; `None`: nothing.
    pub engine_state: Option<&'a EngineState>,
}
