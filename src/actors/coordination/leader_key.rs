//! The election's transactions on the leader key and its neighbours in etcd, each resolved when its outcome is unknown.

use super::etcd_session::EtcdSessionMessage;
use crate::context::NodeContext;
use crate::ports::{Compare, StoreError, Txn, TxnAnswer, Write};
use leaderl_decision::election::{ClaimTxn, Event, Hold};
use leaderl_decision::model::{Nonce, Revision};
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::records::{self, BidRecord, Holder, LeaderValue, RequestRecord, RequestState, SCHEMA, Vacancy};
use serde::Serialize;
use std::time::Duration;

/// How long one request to etcd may take here; the seat's own timer runs on meanwhile.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);
/// How often an unknown outcome is asked for before it is left to the seat's timer.
const RESOLVE_TRIES: usize = 3;

/// The holder document of a hold.
pub(super) fn holder_of(ctx: &NodeContext, hold: &Hold) -> Holder {
    Holder {
        schema: SCHEMA,
        guid: ctx.guid.clone(),
        boot_id: ctx.boot_id.clone(),
        nonce: hold.nonce.clone(),
        epoch: hold.epoch,
        seq: hold.seq,
    }
}

fn put<T: Serialize>(key: String, document: &T) -> Result<Write, StoreError> {
    let value = serde_json::to_vec(document)
        .map_err(|why| StoreError::Refused { detail: format!("`{key}` cannot be written as JSON: {why}") })?;
    Ok(Write::Put { key, value })
}

/// A linearizable read of `leader`.
async fn leader_now(ctx: &NodeContext) -> Result<(Revision, Option<LeaderValue>), StoreError> {
    let key = ctx.keys.leader();
    let answer = ctx.store.get(&key, REQUEST_LIMIT).await?;
    match answer.entries.first() {
        None => Ok((Revision(0), None)),
        Some(entry) => Ok((entry.mod_revision, records::read(&key, &entry.value).ok())),
    }
}

/// The confirmation that must precede every promise.
pub(super) async fn read_leader(ctx: &NodeContext) -> Event {
    match leader_now(ctx).await {
        Ok((revision, _)) => Event::LeaderRead(revision),
        Err(why) => {
            tracing::debug!(%why, "the leader key could not be read");
            Event::EffectEnded
        }
    }
}

/// Puts a value on an absent leader key.
pub(super) async fn create(ctx: &NodeContext, value: LeaderValue) {
    let key = ctx.keys.leader();
    let written = async {
        let txn = Txn {
            compares: vec![Compare { key: key.clone(), mod_revision: Revision(0) }],
            writes: vec![put(key, &value)?],
            else_reads: Vec::new(),
        };
        ctx.store.txn(txn, REQUEST_LIMIT).await
    };
    if let Err(why) = written.await {
        tracing::warn!(%why, "no vacancy could be created on the absent leader key");
    }
}

/// Puts a bid if `leader` still has the bid's revision.
pub(super) async fn put_bid(ctx: &NodeContext, bid: &BidRecord) {
    let written = async {
        let txn = Txn {
            compares: vec![Compare { key: ctx.keys.leader(), mod_revision: bid.revision }],
            writes: vec![put(ctx.keys.bid(&ctx.guid), bid)?],
            else_reads: Vec::new(),
        };
        ctx.store.txn(txn, REQUEST_LIMIT).await
    };
    match written.await {
        Ok(TxnAnswer::Committed { .. }) => {
            tracing::info!(revision = %bid.revision, lsn = %bid.position.lsn, timeline = %bid.position.timeline, "bid");
        }
        Ok(TxnAnswer::Refused { .. }) => tracing::debug!("the bid came too late: the leader key has moved"),
        Err(why) => tracing::warn!(%why, "the bid may not be recorded"),
    }
}

/// The acquiring transaction.
pub(super) async fn claim(ctx: &NodeContext, claim: ClaimTxn) -> Event {
    let nonce = claim.holder.nonce.clone();
    match claim_txn(ctx, claim) {
        Ok(txn) => settle(ctx, txn, nonce).await,
        Err(why) => {
            tracing::error!(%why, "the claim could not be written down");
            Event::ClaimLost { nonce }
        }
    }
}

fn claim_txn(ctx: &NodeContext, claim: ClaimTxn) -> Result<Txn, StoreError> {
    let keys = &ctx.keys;
    let compares = claim.compares(keys).into_iter().map(|(key, mod_revision)| Compare { key, mod_revision }).collect();
    let mut writes = vec![
        put(keys.leader(), &LeaderValue::Holder(claim.holder.clone()))?,
        put(keys.epoch(), &claim.epoch)?,
        put(keys.voters(), &claim.voters)?,
    ];
    if let Some(history) = claim.recorded_history() {
        writes.push(put(keys.history(history.epoch), history)?);
    }
    Ok(Txn { compares, writes, else_reads: Vec::new() })
}

/// The renewal by which a restarted daemon adopts its own hold.
pub(super) async fn adopt(ctx: &NodeContext, holder: Holder, revision: Revision) -> Event {
    let nonce = holder.nonce.clone();
    let (key, mut revision) = (ctx.keys.leader(), revision);
    for _ in 0..RESOLVE_TRIES {
        let Ok(write) = put(key.clone(), &LeaderValue::Holder(holder.clone())) else { break };
        let compares = vec![Compare { key: key.clone(), mod_revision: revision }];
        let txn = Txn { compares, writes: vec![write], else_reads: Vec::new() };
        let won = settle(ctx, txn, nonce.clone()).await;
        if matches!(won, Event::ClaimWon { .. }) {
            return won;
        }
        // A renewal of the election before this one may have come between: it is still this node's hold.
        match leader_now(ctx).await {
            Ok((newer, Some(LeaderValue::Holder(now))))
                if newer > revision && now.guid == ctx.guid && now.epoch == holder.epoch =>
            {
                revision = newer;
            }
            Ok(_) | Err(_) => break,
        }
    }
    Event::ClaimLost { nonce }
}

/// Sends a transaction that puts our nonce on the leader key, and finds out what became of it.
async fn settle(ctx: &NodeContext, txn: Txn, nonce: Nonce) -> Event {
    match ctx.store.txn(txn, REQUEST_LIMIT).await {
        Ok(TxnAnswer::Committed { revision }) => return Event::ClaimWon { nonce, revision },
        Ok(TxnAnswer::Refused { .. }) | Err(StoreError::Unreachable { .. }) => return Event::ClaimLost { nonce },
        Err(StoreError::Refused { detail }) => {
            tracing::warn!(detail, "etcd refused the claim");
            return Event::ClaimLost { nonce };
        }
        Err(StoreError::Unknown { detail }) => tracing::warn!(detail, "the claim's outcome is unknown; reading"),
    }
    for _ in 0..RESOLVE_TRIES {
        match leader_now(ctx).await {
            Ok((revision, Some(LeaderValue::Holder(holder)))) if holder.nonce == nonce => {
                return Event::ClaimWon { nonce, revision };
            }
            // It may still commit late: then the key carries a nonce that nobody renews, and its own timer ends it.
            Ok(_) => return Event::ClaimLost { nonce },
            Err(why) => tracing::debug!(%why, "the leader key could not be read"),
        }
    }
    Event::ClaimLost { nonce }
}

/// Stops renewing and leaves the seat. Whatever becomes of it, this hold is over (rule R11).
pub(super) async fn resign(ctx: &NodeContext, hold: &Hold, vacancy: Vacancy) {
    let asked = |reply| EtcdSessionMessage::StopRenewing { nonce: hold.nonce.clone(), reply };
    let mut revision = match ctx.neighbours.etcd_session.call(asked, REQUEST_LIMIT).await {
        Ok(revision) if revision > hold.revision => revision,
        Ok(_) => hold.revision,
        Err(why) => {
            tracing::debug!(%why, "the session does not answer; resigning with the last known revision");
            hold.revision
        }
    };
    let key = ctx.keys.leader();
    let value = LeaderValue::Vacancy(vacancy);
    for _ in 0..RESOLVE_TRIES {
        let Ok(write) = put(key.clone(), &value) else { return };
        let mine = Compare { key: key.clone(), mod_revision: revision };
        let txn = Txn {
            compares: Vec::from_iter((!planted(Planted::CreateRevisionAsToken)).then_some(mine)),
            writes: vec![write],
            else_reads: vec![key.clone()],
        };
        match ctx.store.txn(txn, REQUEST_LIMIT).await {
            Ok(TxnAnswer::Committed { .. }) => return,
            Ok(TxnAnswer::Refused { reads, .. }) => {
                let own = reads.first().and_then(|entry| match records::read::<LeaderValue>(&key, &entry.value) {
                    Ok(LeaderValue::Holder(holder)) if holder.nonce == hold.nonce => Some(entry.mod_revision),
                    Ok(LeaderValue::Holder(_) | LeaderValue::Vacancy(_)) | Err(_) => None,
                });
                // A renewal of ours committed after all: leave from there.
                let Some(newer) = own else { return };
                revision = newer;
            }
            Err(why) => {
                tracing::warn!(%why, "the vacancy may not be recorded; others wait for leader_ttl");
                return;
            }
        }
    }
}

/// Writes down how far an operator's request is; requests are put whole, last word wins.
pub(super) async fn update_request(ctx: &NodeContext, id: &str, state: RequestState, detail: &str) {
    let key = ctx.keys.request(id);
    let updated = async {
        let answer = ctx.store.get(&key, REQUEST_LIMIT).await?;
        let Some(entry) = answer.entries.first() else { return Ok(()) };
        let Ok(mut request) = records::read::<RequestRecord>(&key, &entry.value) else { return Ok(()) };
        if matches!(request.state, RequestState::Done | RequestState::Refused) || request.state == state {
            return Ok(());
        }
        request.state = state;
        request.detail = detail.to_owned();
        let txn = Txn {
            compares: vec![Compare { key: key.clone(), mod_revision: entry.mod_revision }],
            writes: vec![put(key.clone(), &request)?],
            else_reads: Vec::new(),
        };
        ctx.store.txn(txn, REQUEST_LIMIT).await.map(|_| ())
    };
    if let Err(why) = updated.await {
        let why: StoreError = why;
        tracing::warn!(id, %why, "the request's state could not be written; it is tried again");
    }
}
