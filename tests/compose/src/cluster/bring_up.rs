//! From nothing to three nodes, and back to nothing.

use super::plan::Plan;
use super::{Cluster, LONG, SHORT, command};
use crate::{Outcome, fail};
use std::path::Path;
use std::time::Duration;

/// create-cluster and join-cluster end within this, search engine included.
const VERB_LIMIT: Duration = Duration::from_secs(420);

impl Cluster {
    /// Starts containers and network; nothing of leaderl runs in them yet.
    ///
    /// # Errors
    /// Docker cannot.
    pub async fn start_containers(&self) -> Outcome<()> {
        std::fs::create_dir_all(&self.plan.logs).map_err(|error| crate::Failure(error.to_string()))?;
        self.compose(&["up", "-d", "--no-build"]).await?;
        for (index, node) in Self::names().iter().enumerate() {
            self.write_file(node, "/etc/leaderl/leaderl.toml", "0644", &self.plan.settings(index)).await?;
        }
        Ok(())
    }

    /// Removes every container, volume and network with this cluster's label; nothing else.
    ///
    /// # Errors
    /// Docker cannot.
    pub async fn remove(&self) -> Outcome<()> {
        let filter = format!("label=leaderl.cluster={}", self.plan.name);
        let kinds: [(&[&str], &[&str]); 3] = [
            (&["container", "ls", "-a", "-q"], &["container", "rm", "-f", "-v"]),
            (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
            (&["network", "ls", "-q"], &["network", "rm"]),
        ];
        for (list, remove) in kinds {
            let words: Vec<&str> = ["docker"].iter().chain(list).chain(&["--filter", &filter]).copied().collect();
            let found = command::must(&words, SHORT).await?;
            if !found.is_empty() {
                let words: Vec<&str> = ["docker"].iter().chain(remove).copied().chain(found.lines()).collect();
                command::must(&words, LONG).await?;
            }
        }
        Ok(())
    }

    /// `create-cluster` on the first node, then `join-cluster` on the two others at the same moment.
    ///
    /// # Errors
    /// One of the commands does not exit 0, or the cluster is not whole a minute later.
    pub async fn form(&self) -> Outcome<()> {
        let names = Self::names();
        let create: &[&str] = match self.plan.search {
            true => &["create-cluster", "--yes", "--elasticsearch-wait-time", "240"],
            false => &["create-cluster", "--yes"],
        };
        self.leaderl_must(&names[0], create, VERB_LIMIT).await?;
        let secrets = self.exec(&names[0], &["cat", "/etc/leaderl/secrets.json"], SHORT).await?;
        for node in &names[1..] {
            self.write_file(node, "/etc/leaderl/secrets.json", "0600", &secrets.stdout).await?;
        }
        let peer = self.plan.address(0).to_string();
        let words = ["join-cluster", "--yes", peer.as_str()];
        let join = |node: usize| self.leaderl_must(&names[node], &words, VERB_LIMIT);
        let (second, third) = futures::future::join(join(1), join(2)).await;
        second?;
        third?;
        self.wait_until(
            "one leader and two followers streaming",
            Duration::from_secs(60),
            super::truth::Truth::is_whole,
        )
        .await
        .map(drop)
    }

    /// `docker compose` where it exists, else `docker-compose`.
    async fn compose(&self, words: &[&str]) -> Outcome<()> {
        let plugin = command::run(&["docker", "compose", "version"], None, SHORT).await?.succeeded();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml");
        let file = file.to_string_lossy();
        let [a, b, c] = self.plan.net;
        let environment = [
            format!("LEADERL_CLUSTER={}", self.plan.name),
            format!("LEADERL_NET={a}.{b}.{c}"),
            format!("LEADERL_NET6={}", self.plan.net6),
            format!("LEADERL_SEARCH={}", self.plan.image),
            format!("LEADERL_LOGS={}", self.plan.logs.display()),
        ];
        let project = format!("leaderl-{}", self.plan.name);
        let mut all = vec!["env"];
        all.extend(environment.iter().map(String::as_str));
        all.extend(if plugin { &["docker", "compose"][..] } else { &["docker-compose"][..] });
        all.extend(["-p", &project, "-f", &file]);
        all.extend(words);
        command::must(&all, LONG).await.map(drop)
    }

    /// Brings a disturbed cluster back: paused nodes thawed, links mended, stopped processes continued, killed nodes started,
    /// leaderl's services up, rows of settings undone by whoever made them. Then waits for one leader and two streaming followers.
    ///
    /// # Errors
    /// It is not whole within `limit`: what was seen last.
    pub async fn heal(&self, limit: Duration) -> Outcome<()> {
        for node in Self::names() {
            if self.is_running(&node).await? {
                self.thaw(&node).await?;
                self.mend(&node).await?;
                self.continue_all(&node).await?;
                // A service that a row has put down; those that run are not touched by this.
                self.exec(&node, &["sh", "-c", "sv up /etc/service/*"], SHORT).await?;
            } else {
                self.start(&node).await?;
            }
        }
        self.wait_until("one leader and two followers streaming", limit, super::truth::Truth::is_whole).await.map(drop)
    }

    /// Copies what the nodes logged to `directory/<node>/`, with their status as each sees it.
    pub async fn keep_logs(&self, directory: &Path) {
        for node in Self::names() {
            let into = directory.join(&node);
            if std::fs::create_dir_all(&into).is_err() {
                eprintln!("logs of {node} cannot be kept in {}", into.display());
                continue;
            }
            let Ok(id) = self.container(&node).await else { continue };
            let to = into.to_string_lossy().into_owned();
            for path in ["/var/log/leaderl", "/var/log/postgresql"] {
                let from = format!("{id}:{path}");
                // What is not there (the node never got that far) needs no copy.
                let _ = command::run(&["docker", "cp", &from, &to], None, LONG).await;
            }
            for (file, script) in [
                ("status.txt", "timeout 10 leaderl cluster-status; timeout 10 leaderl status"),
                ("events.txt", "timeout 10 leaderl events"),
                ("actors.txt", "timeout 10 leaderl actors tree"),
                ("processes.txt", "ps -eo pid,ppid,stat,etimes,args; ip address; nft list ruleset; ss -tanp"),
                ("postgresql.txt", "tail -n 400 /var/lib/leaderl/postgresql/data/log/* 2>/dev/null"),
                (
                    "state.txt",
                    "ls -laR /var/lib/leaderl/marks /var/lib/leaderl/*.json; ls -la /var/lib/leaderl/postgresql",
                ),
            ] {
                if let Ok(ended) = self.exec(&node, &["sh", "-c", script], SHORT).await {
                    let _ = std::fs::write(into.join(file), format!("{}{}", ended.stdout, ended.stderr));
                }
            }
        }
    }

    /// The tag of the node image must be there before anything starts.
    ///
    /// # Errors
    /// It is not, with what to do.
    pub async fn check_images(&self) -> Outcome<()> {
        let node = format!("leaderl-node:{}", self.plan.image);
        for image in [node.as_str(), "leaderl-frontend"] {
            if !command::run(&["docker", "image", "inspect", image], None, SHORT).await?.succeeded() {
                return fail(format!("image {image} is missing: run tests/compose/prepare.sh images"));
            }
        }
        Ok(())
    }
}

/// Where logs of a cluster's runs go: `.cache/logs/<name>` of this checkout.
#[must_use]
pub fn logs_of(name: &str) -> std::path::PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This crate is two folders below the checkout.
    here.ancestors().nth(2).unwrap_or(here).join(".cache/logs").join(name)
}

/// A cluster with the plan of the tests.
#[must_use]
pub fn test_cluster(search: bool) -> Cluster {
    Cluster::new(Plan::test(logs_of("test"), search))
}
