//! Two things at once.

use super::D;
use super::case::{Case, TAKEOVER, first};
use crate::checker::clock::boot_ns;
use crate::checker::record::Attempt;
use crate::cluster::Cluster;
use crate::cluster::processes::{Role, send};
use crate::{Failure, Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::sleep;

/// With one node just started, which may have to be rewound before it confirms anything.
const CHASED: Duration = Duration::from_secs(60);
const SYNC: &str = "/var/lib/leaderl/postgresql/conf/sync.conf";
/// Until a voter leaves the record after its receiver stopped, or is back in it.
const VOTERS: Duration = Duration::from_secs(20);

/// Each new leader is killed as soon as it acknowledges, ten times; the one killed before is started again, so that two live.
/// One that acknowledged alone (degraded, for the others were not back) is the only one that may lead: then it is started at
/// once too.
pub(super) fn chase(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (mut leader, mut timeline) = (case.leader.clone(), case.timeline);
        let mut dead: Option<String> = None;
        let (mut took, mut alone) = (Vec::new(), 0);
        case.fault().await?;
        for round in 1..=10 {
            let killed = boot_ns();
            case.cluster.kill(&leader).await?;
            let earlier = dead.replace(leader.clone());
            let watcher = first(
                &Cluster::others(&leader).into_iter().filter(|n| Some(n) != earlier.as_ref()).collect::<Vec<_>>(),
            )?;
            if let Some(earlier) = &earlier {
                case.cluster.start(earlier).await?;
            }
            if case.status(&watcher).await?.contains("DEGRADED") {
                alone += 1;
                case.cluster.start(&leader).await?;
                dead = None;
            }
            let newer = |row: &Attempt| row.timeline > timeline;
            let row = case
                .traffic
                .wait_for_row("after a new leader was killed", killed, CHASED, newer)
                .await
                .map_err(|Failure(text)| Failure(format!("round {round}, {leader} killed: {text}")))?;
            took.push(format!("{}", (row.answered_ns - killed) / 1_000_000));
            (leader, timeline) = (row.node, row.timeline);
        }
        case.note(format!(
            "acknowledged again after {} ms; {alone} times the dead one was the only one",
            took.join(", ")
        ));
        Ok(())
    }
    .boxed()
}

/// The power of the leader's node fails the moment the row sees what it waits for.
async fn power_cut(case: &Case, node: &str) -> Outcome<i32> {
    case.cluster.pid(node).await
}

/// A follower's receiver stands still, and as PostgreSQL is told to wait for the other one alone, the leader dies.
pub(super) fn voter_leaves(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, follower) = (case.leader.clone(), first(&case.followers())?);
        let inside = case.cluster.inside(&leader).await?;
        let power = power_cut(case, &leader).await?;
        let before = inside.text(SYNC);
        case.fault().await?;
        let receiver = case.cluster.signal(&follower, Role::WalReceiver, Signal::SIGSTOP).await?;
        let changed = inside.until("a change of the names", VOTERS, |inside| inside.text(SYNC) != before).await;
        send(power, Signal::SIGKILL)?;
        let died = boot_ns();
        // It had been replaced if this fails.
        let _ = send(receiver, Signal::SIGCONT);
        changed?;
        taken_over_after(case, died).await
    }
    .boxed()
}

/// The follower is back, and as etcd names it a voter again, before PostgreSQL does, the leader dies.
pub(super) fn voter_returns(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, follower) = (case.leader.clone(), first(&case.followers())?);
        let power = power_cut(case, &leader).await?;
        let mut watch = case.cluster.watch_etcd(&follower).await?;
        case.fault().await?;
        let receiver = case.cluster.signal(&follower, Role::WalReceiver, Signal::SIGSTOP).await?;
        let left = watch.value("/voters", VOTERS, |value| voters(value) == Some(1)).await;
        let _ = send(receiver, Signal::SIGCONT);
        left?;
        let returned = watch.value("/voters", VOTERS, |value| voters(value) == Some(2)).await;
        send(power, Signal::SIGKILL)?;
        let died = boot_ns();
        returned?;
        taken_over_after(case, died).await
    }
    .boxed()
}

fn voters(value: &str) -> Option<usize> {
    serde_json::from_str::<serde_json::Value>(value).ok()?["voters"].as_array().map(Vec::len)
}

async fn taken_over_after(case: &mut Case, died_ns: u64) -> Outcome<()> {
    let row = case.taken_over(TAKEOVER + D).await?;
    case.note(format!("{} ms after the leader died", row.answered_ns.saturating_sub(died_ns) / 1_000_000));
    Ok(())
}

/// The leader dies, and while the others take over by themselves an operator orders each of them to lead.
pub(super) fn promoted_meanwhile(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, followers) = (case.leader.clone(), case.followers());
        case.fault().await?;
        case.cluster.kill(&leader).await?;
        // The bids are being made: the old one is fenced, the key is not free yet.
        sleep(D * 4 / 5).await;
        let orders: Vec<_> = followers.iter().map(|node| (node, case.order(node, &["promote", node]))).collect();
        case.taken_over(TAKEOVER + D).await?;
        let mut done = Vec::new();
        for (node, order) in orders {
            let Ok(ended) = order.await else { return fail("an order's task died") };
            let ended = ended?;
            case.note(format!("promote {node} ended with {:?}", ended.code));
            if ended.succeeded() {
                done.push(node.clone());
            } else if ended.said().len() < 12 {
                return fail(format!("promote {node} failed without a word"));
            }
        }
        // Whoever was told that it was done has led: nothing was promised that did not happen.
        let attempts = case.traffic.attempts()?;
        let led = |node: &String| attempts.iter().any(|row| row.timeline > case.timeline && row.node == **node);
        match done.iter().find(|node| !led(node)) {
            Some(node) => fail(format!("promote said done, but {node} acknowledged nothing")),
            None => Ok(()),
        }
    }
    .boxed()
}
