//! The search engine beside PostgreSQL.

use super::D;
use super::case::{Case, TAKEOVER, first, leads_or_writes};
use crate::checker::clock::boot_ns;
use crate::cluster::processes::Role;
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Until the engine answers on a restarted or newly led node.
const ENGINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

/// The log of documents outside the nodes.
fn log(case: &Case) -> Outcome<String> {
    let path = case.cluster.plan.logs.join(format!("run-{}", case.run)).join("documents.log");
    std::fs::read_to_string(&path).map_err(|error| crate::Failure(format!("{}: {error}", path.display())))
}

/// Documents acknowledged so far; those sent after `since_ns` only.
fn acknowledged(log: &str, since_ns: u64) -> u64 {
    let after = |line: &&str| {
        let mut words = line.split(' ');
        words.next() == Some("A")
            && words.nth(1).and_then(|sent| sent.parse::<u64>().ok()).is_some_and(|sent| sent > since_ns)
    };
    log.lines().filter(after).count() as u64
}

/// Waits until documents are acknowledged that were sent from now on.
async fn indexing(case: &Case) -> Outcome<()> {
    let (since, end) = (boot_ns(), Instant::now() + ENGINE);
    loop {
        let seen = log(case)?;
        if acknowledged(&seen, since) >= 5 {
            return Ok(());
        }
        if Instant::now() > end {
            let last = seen.lines().next_back().unwrap_or("nothing was sent");
            return fail(format!("no document is acknowledged within {ENGINE:?}; the last: {last}"));
        }
        sleep(LOOK).await;
    }
}

/// All that was acknowledged is found through the VIP.
async fn found(case: &mut Case) -> Outcome<()> {
    let acknowledged = acknowledged(&log(case)?, 0);
    let found = case.cluster.documents(case.run).await?;
    case.note(format!("{acknowledged} documents acknowledged, {found} found"));
    if found >= acknowledged { Ok(()) } else { fail(format!("{found} of {acknowledged} acknowledged documents found")) }
}

pub(super) fn failover(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        indexing(case).await?;
        found(case).await?;
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.kill(&leader).await?;
        case.taken_over(TAKEOVER).await?;
        indexing(case).await?;
        found(case).await
    }
    .boxed()
}

pub(super) fn follower_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let follower = first(&case.followers())?;
        case.fault().await?;
        let old = case.cluster.signal(&follower, Role::Search, Signal::SIGKILL).await?;
        let leader = case.leader.clone();
        case.holds_for("the leader changed", D, |seen| !seen.0.iter().any(|n| n.name != leader && leads_or_writes(n)))
            .await?;
        case.restarted(&follower, Role::Search, old, ENGINE).await?;
        indexing(case).await
    }
    .boxed()
}

pub(super) fn leader_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let old = case.cluster.signal(&leader, Role::Search, Signal::SIGKILL).await?;
        case.restarted(&leader, Role::Search, old, ENGINE).await?;
        indexing(case).await?;
        found(case).await
    }
    .boxed()
}
