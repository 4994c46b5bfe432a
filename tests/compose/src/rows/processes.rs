//! Processes of the leader's node that die or stop.

use super::D;
use super::case::{Case, TAKEOVER, VERB};
use crate::cluster::processes::{Role, send};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::sleep;

/// t0 + 2D/3 with t0 at most at the fault, and what it takes to look.
pub(super) const FENCED: Duration = Duration::from_millis(2 * 5000 / 3 + 300);
/// runit starts what died, after a second when it had just been started.
pub(super) const RESTART: Duration = Duration::from_secs(5);

pub(super) fn daemon_restarted(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let old = case.cluster.signal(&leader, Role::Daemon, Signal::SIGKILL).await?;
        case.restarted(&leader, Role::Daemon, old, RESTART).await?;
        // Longer than the lease: had the new daemon not adopted it, this would show.
        case.stays(D + D / 2).await
    }
    .boxed()
}

pub(super) fn binary_replaced(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let replace = "cp /usr/bin/leaderl /usr/bin/leaderl.new && mv /usr/bin/leaderl.new /usr/bin/leaderl";
        let ended = case.cluster.exec(&leader, &["sh", "-c", replace], VERB).await?;
        if !ended.succeeded() {
            return fail(format!("replacing the binary: {}", ended.said()));
        }
        let old = case.cluster.signal(&leader, Role::Daemon, Signal::SIGKILL).await?;
        case.restarted(&leader, Role::Daemon, old, RESTART).await?;
        case.stays(D + D / 2).await
    }
    .boxed()
}

pub(super) fn postmaster_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.signal(&leader, Role::Postmaster, Signal::SIGKILL).await?;
        case.taken_over(TAKEOVER).await.map(drop)
    }
    .boxed()
}

/// The daemon dies and nobody starts it again: heart and the kernel end PostgreSQL and the VIP.
async fn daemon_gone(case: &mut Case) -> Outcome<()> {
    let leader = case.leader.clone();
    // runit lets the present one run on and starts no other.
    case.service(&leader, "once", "leaderl").await?;
    case.fault().await?;
    case.cluster.signal(&leader, Role::Daemon, Signal::SIGKILL).await?;
    case.postgres_gone(&leader, FENCED).await?;
    if case.cluster.has_vip(&leader).await? {
        return fail(format!("PostgreSQL is gone on {leader}, but the VIP is still there"));
    }
    let row = case.taken_over(TAKEOVER).await?;
    case.says(&row.node, &["nothing has been heard from this node"], D + D).await
}

pub(super) fn daemon_dead(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    daemon_gone(case).boxed()
}

pub(super) fn backend_stopped(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let Some(backend) = case.cluster.pids(&leader, Role::CheckerBackend).await?.first().copied() else {
            return fail(format!("{leader} has no session of the row checker"));
        };
        send(backend, Signal::SIGSTOP)?;
        daemon_gone(case).await
    }
    .boxed()
}

pub(super) fn daemon_stopped(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let daemon = case.cluster.signal(&leader, Role::Daemon, Signal::SIGSTOP).await?;
        let fenced = case.postgres_gone(&leader, FENCED).await;
        let taken = match &fenced {
            Ok(()) => case.taken_over(TAKEOVER).await.map(drop),
            Err(_) => Ok(()),
        };
        // The length of the stop is the row's, whatever happened meanwhile.
        sleep((2 * D).saturating_sub(Duration::from_millis(case.since_fault_ms(crate::checker::clock::boot_ns()))))
            .await;
        // heart may have replaced it meanwhile; then there is nothing to continue.
        let _ = send(daemon, Signal::SIGCONT);
        fenced?;
        taken
    }
    .boxed()
}

pub(super) fn heart_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.signal(&leader, Role::Heart, Signal::SIGKILL).await?;
        case.taken_over(TAKEOVER).await.map(drop)
    }
    .boxed()
}

pub(super) fn heart_stopped(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let heart = case.cluster.signal(&leader, Role::Heart, Signal::SIGSTOP).await?;
        let taken = case.taken_over(TAKEOVER).await;
        // Killed by the daemon meanwhile is fine too.
        let _ = send(heart, Signal::SIGCONT);
        taken.map(drop)
    }
    .boxed()
}
