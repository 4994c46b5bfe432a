//! etcd's members.

use super::D;
use super::case::Case;
use crate::cluster::processes::Role;
use crate::{Outcome, While};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::process::Stdio;
use tokio::process::Command;

pub(super) fn local_member_killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.service(&leader, "once", "leaderl-etcd").await?;
        case.fault().await?;
        case.cluster.signal(&leader, Role::Etcd, Signal::SIGKILL).await?;
        case.stays(2 * D).await
    }
    .boxed()
}

pub(super) fn leader_killed_busy(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let etcd_leader = case.cluster.etcd_leader().await?;
        case.note(format!("etcd's leader was on {etcd_leader}, ours on {}", case.leader));
        let mut busy = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let mut burn = Command::new("sh");
            burn.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).kill_on_drop(true);
            busy.push(burn.spawn().during(|| "a busy loop".into())?);
        }
        case.fault().await?;
        case.cluster.signal(&etcd_leader, Role::Etcd, Signal::SIGKILL).await?;
        let stayed = case.stays(2 * D).await;
        for mut burn in busy {
            burn.kill().await.during(|| "ending a busy loop".into())?;
        }
        stayed
    }
    .boxed()
}
