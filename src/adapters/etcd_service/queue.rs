//! A turn that one node at a time has: for joining, since etcd takes one learner at a time.
//!
//! The key's value is rewritten every few seconds while its owner lives. One that has not changed for [`STALE_AFTER`] on the
//! waiter's own clock belongs to a dead process and is taken over; no clocks are compared, no etcd lease is used.

use crate::ports::{Compare, CoordinationStore, StoreError, Txn, TxnAnswer, Write};
use leaderl_decision::model::{NodeId, Nonce, Revision};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A value that did not change for so long is taken over.
pub const STALE_AFTER: Duration = Duration::from_secs(30);
const REFRESH_EVERY: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(2);

/// The key's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRecord {
    /// Document version.
    pub schema: u32,
    /// Whose turn it is.
    pub guid: NodeId,
    /// Its name, for people.
    pub name: String,
    /// One per turn.
    pub nonce: Nonce,
    /// Grows while the owner lives.
    pub seq: u64,
}

/// Why no turn was had.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The deadline passed.
    #[error("waited in vain for {holder} to finish joining; try again later")]
    Waited {
        /// Who has the turn.
        holder: String,
    },
    /// etcd did not answer within the deadline.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A turn that is had; given back by [`Turn::release`], or taken by others after it was dropped.
pub struct Turn {
    store: Arc<dyn CoordinationStore>,
    key: String,
    nonce: Nonce,
    held: Arc<Mutex<Option<Revision>>>,
    refresher: JoinHandle<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

fn encoded(record: &TurnRecord) -> Vec<u8> {
    serde_json::json!(record).to_string().into_bytes()
}

/// Puts the record over `over`; the key's revision if it is surely our turn then.
async fn put(
    store: &dyn CoordinationStore,
    key: &str,
    record: &TurnRecord,
    over: Revision,
) -> Result<Option<Revision>, StoreError> {
    let txn = Txn {
        compares: vec![Compare { key: key.to_owned(), mod_revision: over }],
        writes: vec![Write::Put { key: key.to_owned(), value: encoded(record) }],
        else_reads: Vec::new(),
    };
    match store.txn(txn, LIMIT).await {
        Ok(TxnAnswer::Committed { revision }) => return Ok(Some(revision)),
        Ok(TxnAnswer::Refused { .. }) | Err(StoreError::Unknown { .. }) => {}
        Err(error @ (StoreError::Unreachable { .. } | StoreError::Refused { .. })) => return Err(error),
    }
    Ok(own(look(store, key).await?, &record.nonce))
}

/// The revision of a turn that carries our nonce, whichever of our writes it was.
fn own(found: Option<(Revision, Option<TurnRecord>)>, nonce: &Nonce) -> Option<Revision> {
    found.filter(|(_, there)| there.as_ref().is_some_and(|it| it.nonce == *nonce)).map(|(revision, _)| revision)
}

async fn look(store: &dyn CoordinationStore, key: &str) -> Result<Option<(Revision, Option<TurnRecord>)>, StoreError> {
    let answer = store.get(key, LIMIT).await?;
    Ok(answer.entries.first().map(|entry| (entry.mod_revision, serde_json::from_slice(&entry.value).ok())))
}

/// Waits until it is this node's turn. `progress` is told whose turn it is meanwhile.
pub async fn wait_turn(
    store: Arc<dyn CoordinationStore>,
    key: &str,
    mine: TurnRecord,
    deadline: Instant,
    progress: &mut (dyn FnMut(String) + Send),
) -> Result<Turn, QueueError> {
    let mut seen: Option<(Revision, Instant)> = None;
    let mut holder = "another node".to_owned();
    loop {
        let over = match look(&*store, key).await {
            Ok(None) => Some(Revision(0)),
            Ok(Some((revision, record))) => {
                let since = seen.filter(|(before, _)| *before == revision).map_or_else(Instant::now, |(_, at)| at);
                seen = Some((revision, since));
                let name = record.as_ref().map_or_else(|| "another node".to_owned(), |record| record.name.clone());
                if name != holder {
                    progress(format!("waiting for {name}, which is joining"));
                    holder = name;
                }
                // Our own earlier process on this node is dead: one node joins once at a time.
                let own = record.is_some_and(|record| record.guid == mine.guid);
                (own || since.elapsed() >= STALE_AFTER).then_some(revision)
            }
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => None,
        };
        if let Some(over) = over
            && let Ok(Some(revision)) = put(&*store, key, &mine, over).await
        {
            return Ok(Turn::held(store, key, mine, revision));
        }
        if Instant::now() >= deadline {
            return Err(QueueError::Waited { holder });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Turn {
    fn held(store: Arc<dyn CoordinationStore>, key: &str, record: TurnRecord, revision: Revision) -> Self {
        let held = Arc::new(Mutex::new(Some(revision)));
        let nonce = record.nonce.clone();
        let refresher = tokio::spawn(refresh(store.clone(), key.to_owned(), record, held.clone()));
        Self { store, key: key.to_owned(), nonce, held, refresher }
    }

    /// Whether nobody has taken the turn over, as far as is known.
    pub fn is_held(&self) -> bool {
        current(&self.held).is_some()
    }

    /// Gives the turn back; when that fails others wait for [`STALE_AFTER`].
    pub async fn release(self) {
        self.refresher.abort();
        // At most one refresh is under way: if it wins, the second try sees its revision.
        for _ in 0..2 {
            let Some(revision) = current(&self.held) else { return };
            let txn = Txn {
                compares: vec![Compare { key: self.key.clone(), mod_revision: revision }],
                writes: vec![Write::Delete { key: self.key.clone() }],
                else_reads: Vec::new(),
            };
            match self.store.txn(txn, LIMIT).await {
                Ok(TxnAnswer::Committed { .. }) => return,
                Ok(TxnAnswer::Refused { .. }) => {
                    let found = look(&*self.store, &self.key).await.map(|found| own(found, &self.nonce));
                    *self.held.lock().unwrap_or_else(PoisonError::into_inner) = found.unwrap_or_default();
                }
                Err(error) => {
                    tracing::info!(%error, key = self.key, "the turn was not given back; it ends by its age");
                    return;
                }
            }
        }
    }
}

fn current(held: &Mutex<Option<Revision>>) -> Option<Revision> {
    *held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn refresh(
    store: Arc<dyn CoordinationStore>,
    key: String,
    mut record: TurnRecord,
    held: Arc<Mutex<Option<Revision>>>,
) {
    loop {
        tokio::time::sleep(REFRESH_EVERY).await;
        let Some(over) = current(&held) else { return };
        record.seq += 1;
        match put(&*store, &key, &record, over).await {
            Ok(revision) => *held.lock().unwrap_or_else(PoisonError::into_inner) = revision,
            // Tried again; nine misses in a row would be needed to lose the turn.
            Err(error) => tracing::debug!(%error, key, "the turn was not refreshed"),
        }
    }
}
