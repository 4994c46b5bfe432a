//! Joining: one node at a time becomes a learner, catches up, is promoted and enters `members/`.

use super::queue::{QueueError, Turn, TurnRecord, wait_turn};
use super::seed::put;
use crate::ports::{CoordinationStore, StoreError, StoreMember, Txn, TxnAnswer};
use leaderl_decision::cluster::{ClusterView, Entry};
use leaderl_decision::model::{NodeId, Nonce, Timestamp};
use leaderl_decision::records::{Keys, MemberRecord, SCHEMA};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// etcd holds no cluster of this id.
    #[error(
        "the peer's etcd holds no cluster with the id in the secrets file; is it the right file and the right peer?"
    )]
    NoSuchCluster,
    /// Another node has the name or the address.
    #[error("{what} is taken by member {by}; remove that member first, or choose another")]
    Taken {
        /// `the name backend-1`, `the address 10.0.0.1`.
        what: String,
        /// The member's name.
        by: String,
    },
    /// The node is a member already.
    #[error("this node is a member of the cluster already")]
    AlreadyMember,
    /// Another node's turn did not end in time.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The turn was taken over while this node was joining.
    #[error("this node's turn to join was taken over by another; run the command again")]
    TurnLost,
    /// The member never caught up, or never started.
    #[error(
        "the local etcd member did not catch up in time ({detail}); is its service running? Then run the command again"
    )]
    NotCaughtUp {
        /// etcd's last words.
        detail: String,
    },
    /// The learner is gone from etcd's member list.
    #[error("the joining etcd member was removed meanwhile; run the command again")]
    Removed,
    /// A record cannot be written as JSON.
    #[error("a record cannot be written")]
    Json(#[from] serde_json::Error),
    /// etcd did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A join that has begun: the node is a learner, and it is its turn until [`finish_join`] or [`abandon_join`].
pub struct JoinTicket {
    turn: Option<Turn>,
    /// etcd's id of the learner.
    pub member_id: u64,
    /// For [`super::config::Beginning::Join`]. The member must begin without data: clear its data directory first.
    pub initial_cluster: String,
    /// The other members' client URLs.
    pub others: Vec<String>,
}

/// Everything of the cluster, read once.
pub(super) async fn read_cluster(store: &dyn CoordinationStore, keys: &Keys) -> Result<ClusterView, StoreError> {
    let listed = store.range_prefix(keys.prefix(), LIMIT).await?;
    let entries = listed.entries.iter();
    let entries = entries.map(|kv| Entry { key: &kv.key, value: &kv.value, revision: kv.mod_revision });
    Ok(ClusterView::default().after_list(keys, listed.store_id, listed.revision, entries, Timestamp(0)))
}

/// Waits for this node's turn and makes it a learner. `nonce` must be fresh; `progress` gets sentences for people.
pub async fn join_as_learner(
    store: Arc<dyn CoordinationStore>,
    keys: &Keys,
    joining: &MemberRecord,
    nonce: Nonce,
    limit: Duration,
    progress: &mut (dyn FnMut(String) + Send),
) -> Result<JoinTicket, JoinError> {
    let deadline = Instant::now() + limit;
    // Refuse what can be refused before anybody has to wait for us, and again when it is our turn.
    check(&read_cluster(&*store, keys).await?, joining)?;
    let mine = TurnRecord { schema: SCHEMA, guid: joining.guid.clone(), name: joining.name.clone(), nonce, seq: 0 };
    let turn = wait_turn(store.clone(), &keys.join(), mine, deadline, progress).await?;
    match begin(&*store, keys, joining, deadline, progress).await {
        Ok((member, members)) => Ok(JoinTicket {
            turn: Some(turn),
            member_id: member.id,
            initial_cluster: initial_cluster(&members, &joining.guid, &joining.etcd_peer_url),
            others: client_urls(&members, member.id),
        }),
        Err(error) => {
            turn.release().await;
            Err(error)
        }
    }
}

fn check(view: &ClusterView, joining: &MemberRecord) -> Result<(), JoinError> {
    if view.settings.is_none() {
        return Err(JoinError::NoSuchCluster);
    }
    for (guid, seen) in view.members.iter().filter(|(guid, _)| **guid != joining.guid) {
        let taken = |what| Err(JoinError::Taken { what, by: format!("{} ({})", seen.record.name, guid.short()) });
        if seen.record.name == joining.name {
            return taken(format!("the name {}", joining.name));
        }
        if seen.record.address == joining.address {
            return taken(format!("the address {}", joining.address));
        }
    }
    Ok(())
}

async fn begin(
    store: &dyn CoordinationStore,
    keys: &Keys,
    joining: &MemberRecord,
    deadline: Instant,
    progress: &mut (dyn FnMut(String) + Send),
) -> Result<(StoreMember, Vec<StoreMember>), JoinError> {
    let view = read_cluster(store, keys).await?;
    check(&view, joining)?;
    let recorded = view.members.contains_key(&joining.guid);
    let mut last = StoreError::Unreachable { detail: "no attempt was made in time".to_owned() };
    while Instant::now() < deadline {
        match add_once(store, &view, joining, recorded, progress).await {
            Ok(begun) => return Ok(begun),
            // A member that has just restarted counts as unhealthy for some seconds: try again.
            Err(JoinError::Store(error)) => last = error,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last.into())
}

async fn add_once(
    store: &dyn CoordinationStore,
    view: &ClusterView,
    joining: &MemberRecord,
    recorded: bool,
    progress: &mut (dyn FnMut(String) + Send),
) -> Result<(StoreMember, Vec<StoreMember>), JoinError> {
    for member in store.members(LIMIT).await? {
        let own_name = member.name == joining.guid.0;
        let own_url = member.peer_urls.contains(&joining.etcd_peer_url);
        let known = view.members.contains_key(&NodeId(member.name.clone()));
        if own_name && recorded && !member.is_learner {
            return Err(JoinError::AlreadyMember);
        }
        if own_url && !own_name && known {
            let by = view.name_of(&NodeId(member.name));
            return Err(JoinError::Taken { what: format!("the etcd address {}", joining.etcd_peer_url), by });
        }
        // Left over: our own earlier attempt, or the learner of a join that was given up (it is our turn, not its).
        if own_name || own_url || (member.is_learner && !known) {
            progress(format!("removing the half-joined etcd member {:x} ({})", member.id, member.peer_urls.join(",")));
            store.remove_member(member.id, LIMIT).await?;
        }
    }
    let added = match store.add_learner(&joining.etcd_peer_url, LIMIT).await {
        Ok(added) => added,
        Err(StoreError::Unknown { detail }) => {
            let listed = store.members(LIMIT).await?.into_iter();
            let mut ours = listed.filter(|member| member.peer_urls.contains(&joining.etcd_peer_url));
            ours.next().ok_or(StoreError::Unknown { detail })?
        }
        Err(error @ (StoreError::Unreachable { .. } | StoreError::Refused { .. })) => return Err(error.into()),
    };
    let members = store.members(LIMIT).await?;
    Ok((added, members))
}

fn initial_cluster(members: &[StoreMember], own: &NodeId, own_peer_url: &str) -> String {
    let mut parts = Vec::new();
    for member in members {
        for peer_url in &member.peer_urls {
            if peer_url == own_peer_url {
                parts.push(format!("{own}={peer_url}"));
            } else if !member.name.is_empty() {
                parts.push(format!("{}={peer_url}", member.name));
            }
        }
    }
    parts.join(",")
}

fn client_urls(members: &[StoreMember], except: u64) -> Vec<String> {
    members
        .iter()
        .filter(|member| member.id != except)
        .filter_map(|member| member.client_urls.first().cloned())
        .collect()
}

/// After the local member was started: waits until it has caught up, makes it a voter, writes `members/<guid>` and ends the
/// turn. After an error it may be called again, or [`abandon_join`] undoes the join.
pub async fn finish_join(
    store: &dyn CoordinationStore,
    keys: &Keys,
    ticket: &mut JoinTicket,
    joining: &MemberRecord,
    limit: Duration,
) -> Result<(), JoinError> {
    let deadline = Instant::now() + limit;
    promote(store, ticket, deadline).await?;
    let txn = Txn { writes: vec![put(keys.member(&joining.guid), joining)?], ..Txn::default() };
    loop {
        // The same value at any time is the same record: an unknown outcome is simply written again.
        match store.txn(txn.clone(), LIMIT).await {
            Ok(TxnAnswer::Committed { .. }) => break,
            Ok(TxnAnswer::Refused { .. }) => return Err(JoinError::TurnLost),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    if let Some(turn) = ticket.turn.take() {
        turn.release().await;
    }
    Ok(())
}

async fn promote(store: &dyn CoordinationStore, ticket: &JoinTicket, deadline: Instant) -> Result<(), JoinError> {
    loop {
        if !ticket.turn.as_ref().is_some_and(Turn::is_held) {
            return Err(JoinError::TurnLost);
        }
        let detail = match store.promote_learner(ticket.member_id, LIMIT).await {
            Ok(()) => return Ok(()),
            Err(
                StoreError::Refused { detail } | StoreError::Unknown { detail } | StoreError::Unreachable { detail },
            ) => detail,
        };
        // An earlier attempt whose answer was lost, or a member that somebody removed: the list tells.
        if let Ok(members) = store.members(LIMIT).await {
            match members.iter().find(|member| member.id == ticket.member_id) {
                Some(member) if !member.is_learner => return Ok(()),
                Some(_) => {}
                None => return Err(JoinError::Removed),
            }
        }
        if Instant::now() >= deadline {
            return Err(JoinError::NotCaughtUp { detail });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Undoes a join that cannot be finished: the learner leaves etcd and the next node may join.
pub async fn abandon_join(store: &dyn CoordinationStore, ticket: JoinTicket) -> Result<(), StoreError> {
    let removed = store.remove_member(ticket.member_id, LIMIT).await;
    if let Some(turn) = ticket.turn {
        turn.release().await;
    }
    removed
}
