//! What is committed in etcd: I10, I11, and the numbers of the report.

use crate::faults::scenes::On;
use crate::world::{SEC, Time, World, note};
use leaderl::ports::{Txn, Write};
use leaderl_decision::records::{EpochRecord, HistoryRecord, LeaderValue, VotersRecord};
use std::collections::btree_map::Entry;

/// A takeover that nothing justifies within so long before it is a needless one.
const JUSTIFIED_FOR: Time = 25 * SEC;

impl World {
    fn node_of(&self, guid: &leaderl_decision::model::NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.guid == *guid)
    }

    /// A transaction has just been committed. `given_up`: its sender does not wait for it any more.
    pub(crate) fn truth_of_commit(&mut self, txn: &Txn, sender: usize, given_up: bool) {
        let claims =
            txn.writes.iter().any(|write| matches!(write, Write::Put { key, .. } if *key == self.keys.epoch()));
        for write in &txn.writes {
            let Write::Put { key, value } = write else { continue };
            if *key == self.keys.leader() {
                self.leader_written(value, claims, given_up);
            } else if *key == self.keys.epoch() {
                self.epoch_written(value, sender);
            } else if *key == self.keys.voters() {
                self.voters_written(value, claims, sender);
            } else if *key == self.keys.bid(&self.nodes[sender].guid) {
                self.spring(On::Bid, sender);
            } else if let Ok(record) = serde_json::from_slice::<HistoryRecord>(value)
                && *key == self.keys.history(record.epoch)
            {
                self.history_written(&record);
            }
        }
    }

    fn leader_written(&mut self, value: &[u8], claims: bool, given_up: bool) {
        match serde_json::from_slice::<LeaderValue>(value) {
            Ok(LeaderValue::Holder(holder)) => {
                let holder_node = self.node_of(&holder.guid);
                if !claims && given_up {
                    self.counts.late_renewals += 1;
                }
                if claims {
                    if self.truth.holder.is_some() {
                        self.counts.takeovers_by_expiry += 1;
                    }
                } else if self.has_bids() {
                    self.counts.bids_voided += 1;
                }
                self.truth.holder = holder_node;
            }
            Ok(LeaderValue::Vacancy(vacancy)) => {
                note!(self, "etcd: vacancy ({})", vacancy.cause);
                self.truth.holder = None;
            }
            Err(_) => {}
        }
    }

    /// Bids for the revision that a renewal has just replaced.
    fn has_bids(&self) -> bool {
        let newest = self.etcd.kv.revision - 1;
        let prefix = format!("{}bids/", self.keys.prefix());
        self.etcd.kv.prefix(&prefix).iter().any(|entry| entry.mod_revision.0 >= newest - 2)
    }

    fn epoch_written(&mut self, value: &[u8], sender: usize) {
        let Ok(record) = serde_json::from_slice::<EpochRecord>(value) else { return };
        if record.epoch.0 != self.truth.epoch.0 + 1 {
            self.violate("I11", format!("epoch {} follows {}", record.epoch, self.truth.epoch));
        }
        self.truth.epoch = record.epoch;
        super::orders::claimed(self, sender);
        super::promotion::note_published(self);
        self.spring(On::Claim, sender);
        note!(self, "etcd: n{sender} takes epoch {}", record.epoch);
        if record.epoch.0 > 1 {
            self.counts.leader_changes += 1;
            let since = self.now.saturating_sub(self.truth.justified);
            if since > JUSTIFIED_FOR && !self.profile.wild_clocks {
                self.violate("I10", format!("a leader change although nothing had happened for {} s", since / SEC));
            }
        }
    }

    fn voters_written(&mut self, value: &[u8], claims: bool, sender: usize) {
        let Ok(record) = serde_json::from_slice::<VotersRecord>(value) else { return };
        let names: Vec<_> = record.voters.iter().filter_map(|guid| self.node_of(guid)).collect();
        note!(self, "etcd: voters {names:?} under epoch {}", record.epoch);
        if let Some(holder) = self.truth.holder.filter(|holder| *holder != sender && !claims) {
            self.violate("I11", format!("n{sender} changes the voters of n{holder}'s epoch"));
        }
        if !claims {
            self.counts.voter_changes += 1;
            super::voters::changed(self, &record);
            if let Some(holder) = self.truth.holder {
                self.spring(On::Voters, holder);
            }
            if record.voters.is_empty() && !self.truth.voters_empty {
                self.counts.degradations += 1;
            }
        }
        self.truth.voters_empty = record.voters.is_empty();
        let now = self.now;
        self.truth.voter_since.retain(|id, _| names.contains(id));
        for id in names {
            let Entry::Vacant(entry) = self.truth.voter_since.entry(id) else { continue };
            entry.insert(now);
            if !claims {
                super::orders::votes(self, id);
            }
        }
    }

    fn history_written(&mut self, record: &HistoryRecord) {
        let highest = self.truth.recorded.keys().next_back().copied().unwrap_or(1);
        if record.timeline.0 <= highest {
            self.violate("I11", format!("timeline {} is recorded after {highest}", record.timeline));
        }
        if let Some(node) = self.node_of(&record.node) {
            self.truth.recorded.insert(record.timeline.0, (record.epoch, node));
        }
    }
}
