//! The row checker at work beside a row: writers and watcher in the frontend container.

use super::{Cluster, SHORT};
use crate::checker::observations::Observation;
use crate::checker::writer::{CREATE_TABLE, DocumentOrder, Route, WriteOrder};
use crate::checker::{analysis, observations, read_back, record, report::Report};
use crate::{Failure, Outcome, While, fail};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

const STEADY_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How often the row log is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Writers and watcher of one run.
pub struct Traffic {
    run: i32,
    directory: PathBuf,
    password: String,
    writer: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    watcher: Child,
}

/// What came of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Judgement {
    /// Over the rows.
    pub rows: Report,
    /// Over `/leader` and the VIP.
    pub seen: observations::Seen,
}

impl Judgement {
    /// What the checker looked with. `leader` led when the fault began at `fault_ns` (0: there was none); its session opened
    /// before is the one that may go on too long.
    #[must_use]
    pub fn evidence(&self, leader: &str, fault_ns: u64) -> String {
        let asked = &self.rows.asked_by_route;
        let sticky = asked.iter().filter(|(route, _)| route.starts_with("sticky:"));
        let (sessions, tries) = sticky.fold((0, 0), |(sessions, tries), (_, of)| (sessions + 1, tries + of.attempts));
        let last = asked.get(&format!("sticky:{leader}")).map_or(0, |of| of.last_ns);
        let last = match last.checked_sub(fault_ns) {
            Some(ns) if fault_ns > 0 => format!("last acknowledged {} ms after", ns / 1_000_000),
            Some(_) | None => "never acknowledged".into(),
        };
        let probes: Vec<String> = Cluster::names()
            .iter()
            .filter_map(|node| asked.get(node))
            .map(|of| format!("{} each {:.0} ms", of.attempts, of.pace_ms))
            .collect();
        format!(
            "{} rows acknowledged, {} lost; node probes {}; {sessions} sticky sessions asked {tries} times, that on {leader} \
             {last}; VIP {} answers by {}",
            self.rows.acknowledged,
            self.rows.worst_loss(),
            probes.join(", "),
            self.seen.vip_answers,
            self.seen.vip_holders,
        )
    }

    /// A probe that did not look.
    #[must_use]
    pub fn blind(&self, fault_ns: u64) -> Vec<String> {
        let asked = |route: &str| self.rows.asked_by_route.get(route).map_or(0, |of| of.attempts);
        let mut blind: Vec<String> = Cluster::names()
            .iter()
            .filter(|node| asked(node) == 0)
            .map(|node| format!("{node} was never probed"))
            .collect();
        if self.seen.vip_answers == 0 {
            blind.push("nobody was seen answering for the VIP".into());
        }
        if fault_ns > 0 && !self.rows.asked_by_route.keys().any(|route| route.starts_with("sticky:")) {
            blind.push("no session opened before the fault was used during it".into());
        }
        blind
    }

    /// All that is wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.rows.faults().into_iter().chain(self.seen.faults.iter().cloned()).collect()
    }
}

impl Traffic {
    /// Makes the rows' table on `leader`, starts writers and watcher, and waits until rows flow.
    ///
    /// # Errors
    /// `leader` takes no log-in, or rows do not flow within 30 s.
    pub async fn start(cluster: &Cluster, leader: &str, run: i32, name: &str, documents: bool) -> Outcome<Self> {
        let password = cluster.password().await?;
        let session = cluster.session(leader, &password).await?;
        session.batch_execute(CREATE_TABLE).await.during(|| "creating the rows' table".into())?;
        let directory = cluster.plan.logs.join(name);
        std::fs::create_dir_all(&directory).during(|| format!("creating {}", directory.display()))?;
        let frontend = cluster.container("frontend").await?;
        let mut watcher = start_in(&frontend, &watch_words(cluster, name))?;
        watcher.stdout.take();
        let mut writer = start_in(&frontend, &["checker".into(), "write".into()])?;
        let (Some(mut orders), Some(answers)) = (writer.stdin.take(), writer.stdout.take()) else {
            return fail("the writer has no input or output");
        };
        let order = write_order(cluster, run, name, &password, documents)?;
        orders.write_all(format!("{order}\n").as_bytes()).await.during(|| "ordering the writer".into())?;
        let answers = BufReader::new(answers).lines();
        let mut traffic = Self { run, directory, password, writer, orders, answers, watcher };
        traffic.expect("steady", STEADY_LIMIT).await?;
        Ok(traffic)
    }

    async fn expect(&mut self, word: &str, limit: Duration) -> Outcome<()> {
        let line = timeout(limit, self.answers.next_line())
            .await
            .map_err(|_| Failure(format!("the writer did not say {word:?} within {limit:?}")))?
            .during(|| "listening to the writer".into())?;
        if line.as_deref() == Some(word) { Ok(()) } else { fail(format!("the writer said {line:?}, not {word:?}")) }
    }

    async fn order(&mut self, word: &str) -> Outcome<()> {
        self.orders.write_all(format!("{word}\n").as_bytes()).await.during(|| format!("telling the writer {word}"))
    }

    /// From now on the sessions opened before write.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn fault_begins(&mut self) -> Outcome<()> {
        self.order("fault").await
    }

    /// The fault is over: each route opens a session again, for the next one.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn fault_ends(&mut self) -> Outcome<()> {
        self.order("calm").await
    }

    /// All attempts recorded so far.
    ///
    /// # Errors
    /// The log is damaged.
    pub fn attempts(&self) -> Outcome<Vec<record::Attempt>> {
        let path = self.directory.join("rows.log");
        let text = std::fs::read_to_string(&path).during(|| format!("reading {}", path.display()))?;
        record::parse_log(&text)
    }

    /// Waits for an acknowledgement sent after `since_ns` on a main route that `wanted` accepts.
    ///
    /// # Errors
    /// There is none within `limit`.
    pub async fn wait_for_row(
        &self,
        what: &str,
        since_ns: u64,
        limit: Duration,
        wanted: impl Fn(&record::Attempt) -> bool,
    ) -> Outcome<record::Attempt> {
        let end = Instant::now() + limit;
        loop {
            let found = self.attempts()?.into_iter().find(|a| {
                a.answer == record::Answer::Acknowledged
                    && a.sent_ns > since_ns
                    && !a.route.starts_with("sticky:")
                    && wanted(a)
            });
            if let Some(found) = found {
                return Ok(found);
            }
            if Instant::now() > end {
                return fail(format!("no acknowledged row within {} s: {what}", limit.as_secs()));
            }
            sleep(LOOK).await;
        }
    }

    /// Ends writers and watcher; what was written down stays.
    ///
    /// # Errors
    /// The checker itself failed: the run proves nothing then.
    pub async fn stop(mut self) -> Outcome<Finished> {
        self.order("stop").await?;
        self.expect("stopped", STOP_LIMIT).await?;
        drop(self.orders);
        let ended = timeout(STOP_LIMIT, self.writer.wait()).await.during(|| "the writer's end".into())?;
        let status = ended.during(|| "the writer's end".into())?;
        if !status.success() {
            return fail(format!("the writer ended with {status}"));
        }
        drop(self.watcher.stdin.take());
        let ended = timeout(STOP_LIMIT, self.watcher.wait()).await.during(|| "the watcher's end".into())?;
        let status = ended.during(|| "the watcher's end".into())?;
        if !status.success() {
            return fail(format!("the watcher ended with {status}"));
        }
        Ok(Finished { run: self.run, directory: self.directory, password: self.password })
    }
}

/// A run that is over.
pub struct Finished {
    run: i32,
    directory: PathBuf,
    password: String,
}

impl Finished {
    /// How many documents the engine acknowledged.
    ///
    /// # Errors
    /// The log is not there: no documents were indexed in this run.
    pub fn documents_acknowledged(&self) -> Outcome<u64> {
        let path = self.directory.join("documents.log");
        let text = std::fs::read_to_string(&path).during(|| format!("reading {}", path.display()))?;
        Ok(text.lines().filter(|line| line.starts_with("A ")).count() as u64)
    }

    /// Reads all rows back from `nodes` and judges. Claims of the VIP by the hardware addresses in `planted` are the
    /// fault itself and count for nothing.
    ///
    /// # Errors
    /// A node cannot be read, or a log is damaged: no judgement then.
    pub async fn judge(&self, cluster: &Cluster, nodes: &[String], planted: &[String]) -> Outcome<Judgement> {
        let mut sessions = Vec::new();
        for node in nodes {
            sessions.push((node.clone(), cluster.session(node, &self.password).await?));
        }
        let rows = read_back::rows(&sessions, self.run).await?;
        let text = std::fs::read_to_string(self.directory.join("rows.log")).during(|| "reading the row log".into())?;
        let watched =
            std::fs::read_to_string(self.directory.join("watch.log")).during(|| "reading the watch log".into())?;
        let mut observations = observations::parse_log(&watched)?;
        observations.retain(|seen| match seen {
            Observation::Vip { address, .. } => !planted.contains(address),
            Observation::Leader(_) => true,
        });
        let judgement = Judgement {
            rows: analysis::judge(&record::parse_log(&text)?, &rows),
            seen: observations::judge(&observations),
        };
        let json = serde_json::to_string_pretty(&judgement).during(|| "JSON".into())?;
        std::fs::write(self.directory.join("judgement.json"), json).during(|| "keeping the judgement".into())?;
        Ok(judgement)
    }
}

fn start_in(container: &str, words: &[String]) -> Outcome<Child> {
    let mut command = Command::new("docker");
    command.args(["exec", "-i", container]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.kill_on_drop(true).spawn().during(|| "starting the checker".into())
}

fn watch_words(cluster: &Cluster, name: &str) -> Vec<String> {
    let mut words: Vec<String> = ["checker", "watch", "--log"].map(String::from).to_vec();
    words.push(format!("/logs/{name}/watch.log"));
    words.push(format!("--vip={}", cluster.plan.vip()));
    for (index, node) in Cluster::names().iter().enumerate() {
        words.push(format!("--node={node}={}", cluster.plan.address(index)));
    }
    words
}

fn write_order(cluster: &Cluster, run: i32, name: &str, password: &str, documents: bool) -> Outcome<String> {
    let route = |name: &str, address: String, clients| Route { name: name.into(), address, clients };
    let mut routes =
        vec![route("vip", format!("{}:5432", cluster.plan.vip()), 2), route("haproxy", "127.0.0.1:5432".into(), 2)];
    for (index, node) in Cluster::names().iter().enumerate() {
        routes.push(route(node, format!("{}:5432", cluster.plan.address(index)), 1));
    }
    let order = WriteOrder {
        run,
        directory: PathBuf::from("/logs").join(name),
        routes,
        user: "chef_pgsql".into(),
        password: password.into(),
        search: documents.then(|| DocumentOrder {
            url: format!("http://{}:9200", cluster.plan.vip()),
            document_type: cluster.plan.document_type().map(str::to_owned),
        }),
    };
    serde_json::to_string(&order).during(|| "the order".into())
}

impl Cluster {
    /// How many documents of a run the engine behind the VIP has.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn documents(&self, run: i32) -> Outcome<u64> {
        let url = format!("http://{}:9200/chef/_count?q=content:%22run__%3D{run}%22", self.plan.vip());
        let refresh = format!("http://{}:9200/chef/_refresh", self.plan.vip());
        self.exec("frontend", &["curl", "-sS", "-m", "10", "-X", "POST", &refresh], SHORT).await?;
        let ended = self.exec("frontend", &["curl", "-sS", "-m", "10", &url], SHORT).await?;
        let answer: serde_json::Value =
            serde_json::from_str(&ended.stdout).during(|| format!("counting documents: {}", ended.said()))?;
        answer["count"].as_u64().ok_or_else(|| Failure(format!("counting documents: {}", ended.said())))
    }
}
