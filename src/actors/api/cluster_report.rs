//! `cluster-status` as data: one entry per node and a summary. The order of fields is part of the interface: scripts in the
//! field cut nodes out of the pretty-printed JSON by counting lines (no key before `partially_synced` contains "follower").

use super::facts::Facts;
use crate::board::{ElectionView, SearchView};
use leaderl_decision::cluster::{ClusterView, Seen};
use leaderl_decision::model::{NodeId, ReplicationMode, Timestamp};
use leaderl_decision::postgres_report::{PostgresReport, PostgresState};
use leaderl_decision::records::{AgedReason, LeaderValue, NodeStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything `cluster-status --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// By name.
    pub nodes: Vec<NodeReport>,
    /// What concerns all.
    pub cluster: ClusterSummary,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Name.
    pub name: String,
    /// Publish address.
    pub ip: String,
    /// Identity.
    pub guid: String,
    /// Its status is fresh.
    pub online: bool,
    /// `leader`, `follower`, `waiting_for_leader`, `promoting`, `deposed_leader`, `initializing`, `offline`.
    pub role: String,
    /// Name of the node its PostgreSQL streams from.
    pub following: Option<String>,
    /// `leader`, `synced`, `syncing`, `offline`; `primary`: out of recovery without leading.
    pub pg: String,
    /// `master`, `not_master`, `offline`, `external`, `off`.
    pub es: String,
    /// The `unsynced` mark is there.
    pub partially_synced: bool,
    /// It could lead now.
    pub leader_eligible: bool,
    /// Its failover switch is off.
    pub leader_blocked: bool,
    /// Bytes behind, when known.
    pub lag_bytes: Option<u64>,
    /// WAL position.
    pub position: Option<String>,
    /// Timeline of that position.
    pub timeline: Option<u32>,
    /// Newest epoch it knows.
    pub epoch: u64,
    /// First fact.
    pub holds_key: bool,
    /// Second fact: PostgreSQL is writable there.
    pub writable: bool,
    /// Third fact: clients are let in.
    pub serves: bool,
    /// Seconds since its status was received.
    pub status_age_secs: Option<u64>,
    /// Service to `ok` or what failed.
    pub health: BTreeMap<String, String>,
    /// Why it does not lead.
    pub reasons: Vec<AgedReason>,
}

/// What concerns all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSummary {
    /// Name of the node that holds the key.
    pub leader: Option<String>,
    /// `held`, `expired`, `vacant`, `absent`.
    pub leader_key: String,
    /// Why the seat is empty, while it is.
    pub vacancy: Option<String>,
    /// Newest epoch.
    pub epoch: u64,
    /// The cluster's failover switch.
    pub failover: bool,
    /// Names in the voter record.
    pub voters: Vec<String>,
    /// q of the voter record.
    pub quorum: u32,
    /// A leader whose commits nobody confirms.
    pub degraded: bool,
    /// `daemon` or `etcd`.
    pub source: String,
    /// Seconds since etcd was last heard.
    pub age_secs: u64,
    /// What deserves a word.
    pub notes: Vec<String>,
}

/// What is needed beside the view.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// Now, on the clock of the view's times.
    pub now: Timestamp,
    /// D: the age at which the holder counts as expired.
    pub leader_ttl: Duration,
    /// The age at which a node's status counts as stale.
    pub stale_after: Duration,
}

impl ClusterReport {
    /// What this node's memory says. Its own entry comes from its own facts, also while etcd is silent.
    pub fn from_facts(facts: &dyn Facts) -> Self {
        let election = &facts.settings().election;
        let stale_after = election.leader_ttl.max(election.status_post_update * 2 + Duration::from_secs(1));
        let fresh = Freshness { now: facts.now(), leader_ttl: election.leader_ttl, stale_after };
        let view = facts.board().cluster.borrow().clone();
        let mut report = Self::from_view(&view, fresh, "daemon");
        let own = own_report(facts, &view, fresh.now);
        match report.nodes.iter_mut().find(|node| node.guid == own.guid) {
            Some(posted) => posted.take_own(own),
            None => report.nodes.push(own),
        }
        report.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        report
    }

    /// What etcd's records say.
    pub fn from_view(view: &ClusterView, fresh: Freshness, source: &str) -> Self {
        let mut nodes: Vec<_> = view.members.keys().map(|guid| node_report(view, guid, fresh)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Self { nodes, cluster: summary(view, fresh, source) }
    }

    /// A node by name, address, or identity.
    pub fn find(&self, wanted: &str) -> Option<&NodeReport> {
        self.nodes.iter().find(|node| node.name == wanted || node.ip == wanted || node.guid == wanted)
    }

    /// The node that leads and serves.
    pub fn serving_leader(&self) -> Option<&NodeReport> {
        self.nodes.iter().find(|node| node.role == "leader" && node.serves && node.holds_key)
    }
}

impl NodeReport {
    /// This node's own facts are newer than what it posted; lag and address are only in the record.
    fn take_own(&mut self, own: NodeReport) {
        let posted = std::mem::replace(self, own);
        self.name = posted.name;
        self.ip = posted.ip;
        self.leader_eligible = posted.leader_eligible;
        self.leader_blocked = posted.leader_blocked;
        self.lag_bytes = posted.lag_bytes;
    }
}

fn holder(view: &ClusterView) -> Option<&NodeId> {
    match &view.leader.as_ref()?.record {
        LeaderValue::Holder(holder) => Some(&holder.guid),
        LeaderValue::Vacancy(_) => None,
    }
}

fn node_report(view: &ClusterView, guid: &NodeId, fresh: Freshness) -> NodeReport {
    let member = view.members.get(guid).map(|seen| &seen.record);
    let base = NodeReport {
        name: view.name_of(guid),
        ip: member.map(|record| record.address.clone()).unwrap_or_default(),
        guid: guid.0.clone(),
        leader_blocked: !view.node_failover_on(guid),
        ..NodeReport::default()
    };
    let Some(seen) = view.nodes.get(guid) else {
        return offline(base, "no status has been posted by this node yet", None);
    };
    let age = fresh.now.since(seen.at);
    if age >= fresh.stale_after {
        let text = format!("nothing has been heard from this node for {}s", age.as_secs());
        return offline(base, &text, Some(seen));
    }
    let status = &seen.record;
    let role = if status.role == "leader" && holder(view) != Some(guid) { "deposed_leader" } else { &status.role };
    NodeReport {
        online: true,
        role: role.to_owned(),
        following: status.following.as_ref().map(|leader| view.name_of(leader)),
        pg: pg_word(role, &status.pg),
        es: status.search.clone(),
        partially_synced: status.partially_synced,
        leader_eligible: status.eligible,
        lag_bytes: status.lag_bytes,
        position: status.position.map(|position| position.lsn.to_string()),
        timeline: status.position.map(|position| position.timeline.0),
        epoch: status.epoch.0,
        holds_key: status.holds_key,
        writable: status.writable,
        serves: status.serves && role == "leader",
        status_age_secs: Some(age.as_secs()),
        health: status.health.clone(),
        reasons: older(&status.reasons, age),
        ..base
    }
}

fn offline(base: NodeReport, text: &str, last: Option<&Seen<NodeStatus>>) -> NodeReport {
    let reason = leaderl_decision::model::Reason::new("unreachable", text);
    let age_secs = 0;
    NodeReport {
        role: "offline".into(),
        pg: "offline".into(),
        es: "offline".into(),
        partially_synced: last.is_some_and(|seen| seen.record.partially_synced),
        epoch: last.map(|seen| seen.record.epoch.0).unwrap_or_default(),
        reasons: vec![AgedReason { reason, age_secs }],
        ..base
    }
}

/// Two rows must never look like a leader's.
fn pg_word(role: &str, posted: &str) -> String {
    if posted == "leader" && role != "leader" { "primary".into() } else { posted.to_owned() }
}

fn older(reasons: &[AgedReason], by: Duration) -> Vec<AgedReason> {
    let aged = |one: &AgedReason| AgedReason { reason: one.reason.clone(), age_secs: one.age_secs + by.as_secs() };
    reasons.iter().map(aged).collect()
}

fn own_report(facts: &dyn Facts, view: &ClusterView, now: Timestamp) -> NodeReport {
    let board = facts.board();
    let election = board.election.borrow().clone();
    let postgres = board.postgres.borrow().clone();
    let search: SearchView = board.search.borrow().clone();
    let role = if election.role.is_empty() { "initializing" } else { &election.role };
    let services = board.health.borrow().clone();
    let health = services.iter().map(|(service, health)| {
        (service.to_string(), if health.detail.is_empty() { "ok".to_owned() } else { health.detail.clone() })
    });
    NodeReport {
        name: facts.settings().node.name.clone(),
        ip: facts.settings().node.publish_address.map(|ip| ip.to_string()).unwrap_or_default(),
        guid: facts.guid().0.clone(),
        online: true,
        role: role.to_owned(),
        following: streams_from(&postgres).map(|leader| view.name_of(leader)),
        pg: pg_word(role, own_pg(&postgres)),
        es: if search.role.is_empty() { "offline".into() } else { search.role },
        partially_synced: postgres.unsynced.is_some(),
        leader_eligible: election.reasons.is_empty(),
        leader_blocked: !view.node_failover_on(facts.guid()),
        lag_bytes: None,
        position: postgres.position.map(|position| position.lsn.to_string()),
        timeline: postgres.position.map(|position| position.timeline.0),
        epoch: election.epoch.0,
        holds_key: election.holds_key,
        writable: election.writable,
        serves: election.serves && now < election.serves_until,
        status_age_secs: Some(0),
        health: health.collect(),
        reasons: own_reasons(&election, &postgres, now),
    }
}

fn own_reasons(election: &ElectionView, postgres: &PostgresReport, now: Timestamp) -> Vec<AgedReason> {
    let aged = |(reason, since): &(leaderl_decision::model::Reason, Timestamp)| AgedReason {
        reason: reason.clone(),
        age_secs: now.since(*since).as_secs(),
    };
    let mut reasons: Vec<_> = election.reasons.iter().map(aged).collect();
    if !election.holds_key {
        let known = |code: &str| election.reasons.iter().any(|(reason, _)| reason.code == code);
        let more = postgres.problems.iter().filter(|problem| !known(&problem.code));
        reasons.extend(more.map(|problem| AgedReason { reason: problem.clone(), age_secs: 0 }));
    }
    reasons
}

fn streams_from(postgres: &PostgresReport) -> Option<&NodeId> {
    match &postgres.state {
        PostgresState::Standby { streaming_from } => streaming_from.as_ref(),
        PostgresState::Unknown
        | PostgresState::Down { .. }
        | PostgresState::Starting
        | PostgresState::Promoting { .. }
        | PostgresState::Primary(_)
        | PostgresState::Stopping => None,
    }
}

fn own_pg(postgres: &PostgresReport) -> &'static str {
    match &postgres.state {
        PostgresState::Primary(_) => "leader",
        PostgresState::Standby { streaming_from: Some(_) } if postgres.unsynced.is_none() => "synced",
        PostgresState::Standby { .. } | PostgresState::Starting | PostgresState::Promoting { .. } => "syncing",
        PostgresState::Unknown | PostgresState::Down { .. } | PostgresState::Stopping => "offline",
    }
}

fn summary(view: &ClusterView, fresh: Freshness, source: &str) -> ClusterSummary {
    let (leader_key, leader, vacancy) = match &view.leader {
        None => ("absent", None, None),
        Some(seen) => match &seen.record {
            LeaderValue::Holder(holder) => {
                let expired = fresh.now.since(seen.at) >= fresh.leader_ttl;
                (if expired { "expired" } else { "held" }, Some(view.name_of(&holder.guid)), None)
            }
            LeaderValue::Vacancy(vacancy) => ("vacant", None, Some(vacancy.cause.clone())),
        },
    };
    let voters = view.voters.as_ref().map(|seen| &seen.record);
    ClusterSummary {
        leader,
        leader_key: leader_key.to_owned(),
        vacancy,
        epoch: view.newest_epoch().0,
        failover: view.cluster_failover_on(),
        voters: voters.map(|record| record.voters.iter().map(|node| view.name_of(node)).collect()).unwrap_or_default(),
        quorum: voters.map_or(0, |record| record.quorum),
        // In `async` nobody is meant to confirm: that is no degradation.
        degraded: voters.is_some_and(|record| record.voters.is_empty() && record.mode != ReplicationMode::Async)
            && view.members.len() > 1,
        source: source.to_owned(),
        age_secs: fresh.now.since(view.heard_at).as_secs(),
        notes: view.unreadable.values().map(|reason| reason.text.clone()).collect(),
    }
}
