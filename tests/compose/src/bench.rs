//! Measures what docs/measurements.md reports: gaps in writes, and what an idle daemon costs.

use crate::cluster::Cluster;
use crate::cluster::bring_up::logs_of;
use crate::cluster::processes::Role;
use crate::rows::{Kind, choose, runner};
use crate::{Outcome, While, fail};
use std::fs;
use std::time::Duration;
use tokio::time::sleep;

/// What is measured by its row's longest silence.
const GAPS: [&str; 6] =
    ["promote", "postmaster-killed", "leader-killed", "leader-cut", "daemon-restarted", "follower-killed"];
/// How long the idle daemon is observed.
const IDLE: Duration = Duration::from_secs(60);

/// Runs each row `times` times and prints the table. `true`: every row passed.
///
/// # Errors
/// Docker does not work, or the cluster does not come up.
pub async fn run(times: u32) -> Outcome<bool> {
    let (cluster, formed) = runner::form(Kind::Quorum, &logs_of("test")).await?;
    if !formed.faults.is_empty() {
        return fail(formed.faults.join("; "));
    }
    let mut lines = vec![idle(&cluster).await?];
    let mut clean = true;
    let mut run = 0;
    for name in GAPS {
        let mut silences = Vec::new();
        for row in choose(name)? {
            for _ in 0..times {
                run += 1;
                let (verdict, reusable) = runner::one(row, &cluster, run).await;
                clean &= verdict.faults.is_empty();
                silences.extend(verdict.silence_ms);
                if !reusable {
                    return fail(format!("{name} left the cluster in pieces"));
                }
            }
        }
        silences.sort_by(f64::total_cmp);
        let all: Vec<String> = silences.iter().map(|ms| format!("{ms:.0}")).collect();
        lines.push(format!("| {name}: longest silence, ms | {} |", all.join(", ")));
    }
    cluster.remove().await?;
    println!("\n| `make bench` | seen |\n|---|---|");
    for line in lines {
        println!("{line}");
    }
    Ok(clean)
}

/// Memory and processor time of the leader's daemon and heart while nobody writes.
async fn idle(cluster: &Cluster) -> Outcome<String> {
    let leader = cluster.leader().await?;
    let daemon = cluster.the(&leader, Role::Daemon).await?;
    let heart = cluster.the(&leader, Role::Heart).await?;
    let before = (ticks(daemon)?, ticks(heart)?);
    sleep(IDLE).await;
    let after = (ticks(daemon)?, ticks(heart)?);
    let seconds = |ticks: u64| ticks as f64 / 100.0;
    Ok(format!(
        "| idle for a minute: PSS and CPU | daemon {:.1} MiB, {:.2} s; heart {:.1} MiB, {:.2} s |",
        pss_mib(daemon)?,
        seconds(after.0 - before.0),
        pss_mib(heart)?,
        seconds(after.1 - before.1)
    ))
}

/// User and system time of a process in ticks of 10 ms.
fn ticks(pid: i32) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).during(|| format!("process {pid}"))?;
    // The command's name may contain anything but ends with the last bracket.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |index: usize| after.split_whitespace().nth(index).and_then(|text| text.parse::<u64>().ok());
    match (field(11), field(12)) {
        (Some(user), Some(system)) => Ok(user + system),
        _ => fail(format!("/proc/{pid}/stat: {stat}")),
    }
}

fn pss_mib(pid: i32) -> Outcome<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).during(|| format!("process {pid}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|text| text.trim().parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| crate::Failure(format!("no Pss of process {pid}")))
}
