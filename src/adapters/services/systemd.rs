//! systemd: unit files from `config/systemd`, with what the definition says filled in, and `systemctl` for the rest.

use super::{KILL_LIMIT, is_down, remove_file, runs, wait_for, write_if_different};
use crate::ports::{DAEMON_SERVICE, ETCD_SERVICE, HEART_SERVICE, SEARCH_SERVICE};
use crate::ports::{ServiceControl, ServiceDefinition, ServiceError, ServiceState};
use async_trait::async_trait;
use nix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The units as they are packaged: the hardening is written once, there.
const TEMPLATES: [(&str, &str); 4] = [
    (DAEMON_SERVICE, include_str!("../../../config/systemd/leaderl.service")),
    (HEART_SERVICE, include_str!("../../../config/systemd/leaderl-heart.service")),
    (ETCD_SERVICE, include_str!("../../../config/systemd/leaderl-etcd.service")),
    (SEARCH_SERVICE, include_str!("../../../config/systemd/leaderl-search.service")),
];
const SHOWN: &str = "LoadState,ActiveState,MainPID,ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic";

/// systemd's units of this machine.
pub struct Systemd {
    unit_dir: PathBuf,
    systemctl: PathBuf,
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new("/etc/systemd/system".into(), "systemctl".into())
    }
}

impl Systemd {
    /// Units are written to `unit_dir`; `systemctl` is looked up in PATH unless absolute.
    pub fn new(unit_dir: PathBuf, systemctl: PathBuf) -> Self {
        Self { unit_dir, systemctl }
    }

    fn unit_file(&self, name: &str) -> PathBuf {
        self.unit_dir.join(unit(name))
    }

    /// systemctl's output; the program ends with this future.
    async fn systemctl(&self, words: &[&str], name: &str, limit: Duration) -> Result<String, ServiceError> {
        let command = format!("systemctl {} {name}", words.join(" "));
        let failed = |detail: String| ServiceError::Manager { command: command.clone(), detail };
        let mut process = Command::new(&self.systemctl);
        process.args(words).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").stdin(Stdio::null()).kill_on_drop(true);
        if !name.is_empty() {
            process.arg(name);
        }
        let output = match tokio::time::timeout(limit, process.output()).await {
            Ok(output) => output.map_err(|error| failed(error.to_string()))?,
            Err(_) => {
                return Err(ServiceError::Timeout { name: name.to_owned(), wanted: "answered by systemctl", limit });
            }
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn unit(name: &str) -> String {
    format!("{name}.service")
}

#[async_trait]
impl ServiceControl for Systemd {
    async fn install(&self, service: &ServiceDefinition, limit: Duration) -> Result<bool, ServiceError> {
        let changed = write_if_different(&self.unit_file(&service.name), &render(service), 0o644)?;
        if changed {
            self.systemctl(&["daemon-reload"], "", limit).await?;
        }
        let verb = if service.at_boot { "enable" } else { "disable" };
        self.systemctl(&[verb], &unit(&service.name), limit).await?;
        Ok(changed)
    }

    async fn uninstall(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        if self.status(name, limit).await? == ServiceState::NotInstalled {
            return Ok(());
        }
        self.stop(name, limit).await?;
        self.systemctl(&["disable"], &unit(name), limit).await?;
        remove_file(&self.unit_file(name))?;
        self.systemctl(&["daemon-reload"], "", limit).await.map(|_| ())
    }

    async fn start(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.systemctl(&["start"], &unit(name), limit).await?;
        let started = wait_for(self, name, limit, runs).await;
        started.map(|_| ()).ok_or(ServiceError::Timeout { name: name.to_owned(), wanted: "up", limit })
    }

    async fn stop(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        match self.systemctl(&["stop"], &unit(name), limit).await {
            Ok(_) => {}
            Err(ServiceError::Timeout { .. }) => {
                tracing::warn!(name, ?limit, "did not end on SIGTERM; killing it");
                self.systemctl(&["kill", "--signal=KILL"], &unit(name), KILL_LIMIT).await?;
            }
            Err(error) => return Err(error),
        }
        let stopped = wait_for(self, name, KILL_LIMIT, is_down).await;
        stopped.map(|_| ()).ok_or(ServiceError::Timeout { name: name.to_owned(), wanted: "down", limit })
    }

    async fn restart(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.systemctl(&["restart"], &unit(name), limit).await?;
        let started = wait_for(self, name, limit, runs).await;
        started.map(|_| ()).ok_or(ServiceError::Timeout { name: name.to_owned(), wanted: "restarted", limit })
    }

    async fn status(&self, name: &str, limit: Duration) -> Result<ServiceState, ServiceError> {
        let property = format!("--property={SHOWN}");
        let shown = self.systemctl(&["show", &property], &unit(name), limit).await?;
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        Ok(read_state(&shown, now))
    }

    async fn enable(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.systemctl(&["enable"], &unit(name), limit).await.map(|_| ())
    }

    async fn disable(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.systemctl(&["disable"], &unit(name), limit).await.map(|_| ())
    }
}

/// Reads `systemctl show`; `now` is CLOCK_MONOTONIC, as systemd's time stamps are.
pub(super) fn read_state(shown: &str, now: Duration) -> ServiceState {
    let values: BTreeMap<&str, &str> = shown.lines().filter_map(|line| line.split_once('=')).collect();
    let word = |key| values.get(key).copied().unwrap_or_default();
    let lasted = |key| now.saturating_sub(Duration::from_micros(word(key).parse().unwrap_or_default()));
    let pid: u32 = word("MainPID").parse().unwrap_or_default();
    match (word("LoadState"), word("ActiveState")) {
        ("not-found", _) => ServiceState::NotInstalled,
        (_, "active") if pid != 0 => ServiceState::Run { pid, up: lasted("ActiveEnterTimestampMonotonic") },
        (_, "inactive" | "failed") => ServiceState::Down { down: lasted("InactiveEnterTimestampMonotonic") },
        _ => ServiceState::Changing,
    }
}

/// The packaged unit with this definition's program, user, environment, limits and writable paths.
pub(super) fn render(service: &ServiceDefinition) -> String {
    let template =
        TEMPLATES.iter().find(|(name, _)| *name == service.name).map_or("[Service]\nType=exec\n", |(_, text)| text);
    // Only in a command line does a dollar sign mean a variable.
    let command: Vec<String> = service.argv.iter().map(|word| quoted(word).replace('$', "$$")).collect();
    let mut ours = vec![("ExecStart=", command.join(" "))];
    ours.extend(service.user.iter().map(|user| ("User=", user.clone())));
    ours.extend(service.open_files.iter().map(|files| ("LimitNOFILE=", files.to_string())));
    ours.extend(service.env.iter().map(|(name, value)| ("Environment=", quoted(&format!("{name}={value}")))));
    // A missing directory is no reason not to start.
    ours.extend(service.write_paths.iter().map(|path| ("ReadWritePaths=", quoted(&format!("-{}", path.display())))));
    let replaced = |line: &&str| !ours.iter().any(|(key, _)| line.starts_with(key));
    let mut unit =
        String::from("# Written by leaderl; changes here are overwritten. Use `systemctl edit` for your own.\n");
    for line in template.lines().filter(replaced) {
        unit.push_str(line);
        unit.push('\n');
        if line == "[Service]" {
            ours.iter().for_each(|(key, value)| unit.extend([key, value.as_str(), "\n"]));
        }
    }
    unit
}

/// A word of a unit file: no specifiers are meant.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=:,+@%$".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word } else { format!("\"{word}\"") }
}
