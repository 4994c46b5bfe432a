//! etcd as an operator sees it: its own command line, in the nodes.

use super::Cluster;
use super::command::Ended;
use crate::checker::clock::boot_ns;
use crate::{Outcome, While, fail};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// A member as it sees itself.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its node.
    pub node: String,
    /// Its identity.
    pub id: u64,
    /// The member it takes for the leader; 0: none.
    pub leader: u64,
    /// Newest revision it knows.
    pub revision: u64,
}

/// Every change of our keys, as one member tells it.
pub struct EtcdWatch {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    /// Runs `etcdctl` in a node against the node's own member, whatever its exit code.
    ///
    /// # Errors
    /// As [`Cluster::exec`].
    pub async fn etcdctl(&self, node: &str, words: &[&str]) -> Outcome<Ended> {
        let endpoint = format!("--endpoints=http://{}:2379", self.address(node)?);
        let all: Vec<&str> =
            ["env", "ETCDCTL_API=3", "etcdctl", &endpoint].into_iter().chain(words.iter().copied()).collect();
        self.exec(node, &all, LIMIT).await
    }

    /// The same; it must succeed.
    ///
    /// # Errors
    /// As [`Cluster::exec`], and another exit code.
    pub async fn etcdctl_must(&self, node: &str, words: &[&str]) -> Outcome<String> {
        let ended = self.etcdctl(node, words).await?;
        if ended.succeeded() {
            Ok(ended.stdout)
        } else {
            fail(format!("etcdctl {words:?} on {node}: {}", ended.said()))
        }
    }

    /// Every member's own word.
    ///
    /// # Errors
    /// One does not answer.
    pub async fn etcd_members(&self) -> Outcome<Vec<MemberStatus>> {
        let mut members = Vec::new();
        for node in Self::names() {
            let text = self.etcdctl_must(&node, &["--write-out=json", "endpoint", "status"]).await?;
            let status: serde_json::Value = serde_json::from_str(&text).during(|| format!("etcdctl on {node}"))?;
            let status = &status[0]["Status"];
            let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
            members.push(MemberStatus {
                node,
                id: number(&status["header"]["member_id"]),
                leader: number(&status["leader"]),
                revision: number(&status["header"]["revision"]),
            });
        }
        Ok(members)
    }

    /// The node whose member leads etcd.
    ///
    /// # Errors
    /// No member says that it does.
    pub async fn etcd_leader(&self) -> Outcome<String> {
        let members = self.etcd_members().await?;
        match members.into_iter().find(|member| member.id != 0 && member.id == member.leader) {
            Some(member) => Ok(member.node),
            None => fail("no member says that it leads etcd"),
        }
    }

    /// The prefix of this cluster's keys.
    ///
    /// # Errors
    /// The node has no readable secrets.
    pub async fn prefix(&self, node: &str) -> Outcome<String> {
        let read = self.exec(node, &["cat", "/etc/leaderl/secrets.json"], LIMIT).await?;
        let secrets: serde_json::Value = serde_json::from_str(&read.stdout).during(|| format!("secrets of {node}"))?;
        match secrets["cluster_id"].as_str() {
            Some(id) => Ok(format!("/leaderl/{id}/")),
            None => fail(format!("the secrets of {node} name no cluster_id")),
        }
    }

    /// Watches all our keys through the node's member.
    ///
    /// # Errors
    /// The command does not start.
    pub async fn watch_etcd(&self, node: &str) -> Outcome<EtcdWatch> {
        let container = self.container(node).await?;
        let endpoint = format!("http://{}:2379", self.address(node)?);
        let mut child = Command::new("docker")
            .args(["exec", &container, "env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &endpoint])
            .args(["watch", "--prefix", "/leaderl/"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .during(|| "watching etcd".into())?;
        let Some(output) = child.stdout.take() else { return fail("no output of the watch") };
        Ok(EtcdWatch { _child: child, lines: BufReader::new(output).lines() })
    }
}

impl EtcdWatch {
    /// Waits for a value under a key that ends so; when it was read here (never before it was written), and the value.
    ///
    /// # Errors
    /// None within `limit`.
    pub async fn value(&mut self, key: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> Outcome<(u64, String)> {
        let found = timeout(limit, async {
            // The key, then its value on the next line.
            while let Ok(Some(line)) = self.lines.next_line().await {
                if line.ends_with(key)
                    && let Ok(Some(value)) = self.lines.next_line().await
                    && wanted(&value)
                {
                    return Some((boot_ns(), value));
                }
            }
            None
        });
        match found.await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => fail(format!("the watch of etcd ended before {key} was as wanted")),
            Err(_) => fail(format!("{key} in etcd was not as wanted within {} s", limit.as_secs())),
        }
    }
}
