//! etcd in memory: keys with revisions, transactions that compare them, watches that begin at any of them.

use async_trait::async_trait;
use leaderl::ports::*;
use leaderl_decision::model::Revision;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// One way to a member and back.
const ROUND_TRIP: Duration = Duration::from_millis(2);
const STORE_ID: u64 = 7;

/// The cluster's store; every node has the same one.
pub struct Store {
    inner: Mutex<Inner>,
    newest: watch::Sender<i64>,
}

#[derive(Default)]
struct Inner {
    revision: i64,
    keys: BTreeMap<String, KeyValue>,
    /// Every change ever made, by revision.
    log: Vec<(i64, String, Option<KeyValue>)>,
}

impl Store {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), newest: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The value now.
    pub fn value(&self, key: &str) -> Option<serde_json::Value> {
        let inner = self.lock();
        inner.keys.get(key).map(|entry| serde_json::from_slice(&entry.value).unwrap())
    }

    /// Every value it ever had, the oldest first.
    pub fn history(&self, wanted: &str) -> Vec<serde_json::Value> {
        let inner = self.lock();
        let of_it = inner.log.iter().filter(|(_, key, _)| key == wanted).filter_map(|(.., entry)| entry.as_ref());
        of_it.map(|entry| serde_json::from_slice(&entry.value).unwrap()).collect()
    }

    fn range(&self, wanted: impl Fn(&str) -> bool) -> RangeAnswer {
        let inner = self.lock();
        let entries = inner.keys.values().filter(|entry| wanted(&entry.key)).cloned().collect();
        RangeAnswer { store_id: STORE_ID, revision: Revision(inner.revision), entries }
    }

    fn apply(&self, txn: &Txn) -> TxnAnswer {
        let mut inner = self.lock();
        let revision_of = |inner: &Inner, key: &str| inner.keys.get(key).map_or(0, |entry| entry.mod_revision.0);
        if txn.compares.iter().any(|compare| revision_of(&inner, &compare.key) != compare.mod_revision.0) {
            let reads = txn.else_reads.iter().filter_map(|key| inner.keys.get(key)).cloned().collect();
            return TxnAnswer::Refused { revision: Revision(inner.revision), reads };
        }
        if !txn.writes.is_empty() {
            inner.revision += 1;
        }
        let revision = inner.revision;
        for write in &txn.writes {
            let (key, entry) = match write {
                Write::Put { key, value } => {
                    let mod_revision = Revision(revision);
                    (key, Some(KeyValue { key: key.clone(), value: value.clone(), mod_revision }))
                }
                Write::Delete { key } => (key, None),
            };
            match &entry {
                Some(entry) => drop(inner.keys.insert(key.clone(), entry.clone())),
                None => drop(inner.keys.remove(key)),
            }
            inner.log.push((revision, key.clone(), entry));
        }
        drop(inner);
        self.newest.send_replace(revision);
        TxnAnswer::Committed { revision: Revision(revision) }
    }
}

fn none<T>(what: &str) -> Result<T, StoreError> {
    Err(StoreError::Refused { detail: format!("this store has no {what}") })
}

/// A node's client of the store.
pub struct Client(pub Arc<Store>);

#[async_trait]
impl CoordinationStore for Client {
    async fn range_prefix(&self, prefix: &str, _limit: Duration) -> Result<RangeAnswer, StoreError> {
        tokio::time::sleep(ROUND_TRIP).await;
        Ok(self.0.range(|key| key.starts_with(prefix)))
    }
    async fn get(&self, wanted: &str, _limit: Duration) -> Result<RangeAnswer, StoreError> {
        tokio::time::sleep(ROUND_TRIP).await;
        Ok(self.0.range(|key| key == wanted))
    }
    async fn txn(&self, txn: Txn, _limit: Duration) -> Result<TxnAnswer, StoreError> {
        tokio::time::sleep(ROUND_TRIP / 2).await;
        let answer = self.0.apply(&txn);
        // Cut off here, the caller never knows.
        tokio::time::sleep(ROUND_TRIP / 2).await;
        Ok(answer)
    }
    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        self.txn(txn, limit).await
    }
    async fn watch(&self, prefix: &str, from: Revision, _limit: Duration) -> Result<Box<dyn WatchStream>, StoreError> {
        tokio::time::sleep(ROUND_TRIP).await;
        let newest = self.0.newest.subscribe();
        Ok(Box::new(Stream { store: self.0.clone(), prefix: prefix.to_owned(), from: from.0, newest }))
    }
    async fn members(&self, _limit: Duration) -> Result<Vec<StoreMember>, StoreError> {
        none("members")
    }
    async fn add_learner(&self, _peer_url: &str, _limit: Duration) -> Result<StoreMember, StoreError> {
        none("members")
    }
    async fn promote_learner(&self, _id: u64, _limit: Duration) -> Result<(), StoreError> {
        none("members")
    }
    async fn remove_member(&self, _id: u64, _limit: Duration) -> Result<(), StoreError> {
        none("members")
    }
    fn set_endpoints(&self, _local: &str, _others: &[String]) {}
    async fn compact_and_defragment(&self, _revision: Revision, _limit: Duration) -> Result<(), StoreError> {
        Ok(())
    }
    async fn local_status(&self, _limit: Duration) -> Result<LocalStoreStatus, StoreError> {
        Ok(LocalStoreStatus { has_leader: true, ..LocalStoreStatus::default() })
    }
    async fn disarm_no_space(&self, _limit: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Stream {
    store: Arc<Store>,
    prefix: String,
    from: i64,
    newest: watch::Receiver<i64>,
}

impl Stream {
    fn pending(&mut self) -> Option<WatchMessage> {
        let inner = self.store.lock();
        let revision = inner.log.iter().map(|(revision, ..)| *revision).find(|revision| *revision >= self.from)?;
        let of_it = inner.log.iter().filter(|(at, key, _)| *at == revision && key.starts_with(&self.prefix));
        let changes = of_it.map(|(_, key, entry)| (key.clone(), entry.clone())).collect();
        self.from = revision + 1;
        Some(WatchMessage::Changes { revision: Revision(revision), changes })
    }
}

#[async_trait]
impl WatchStream for Stream {
    async fn next(&mut self, limit: Duration) -> Result<WatchMessage, StoreError> {
        let quiet = tokio::time::sleep(limit / 2);
        tokio::pin!(quiet);
        loop {
            if let Some(message) = self.pending() {
                tokio::time::sleep(ROUND_TRIP / 2).await;
                return Ok(message);
            }
            tokio::select! {
                biased;
                changed = self.newest.changed() => changed.map_err(|_| StoreError::Unreachable { detail: "gone".into() })?,
                () = &mut quiet => {
                    let revision = Revision(self.store.lock().revision);
                    return Ok(WatchMessage::Progress { revision });
                }
            }
        }
    }
}
