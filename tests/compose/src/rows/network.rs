//! Links and addresses.

use super::case::{Case, TAKEOVER};
use crate::checker::clock::boot_ns;
use crate::cluster::links::{Cut, Ports, Way};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(20);
const VIP_BACK: Duration = Duration::from_secs(2);

pub(super) fn leader_cut(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let others = case.followers();
        case.fault().await?;
        let cut = Cut { peers: &others, way: Way::Both, ports: Ports::Any };
        case.cluster.cut(&leader, &cut).await?;
        let taken = case.taken_over(TAKEOVER).await;
        if taken.is_ok() && case.cluster.has_vip(&leader).await? {
            return fail(format!("{leader} still has the VIP after another node acknowledged"));
        }
        case.cluster.mend(&leader).await?;
        let mended = boot_ns();
        taken?;
        case.cluster
            .wait_until("the old leader streaming again", Duration::from_secs(60), |seen| seen.is_whole())
            .await?;
        case.note(format!("whole {} ms after the links", (boot_ns() - mended) / 1_000_000));
        Ok(())
    }
    .boxed()
}

pub(super) fn vip_removed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        if !case.cluster.has_vip(&leader).await? {
            return fail(format!("{leader} leads without the VIP"));
        }
        let vip = format!("{}/32", case.cluster.plan.vip());
        case.fault().await?;
        case.cluster.in_network(&leader, &["ip", "address", "del", &vip, "dev", "eth0"]).await?;
        let end = Instant::now() + VIP_BACK;
        while !case.cluster.has_vip(&leader).await? {
            if Instant::now() > end {
                return fail(format!("the VIP is not back on {leader} after {VIP_BACK:?}"));
            }
            sleep(LOOK).await;
        }
        case.note(format!("the VIP is back after {} ms", case.since_fault_ms(boot_ns())));
        Ok(())
    }
    .boxed()
}
