//! Removing a node for good: from etcd's members and from every record that names it.

use super::join::read_cluster;
use crate::ports::{Compare, CoordinationStore, StoreError, StoreMember, Txn, TxnAnswer, Write};
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{NodeId, Revision};
use leaderl_decision::records::{Keys, LeaderValue};
use std::time::Duration;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(2);
/// How long etcd may refuse or not answer the removal of a member.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const AGAIN: Duration = Duration::from_millis(500);

/// Why a node was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// No member, status or etcd member fits.
    #[error("no node `{0}` is known; see `leaderl cluster-status`")]
    Unknown(String),
    /// A node does not remove itself.
    #[error("this is node {0} itself: run the command on another node")]
    Itself(String),
    /// It posts its status.
    #[error("node {0} is alive: stop its services first")]
    Alive(String),
    /// It holds the leader key.
    #[error("node {0} holds the leader key: wait until another node leads, or use force-leader")]
    Leads(String),
    /// The voter record names it while a leader could drop it.
    #[error(
        "the voter record still names node {0}: the leader drops it as soon as another follower has caught up; try again"
    )]
    Votes(String),
    /// The voter record names it, and nobody leads who could drop it.
    #[error(
        "the voter record names node {0} and nobody leads: what it has may be needed to have a leader again; bring it back, or \
         use force-leader, before it is removed"
    )]
    VotesUnled(String),
    /// It came back meanwhile.
    #[error("the records of node {0} changed meanwhile; look again")]
    Changed(String),
    /// etcd did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// [`remove_member_everywhere`], again for `patience` while something is in the way that goes by itself: the leader drops a dead
/// voter, somebody leads again, etcd comes back. `say` hears what that is.
pub async fn remove_patiently(
    store: &dyn CoordinationStore,
    keys: &Keys,
    who: &str,
    own: &NodeId,
    observe: Duration,
    patience: Duration,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<String, RemoveError> {
    let deadline = Instant::now() + patience;
    loop {
        match remove_member_everywhere(store, keys, who, own, observe).await {
            Err(why @ (RemoveError::Votes(_) | RemoveError::VotesUnled(_) | RemoveError::Store(_)))
                if Instant::now() < deadline =>
            {
                say(why.to_string());
                tokio::time::sleep(AGAIN).await;
            }
            ended => return ended,
        }
    }
}

/// What is known of the node that shall go.
struct Target {
    guid: Option<NodeId>,
    name: String,
    members: Vec<u64>,
}

/// Removes the node with this name, address or identity (also one that joined only halfway). Repeating it after a failure
/// finishes the work. It watches the node's status for `observe` (at least two of its posting intervals) and refuses when it
/// lives. Returns the removed node's name.
pub async fn remove_member_everywhere(
    store: &dyn CoordinationStore,
    keys: &Keys,
    who: &str,
    own: &NodeId,
    observe: Duration,
) -> Result<String, RemoveError> {
    let view = read_cluster(store, keys).await?;
    let target = find(&view, &store.members(LIMIT).await?, who).ok_or_else(|| RemoveError::Unknown(who.to_owned()))?;
    if target.guid.as_ref() == Some(own) {
        return Err(RemoveError::Itself(target.name));
    }
    if let Some(guid) = &target.guid {
        permitted(&view, guid, &target.name)?;
        silent(store, keys, guid, &target.name, observe).await?;
        let now = read_cluster(store, keys).await?;
        permitted(&now, guid, &target.name)?;
    }
    // etcd first: as long as the records are there, the node is found again by its name.
    for id in &target.members {
        leave_etcd(store, *id).await?;
    }
    if let Some(guid) = &target.guid {
        forget(store, keys, guid, &view, &target.name).await?;
    }
    Ok(target.name)
}

/// Removes an etcd member; asking twice does no harm. etcd refuses with "unhealthy cluster" while the remaining members have
/// been connected for less than some seconds, so one refusal is not the end.
async fn leave_etcd(store: &dyn CoordinationStore, id: u64) -> Result<(), StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let Err(error) = store.remove_member(id, LIMIT).await else { return Ok(()) };
        if let Ok(members) = store.members(LIMIT).await
            && !members.iter().any(|member| member.id == id)
        {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(error);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn find(view: &ClusterView, members: &[StoreMember], who: &str) -> Option<Target> {
    let by_record =
        view.members.iter().find(|(guid, seen)| guid.0 == who || seen.record.name == who || seen.record.address == who);
    let named = |guid: &NodeId| members.iter().filter(|member| member.name == guid.0).map(|member| member.id).collect();
    if let Some((guid, seen)) = by_record {
        return Some(Target { guid: Some(guid.clone()), name: seen.record.name.clone(), members: named(guid) });
    }
    // Half-joined or half-removed: no record, perhaps a status, perhaps an etcd member.
    let guid = NodeId(who.to_owned());
    if guid.is_well_formed() && (view.nodes.contains_key(&guid) || members.iter().any(|member| member.name == who)) {
        return Some(Target { name: who.to_owned(), members: named(&guid), guid: Some(guid) });
    }
    let nameless = members.iter().find(|member| {
        let known = view.members.contains_key(&NodeId(member.name.clone()));
        !known && member.peer_urls.iter().any(|url| host(url) == who)
    })?;
    let guid = Some(NodeId(nameless.name.clone())).filter(NodeId::is_well_formed);
    Some(Target { guid, name: who.to_owned(), members: vec![nameless.id] })
}

fn host(url: &str) -> &str {
    let authority = url.split("://").nth(1).unwrap_or(url);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn permitted(view: &ClusterView, guid: &NodeId, name: &str) -> Result<(), RemoveError> {
    let holder = match view.leader.as_ref().map(|seen| &seen.record) {
        Some(LeaderValue::Holder(holder)) => Some(&holder.guid),
        Some(LeaderValue::Vacancy(_)) | None => None,
    };
    if holder == Some(guid) {
        return Err(RemoveError::Leads(name.to_owned()));
    }
    let votes = view.voters.as_ref().is_some_and(|seen| seen.record.voters.contains(guid));
    match (votes, holder) {
        (false, _) => Ok(()),
        (true, Some(_)) => Err(RemoveError::Votes(name.to_owned())),
        // Without it the voters' bids can never be complete again.
        (true, None) => Err(RemoveError::VotesUnled(name.to_owned())),
    }
}

/// Alive is who writes a new status while we look; clocks of different nodes are never compared.
async fn silent(
    store: &dyn CoordinationStore,
    keys: &Keys,
    guid: &NodeId,
    name: &str,
    observe: Duration,
) -> Result<(), RemoveError> {
    let key = keys.node(guid);
    let until = Instant::now() + observe;
    let mut first: Option<Revision> = None;
    loop {
        let now = store.get(&key, LIMIT).await?.entries.first().map(|entry| entry.mod_revision).unwrap_or_default();
        if *first.get_or_insert(now) != now {
            return Err(RemoveError::Alive(name.to_owned()));
        }
        if Instant::now() >= until {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn forget(
    store: &dyn CoordinationStore,
    keys: &Keys,
    guid: &NodeId,
    view: &ClusterView,
    name: &str,
) -> Result<(), RemoveError> {
    let recorded = view.members.get(guid).map(|seen| seen.revision).unwrap_or_default();
    let gone = [keys.node(guid), keys.bid(guid), keys.node_failover(guid), keys.member(guid)];
    let txn = Txn {
        compares: vec![Compare { key: keys.member(guid), mod_revision: recorded }],
        writes: gone.into_iter().map(|key| Write::Delete { key }).collect(),
        else_reads: vec![keys.member(guid)],
    };
    match store.txn(txn, LIMIT).await? {
        TxnAnswer::Committed { .. } => Ok(()),
        // Absent already: somebody else removed it in the same moment.
        TxnAnswer::Refused { reads, .. } if reads.is_empty() => Ok(()),
        TxnAnswer::Refused { .. } => Err(RemoveError::Changed(name.to_owned())),
    }
}
