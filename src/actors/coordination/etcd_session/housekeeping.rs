//! Keeping etcd small: renewals are many small writes, and etcd keeps every one until it is compacted.

use crate::context::NodeContext;
use crate::ports::{Compare, LocalStoreStatus, StoreError, Txn, TxnAnswer, Write};
use leaderl_decision::model::{Revision, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often the local member is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often history is compacted while there is room.
const COMPACT_EVERY: Duration = Duration::from_secs(300);
/// History that is kept for watchers that were away: more than half an hour of renewals at D = 5 s.
const KEPT_REVISIONS: i64 = 10_000;
/// A defragmentation blocks its member: not more often than this while there is space.
const DEFRAGMENT_EVERY: Duration = Duration::from_secs(600);
/// A turn that did not end within this long on our clock belongs to a dead node.
const TURN_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(2);
const LONG_LIMIT: Duration = Duration::from_secs(20);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    Nothing,
    Compact,
    Defragment,
    /// The database is full: nobody can renew or take over until it is freed.
    FreeSpace,
}

#[derive(Default)]
struct Done {
    compacted: Option<Timestamp>,
    defragmented: Option<Timestamp>,
    turn_seen: Option<(Revision, Timestamp)>,
}

fn chore(status: &LocalStoreStatus, quota_bytes: u64, done: &Done, now: Timestamp) -> Chore {
    let due = |last: Option<Timestamp>, every| last.is_none_or(|last| now.since(last) >= every);
    let tight = status.db_bytes.saturating_mul(10) >= quota_bytes.saturating_mul(6);
    if status.no_space {
        Chore::FreeSpace
    } else if tight && due(done.defragmented, DEFRAGMENT_EVERY) {
        Chore::Defragment
    } else if due(done.compacted, COMPACT_EVERY) {
        Chore::Compact
    } else {
        Chore::Nothing
    }
}

/// Looks after the local member for ever.
pub(super) async fn run(context: Arc<NodeContext>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut done = Done::default();
    loop {
        ticks.tick().await;
        // No local member to look at, or it does not answer: the health check says so.
        let Ok(status) = context.store.local_status(LIMIT).await else { continue };
        let now = context.clock.now();
        let what = chore(&status, context.settings.etcd.quota_bytes, &done, now);
        if let Err(error) = carry_out(&context, what, &mut done, now).await {
            tracing::warn!(%error, ?what, "keeping etcd small failed; it is tried again");
        }
    }
}

async fn carry_out(context: &NodeContext, what: Chore, done: &mut Done, now: Timestamp) -> Result<(), StoreError> {
    let newest = context.board.cluster.borrow().revision;
    let old = Revision(newest.0 - KEPT_REVISIONS);
    match what {
        Chore::Nothing => {}
        Chore::Compact => {
            if old.0 > 0 {
                context.store.compact(old, LIMIT).await?;
            }
            done.compacted = Some(now);
        }
        Chore::Defragment => {
            let Some(turn) = take_turn(context, done, now).await? else { return Ok(()) };
            let keep = Revision(old.0.max(1));
            let result = context.store.compact_and_defragment(keep, LONG_LIMIT).await;
            give_turn_back(context, turn).await;
            result?;
            (done.compacted, done.defragmented) = (Some(now), Some(now));
        }
        Chore::FreeSpace => {
            tracing::error!("etcd's database is full; compacting, defragmenting and clearing the alarm");
            // All history, and without taking turns: the turn itself could not be written.
            context.store.compact_and_defragment(newest, LONG_LIMIT).await?;
            context.store.disarm_no_space(LIMIT).await?;
            (done.compacted, done.defragmented) = (Some(now), Some(now));
        }
    }
    Ok(())
}

/// One member at a time: a key that names who defragments now.
async fn take_turn(context: &NodeContext, done: &mut Done, now: Timestamp) -> Result<Option<Revision>, StoreError> {
    let key = turn_key(context);
    let held = context.store.get(&key, LIMIT).await?.entries.first().map(|entry| entry.mod_revision);
    let replaced = match held {
        None => Revision(0),
        Some(revision) => match done.turn_seen.filter(|(seen, _)| *seen == revision) {
            Some((_, since)) if now.since(since) > TURN_LIMIT => revision,
            Some(_) => return Ok(None),
            None => {
                done.turn_seen = Some((revision, now));
                return Ok(None);
            }
        },
    };
    let value = serde_json::json!({ "schema": 1, "guid": context.guid }).to_string().into_bytes();
    let txn = Txn {
        compares: vec![Compare { key: key.clone(), mod_revision: replaced }],
        writes: vec![Write::Put { key, value }],
        else_reads: Vec::new(),
    };
    match context.store.txn(txn, LIMIT).await? {
        TxnAnswer::Committed { revision } => Ok(Some(revision)),
        TxnAnswer::Refused { .. } => Ok(None),
    }
}

async fn give_turn_back(context: &NodeContext, turn: Revision) {
    let key = turn_key(context);
    let txn = Txn {
        compares: vec![Compare { key: key.clone(), mod_revision: turn }],
        writes: vec![Write::Delete { key }],
        else_reads: Vec::new(),
    };
    if let Err(error) = context.store.txn(txn, LIMIT).await {
        tracing::info!(%error, "the turn for defragmenting stays until it is stale");
    }
}

fn turn_key(context: &NodeContext) -> String {
    format!("{}control/defragment", context.keys.prefix())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: u64 = 1000;

    fn status(db_bytes: u64, no_space: bool) -> LocalStoreStatus {
        LocalStoreStatus { db_bytes, no_space, has_leader: true, version: String::new() }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp(secs * 1_000_000_000)
    }

    #[test]
    fn compaction_comes_by_the_clock_and_defragmentation_by_size() {
        let fresh = Done::default();
        assert_eq!(chore(&status(10, false), QUOTA, &fresh, at(1)), Chore::Compact);
        let done = Done { compacted: Some(at(1)), ..Done::default() };
        assert_eq!(chore(&status(10, false), QUOTA, &done, at(300)), Chore::Nothing);
        assert_eq!(chore(&status(10, false), QUOTA, &done, at(301)), Chore::Compact);
        assert_eq!(chore(&status(600, false), QUOTA, &done, at(2)), Chore::Defragment);
        let done = Done { compacted: Some(at(2)), defragmented: Some(at(2)), ..Done::default() };
        assert_eq!(chore(&status(600, false), QUOTA, &done, at(3)), Chore::Nothing, "not again at once");
        assert_eq!(chore(&status(600, true), QUOTA, &done, at(3)), Chore::FreeSpace, "a full database never waits");
    }
}
