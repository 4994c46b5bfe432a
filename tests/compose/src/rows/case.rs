//! What a row's body has at hand.

use crate::checker::clock::boot_ns;
use crate::checker::record::Attempt;
use crate::cluster::Cluster;
use crate::cluster::command::Ended;
use crate::cluster::processes::Role;
use crate::cluster::traffic::Traffic;
use crate::cluster::truth::{NodeTruth, Truth};
use crate::{Failure, Outcome, fail};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// For orders to leaderl that take effect within its own limits.
pub const VERB: Duration = Duration::from_secs(60);
/// Until somebody leads after the leader has vanished: the catalogue's B4 at D = 5 s.
pub const TAKEOVER: Duration = Duration::from_secs(14);
const LOOK: Duration = Duration::from_millis(20);

/// A row at work.
pub struct Case {
    /// The cluster.
    pub cluster: Cluster,
    /// Writers and watcher.
    pub traffic: Traffic,
    /// Number of the run.
    pub run: i32,
    /// Who led when the row began.
    pub leader: String,
    /// The timeline it led on.
    pub timeline: u32,
    /// The superuser's password.
    pub password: String,
    /// When the fault began, CLOCK_BOOTTIME ns.
    pub fault_ns: u64,
    /// Hardware addresses that claim the VIP because the row makes them.
    pub planted: Vec<String>,
    /// What the row wants said in its verdict.
    pub notes: Vec<String>,
}

impl Case {
    /// From here on sessions opened before write, and rows count as sent after the fault.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn fault(&mut self) -> Outcome<()> {
        self.traffic.fault_begins().await?;
        self.fault_ns = boot_ns();
        Ok(())
    }

    /// The followers.
    #[must_use]
    pub fn followers(&self) -> Vec<String> {
        Cluster::others(&self.leader)
    }

    /// Milliseconds since the fault.
    #[must_use]
    pub fn since_fault_ms(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.fault_ns) / 1_000_000
    }

    /// A note for the verdict.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Waits for a row acknowledged on a newer timeline; says how long after the fault that was.
    ///
    /// # Errors
    /// None within `limit`.
    pub async fn taken_over(&mut self, limit: Duration) -> Outcome<Attempt> {
        let timeline = self.timeline;
        let row = self
            .traffic
            .wait_for_row("on a newer timeline", self.fault_ns, limit, |row| row.timeline > timeline)
            .await?;
        self.note(format!("{} acknowledges {} ms after", row.node, self.since_fault_ms(row.answered_ns)));
        Ok(row)
    }

    /// All nodes now.
    ///
    /// # Errors
    /// No node can be asked.
    pub async fn truth(&self) -> Outcome<Truth> {
        self.cluster.truth(&self.password).await
    }

    /// For the length of `time`, `allowed` must hold whenever looked at.
    ///
    /// # Errors
    /// It did not: what was seen, under the name `what`.
    pub async fn holds_for(&self, what: &str, time: Duration, allowed: impl Fn(&Truth) -> bool) -> Outcome<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let seen = self.truth().await?;
            if !allowed(&seen) {
                return fail(format!("{what}: {seen}"));
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until no process of PostgreSQL is left on the node; milliseconds since the fault.
    ///
    /// # Errors
    /// Some are left at fault + `limit`.
    pub async fn postgres_gone(&mut self, node: &str, limit: Duration) -> Outcome<()> {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        loop {
            let left: Vec<String> = self
                .cluster
                .processes(node)
                .await?
                .into_iter()
                .filter(|p| p.role.is_postgres())
                .map(|p| format!("{} {}", p.pid, p.command))
                .collect();
            let now = boot_ns();
            if left.is_empty() {
                self.note(format!("PostgreSQL gone after {} ms", self.since_fault_ms(now)));
                return Ok(());
            }
            if self.since_fault_ms(now) > limit_ms {
                return fail(format!("{limit_ms} ms after the fault {node} still has {}", left.join(", ")));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until a new process of the role runs on the node.
    ///
    /// # Errors
    /// None within `limit`.
    pub async fn restarted(&self, node: &str, role: Role, old: i32, limit: Duration) -> Outcome<()> {
        let end = Instant::now() + limit;
        loop {
            if self.cluster.pids(node, role).await?.iter().any(|pid| *pid != old) {
                return Ok(());
            }
            if Instant::now() > end {
                return fail(format!("{role:?} on {node} was not started again within {limit:?}"));
            }
            sleep(LOOK).await;
        }
    }

    /// Runs `leaderl` on a node; it must refuse with a message, and not with a crash.
    ///
    /// # Errors
    /// It did not refuse.
    pub async fn refused(&self, node: &str, words: &[&str]) -> Outcome<()> {
        let ended = self.cluster.leaderl(node, words, VERB).await?;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        match ended.code {
            Some(0) => fail(format!("`leaderl {}` was not refused: {said}", words.join(" "))),
            Some(_) if !said.trim().is_empty() && !said.contains("panicked") => Ok(()),
            Some(_) | None => fail(format!("`leaderl {}` ended without a reason: {}", words.join(" "), ended.said())),
        }
    }

    /// Runs `leaderl` on a node beside the row.
    pub fn order(&self, node: &str, words: &[&str]) -> JoinHandle<Outcome<Ended>> {
        self.order_within(node, words, VERB)
    }

    /// The same with a limit of its own.
    pub fn order_within(&self, node: &str, words: &[&str], limit: Duration) -> JoinHandle<Outcome<Ended>> {
        let (cluster, node) = (self.cluster.clone(), node.to_string());
        let words: Vec<String> = words.iter().copied().map(String::from).collect();
        tokio::spawn(async move {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            cluster.leaderl(&node, &words, limit).await
        })
    }

    /// For the length of `time` nobody but the present leader leads or writes.
    ///
    /// # Errors
    /// Somebody did.
    pub async fn stays(&self, time: Duration) -> Outcome<()> {
        let others = |seen: &Truth| seen.0.iter().any(|n| n.name != self.leader && leads_or_writes(n));
        self.holds_for("the leader changed", time, |seen| !others(seen)).await
    }

    /// Waits for one leader and two streaming followers; says how long after `since_ns` that was.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn whole_again(&mut self, since_ns: u64, limit: Duration) -> Outcome<()> {
        self.cluster.wait_until("one leader and two followers streaming", limit, Truth::is_whole).await?;
        self.note(format!("whole again {} ms later", boot_ns().saturating_sub(since_ns) / 1_000_000));
        Ok(())
    }

    /// Waits until `cluster-status` on a node contains one of the words, in any case.
    ///
    /// # Errors
    /// Not within `limit`: what it said last.
    pub async fn says(&self, node: &str, words: &[&str], limit: Duration) -> Outcome<()> {
        let end = Instant::now() + limit;
        loop {
            let status = self.status(node).await?;
            let lower = status.to_lowercase();
            if words.iter().any(|word| lower.contains(&word.to_lowercase())) {
                return Ok(());
            }
            if Instant::now() > end {
                return fail(format!("cluster-status on {node} says none of {words:?}: {status}"));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until `leaderl events` on a node has an entry that contains `word` and was not there at `before`.
    ///
    /// # Errors
    /// Not within `limit`: the events.
    pub async fn reports(&self, node: &str, word: &str, before: &str, limit: Duration) -> Outcome<String> {
        let end = Instant::now() + limit;
        loop {
            let events = self.cluster.leaderl(node, &["events"], VERB).await?.stdout;
            let new = events.lines().find(|line| line.contains(word) && !before.contains(line));
            if let Some(line) = new {
                return Ok(line.trim().to_string());
            }
            if Instant::now() > end {
                return fail(format!("no new event on {node} says {word:?}: {events}"));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What `cluster-status` says on a node.
    ///
    /// # Errors
    /// The node does not run.
    pub async fn status(&self, node: &str) -> Outcome<String> {
        let ended = self.cluster.leaderl(node, &["cluster-status"], VERB).await?;
        Ok(format!("{}{}", ended.stdout, ended.stderr))
    }

    /// Runs `sv VERB SERVICE` on a node.
    ///
    /// # Errors
    /// It does not run or refuses.
    pub async fn service(&self, node: &str, verb: &str, service: &str) -> Outcome<()> {
        let path = format!("/etc/service/{service}");
        let ended = self.cluster.exec(node, &["sv", verb, &path], VERB).await?;
        if ended.succeeded() { Ok(()) } else { fail(format!("sv {verb} {service} on {node}: {}", ended.said())) }
    }
}

/// Nobody is writable and nobody answers 200.
#[must_use]
pub fn nobody_leads(seen: &Truth) -> bool {
    !seen.0.iter().any(leads_or_writes)
}

/// Writable, or says it leads.
#[must_use]
pub fn leads_or_writes(node: &NodeTruth) -> bool {
    node.leader_status == Some(200) || node.postgres.as_ref().is_some_and(|postgres| postgres.writable)
}

/// The first, or a failure that says what was to be chosen from.
///
/// # Errors
/// The list is empty.
pub fn first(of: &[String]) -> Outcome<String> {
    of.first().cloned().ok_or_else(|| Failure("an empty list of nodes".into()))
}
