//! Building a [`ClusterView`] from what etcd answers: a range of the whole prefix, then one change after the other.

use super::{ClusterView, Seen};
use crate::model::{Epoch, NodeId, Revision, Timestamp};
use crate::records::{self, Keys};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// One key as etcd returned it, with the revision that last wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Full key.
    pub key: &'a str,
    /// Raw value.
    pub value: &'a [u8],
    /// The key's mod_revision.
    pub revision: Revision,
}

impl ClusterView {
    /// The view after a linearizable read of the whole prefix at `revision`, received at `now`.
    ///
    /// A key whose mod_revision is the one this view already shows keeps its time of receipt: reading it again is no renewal.
    #[must_use]
    pub fn after_list<'a>(
        &self,
        keys: &Keys,
        store_id: u64,
        revision: Revision,
        entries: impl IntoIterator<Item = Entry<'a>>,
        now: Timestamp,
    ) -> Self {
        let mut view = Self { store_id, revision, heard_at: now.max(self.heard_at), ..Self::default() };
        view.went_back = self.went_back.clone();
        for entry in entries {
            view.put(keys, &entry, now);
        }
        view.keep_receipts(self);
        view
    }

    /// Applies one change of a watch: a new value, or `None` for a deletion at `revision`.
    ///
    /// A change at or below the revision of what is shown is ignored: it was in the list already.
    pub fn apply_change(&mut self, keys: &Keys, key: &str, value: Option<&[u8]>, revision: Revision, now: Timestamp) {
        if revision <= self.revision_of(keys, key) {
            return;
        }
        match value {
            Some(value) => self.put(keys, &Entry { key, value, revision }, now),
            None => self.remove(keys, key),
        }
    }

    /// The stream showed everything up to `revision`; its messages come in order.
    pub fn advance(&mut self, revision: Revision, now: Timestamp) {
        self.revision = self.revision.max(revision);
        self.heard_at = self.heard_at.max(now);
    }

    fn put(&mut self, keys: &Keys, entry: &Entry<'_>, now: Timestamp) {
        self.unreadable.remove(entry.key);
        let outcome = match Place::of(keys, entry.key) {
            Place::Leader => one(&mut self.leader, entry, crate::renewal::counts_from(entry.value, now)),
            Place::Epoch => one(&mut self.epoch, entry, now),
            Place::Voters => one(&mut self.voters, entry, now),
            Place::ClusterFailover => one(&mut self.cluster_failover, entry, now),
            Place::Settings => one(&mut self.settings, entry, now),
            Place::History(epoch) => records::read(entry.key, entry.value).map(|record| {
                self.history.insert(epoch, record);
            }),
            Place::Bid(node) => many(&mut self.bids, node, entry, now),
            Place::Member(node) => many(&mut self.members, node, entry, now),
            Place::Node(node) => many(&mut self.nodes, node, entry, now),
            Place::NodeFailover(node) => many(&mut self.node_failover, node, entry, now),
            Place::Request(id) => many(&mut self.requests, id, entry, now),
            Place::Elsewhere => Ok(()),
        };
        if let Err(reason) = outcome {
            // What cannot be read must not leave its older value standing: nobody may act on what is not there any more.
            self.remove(keys, entry.key);
            self.unreadable.insert(entry.key.to_owned(), reason);
        }
    }

    fn remove(&mut self, keys: &Keys, key: &str) {
        self.unreadable.remove(key);
        match Place::of(keys, key) {
            Place::Leader => self.leader = None,
            Place::Epoch => self.epoch = None,
            Place::Voters => self.voters = None,
            Place::ClusterFailover => self.cluster_failover = None,
            Place::Settings => self.settings = None,
            Place::History(epoch) => drop(self.history.remove(&epoch)),
            Place::Bid(node) => drop(self.bids.remove(&node)),
            Place::Member(node) => drop(self.members.remove(&node)),
            Place::Node(node) => drop(self.nodes.remove(&node)),
            Place::NodeFailover(node) => drop(self.node_failover.remove(&node)),
            Place::Request(id) => drop(self.requests.remove(&id)),
            Place::Elsewhere => {}
        }
    }

    fn revision_of(&self, keys: &Keys, key: &str) -> Revision {
        match Place::of(keys, key) {
            Place::Leader => revision(self.leader.as_ref()),
            Place::Epoch => revision(self.epoch.as_ref()),
            Place::Voters => revision(self.voters.as_ref()),
            Place::ClusterFailover => revision(self.cluster_failover.as_ref()),
            Place::Settings => revision(self.settings.as_ref()),
            Place::Bid(node) => revision(self.bids.get(&node)),
            Place::Member(node) => revision(self.members.get(&node)),
            Place::Node(node) => revision(self.nodes.get(&node)),
            Place::NodeFailover(node) => revision(self.node_failover.get(&node)),
            Place::Request(id) => revision(self.requests.get(&id)),
            Place::History(_) | Place::Elsewhere => Revision(0),
        }
    }

    fn keep_receipts(&mut self, old: &Self) {
        if self.store_id != old.store_id {
            return;
        }
        keep(&mut self.leader, &old.leader);
        keep(&mut self.epoch, &old.epoch);
        keep(&mut self.voters, &old.voters);
        keep(&mut self.cluster_failover, &old.cluster_failover);
        keep(&mut self.settings, &old.settings);
        keep_all(&mut self.bids, &old.bids);
        keep_all(&mut self.members, &old.members);
        keep_all(&mut self.nodes, &old.nodes);
        keep_all(&mut self.node_failover, &old.node_failover);
        keep_all(&mut self.requests, &old.requests);
    }
}

/// Which record a key names.
enum Place {
    Leader,
    Epoch,
    Voters,
    ClusterFailover,
    Settings,
    History(Epoch),
    Bid(NodeId),
    Member(NodeId),
    Node(NodeId),
    NodeFailover(NodeId),
    Request(String),
    Elsewhere,
}

impl Place {
    fn of(keys: &Keys, key: &str) -> Self {
        let Some(rest) = key.strip_prefix(keys.prefix()) else { return Self::Elsewhere };
        let node = |guid: &str| NodeId(guid.to_owned());
        match rest {
            "leader" => return Self::Leader,
            "epoch" => return Self::Epoch,
            "voters" => return Self::Voters,
            "control/failover" => return Self::ClusterFailover,
            "settings" => return Self::Settings,
            _ => {}
        }
        match rest.rsplit_once('/') {
            Some(("history", number)) => number.parse().map_or(Self::Elsewhere, |n| Self::History(Epoch(n))),
            Some(("bids", guid)) => Self::Bid(node(guid)),
            Some(("members", guid)) => Self::Member(node(guid)),
            Some(("nodes", guid)) => Self::Node(node(guid)),
            Some(("control/nodes", guid)) => Self::NodeFailover(node(guid)),
            Some(("control/requests", id)) => Self::Request(id.to_owned()),
            Some(_) | None => Self::Elsewhere,
        }
    }
}

fn one<T: DeserializeOwned>(
    cell: &mut Option<Seen<T>>,
    entry: &Entry<'_>,
    now: Timestamp,
) -> Result<(), crate::model::Reason> {
    let record = records::read(entry.key, entry.value)?;
    *cell = Some(Seen { record, revision: entry.revision, at: now });
    Ok(())
}

fn many<K: Ord, T: DeserializeOwned>(
    map: &mut BTreeMap<K, Seen<T>>,
    at: K,
    entry: &Entry<'_>,
    now: Timestamp,
) -> Result<(), crate::model::Reason> {
    let record = records::read(entry.key, entry.value)?;
    map.insert(at, Seen { record, revision: entry.revision, at: now });
    Ok(())
}

fn revision<T>(seen: Option<&Seen<T>>) -> Revision {
    seen.map(|seen| seen.revision).unwrap_or_default()
}

fn keep<T>(new: &mut Option<Seen<T>>, old: &Option<Seen<T>>) {
    if let (Some(new), Some(old)) = (new, old)
        && new.revision == old.revision
    {
        new.at = old.at;
    }
}

fn keep_all<K: Ord, T>(new: &mut BTreeMap<K, Seen<T>>, old: &BTreeMap<K, Seen<T>>) {
    for (key, seen) in new.iter_mut() {
        if let Some(before) = old.get(key).filter(|before| before.revision == seen.revision) {
            seen.at = before.at;
        }
    }
}
