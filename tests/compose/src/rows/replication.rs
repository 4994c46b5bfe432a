//! Followers that stop acknowledging, and what `strict` and `async` promise.

use super::case::{Case, TAKEOVER};
use crate::checker::clock::boot_ns;
use crate::checker::record::Answer;
use crate::cluster::etcd::EtcdWatch;
use crate::cluster::processes::{Role, send};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::sleep;

/// A frozen receiver counts as gone after 5 s (`wal_sender_timeout`), `degrade_after` is 2 s more; then the record, then
/// PostgreSQL.
const DEGRADED: Duration = Duration::from_secs(10);

/// Stops the receivers of both followers; their pids.
async fn stop_receivers(case: &Case) -> Outcome<Vec<i32>> {
    let mut stopped = Vec::new();
    for node in case.followers() {
        stopped.push(case.cluster.signal(&node, Role::WalReceiver, Signal::SIGSTOP).await?);
    }
    Ok(stopped)
}

fn continue_all(pids: &[i32]) {
    for pid in pids {
        // A receiver that was replaced meanwhile needs nothing.
        let _ = send(*pid, Signal::SIGCONT);
    }
}

pub(super) fn degrade(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let mut watch = case.cluster.watch_etcd(&case.leader).await?;
        case.fault().await?;
        let stopped = stop_receivers(case).await?;
        let degraded = degrades(case, &mut watch).await;
        continue_all(&stopped);
        degraded
    }
    .boxed()
}

/// With no follower left the record in etcd says so before the first row is acknowledged by the leader alone.
pub(super) async fn degrades(case: &mut Case, watch: &mut EtcdWatch) -> Outcome<()> {
    // From here on no follower can have acknowledged anything.
    let alone_ns = boot_ns() + 500_000_000;
    let (at, value) = watch.value("/voters", DEGRADED, is_degraded).await?;
    case.traffic.wait_for_row("in degraded mode", boot_ns(), DEGRADED, |_| true).await?;
    case.note(format!("degraded in etcd {} ms after", case.since_fault_ms(at)));
    let early = case.traffic.attempts()?.into_iter().find(|a| {
        a.answer == Answer::Acknowledged && a.sent_ns > alone_ns && a.answered_ns < at.saturating_sub(20_000_000)
    });
    match early {
        None => Ok(()),
        Some(row) => fail(format!(
            "a row sent {} ms after the followers were lost was acknowledged at {} ms, before etcd said {value} at {} ms",
            case.since_fault_ms(row.sent_ns),
            case.since_fault_ms(row.answered_ns),
            case.since_fault_ms(at)
        )),
    }
}

/// A voter record without voters.
fn is_degraded(value: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(value)
        .is_ok_and(|record| record["voters"].as_array().is_some_and(Vec::is_empty))
}

pub(super) fn strict_blocks(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        case.fault().await?;
        let stopped = stop_receivers(case).await?;
        let waited = commits_wait(case).await;
        continue_all(&stopped);
        waited?;
        case.traffic.wait_for_row("after the receivers went on", boot_ns(), TAKEOVER, |_| true).await.map(drop)
    }
    .boxed()
}

/// `strict`, and no follower can have what is written from now on: nothing returns for four times `degrade_after`.
pub(super) async fn commits_wait(case: &Case) -> Outcome<()> {
    let from = boot_ns() + 500_000_000;
    sleep(Duration::from_secs(8)).await;
    let attempts = case.traffic.attempts()?;
    let returned = attempts.iter().filter(|a| a.answer == Answer::Acknowledged && a.sent_ns > from).count();
    if returned == 0 {
        Ok(())
    } else {
        fail(format!("{returned} commits returned although no follower could have them"))
    }
}

pub(super) fn async_loss(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.kill(&leader).await?;
        let row = case.taken_over(TAKEOVER).await?;
        let events = case.cluster.leaderl_must(&row.node, &["events"], TAKEOVER).await?;
        let report = events.lines().find(|line| line.to_lowercase().contains("los"));
        match report {
            Some(line) => {
                case.note(format!("reported: {}", line.trim()));
                Ok(())
            }
            None => fail(format!("`leaderl events` on {} reports no loss:\n{events}", row.node)),
        }
    }
    .boxed()
}
