//! etcd's members.

use super::D;
use super::case::{Case, leads_or_writes};
use crate::cluster::Cluster;
use crate::cluster::processes::Role;
use crate::{Outcome, While, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn local_member_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.service(&leader, "once", "leaderl-etcd").await?;
        case.fault().await?;
        case.cluster.signal(&leader, Role::Etcd, Signal::SIGKILL).await?;
        stays(case, 2 * D).await
    }
    .boxed()
}

pub(super) fn leader_killed_busy(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let etcd_leader = etcd_leader(case).await?;
        case.note(format!("etcd's leader was on {etcd_leader}, ours on {}", case.leader));
        let mut busy = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let mut burn = Command::new("sh");
            burn.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).kill_on_drop(true);
            busy.push(burn.spawn().during(|| "a busy loop".into())?);
        }
        case.fault().await?;
        case.cluster.signal(&etcd_leader, Role::Etcd, Signal::SIGKILL).await?;
        let stayed = stays(case, 2 * D).await;
        for mut burn in busy {
            burn.kill().await.during(|| "ending a busy loop".into())?;
        }
        stayed
    }
    .boxed()
}

/// The leader stays the leader for `time`.
async fn stays(case: &mut Case, time: Duration) -> Outcome<()> {
    let leader = case.leader.clone();
    case.holds_for("the leader changed", time, |seen| !seen.0.iter().any(|n| n.name != leader && leads_or_writes(n)))
        .await
}

/// The node whose member leads etcd.
async fn etcd_leader(case: &Case) -> Outcome<String> {
    for node in Cluster::names() {
        let endpoint = format!("--endpoints=http://{}:2379", case.cluster.address(&node)?);
        let words = ["env", "ETCDCTL_API=3", "etcdctl", &endpoint, "--write-out=json", "endpoint", "status"];
        let ended = case.cluster.exec(&node, &words, LIMIT).await?;
        let status: serde_json::Value =
            serde_json::from_str(&ended.stdout).during(|| format!("etcdctl on {node}: {}", ended.said()))?;
        let status = &status[0]["Status"];
        if status["leader"].is_u64() && status["leader"] == status["header"]["member_id"] {
            return Ok(node);
        }
    }
    fail("no member says that it leads etcd")
}
