//! What one node remembers of etcd for ever, so that a restored backup or another store is noticed (invariant: no one acts on
//! a control state that went back).

use super::ClusterView;
use crate::model::{Epoch, Reason, Revision};
use crate::planted::{Planted, planted};
use serde::{Deserialize, Serialize};

/// The highest this node has seen; kept in `high_water.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// etcd's own cluster id; 0 before the first contact.
    pub store_id: u64,
    /// The store's revision.
    pub revision: Revision,
    /// The newest epoch.
    pub epoch: Epoch,
    /// The voter record's version.
    pub voters_version: u64,
    /// Set once the control state was seen below this; only the operator clears it.
    #[serde(default)]
    pub went_back: Option<Reason>,
}

/// How soon a raised mark must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing moved.
    Nothing,
    /// Only the revision moved: within seconds.
    Soon,
    /// Store, epoch, voters or the verdict changed: at once.
    Now,
}

impl HighWater {
    /// Why `view` is below what was seen before, if it is; sticky until [`Self::accept`].
    pub fn judge(&self, view: &ClusterView) -> Option<Reason> {
        if planted(Planted::WentBackIgnored) {
            return None;
        }
        if self.went_back.is_some() {
            return self.went_back.clone();
        }
        let told = |what: String| {
            Some(Reason::new(
                "control-state-went-back",
                format!("the control state in etcd went back: {what}; no takeover until an operator confirms it"),
            ))
        };
        let version = view.voters.as_ref().map(|seen| seen.record.version).unwrap_or_default();
        if self.store_id != 0 && view.store_id != self.store_id {
            return told(format!("etcd's cluster id was {:x} and is {:x} now", self.store_id, view.store_id));
        }
        if view.revision < self.revision {
            return told(format!("revision {} was seen before, now it is {}", self.revision, view.revision));
        }
        if view.newest_epoch() < self.epoch {
            return told(format!("epoch {} was seen before, now it is {}", self.epoch, view.newest_epoch()));
        }
        if version < self.voters_version {
            return told(format!("voters version {} was seen before, now it is {version}", self.voters_version));
        }
        None
    }

    /// Remembers `view`, after it was judged; says how urgently that must be durable.
    pub fn raise(&mut self, view: &ClusterView) -> Urgency {
        if view.went_back != self.went_back {
            self.went_back.clone_from(&view.went_back);
            return Urgency::Now;
        }
        if self.went_back.is_some() {
            return Urgency::Nothing;
        }
        let before = self.clone();
        self.store_id = view.store_id;
        self.revision = self.revision.max(view.revision);
        self.epoch = self.epoch.max(view.newest_epoch());
        let version = view.voters.as_ref().map(|seen| seen.record.version).unwrap_or_default();
        self.voters_version = self.voters_version.max(version);
        if *self == before {
            Urgency::Nothing
        } else if (Self { revision: self.revision, ..before }) == *self {
            Urgency::Soon
        } else {
            Urgency::Now
        }
    }

    /// The operator has confirmed the present state: what was seen before counts no more.
    pub fn accept(&mut self, view: &ClusterView) {
        *self = Self::default();
        let mut present = view.clone();
        present.went_back = None;
        self.raise(&present);
    }
}
