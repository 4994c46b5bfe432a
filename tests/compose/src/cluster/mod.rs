//! Three nodes and a frontend in containers, found by label.

pub mod bring_up;
pub mod command;
pub mod etcd;
pub mod inside;
pub mod links;
pub mod lock;
pub mod plan;
pub mod processes;
pub mod session;
pub mod stranger;
pub mod traffic;
pub mod truth;

use crate::{Outcome, fail};
use command::Ended;
use plan::Plan;
use std::time::Duration;

/// For docker commands that only ask or signal.
const SHORT: Duration = Duration::from_secs(20);
/// For commands that start or stop containers.
const LONG: Duration = Duration::from_secs(120);

/// A cluster, running or not.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What it is to be.
    pub plan: Plan,
    networks: session::Networks,
}

impl Cluster {
    /// A handle; starts nothing.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan, networks: session::Networks::default() }
    }

    /// The container labelled with the node's name (`backend-1`, `frontend`), running or not.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn container(&self, node: &str) -> Outcome<String> {
        let cluster = format!("label=leaderl.cluster={}", self.plan.name);
        let label = format!("label=leaderl.node={node}");
        let words = ["docker", "container", "ls", "-a", "-q", "--filter", &cluster, "--filter", &label];
        let found = command::must(&words, SHORT).await?;
        match found.lines().collect::<Vec<_>>()[..] {
            [id] => Ok(id.to_string()),
            [] => fail(format!("there is no container of {node}")),
            _ => fail(format!("there are several containers of {node}: {found:?}")),
        }
    }

    /// Runs a command in a node, whatever its exit code.
    ///
    /// # Errors
    /// The node does not run, or the command takes longer than `limit`.
    pub async fn exec(&self, node: &str, words: &[&str], limit: Duration) -> Outcome<Ended> {
        let id = self.container(node).await?;
        let all: Vec<&str> = ["docker", "exec", id.as_str()].into_iter().chain(words.iter().copied()).collect();
        command::run(&all, None, limit).await
    }

    /// Runs `leaderl` in a node, whatever its exit code.
    ///
    /// # Errors
    /// As [`Cluster::exec`].
    pub async fn leaderl(&self, node: &str, words: &[&str], limit: Duration) -> Outcome<Ended> {
        let all: Vec<&str> = ["leaderl"].into_iter().chain(words.iter().copied()).collect();
        self.exec(node, &all, limit).await
    }

    /// Runs `leaderl` in a node; it must exit 0. Its standard output.
    ///
    /// # Errors
    /// As [`Cluster::exec`], and another exit code, with what it said.
    pub async fn leaderl_must(&self, node: &str, words: &[&str], limit: Duration) -> Outcome<String> {
        let ended = self.leaderl(node, words, limit).await?;
        if ended.succeeded() {
            return Ok(ended.stdout);
        }
        fail(format!("`leaderl {}` on {node}: {}", words.join(" "), ended.said()))
    }

    /// Writes a file in a node, with a mode such as `0600`.
    ///
    /// # Errors
    /// The node does not run or cannot write it.
    pub async fn write_file(&self, node: &str, path: &str, mode: &str, text: &str) -> Outcome<()> {
        let id = self.container(node).await?;
        let script = format!("umask 077; cat > {path}.new && chmod {mode} {path}.new && mv {path}.new {path}");
        let ended = command::run(&["docker", "exec", "-i", &id, "sh", "-c", &script], Some(text), SHORT).await?;
        if ended.succeeded() { Ok(()) } else { fail(format!("writing {path} in {node}: {}", ended.said())) }
    }

    /// Kills the node's container: a power cut as far as its processes are concerned.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&self, node: &str) -> Outcome<()> {
        let id = self.container(node).await?;
        command::must(&["docker", "kill", &id], SHORT).await.map(drop)
    }

    /// Freezes every process of the node; the kernel goes on.
    ///
    /// # Errors
    /// It does not run.
    pub async fn pause(&self, node: &str) -> Outcome<()> {
        let id = self.container(node).await?;
        command::must(&["docker", "pause", &id], SHORT).await.map(drop)
    }

    /// Thaws a paused node; one that is not paused stays as it is.
    ///
    /// # Errors
    /// It does not run.
    pub async fn thaw(&self, node: &str) -> Outcome<()> {
        let id = self.container(node).await?;
        let paused = command::must(&["docker", "inspect", "-f", "{{.State.Paused}}", &id], SHORT).await?;
        if paused == "true" { command::must(&["docker", "unpause", &id], SHORT).await.map(drop) } else { Ok(()) }
    }

    /// Starts a killed node again.
    ///
    /// # Errors
    /// Docker cannot start it.
    pub async fn start(&self, node: &str) -> Outcome<()> {
        let id = self.container(node).await?;
        command::must(&["docker", "start", &id], LONG).await.map(drop)
    }

    /// Whether the node's container runs.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn is_running(&self, node: &str) -> Outcome<bool> {
        Ok(self.pid(node).await? != 0)
    }

    /// The node's first process as the host numbers it; 0 when it does not run.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn pid(&self, node: &str) -> Outcome<i32> {
        let id = self.container(node).await?;
        let text = command::must(&["docker", "inspect", "-f", "{{.State.Pid}}", &id], SHORT).await?;
        text.parse().map_err(|_| crate::Failure(format!("pid of {node}: {text:?}")))
    }

    /// All backend names.
    #[must_use]
    pub fn names() -> [String; plan::NODES] {
        std::array::from_fn(Plan::node_name)
    }

    /// The backends other than `node`.
    #[must_use]
    pub fn others(node: &str) -> Vec<String> {
        Self::names().into_iter().filter(|name| name != node).collect()
    }

    /// Address of a backend by name.
    ///
    /// # Errors
    /// There is no such node.
    pub fn address(&self, node: &str) -> Outcome<std::net::IpAddr> {
        match Self::names().iter().position(|name| name == node) {
            Some(index) => Ok(self.plan.address(index)),
            None => fail(format!("there is no node {node}")),
        }
    }
}
