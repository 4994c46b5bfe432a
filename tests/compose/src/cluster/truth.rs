//! What the nodes really are, asked directly and not through the product.

use super::{Cluster, SHORT};
use crate::checker::read_back::ask;
use crate::checker::watch::ask_leader;
use crate::{Outcome, fail};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A node that does not answer in this time counts as silent: a dead one must not hold up what is seen of the others.
const ANSWER: Duration = Duration::from_millis(900);

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTruth {
    /// Its name.
    pub name: String,
    /// `GET /leader`; `None`: no answer.
    pub leader_status: Option<u16>,
    /// PostgreSQL; `None`: takes no log-in.
    pub postgres: Option<PostgresTruth>,
}

/// One node's PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTruth {
    /// Not in recovery.
    pub writable: bool,
    /// Which cluster the files belong to.
    pub system_id: String,
    /// Timeline it writes or receives.
    pub timeline: u32,
    /// Leader: followers that stream. Follower: 1 when it streams.
    pub streaming: u32,
}

impl fmt::Display for NodeTruth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.leader_status.map_or("no answer".into(), |status| status.to_string());
        write!(f, "{}: /leader {status}, ", self.name)?;
        match &self.postgres {
            None => write!(f, "PostgreSQL takes no log-in"),
            Some(p) => write!(
                f,
                "{} on timeline {}, {} streaming",
                if p.writable { "writable" } else { "read-only" },
                p.timeline,
                p.streaming
            ),
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth(pub Vec<NodeTruth>);

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&nodes.join("; "))
    }
}

impl Truth {
    /// The node that answers 200 and is writable, if it is exactly one.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeTruth> {
        let mut leading = self.0.iter().filter(|n| n.leader_status == Some(200));
        match (leading.next(), leading.next()) {
            (Some(one), None) if one.postgres.as_ref().is_some_and(|p| p.writable) => Some(one),
            (Some(_) | None, _) => None,
        }
    }

    /// One leader, and two followers streaming from it on its timeline and of its system.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(first) = &leader.postgres else { return false };
        first.streaming == 2
            && self.0.iter().filter(|n| n.name != leader.name).all(|n| {
                n.postgres.as_ref().is_some_and(|p| {
                    !p.writable && p.streaming == 1 && p.timeline == first.timeline && p.system_id == first.system_id
                })
            })
    }
}

/// What is asked of PostgreSQL, as one text: writable, system, timeline, streaming.
const QUESTION: &str = "SELECT concat_ws(' ', NOT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()), \
    CASE WHEN pg_is_in_recovery() \
      THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint())) \
      ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
    CASE WHEN pg_is_in_recovery() \
      THEN (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming') \
      ELSE (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name <> 'pg_basebackup') END)";

impl Cluster {
    /// The superuser's password, from the first node that has it.
    ///
    /// # Errors
    /// No running node has a secrets file.
    pub async fn password(&self) -> Outcome<String> {
        for node in Self::names() {
            let read = self.exec(&node, &["cat", "/etc/leaderl/secrets.json"], SHORT).await;
            if let Ok(ended) = read
                && let Ok(secrets) = serde_json::from_str::<serde_json::Value>(&ended.stdout)
                && let Some(password) = secrets["superuser_password"].as_str()
            {
                return Ok(password.to_string());
            }
        }
        fail("no node has a secrets file with superuser_password")
    }

    /// All nodes, asked at the same time.
    ///
    /// # Errors
    /// The password is not known.
    pub async fn truth(&self, password: &str) -> Outcome<Truth> {
        let asked = Self::names().into_iter().enumerate().map(|(index, name)| async move {
            let address = self.plan.address(index);
            let poll = timeout(ANSWER, ask_leader(SocketAddr::new(address, 7331)));
            let postgres = timeout(ANSWER, async {
                let session = self.session(&name, password).await.ok()?;
                parse(&ask(&session, QUESTION).await.ok()?)
            });
            let (poll, postgres) = futures::future::join(poll, postgres).await;
            NodeTruth { name, leader_status: poll.ok().flatten(), postgres: postgres.ok().flatten() }
        });
        Ok(Truth(futures::future::join_all(asked).await))
    }

    /// Looks until `wanted` holds; what was seen then.
    ///
    /// # Errors
    /// It does not hold within `limit`: what was seen last, under the name `what`.
    pub async fn wait_until(&self, what: &str, limit: Duration, wanted: impl Fn(&Truth) -> bool) -> Outcome<Truth> {
        let end = Instant::now() + limit;
        let mut seen = Truth::default();
        loop {
            if let Ok(password) = self.password().await {
                seen = self.truth(&password).await?;
                if wanted(&seen) {
                    return Ok(seen);
                }
            }
            if Instant::now() > end {
                return fail(format!("not within {} s: {what}; last seen: {seen}", limit.as_secs()));
            }
            sleep(LOOK).await;
        }
    }

    /// The leader's name now.
    ///
    /// # Errors
    /// There is not exactly one.
    pub async fn leader(&self) -> Outcome<String> {
        let seen = self.wait_until("one leader", Duration::from_secs(5), |seen| seen.leader().is_some()).await?;
        Ok(seen.leader().map(|leader| leader.name.clone()).unwrap_or_default())
    }
}

fn parse(text: &str) -> Option<PostgresTruth> {
    let [writable, system_id, timeline, streaming] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    Some(PostgresTruth {
        writable: writable == "t",
        system_id: system_id.into(),
        timeline: timeline.parse().ok()?,
        streaming: streaming.parse().ok()?,
    })
}
