//! Followers that stop acknowledging, and what `strict` and `async` promise.

use super::case::{Case, TAKEOVER};
use crate::checker::clock::boot_ns;
use crate::checker::record::Answer;
use crate::cluster::processes::{Role, send};
use crate::{Outcome, While, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

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
        let leader = case.leader.clone();
        let container = case.cluster.container(&leader).await?;
        let prefix = format!("http://{}:2379", case.cluster.address(&leader)?);
        let mut watch = Command::new("docker")
            .args(["exec", &container, "env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &prefix])
            .args(["watch", "--prefix", "/leaderl/"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .during(|| "watching etcd".into())?;
        let Some(output) = watch.stdout.take() else { return fail("no output of the watch") };
        let mut lines = BufReader::new(output).lines();
        case.fault().await?;
        let stopped = stop_receivers(case).await?;
        // The record's key, then its value on the next line. Stamped when read, which is never before it was written.
        let degraded = timeout(DEGRADED, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.ends_with("/voters")
                    && let Ok(Some(value)) = lines.next_line().await
                    && is_degraded(&value)
                {
                    return Some((boot_ns(), value));
                }
            }
            None
        })
        .await;
        let row = case.traffic.wait_for_row("in degraded mode", boot_ns(), DEGRADED, |_| true).await;
        continue_all(&stopped);
        let Ok(Some((at, value))) = degraded else { return fail("the record in etcd never said degraded") };
        row?;
        case.note(format!("degraded in etcd {} ms after", case.since_fault_ms(at)));
        // What was acknowledged before the record, but sent after both receivers had stopped, was on the leader alone.
        let early = case.traffic.attempts()?.into_iter().find(|a| {
            a.answer == Answer::Acknowledged && a.sent_ns > case.fault_ns + 500_000_000 && a.answered_ns < at.saturating_sub(20_000_000)
        });
        match early {
            None => Ok(()),
            Some(row) => fail(format!(
                "a row sent {} ms after the receivers stopped was acknowledged at {} ms, before etcd said {value} at {} ms",
                case.since_fault_ms(row.sent_ns),
                case.since_fault_ms(row.answered_ns),
                case.since_fault_ms(at)
            )),
        }
    }
    .boxed()
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
        let from = boot_ns() + 500_000_000;
        // Four times `degrade_after`.
        sleep(Duration::from_secs(8)).await;
        let returned = case
            .traffic
            .attempts()?
            .into_iter()
            .filter(|a| a.answer == Answer::Acknowledged && a.sent_ns > from)
            .count();
        continue_all(&stopped);
        if returned > 0 {
            return fail(format!("{returned} commits returned although no follower could have them"));
        }
        case.traffic.wait_for_row("after the receivers went on", boot_ns(), TAKEOVER, |_| true).await.map(drop)
    }
    .boxed()
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
