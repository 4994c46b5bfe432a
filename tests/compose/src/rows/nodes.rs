//! Whole nodes that die and come back.

use super::D;
use super::case::{Case, TAKEOVER, first, leads_or_writes, nobody_leads};
use crate::checker::clock::boot_ns;
use crate::checker::record::Answer;
use crate::cluster::Cluster;
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;

/// From a node's start until a majority has formed and a leader is writable: the catalogue's E02, and the boot of the node.
const MAJORITY_BACK: Duration = Duration::from_secs(10);
/// After a cold start of all nodes.
const COLD_START: Duration = Duration::from_secs(45);

pub(super) fn leader_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.kill(&leader).await?;
        case.taken_over(TAKEOVER).await?;
        case.cluster.start(&leader).await?;
        let back = boot_ns();
        // The old leader is a follower again without help: same system, new timeline, streaming.
        case.cluster
            .wait_until("the old leader streaming again", Duration::from_secs(60), |seen| seen.is_whole())
            .await?;
        case.note(format!("whole again {} ms after its return", (boot_ns() - back) / 1_000_000));
        Ok(())
    }
    .boxed()
}

pub(super) fn follower_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let follower = first(&case.followers())?;
        case.fault().await?;
        case.cluster.kill(&follower).await?;
        let leader = case.leader.clone();
        let same = |seen: &crate::cluster::truth::Truth| !seen.0.iter().any(|n| n.name != leader && leads_or_writes(n));
        case.holds_for("the leader changed", 2 * D, same).await
    }
    .boxed()
}

pub(super) fn two_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let survivor = case.leader.clone();
        let followers = case.followers();
        case.fault().await?;
        kill_all(case, &followers).await?;
        case.cluster.wait_until("the survivor fenced", D, nobody_leads).await?;
        let last =
            case.traffic.attempts()?.iter().filter(|a| a.answer == Answer::Acknowledged).map(|a| a.answered_ns).max();
        case.note(format!("last row acknowledged {} ms after", case.since_fault_ms(last.unwrap_or(0))));
        case.holds_for("no majority, yet", 2 * D, nobody_leads).await?;
        let status = case.status(&survivor).await?;
        if !["quorum", "majority", "etcd has not been heard"].iter().any(|word| status.to_lowercase().contains(word)) {
            return fail(format!("cluster-status on the survivor does not say why nobody leads: {status}"));
        }
        case.cluster.start(&first(&followers)?).await?;
        let back = boot_ns();
        case.cluster.wait_until("a leader after one is back", MAJORITY_BACK, |seen| seen.leader().is_some()).await?;
        case.note(format!("a leader {} ms after one was back", (boot_ns() - back) / 1_000_000));
        Ok(())
    }
    .boxed()
}

/// Kills nodes at the same time.
async fn kill_all(case: &Case, nodes: &[String]) -> Outcome<()> {
    let kills = nodes.iter().map(|node| case.cluster.kill(node));
    futures::future::join_all(kills).await.into_iter().collect::<Outcome<Vec<()>>>().map(drop)
}

/// All nodes die at once and start in the given order, the next as soon as the last has started.
async fn all_killed(case: &mut Case, order: Vec<String>) -> Outcome<()> {
    case.fault().await?;
    kill_all(case, &Cluster::names()).await?;
    for node in &order {
        case.cluster.start(node).await?;
    }
    let back = boot_ns();
    let seen =
        case.cluster.wait_until("a leader after a cold start", COLD_START, |seen| seen.leader().is_some()).await?;
    let leader = seen.leader().map(|node| node.name.clone()).unwrap_or_default();
    case.note(format!("{leader} leads {} ms after the last start", (boot_ns() - back) / 1_000_000));
    case.taken_over(TAKEOVER).await.map(drop)
}

pub(super) fn all_killed_leader_first(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    let order = std::iter::once(case.leader.clone()).chain(case.followers()).collect();
    all_killed(case, order).boxed()
}

pub(super) fn all_killed_leader_last(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    let order = case.followers().into_iter().chain(std::iter::once(case.leader.clone())).collect();
    all_killed(case, order).boxed()
}

pub(super) fn all_killed_leader_missing(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    let order = case.followers();
    all_killed(case, order).boxed()
}
