//! `cluster-status`: every node, who leads, and why the others do not.
//!
//! Scripts in the field rely on it: the identity is the third word of a row, and exactly one line matches `leader.*leader`.

use super::args::Format;
use super::client::{AskError, Client};
use super::error::{CliError, UNREADABLE};
use super::output::{age, machine, row, table};
use super::store;
use crate::actors::api::admin_protocol::AdminRequest;
use crate::actors::api::cluster_report::{ClusterReport, NodeReport};
use crate::settings::Settings;
use crate::settings::identity::NodeIdentity;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Prints it once, or every second.
pub async fn run(settings: &Settings, format: Format, watch: bool) -> Result<ExitCode, CliError> {
    let identity = NodeIdentity::read(settings)?;
    loop {
        let (report, trouble) = obtain(settings).await;
        let text = match &report {
            Some(report) => match machine(report, format)? {
                Some(text) => text,
                None => render(report),
            },
            None => local_only(settings, &identity),
        };
        let clear = if watch { "\x1b[H\x1b[2J" } else { "" };
        // A reader that has seen enough (`| head`) is no failure.
        let _ = write!(std::io::stdout(), "{clear}{text}");
        if let Some(trouble) = trouble {
            eprintln!("{trouble}");
        }
        if !watch {
            return Ok(if report.is_some() { ExitCode::SUCCESS } else { ExitCode::from(UNREADABLE) });
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// From the daemon; without it from etcd; and what stood in the way.
async fn obtain(settings: &Settings) -> (Option<ClusterReport>, Option<String>) {
    let asked: Result<ClusterReport, AskError> = Client::new(settings).ask(&AdminRequest::ClusterStatus).await;
    let daemon = match asked {
        Ok(report) => return (Some(report), None),
        Err(why) => why.to_string(),
    };
    match store::report(settings).await {
        Ok(report) => (Some(report), Some(format!("Read from etcd directly: {daemon}"))),
        Err(why) => (None, Some(format!("{daemon}\netcd does not answer either: {why}"))),
    }
}

/// What is known without anybody: this node is configured, and who it is.
fn local_only(settings: &Settings, identity: &NodeIdentity) -> String {
    let ip = settings.node.publish_address.map(|ip| ip.to_string()).unwrap_or_default();
    table(&[
        row(["Name", "IP", "GUID", "Role", "PG", "ES"]),
        row([&identity.name, &ip, &identity.guid.0, "unknown", "unknown", "unknown"]),
    ])
}

/// The table and what follows it.
pub fn render(report: &ClusterReport) -> String {
    let mut rows = vec![row(["Name", "IP", "GUID", "Role", "PG", "ES", "Following", "Lag"])];
    rows.extend(report.nodes.iter().map(|node| {
        let lag = node.lag_bytes.map_or("-".into(), |bytes| bytes.to_string());
        let cells = [&node.name, &node.ip, &node.guid, &node.role, &node.pg, &node.es];
        let shown = |cell: &String| if cell.is_empty() { "-".to_owned() } else { cell.clone() };
        let mut cells: Vec<_> = cells.into_iter().map(shown).collect();
        cells.extend([node.following.clone().unwrap_or("-".into()), lag]);
        cells
    }));
    let mut text = table(&rows);
    let more = details(report);
    let _ = write!(text, "\n{}", one_match_per_line(&more));
    text
}

fn details(report: &ClusterReport) -> String {
    let cluster = &report.cluster;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let yes = |fact: bool| if fact { "yes" } else { "no" };
    match (cluster.leader.as_deref(), report.nodes.iter().find(|node| Some(&node.name) == cluster.leader.as_ref())) {
        (Some(name), Some(node)) if cluster.leader_key == "held" => {
            let _ = writeln!(
                text,
                "{name} leads epoch {}: holds the key: {}; PostgreSQL writable: {}; serves: {}",
                cluster.epoch,
                yes(node.holds_key),
                yes(node.writable),
                yes(node.serves)
            );
        }
        (Some(name), _) => {
            let _ = writeln!(
                text,
                "Nobody leads: {name} held the key last and does not renew it (epoch {})",
                cluster.epoch
            );
        }
        (None, _) => {
            let why = cluster.vacancy.as_deref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            let _ = writeln!(text, "Nobody leads: the key is {}{why}", cluster.leader_key);
        }
    }
    let voters = match (cluster.voters.as_slice(), cluster.degraded) {
        ([], true) => "DEGRADED: commits are acknowledged by one node alone".to_owned(),
        ([], false) => "no other node confirms commits".to_owned(),
        (voters, _) => format!("commits are confirmed by {} of {}", cluster.quorum, voters.join(", ")),
    };
    let _ = writeln!(text, "Failover: {}; {voters}", if cluster.failover { "on" } else { "OFF" });
    if cluster.age_secs >= 5 {
        let _ = writeln!(text, "etcd has not been heard for {}: what is above is that old", age(cluster.age_secs));
    }
    for note in &cluster.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    for node in report.nodes.iter().filter(|node| node.role != "leader" || !node.serves) {
        not_leading(&mut text, node);
    }
    text
}

fn not_leading(text: &mut String, node: &NodeReport) {
    let mut words = vec![if node.leader_eligible { "eligible" } else { "not eligible" }];
    if node.leader_blocked {
        words.push("failover is off for it");
    }
    if node.partially_synced {
        words.push("its copy is not complete");
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}: {}", node.name, words.join("; "));
    for aged in &node.reasons {
        let _ = writeln!(text, "  for {}: {}", age(aged.age_secs), aged.reason.text);
    }
}

/// Breaks lines that would look like a leader's row to `grep leader.*leader`.
fn one_match_per_line(text: &str) -> String {
    let mut broken = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(first) = rest.find("leader")
            && let Some(second) = rest[first + 6..].find("leader")
        {
            let at = first + 6 + second;
            // At the space before the second, or in front of it.
            let cut = rest[first + 6..at].rfind(' ').map_or(at, |space| first + 6 + space);
            broken.push_str(rest[..cut].trim_end());
            broken.push_str("\n    ");
            rest = rest[cut..].trim_start();
        }
        broken.push_str(rest);
        broken.push('\n');
    }
    broken
}

#[cfg(test)]
#[path = "cluster_status_tests.rs"]
mod tests;
