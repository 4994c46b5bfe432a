//! A store in memory, a clock, and nodes made of them.

use super::super::EsState;
use super::super::context::SearchContext;
use crate::board::SearchView;
use crate::ports::{
    Clock, CoordinationStore, KeyValue, LocalStoreStatus, RangeAnswer, SearchEngine, ServiceControl, StoreError,
    StoreMember, Txn, TxnAnswer, WatchStream, Write,
};
use crate::settings::Settings;
use async_trait::async_trait;
use leaderl_decision::cluster::{ClusterView, Seen};
use leaderl_decision::model::{NodeId, Revision, Timestamp};
use leaderl_decision::records::{Keys, MemberRecord};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use supervisors::ChildRef;
use tokio::sync::watch;

pub(super) fn guid(n: u8) -> NodeId {
    NodeId(format!("{n:032x}"))
}

pub(super) struct TestClock(pub(super) Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000_000).plus(self.0.elapsed())
    }
}

/// etcd as far as this actor uses it.
#[derive(Default)]
pub(super) struct MapStore {
    keys: Mutex<(i64, BTreeMap<String, KeyValue>)>,
}

fn unused<T>() -> Result<T, StoreError> {
    Err(StoreError::Unreachable { detail: "not part of this test".to_owned() })
}

#[async_trait]
impl CoordinationStore for MapStore {
    async fn range_prefix(&self, _: &str, _: Duration) -> Result<RangeAnswer, StoreError> {
        unused()
    }
    async fn get(&self, key: &str, _: Duration) -> Result<RangeAnswer, StoreError> {
        let keys = self.keys.lock().unwrap();
        let entries = keys.1.get(key).cloned().into_iter().collect();
        Ok(RangeAnswer { store_id: 1, revision: Revision(keys.0), entries })
    }
    async fn txn(&self, txn: Txn, _: Duration) -> Result<TxnAnswer, StoreError> {
        let mut keys = self.keys.lock().unwrap();
        let holds = |key: &str| keys.1.get(key).map(|entry| entry.mod_revision).unwrap_or_default();
        if !txn.compares.iter().all(|compare| holds(&compare.key) == compare.mod_revision) {
            return Ok(TxnAnswer::Refused { revision: Revision(keys.0), reads: vec![] });
        }
        keys.0 += 1;
        let mod_revision = Revision(keys.0);
        for write in txn.writes {
            match write {
                Write::Put { key, value } => {
                    keys.1.insert(key.clone(), KeyValue { key, value, mod_revision });
                }
                Write::Delete { key } => {
                    keys.1.remove(&key);
                }
            }
        }
        Ok(TxnAnswer::Committed { revision: mod_revision })
    }
    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        self.txn(txn, limit).await
    }
    async fn watch(&self, _: &str, _: Revision, _: Duration) -> Result<Box<dyn WatchStream>, StoreError> {
        unused()
    }
    async fn members(&self, _: Duration) -> Result<Vec<StoreMember>, StoreError> {
        unused()
    }
    async fn add_learner(&self, _: &str, _: Duration) -> Result<StoreMember, StoreError> {
        unused()
    }
    async fn promote_learner(&self, _: u64, _: Duration) -> Result<(), StoreError> {
        unused()
    }
    async fn remove_member(&self, _: u64, _: Duration) -> Result<(), StoreError> {
        unused()
    }
    fn set_endpoints(&self, _: &str, _: &[String]) {}
    async fn compact_and_defragment(&self, _: Revision, _: Duration) -> Result<(), StoreError> {
        unused()
    }
    async fn local_status(&self, _: Duration) -> Result<LocalStoreStatus, StoreError> {
        unused()
    }
    async fn disarm_no_space(&self, _: Duration) -> Result<(), StoreError> {
        unused()
    }
}

/// One node of a test.
pub(super) struct Node {
    pub(super) state: EsState,
    pub(super) view: watch::Receiver<SearchView>,
}

impl Node {
    pub(super) fn codes(&self) -> Vec<String> {
        self.view.borrow().problems.iter().map(|reason| reason.code.clone()).collect()
    }
}

/// What all nodes of a test share.
pub(super) struct Shared {
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Arc<MapStore>,
    pub(super) cluster: watch::Sender<Arc<ClusterView>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let clock = Arc::new(TestClock(Instant::now()));
        Self { clock, store: Arc::default(), cluster: watch::Sender::default() }
    }

    pub(super) fn set_members(&self, numbers: &[u8]) {
        let at = self.clock.now();
        let seen = |n: &u8| (guid(*n), Seen { record: member(*n), revision: Revision(1), at });
        let members = numbers.iter().map(seen).collect();
        let view = ClusterView { revision: Revision(1), heard_at: at, members, ..ClusterView::default() };
        self.cluster.send_replace(Arc::new(view));
    }

    pub(super) fn still_heard(&self) {
        let view = ClusterView { heard_at: self.clock.now(), ..(**self.cluster.borrow()).clone() };
        self.cluster.send_replace(Arc::new(view));
    }

    pub(super) fn node(
        &self,
        n: u8,
        settings: Settings,
        engine: Arc<dyn SearchEngine>,
        services: Arc<dyn ServiceControl>,
    ) -> Node {
        let published = watch::Sender::default();
        let view = published.subscribe();
        let state = EsState::new(SearchContext {
            guid: guid(n),
            keys: Keys::new("0123"),
            settings: Arc::new(settings),
            cluster_name: "leaderl-test".to_owned(),
            clock: self.clock.clone(),
            cluster: self.cluster.subscribe(),
            published,
            store: self.store.clone(),
            engine,
            services,
            journal: ChildRef::new("journal"),
        });
        Node { state, view }
    }
}

fn member(n: u8) -> MemberRecord {
    MemberRecord {
        schema: 1,
        guid: guid(n),
        name: format!("n{n}"),
        address: format!("127.0.0.1{n}"),
        version: "0".to_owned(),
        postgres_port: 5432,
        etcd_client_url: String::new(),
        etcd_peer_url: String::new(),
        search_ports: Some((19200, 19300)),
    }
}
