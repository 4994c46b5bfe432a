//! The first records of a new cluster.

use crate::ports::{Compare, CoordinationStore, StoreError, Txn, TxnAnswer, Write};
use leaderl_decision::model::{Epoch, Lsn, Nonce, Position, Timeline};
use leaderl_decision::records::{
    self, ClusterSettings, Keys, LeaderValue, MemberRecord, SCHEMA, Vacancy, VotersRecord,
};
use serde::Serialize;
use std::time::Duration;

/// Why a cluster was not seeded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// There are records of this cluster already.
    #[error("etcd holds records of this cluster already; nothing was changed")]
    AlreadyThere,
    /// A record cannot be written as JSON.
    #[error("a record cannot be written")]
    Json(#[from] serde_json::Error),
    /// etcd did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) fn put<T: Serialize>(key: String, record: &T) -> Result<Write, serde_json::Error> {
    Ok(Write::Put { key, value: serde_json::to_vec(record)? })
}

/// Writes settings, the creator's member record, a vacancy that lets exactly the creator's empty copy lead, and an empty
/// voter record: all or nothing, and only where nothing is.
///
/// `nonce` must be fresh; by it a seeding whose answer was lost is recognised.
pub async fn seed_new_cluster(
    store: &dyn CoordinationStore,
    keys: &Keys,
    settings: &ClusterSettings,
    creator: &MemberRecord,
    nonce: Nonce,
    limit: Duration,
) -> Result<(), SeedError> {
    let vacancy = Vacancy {
        schema: SCHEMA,
        left_by: Some(creator.guid.clone()),
        epoch: Epoch(0),
        final_position: Some(Position { epoch: Epoch(0), lsn: Lsn(0), timeline: Timeline(1) }),
        designated: None,
        cause: "new cluster".to_owned(),
        nonce: nonce.clone(),
    };
    let voters = VotersRecord { schema: SCHEMA, mode: settings.mode, ..VotersRecord::default() };
    let absent = |key: String| Compare { key, mod_revision: leaderl_decision::model::Revision(0) };
    let txn = Txn {
        compares: vec![
            absent(keys.settings()),
            absent(keys.leader()),
            absent(keys.epoch()),
            absent(keys.voters()),
            absent(keys.member(&creator.guid)),
        ],
        writes: vec![
            put(keys.settings(), settings)?,
            put(keys.leader(), &LeaderValue::Vacancy(vacancy))?,
            put(keys.voters(), &voters)?,
            put(keys.member(&creator.guid), creator)?,
        ],
        else_reads: Vec::new(),
    };
    match store.txn(txn, limit).await {
        Ok(TxnAnswer::Committed { .. }) => Ok(()),
        Ok(TxnAnswer::Refused { .. }) => seeded_by(store, keys, &nonce, limit).await,
        Err(StoreError::Unknown { .. }) => seeded_by(store, keys, &nonce, limit).await,
        Err(error @ (StoreError::Unreachable { .. } | StoreError::Refused { .. })) => Err(error.into()),
    }
}

/// Whether the vacancy that is there is the one with our nonce.
async fn seeded_by(
    store: &dyn CoordinationStore,
    keys: &Keys,
    nonce: &Nonce,
    limit: Duration,
) -> Result<(), SeedError> {
    let key = keys.leader();
    let answer = store.get(&key, limit).await?;
    let Some(entry) = answer.entries.first() else {
        return Err(StoreError::Unknown { detail: "the seeding transaction is not there (yet)".to_owned() }.into());
    };
    match records::read::<LeaderValue>(&key, &entry.value) {
        Ok(LeaderValue::Vacancy(vacancy)) if vacancy.nonce == *nonce => Ok(()),
        Ok(LeaderValue::Vacancy(_) | LeaderValue::Holder(_)) | Err(_) => Err(SeedError::AlreadyThere),
    }
}
