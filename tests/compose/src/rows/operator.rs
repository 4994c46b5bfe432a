//! Orders of an operator.

use super::case::{Case, TAKEOVER, VERB, first, nobody_leads};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;

pub(super) fn bad_input(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let follower = first(&case.followers())?;
        case.fault().await?;
        case.refused(&leader, &["promote", "backend-9"]).await?;
        case.refused(&leader, &["create-cluster"]).await?;
        case.refused(&follower, &["create-cluster"]).await?;
        case.refused(&follower, &["join-cluster", &case.cluster.address(&leader)?.to_string()]).await?;
        case.refused(&leader, &["no-such-verb"]).await?;
        case.refused(&leader, &["run"]).await?;
        case.cluster.leaderl_must(&leader, &["set-cluster-failover", "off"], VERB).await?;
        let while_off = case.refused(&leader, &["promote", &follower]).await;
        case.cluster.leaderl_must(&leader, &["set-cluster-failover", "on"], VERB).await?;
        while_off?;
        let seen = case.truth().await?;
        if seen.is_whole() { Ok(()) } else { fail(format!("refused orders changed something: {seen}")) }
    }
    .boxed()
}

pub(super) fn promote(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let target = first(&case.followers())?;
        case.fault().await?;
        case.cluster.leaderl_must(&case.leader, &["promote", &target], VERB).await?;
        // Exit 0 means that the asked state is there now, so there is no waiting here.
        let seen = case.truth().await?;
        match seen.leader() {
            Some(leader) if leader.name == target => {}
            Some(_) | None => return fail(format!("promote said done, but {target} does not lead: {seen}")),
        }
        case.taken_over(Duration::from_secs(5)).await.map(drop)
    }
    .boxed()
}

pub(super) fn demote(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        case.fault().await?;
        case.cluster.leaderl_must(&case.leader, &["demote"], VERB).await?;
        let seen = case.truth().await?;
        match seen.leader() {
            Some(leader) if leader.name != case.leader => {}
            Some(_) | None => return fail(format!("demote said done, but no other node leads: {seen}")),
        }
        case.taken_over(Duration::from_secs(5)).await.map(drop)
    }
    .boxed()
}

pub(super) fn failover_off(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let follower = first(&case.followers())?;
        case.cluster.leaderl_must(&leader, &["set-cluster-failover", "off"], VERB).await?;
        case.fault().await?;
        case.cluster.kill(&leader).await?;
        let quiet = case.holds_for("failover is off, yet", Duration::from_secs(12), nobody_leads).await;
        let status = case.status(&follower).await;
        let enabled = case.cluster.leaderl_must(&follower, &["set-cluster-failover", "on"], VERB).await;
        quiet?;
        enabled?;
        let status = status?;
        if !status.contains("Failover: OFF") {
            return fail(format!("cluster-status does not say that failover is off: {status}"));
        }
        case.taken_over(TAKEOVER).await.map(drop)
    }
    .boxed()
}

pub(super) fn node_failover_off(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let followers = case.followers();
        let barred = first(&followers)?;
        let leader = case.leader.clone();
        case.cluster.leaderl_must(&leader, &["set-node-failover", "off", &barred], VERB).await?;
        case.fault().await?;
        case.cluster.kill(&leader).await?;
        let taken = case.taken_over(TAKEOVER).await;
        let enabled = case.cluster.leaderl_must(&barred, &["set-node-failover", "on", &barred], VERB).await;
        let row = taken?;
        enabled?;
        if row.node == barred { fail(format!("{barred} leads though failover is off for it")) } else { Ok(()) }
    }
    .boxed()
}
