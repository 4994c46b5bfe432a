//! What one node has seen of the cluster's records in etcd, parsed, with revisions and the time of receipt.

use crate::model::{Epoch, NodeId, Reason, Revision, Timestamp};
use crate::records::{
    BidRecord, ClusterSettings, EpochRecord, FailoverSwitch, HistoryRecord, LeaderValue, MemberRecord, NodeStatus,
    RequestRecord, VotersRecord,
};
use std::collections::BTreeMap;

mod build;
pub mod high_water;
#[cfg(test)]
mod tests;

pub use build::Entry;

/// A record with its key's mod_revision and when this revision was first received here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<T> {
    /// The record.
    pub record: T,
    /// The key's mod_revision.
    pub revision: Revision,
    /// This node's clock at the *receipt* of that revision.
    pub at: Timestamp,
}

/// Everything under the cluster's prefix, as of `revision`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// etcd's own cluster id.
    pub store_id: u64,
    /// The newest revision this view includes.
    pub revision: Revision,
    /// When etcd last answered anything (a watch message, progress, a read), on this node's clock.
    pub heard_at: Timestamp,
    /// The `leader` key.
    pub leader: Option<Seen<LeaderValue>>,
    /// The `epoch` key.
    pub epoch: Option<Seen<EpochRecord>>,
    /// The `voters` key.
    pub voters: Option<Seen<VotersRecord>>,
    /// `history/*`.
    pub history: BTreeMap<Epoch, HistoryRecord>,
    /// `bids/*`.
    pub bids: BTreeMap<NodeId, Seen<BidRecord>>,
    /// `members/*`.
    pub members: BTreeMap<NodeId, Seen<MemberRecord>>,
    /// `nodes/*`.
    pub nodes: BTreeMap<NodeId, Seen<NodeStatus>>,
    /// `control/failover`.
    pub cluster_failover: Option<Seen<FailoverSwitch>>,
    /// `control/nodes/*`.
    pub node_failover: BTreeMap<NodeId, Seen<FailoverSwitch>>,
    /// `control/requests/*`.
    pub requests: BTreeMap<String, Seen<RequestRecord>>,
    /// `settings`.
    pub settings: Option<Seen<ClusterSettings>>,
    /// Set when the store shows less than it once did (a restored backup): nobody takes over, the operator confirms.
    pub went_back: Option<Reason>,
    /// Documents that could not be read, by key.
    pub unreadable: BTreeMap<String, Reason>,
}

impl ClusterView {
    /// Whether failover is allowed for the whole cluster.
    pub fn cluster_failover_on(&self) -> bool {
        self.cluster_failover.as_ref().is_none_or(|switch| switch.record.enabled)
    }

    /// Whether failover is allowed for one node.
    pub fn node_failover_on(&self, node: &NodeId) -> bool {
        self.node_failover.get(node).is_none_or(|switch| switch.record.enabled)
    }

    /// The newest epoch taken; 0 before the first.
    pub fn newest_epoch(&self) -> Epoch {
        self.epoch.as_ref().map(|seen| seen.record.epoch).unwrap_or_default()
    }

    /// The mod_revision of the `epoch` key; 0 when absent.
    pub fn epoch_revision(&self) -> Revision {
        self.epoch.as_ref().map(|seen| seen.revision).unwrap_or_default()
    }

    /// The mod_revision of the `leader` key; 0 when absent.
    pub fn leader_revision(&self) -> Revision {
        self.leader.as_ref().map(|seen| seen.revision).unwrap_or_default()
    }

    /// A member's name, or its identity's first digits.
    pub fn name_of(&self, node: &NodeId) -> String {
        self.members.get(node).map_or_else(|| node.short().to_owned(), |seen| seen.record.name.clone())
    }
}
