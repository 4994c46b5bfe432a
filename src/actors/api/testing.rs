//! A node that is only a board, and an etcd that is only a map, for tests of this folder and of the CLI.

use super::facts::Facts;
use crate::board::Board;
use crate::ports::*;
use crate::settings::Settings;
use async_trait::async_trait;
use leaderl_decision::cluster::{ClusterView, Seen};
use leaderl_decision::model::{Epoch, Lsn, NodeId, Nonce, Position, Reason, Revision, Timeline, Timestamp};
use leaderl_decision::records::{AgedReason, EpochRecord, Holder, LeaderValue, MemberRecord, NodeStatus, SCHEMA};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) fn guid(number: u8) -> NodeId {
    NodeId(format!("{number:032x}"))
}

pub(crate) struct FakeNode {
    pub(crate) guid: NodeId,
    pub(crate) board: Board,
    pub(crate) settings: Settings,
    pub(crate) now: AtomicU64,
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        let mut settings = Settings::default();
        settings.node.name = "backend-1".into();
        settings.node.publish_address = Some("127.0.0.1".parse().unwrap());
        let now = AtomicU64::new(Duration::from_secs(100).as_nanos() as u64);
        Self { guid: guid(1), board: Board::new(Timestamp(0)), settings, now }
    }

    pub(crate) fn later(&self, by: Duration) {
        self.now.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Facts for FakeNode {
    fn guid(&self) -> &NodeId {
        &self.guid
    }
    fn board(&self) -> &Board {
        &self.board
    }
    fn settings(&self) -> &Settings {
        &self.settings
    }
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }
}

fn seen<T>(record: T, at: Timestamp) -> Seen<T> {
    Seen { record, revision: Revision(7), at }
}

pub(crate) fn status(number: u8, role: &str) -> NodeStatus {
    let leads = role == "leader";
    let reason = Reason::new("leader-exists", "backend-1 is the leader and no leader change was asked for");
    NodeStatus {
        schema: SCHEMA,
        guid: guid(number),
        seq: 1,
        role: role.into(),
        following: (!leads).then(|| guid(1)),
        pg: if leads { "leader".into() } else { "synced".into() },
        search: if number == 3 { "master".into() } else { "not_master".into() },
        partially_synced: false,
        needs_remake: false,
        eligible: true,
        reasons: if leads { vec![] } else { vec![AgedReason { reason, age_secs: 3700 }] },
        position: Some(Position { epoch: Epoch(4), lsn: Lsn(0x3000148), timeline: Timeline(5) }),
        lag_bytes: (!leads).then_some(0),
        system_identifier: None,
        health: BTreeMap::from([("postgres".into(), "ok".into())]),
        epoch: Epoch(4),
        holds_key: leads,
        writable: leads,
        serves: leads,
    }
}

pub(crate) fn member(number: u8) -> MemberRecord {
    MemberRecord {
        schema: SCHEMA,
        guid: guid(number),
        name: format!("backend-{number}"),
        address: format!("10.0.0.1{number}"),
        version: "0.1.0".into(),
        postgres_port: 5432,
        etcd_client_url: format!("http://10.0.0.1{number}:2379"),
        etcd_peer_url: format!("http://10.0.0.1{number}:2380"),
        search_ports: None,
    }
}

/// Three nodes, backend-1 leads epoch 4.
pub(crate) fn three_nodes(now: Timestamp) -> ClusterView {
    let holder = Holder {
        schema: SCHEMA,
        guid: guid(1),
        boot_id: "b".into(),
        nonce: Nonce("n".into()),
        epoch: Epoch(4),
        seq: 9,
    };
    let epoch =
        EpochRecord { schema: SCHEMA, epoch: Epoch(4), guid: guid(1), nonce: Nonce("n".into()), taken_with: None };
    let roles = [(1, "leader"), (2, "follower"), (3, "follower")];
    ClusterView {
        heard_at: now,
        revision: Revision(40),
        leader: Some(seen(LeaderValue::Holder(holder), now)),
        epoch: Some(seen(epoch, now)),
        members: roles.iter().map(|(n, _)| (guid(*n), seen(member(*n), now))).collect(),
        nodes: roles.iter().map(|(n, role)| (guid(*n), seen(status(*n, role), now))).collect(),
        ..ClusterView::default()
    }
}

/// Keys, values and revisions; nothing else of etcd.
#[derive(Default)]
pub(crate) struct MapStore {
    pub(crate) keys: Mutex<(i64, BTreeMap<String, KeyValue>)>,
}

impl MapStore {
    pub(crate) fn put(&self, key: &str, value: &impl serde::Serialize) -> Revision {
        let mut keys = self.keys.lock().unwrap();
        keys.0 += 1;
        let revision = Revision(keys.0);
        let value = serde_json::to_vec(value).unwrap();
        keys.1.insert(key.into(), KeyValue { key: key.into(), value, mod_revision: revision });
        revision
    }
}

fn none<T>() -> Result<T, StoreError> {
    Err(StoreError::Unreachable { detail: "not in this test".into() })
}

#[async_trait]
impl CoordinationStore for MapStore {
    async fn range_prefix(&self, prefix: &str, _: Duration) -> Result<RangeAnswer, StoreError> {
        let keys = self.keys.lock().unwrap();
        let entries = keys.1.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let entries = entries.map(|(_, entry)| entry.clone()).collect();
        Ok(RangeAnswer { store_id: 1, revision: Revision(keys.0), entries })
    }
    async fn get(&self, key: &str, _: Duration) -> Result<RangeAnswer, StoreError> {
        let keys = self.keys.lock().unwrap();
        let entries = keys.1.get(key).cloned().into_iter().collect();
        Ok(RangeAnswer { store_id: 1, revision: Revision(keys.0), entries })
    }
    async fn txn(&self, txn: Txn, _: Duration) -> Result<TxnAnswer, StoreError> {
        let mut keys = self.keys.lock().unwrap();
        let now =
            |keys: &BTreeMap<String, KeyValue>, key: &str| keys.get(key).map_or(Revision(0), |kv| kv.mod_revision);
        if txn.compares.iter().any(|compare| now(&keys.1, &compare.key) != compare.mod_revision) {
            let reads = txn.else_reads.iter().filter_map(|key| keys.1.get(key).cloned()).collect();
            return Ok(TxnAnswer::Refused { revision: Revision(keys.0), reads });
        }
        keys.0 += 1;
        let revision = Revision(keys.0);
        for write in txn.writes {
            match write {
                Write::Put { key, value } => {
                    keys.1.insert(key.clone(), KeyValue { key, value, mod_revision: revision });
                }
                Write::Delete { key } => {
                    keys.1.remove(&key);
                }
            }
        }
        Ok(TxnAnswer::Committed { revision })
    }
    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        self.txn(txn, limit).await
    }
    async fn watch(&self, _: &str, _: Revision, _: Duration) -> Result<Box<dyn WatchStream>, StoreError> {
        none()
    }
    async fn members(&self, _: Duration) -> Result<Vec<StoreMember>, StoreError> {
        none()
    }
    async fn add_learner(&self, _: &str, _: Duration) -> Result<StoreMember, StoreError> {
        none()
    }
    async fn promote_learner(&self, _: u64, _: Duration) -> Result<(), StoreError> {
        none()
    }
    async fn remove_member(&self, _: u64, _: Duration) -> Result<(), StoreError> {
        none()
    }
    fn set_endpoints(&self, _: &str, _: &[String]) {}
    async fn compact_and_defragment(&self, _: Revision, _: Duration) -> Result<(), StoreError> {
        none()
    }
    async fn local_status(&self, _: Duration) -> Result<LocalStoreStatus, StoreError> {
        none()
    }
    async fn disarm_no_space(&self, _: Duration) -> Result<(), StoreError> {
        none()
    }
}
