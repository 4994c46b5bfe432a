//! Who may lead: identity, marks, switches, health and lag. Completeness is the election's own business.

use crate::election::Facts;
use crate::model::{Reason, ReplicationMode, ServiceName, Timestamp};
use crate::planted::{Planted, planted};
use crate::postgres_report::PostgresState;
use crate::records::ClusterSettings;
use std::time::Duration;

/// How often this node lost its leadership by a fault lately (settings `election.anti_flap_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFaults<'a> {
    /// When each of them ended, on this node's clock, since its daemon runs.
    pub ended_at: &'a [Timestamp],
    /// So many within `window` are too many.
    pub most: u32,
    /// How long one counts.
    pub window: Duration,
}

impl OwnFaults<'_> {
    /// Too many of late: this node gives its leadership away for nothing less than a fault of PostgreSQL or of the lease, and
    /// lets others go first. It is never kept from leading: an unreliable writer is better than none.
    pub fn too_many(self, now: Timestamp) -> bool {
        let recent = self.ended_at.iter().filter(|at| now.since(**at) < self.window).count();
        self.most > 0 && recent >= self.most as usize
    }
}

/// Why this node may not lead, whatever the bids say. The texts are stable while the cause holds.
pub fn ineligible(facts: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let postgres = facts.postgres;
    if let Some(why) = postgres.unsynced.as_ref().filter(|_| !planted(Planted::R7UnsyncedBids)) {
        reasons.push(Reason::new("unsynced", format!("this copy is not complete yet: {why}")));
    }
    if let Some(why) = &postgres.no_start {
        reasons.push(Reason::new("no-start", format!("PostgreSQL must not be started here: {why}")));
    }
    if let Some(view) = facts.cluster {
        if !view.node_failover_on(facts.me) && !planted(Planted::SwitchOffIgnored) {
            reasons.push(Reason::new("node-failover-off", "failover is switched off for this node"));
        }
        if !view.members.contains_key(facts.me) {
            reasons.push(Reason::new("not-a-member", "this node has no entry in members/"));
        }
        reasons.extend(foreign_data(
            view.settings.as_ref().map(|seen| &seen.record),
            postgres.system_identifier.as_deref(),
        ));
    }
    match &postgres.state {
        PostgresState::Down { initialised: false } => {
            reasons.push(Reason::new("no-data", "there is no data directory yet"));
        }
        PostgresState::Down { initialised: true } | PostgresState::Stopping => {
            reasons.push(Reason::new("postgres-down", "PostgreSQL does not run"));
        }
        PostgresState::Unknown | PostgresState::Starting => {
            reasons.push(Reason::new("postgres-starting", "PostgreSQL has not answered yet"));
        }
        PostgresState::Standby { .. } | PostgresState::Promoting { .. } | PostgresState::Primary(_) => {}
    }
    for (service, _) in facts.tripped.iter().filter(|(service, _)| blocks(**service)) {
        reasons.push(Reason::new("unhealthy", format!("the {service} check fails")));
    }
    if let Some(why) = facts.heart.and_then(|heart| heart.gate.failure.as_ref()) {
        reasons.push(Reason::new("no-gate", format!("heart cannot keep the port gate (`fencing.port_gate`): {why}")));
    }
    reasons.extend(too_far_behind(facts));
    reasons
}

/// Search trouble never keeps the only complete copy from leading; etcd trouble shows in the election itself.
fn blocks(service: ServiceName) -> bool {
    match service {
        ServiceName::Postgres | ServiceName::System => true,
        ServiceName::Search | ServiceName::Etcd => false,
    }
}

fn foreign_data(settings: Option<&ClusterSettings>, local: Option<&str>) -> Option<Reason> {
    let expected = settings?.system_identifier.as_deref()?;
    let local = local?;
    (expected != local).then(|| {
        Reason::new(
            "foreign-data-directory",
            format!("the data directory belongs to system {local}, this cluster is {expected}"),
        )
    })
}

/// In `async` mode the only data criterion: how far behind the last leader's published position.
fn too_far_behind(facts: &Facts<'_>) -> Option<Reason> {
    if facts.mode != ReplicationMode::Async || planted(Planted::LagIgnored) {
        return None;
    }
    let view = facts.cluster?;
    let last = crate::election::last_leader(view)?;
    if last == *facts.me {
        return None;
    }
    let published = view.nodes.get(&last)?.record.position?;
    let mine = facts.postgres.position?;
    (published.lsn.ahead_of(mine.lsn) > facts.max_lag && published.epoch >= mine.epoch)
        .then(|| Reason::new("lag", "this copy is further behind the leader than max_bytes_behind_leader"))
}
