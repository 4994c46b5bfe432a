//! The leader cut off in part: from all, from etcd, from its followers' receivers, in one direction.

use super::D;
use super::case::{Case, TAKEOVER};
use super::processes::FENCED;
use super::replication::{commits_wait, degrades};
use crate::checker::clock::boot_ns;
use crate::cluster::links::{Cut, FRONTEND, Ports, Way};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;

const ETCD: &[u16] = &[2379, 2380];
const POSTGRES: &[u16] = &[5432];
/// Streaming again after a rewind: the catalogue's R2, doubled for a machine that does other work.
const REJOINED: Duration = Duration::from_secs(120);
/// Until the cluster-wide status shows what happened.
const SHOWN: Duration = Duration::from_secs(10);

/// The leader is fenced by 2D/3, another acknowledges, and the old one follows once the links are back. `told`: what its own
/// status says meanwhile.
async fn deposed(case: &mut Case, cut: Cut<'_>, told: Option<&[&str]>) -> Outcome<()> {
    let leader = case.leader.clone();
    case.fault().await?;
    case.cluster.cut(&leader, &cut).await?;
    let during = async {
        case.postgres_gone(&leader, FENCED + Duration::from_secs(1)).await?;
        if case.cluster.has_vip(&leader).await? {
            return fail(format!("PostgreSQL is gone on {leader}, but the VIP is still there"));
        }
        case.taken_over(TAKEOVER).await?;
        match told {
            Some(words) => case.says(&leader, words, SHOWN).await,
            None => Ok(()),
        }
    }
    .await;
    case.cluster.mend(&leader).await?;
    let mended = boot_ns();
    during?;
    case.whole_again(mended, REJOINED).await
}

/// What a node says that no longer hears a quorum of etcd.
const NO_QUORUM: &[&str] = &["quorum", "etcd has not been heard", "etcd does not answer"];

pub(super) fn from_everything(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let mut peers = case.followers();
        peers.push(FRONTEND.into());
        deposed(case, Cut { peers: &peers, way: Way::Both, ports: Ports::Any }, Some(NO_QUORUM)).await
    }
    .boxed()
}

pub(super) fn from_etcd(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let peers = case.followers();
        deposed(case, Cut { peers: &peers, way: Way::Both, ports: Ports::Of(ETCD) }, Some(NO_QUORUM)).await
    }
    .boxed()
}

pub(super) fn deaf(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let peers = case.followers();
        deposed(case, Cut { peers: &peers, way: Way::In, ports: Ports::Any }, Some(NO_QUORUM)).await
    }
    .boxed()
}

pub(super) fn from_receivers(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, peers) = (case.leader.clone(), case.followers());
        let mut watch = case.cluster.watch_etcd(&leader).await?;
        case.fault().await?;
        let cut = Cut { peers: &peers, way: Way::Both, ports: Ports::Of(POSTGRES) };
        case.cluster.cut(&leader, &cut).await?;
        let during = async {
            degrades(case, &mut watch).await?;
            case.says(&leader, &["DEGRADED"], SHOWN).await?;
            case.stays(D).await
        }
        .await;
        case.cluster.mend(&leader).await?;
        let mended = boot_ns();
        during?;
        case.whole_again(mended, REJOINED).await
    }
    .boxed()
}

pub(super) fn from_receivers_strict(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, peers) = (case.leader.clone(), case.followers());
        case.fault().await?;
        let cut = Cut { peers: &peers, way: Way::Both, ports: Ports::Of(POSTGRES) };
        case.cluster.cut(&leader, &cut).await?;
        let during = async {
            commits_wait(case).await?;
            case.stays(D).await
        }
        .await;
        case.cluster.mend(&leader).await?;
        let mended = boot_ns();
        during?;
        case.traffic.wait_for_row("after the links came back", mended, TAKEOVER, |_| true).await?;
        case.whole_again(mended, REJOINED).await
    }
    .boxed()
}
