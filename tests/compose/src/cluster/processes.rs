//! Processes of a node as the host sees them, and signals to them: nothing in the node can undo these.

use super::Cluster;
use crate::{Failure, Outcome, While, fail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// A process in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As the host numbers it.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// What it is.
    pub role: Role,
    /// Its command line.
    pub command: String,
}

/// What a process of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `leaderl run`.
    Daemon,
    /// `leaderl heart`.
    Heart,
    /// PostgreSQL's first process.
    Postmaster,
    /// A session of the row checker.
    CheckerBackend,
    /// Receives WAL from the leader.
    WalReceiver,
    /// Any other process of PostgreSQL.
    OtherPostgres,
    /// etcd.
    Etcd,
    /// The search engine.
    Search,
    /// Everything else.
    Other,
}

impl Role {
    /// Any process of PostgreSQL.
    #[must_use]
    pub fn is_postgres(self) -> bool {
        match self {
            Self::Postmaster | Self::CheckerBackend | Self::WalReceiver | Self::OtherPostgres => true,
            Self::Daemon | Self::Heart | Self::Etcd | Self::Search | Self::Other => false,
        }
    }
}

fn role(words: &[&str]) -> Role {
    let first = words.first().copied().unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default();
    match program {
        "leaderl" | "chef-backend-ctl" if words.get(1) == Some(&"run") => Role::Daemon,
        "leaderl" | "chef-backend-ctl" if words.get(1) == Some(&"heart") => Role::Heart,
        "postgres" => Role::Postmaster,
        "etcd" => Role::Etcd,
        "java" => Role::Search,
        _ if !first.starts_with("postgres: ") => Role::Other,
        _ if first.contains("walreceiver") => Role::WalReceiver,
        // A backend's title: `postgres: USER DATABASE ADDRESS(PORT) COMMAND`; the daemon's own come through a Unix socket.
        _ if first.contains(" postgres ") && first.contains('(') => Role::CheckerBackend,
        _ => Role::OtherPostgres,
    }
}

impl Cluster {
    /// Every process in the node.
    ///
    /// # Errors
    /// The node does not run.
    pub async fn processes(&self, node: &str) -> Outcome<Vec<Process>> {
        let first = self.pid(node).await?;
        if first == 0 {
            return fail(format!("{node} does not run"));
        }
        let space = fs::read_link(format!("/proc/{first}/ns/pid")).during(|| format!("process namespace of {node}"))?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").during(|| "/proc".into())?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let path = entry.path();
            if fs::read_link(path.join("ns/pid")).ok().as_ref() == Some(&space)
                && let Some(process) = read(pid, &path)
            {
                found.push(process);
            }
        }
        Ok(found)
    }

    /// The pids of one role in the node, oldest first.
    ///
    /// # Errors
    /// The node does not run.
    pub async fn pids(&self, node: &str, role: Role) -> Outcome<Vec<i32>> {
        let mut pids: Vec<i32> =
            self.processes(node).await?.into_iter().filter(|p| p.role == role).map(|p| p.pid).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// The one process of a role.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn the(&self, node: &str, role: Role) -> Outcome<i32> {
        match self.pids(node, role).await?[..] {
            [pid] => Ok(pid),
            [] => fail(format!("there is no {role:?} on {node}")),
            ref several => fail(format!("there are {} {role:?} on {node}", several.len())),
        }
    }

    /// Sends a signal to the one process of a role; its pid.
    ///
    /// # Errors
    /// There is none, or more than one, or it is gone.
    pub async fn signal(&self, node: &str, role: Role, signal: Signal) -> Outcome<i32> {
        let pid = self.the(node, role).await?;
        send(pid, signal)?;
        Ok(pid)
    }

    /// Continues every stopped process of the node.
    ///
    /// # Errors
    /// The node does not run.
    pub async fn continue_all(&self, node: &str) -> Outcome<()> {
        for process in self.processes(node).await? {
            // Gone in the meantime is as good as continued.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGCONT);
        }
        Ok(())
    }
}

/// Sends a signal.
///
/// # Errors
/// The process is gone.
pub fn send(pid: i32, signal: Signal) -> Outcome<()> {
    kill(Pid::from_raw(pid), signal).map_err(|error| Failure(format!("{signal} to process {pid}: {error}")))
}

fn read(pid: i32, path: &Path) -> Option<Process> {
    let raw = fs::read(path.join("cmdline")).ok()?;
    let text = String::from_utf8_lossy(&raw).into_owned();
    let words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    let status = fs::read_to_string(path.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    // A zombie has no command line and needs no signal.
    if field("State:")?.starts_with('Z') {
        return None;
    }
    let parent = field("PPid:")?.parse().ok()?;
    Some(Process { pid, parent, role: role(&words), command: words.join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_apart_by_their_command_lines() {
        assert_eq!(role(&["/usr/bin/leaderl", "run"]), Role::Daemon);
        assert_eq!(role(&["leaderl", "heart", "--x"]), Role::Heart);
        assert_eq!(role(&["runsv", "leaderl"]), Role::Other);
        assert_eq!(role(&["/usr/lib/postgresql/15/bin/postgres", "-D", "/x"]), Role::Postmaster);
        assert_eq!(role(&["postgres: walreceiver streaming 0/3000148"]), Role::WalReceiver);
        assert_eq!(role(&["postgres: chef_pgsql postgres 172.30.73.20(40112) idle"]), Role::CheckerBackend);
        assert_eq!(role(&["postgres: chef_pgsql postgres [local] idle"]), Role::OtherPostgres);
        assert_eq!(role(&["postgres: checkpointer "]), Role::OtherPostgres);
    }
}
