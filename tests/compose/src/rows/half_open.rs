//! Half-open connections: both ends believe in them, and nothing arrives any more. New ones work.

use super::D;
use super::case::{Case, TAKEOVER};
use crate::Outcome;
use crate::checker::clock::boot_ns;
use futures::FutureExt;
use futures::future::BoxFuture;

/// The leader's connections with these ports go silent; the leader stays.
async fn silent(case: &mut Case, ports: &[u16]) -> Outcome<()> {
    let leader = case.leader.clone();
    case.fault().await?;
    let count = case.cluster.silence_connections(&leader, ports).await?;
    case.note(format!("{count} connections silent"));
    // Longer than the lease, and than etcd's own patience with a silent stream (5 s).
    let stayed = case.stays(2 * D).await;
    // Before the silence ends: what is acknowledged now goes over new connections.
    let flowing = case.traffic.wait_for_row("over new connections", boot_ns(), TAKEOVER, |_| true).await;
    case.cluster.mend(&leader).await?;
    stayed?;
    flowing.map(drop)
}

pub(super) fn to_etcd(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    silent(case, &[2379]).boxed()
}

pub(super) fn between_members(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    silent(case, &[2380]).boxed()
}

pub(super) fn to_followers(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        // The followers' side: there only their receivers' connections have this port at their other end.
        for node in case.followers() {
            let count = case.cluster.silence_connections(&node, &[5432]).await?;
            case.note(format!("{count} connections silent on {node}"));
        }
        let flowing = async {
            // Nothing that was sent into the silence may be taken for acknowledged; rows flow over new connections.
            case.traffic.wait_for_row("over new connections", boot_ns(), TAKEOVER, |row| row.node == leader).await?;
            case.stays(D).await
        }
        .await;
        for node in case.followers() {
            case.cluster.mend(&node).await?;
        }
        flowing
    }
    .boxed()
}

/// Both followers' watches (and all else they have with etcd) are silent when the leader dies: they notice all the same.
pub(super) fn watches(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, followers) = (case.leader.clone(), case.followers());
        case.fault().await?;
        for node in &followers {
            let count = case.cluster.silence_connections(node, &[2379]).await?;
            case.note(format!("{count} connections silent on {node}"));
        }
        case.cluster.kill(&leader).await?;
        let taken = case.taken_over(TAKEOVER).await;
        for node in &followers {
            case.cluster.mend(node).await?;
        }
        taken.map(drop)
    }
    .boxed()
}
