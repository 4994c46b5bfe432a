//! `status`: this node's services as the service manager sees them, and beside them what the cluster says.

use super::args::{Format, StatusArgs};
use super::client::Client;
use super::error::CliError;
use super::output::{four_parts, machine, row, table};
use crate::actors::api::admin_protocol::AdminRequest;
use crate::actors::api::cluster_report::{ClusterReport, NodeReport};
use crate::adapters::services::service_control;
use crate::ports::{DAEMON_SERVICE, ETCD_SERVICE, HEART_SERVICE, SEARCH_SERVICE, ServiceControl, ServiceState};
use crate::settings::identity::NodeIdentity;
use crate::settings::{RunMode, Settings};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the service manager may take.
const MANAGER_LIMIT: Duration = Duration::from_secs(5);

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    service: String,
    local: Local,
    distributed: String,
}

/// A service on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Local {
    state: String,
    pid: Option<u32>,
    secs_in_state: u64,
    sound: bool,
}

/// Everything `status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Status {
    services: Vec<Row>,
    disks: Vec<(String, String)>,
    disks_distributed: String,
}

/// Prints it; exit code 1 when something is wrong.
pub async fn run(settings: &Settings, args: &StatusArgs, format: Format) -> Result<ExitCode, CliError> {
    NodeIdentity::read(settings)?;
    let wanted = args.service.as_deref();
    let known = ["leaderl", "heart", "etcd", "postgresql", "elasticsearch", "disk"];
    if let Some(name) = wanted.filter(|name| !known.contains(name)) {
        return Err(CliError::new(format!("`{name}` is no service; they are {}", known.join(", "))));
    }
    let report = match args.simple {
        true => Err("not asked".to_owned()),
        false => Client::new(settings).ask(&AdminRequest::ClusterStatus).await.map_err(|why| why.to_string()),
    };
    let status = gather(settings, &report).await;
    let shown = status.only(wanted);
    match machine(&shown, format)? {
        Some(text) => print!("{text}"),
        None if args.simple => print!("{}", shown.simple()),
        None => print!("{}", shown.render(wanted)),
    }
    Ok(if shown.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn gather(settings: &Settings, report: &Result<ClusterReport, String>) -> Status {
    let manager = service_control(settings);
    let ask = |name: &'static str| local(manager.as_ref(), name);
    let mut services = vec![
        line("leaderl", ask(DAEMON_SERVICE).await, told(report, leaderl_words)),
        line("heart", ask(HEART_SERVICE).await, "status: local-only".into()),
    ];
    let etcd = if settings.etcd.mode == RunMode::External { external() } else { ask(ETCD_SERVICE).await };
    services.push(line("etcd", etcd, told(report, |nodes| health_words(nodes, "etcd"))));
    services.push(line("postgresql", postmaster(&settings.postgres.data_dir), told(report, postgres_words)));
    match settings.search.mode {
        RunMode::Managed => {
            services.push(line("elasticsearch", ask(SEARCH_SERVICE).await, told(report, search_words)));
        }
        RunMode::External => services.push(line("elasticsearch", external(), told(report, search_words))),
        RunMode::Off => {}
    }
    let disks = settings.health.disk_paths.iter();
    let disks = disks.map(|path| (path.display().to_string(), disk(path, settings.health.disk_min_space_mb)));
    Status { services, disks: disks.collect(), disks_distributed: told(report, |nodes| health_words(nodes, "system")) }
}

fn line(service: &str, local: Local, distributed: String) -> Row {
    Row { service: service.to_owned(), local, distributed }
}

fn told(report: &Result<ClusterReport, String>, words: impl Fn(&[NodeReport]) -> String) -> String {
    match report {
        Ok(report) => words(&report.nodes),
        Err(why) => format!("error: {}", why.replace('\n', " ")),
    }
}

async fn local(manager: &dyn ServiceControl, name: &str) -> Local {
    let (state, pid, secs, sound) = match manager.status(name, MANAGER_LIMIT).await {
        Ok(ServiceState::Run { pid, up }) => ("running", Some(pid), up.as_secs(), true),
        Ok(ServiceState::Down { down }) => ("down", None, down.as_secs(), false),
        Ok(ServiceState::Changing) => ("changing", None, 0, false),
        Ok(ServiceState::NotInstalled) => ("not-installed", None, 0, false),
        Err(_) => ("unknown", None, 0, false),
    };
    Local { state: state.to_owned(), pid, secs_in_state: secs, sound }
}

fn external() -> Local {
    Local { state: "external".into(), pid: None, secs_in_state: 0, sound: true }
}

/// PostgreSQL is heart's child, not the service manager's: its own pid file and /proc tell.
fn postmaster(data_dir: &Path) -> Local {
    let down = Local { state: "down".into(), pid: None, secs_in_state: 0, sound: false };
    let Ok(text) = std::fs::read_to_string(data_dir.join("postmaster.pid")) else { return down };
    let mut lines = text.lines();
    let pid = lines.next().and_then(|pid| pid.trim().parse::<u32>().ok());
    let began = lines.nth(1).and_then(|secs| secs.trim().parse::<u64>().ok()).unwrap_or(0);
    let Some(pid) = pid else { return down };
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if comm.trim() != "postgres" {
        return down;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Local { state: "running".into(), pid: Some(pid), secs_in_state: now.saturating_sub(began), sound: true }
}

fn disk(path: &Path, least_mb: u64) -> String {
    match nix::sys::statvfs::statvfs(path) {
        Ok(about) => {
            let free_mb = about.blocks_available() * about.fragment_size() / (1024 * 1024);
            if free_mb >= least_mb { "OK".into() } else { format!("only {free_mb} MB free, {least_mb} needed") }
        }
        Err(why) => format!("unreadable ({why})"),
    }
}

fn count(nodes: &[NodeReport], is: impl Fn(&NodeReport) -> bool) -> usize {
    nodes.iter().filter(|node| is(node)).count()
}

fn leaderl_words(nodes: &[NodeReport]) -> String {
    let role = |word: &str| count(nodes, |node| node.role == word);
    let waiting = nodes.len() - role("leader") - role("follower");
    format!("leader: {}; waiting: {waiting}; follower: {}; total: {}", role("leader"), role("follower"), nodes.len())
}

fn health_words(nodes: &[NodeReport], service: &str) -> String {
    let well = |node: &NodeReport| node.online && node.health.get(service).is_none_or(|words| words == "ok");
    let healthy = count(nodes, well);
    let colour = if healthy == nodes.len() {
        "green"
    } else if healthy * 2 > nodes.len() {
        "yellow"
    } else {
        "red"
    };
    format!("health: {colour}; healthy nodes: {healthy}/{}", nodes.len())
}

fn postgres_words(nodes: &[NodeReport]) -> String {
    let pg = |word: &str| count(nodes, |node| node.pg == word);
    format!(
        "leader: {}; offline: {}; syncing: {}; synced: {}",
        pg("leader"),
        pg("offline"),
        pg("syncing"),
        pg("synced")
    )
}

fn search_words(nodes: &[NodeReport]) -> String {
    let online = count(nodes, |node| matches!(node.es.as_str(), "master" | "not_master" | "external"));
    let has_master = nodes.iter().any(|node| matches!(node.es.as_str(), "master" | "external"));
    let colour = if !has_master {
        "red"
    } else if online < nodes.len() {
        "yellow"
    } else {
        "green"
    };
    format!("state: {colour}; nodes online: {online}/{}", nodes.len())
}

impl Status {
    fn only(mut self, wanted: Option<&str>) -> Self {
        if let Some(name) = wanted {
            self.services.retain(|row| row.service == name);
            if name != "disk" {
                self.disks.clear();
            }
        }
        self
    }

    fn is_sound(&self) -> bool {
        self.services.iter().all(|row| row.local.sound) && self.disks.iter().all(|(_, words)| words == "OK")
    }

    fn render(&self, wanted: Option<&str>) -> String {
        let mut text = String::new();
        if wanted != Some("disk") {
            let mut rows = vec![row(["Service", "Local Status", "Time in State", "Distributed Node Status"])];
            rows.extend(self.services.iter().map(|one| {
                let state = match one.local.pid {
                    Some(pid) => format!("{} (pid {pid})", one.local.state),
                    None => one.local.state.clone(),
                };
                row([&one.service, &state, &four_parts(one.local.secs_in_state), &one.distributed])
            }));
            text = table(&rows);
        }
        if self.disks.is_empty() {
            return text;
        }
        let words: Vec<_> = self.disks.iter().map(|(path, words)| format!("{path}: {words}")).collect();
        let disks = table(&[
            row(["System", "Local Status", "Distributed Node Status"]),
            row(["disks", &words.join("; "), &self.disks_distributed]),
        ]);
        if text.is_empty() { disks } else { format!("{text}\n{disks}") }
    }

    /// As the original's service manager prints it.
    fn simple(&self) -> String {
        let line = |one: &Row| {
            let local = &one.local;
            match local.pid {
                Some(pid) => format!("run: {}: (pid {pid}) {}s\n", one.service, local.secs_in_state),
                None => format!("{}: {}: {}s\n", local.state, one.service, local.secs_in_state),
            }
        };
        self.services.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::api::cluster_report::Freshness;
    use crate::actors::api::testing::three_nodes;
    use leaderl_decision::model::Timestamp;

    fn running(pid: u32, secs: u64) -> Local {
        Local { state: "running".into(), pid: Some(pid), secs_in_state: secs, sound: true }
    }

    #[test]
    fn rows_are_those_that_support_tools_parse() {
        let now = Timestamp(100_000_000_000);
        let fresh = Freshness { now, leader_ttl: Duration::from_secs(5), stale_after: Duration::from_secs(5) };
        let report = Ok(ClusterReport::from_view(&three_nodes(now), fresh, "daemon"));
        let down = Local { state: "down".into(), pid: None, secs_in_state: 627, sound: false };
        let status = Status {
            services: vec![
                line("leaderl", running(22080, 2_368_298), told(&report, leaderl_words)),
                line("etcd", running(7, 5), told(&Err("no answer".into()), leaderl_words)),
                line("postgresql", down, told(&report, postgres_words)),
                line("elasticsearch", running(9, 1), told(&report, search_words)),
            ],
            disks: vec![("/a".into(), "OK".into()), ("/b".into(), "OK".into())],
            disks_distributed: told(&report, |nodes| health_words(nodes, "system")),
        };
        let expected = "\
Service        Local Status         Time in State    Distributed Node Status
leaderl        running (pid 22080)  27d 9h 51m 38s   leader: 1; waiting: 0; follower: 2; total: 3
etcd           running (pid 7)      0d 0h 0m 5s      error: no answer
postgresql     down                 0d 0h 10m 27s    leader: 1; offline: 0; syncing: 0; synced: 2
elasticsearch  running (pid 9)      0d 0h 0m 1s      state: green; nodes online: 3/3

System  Local Status      Distributed Node Status
disks   /a: OK; /b: OK    health: green; healthy nodes: 3/3
";
        let squeeze = |text: &str| {
            text.lines()
                .map(|l| l.split("  ").filter(|p| !p.is_empty()).map(str::trim).collect::<Vec<_>>().join("  "))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(squeeze(&status.render(None)), squeeze(expected));
        assert!(!status.is_sound());
        let one = status.clone().only(Some("leaderl"));
        assert!(one.is_sound() && one.render(Some("leaderl")).lines().count() == 2);
        assert_eq!(status.only(Some("etcd")).simple(), "run: etcd: (pid 7) 5s\n");
    }
}
