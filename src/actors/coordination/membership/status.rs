//! A node's posted status, made from what its actors have published.

use crate::board::{ElectionView, HealthView};
use crate::context::NodeContext;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Lsn, NodeId, Position, ServiceName, Timestamp};
use leaderl_decision::postgres_report::{PostgresReport, PostgresState};
use leaderl_decision::records::{AgedReason, NodeStatus, SCHEMA};
use std::collections::BTreeMap;

/// A standby no further behind than one WAL segment counts as synced.
const SYNCED_WITHIN_BYTES: u64 = 16 * 1024 * 1024;

/// Reasons for not leading that say nothing against this node: the seat is taken, or it is not its turn yet.
const NOT_AGAINST_THE_NODE: [&str; 15] = [
    "other-leads",
    "designated-other",
    "not-yet",
    "rank",
    "bid-window",
    "no-bid",
    "bids-missing",
    "behind-best",
    "surplus-awaited",
    "key-absent",
    "cluster-failover-off",
    "claiming",
    "arming",
    "promoting",
    "awaiting-voters",
];

/// The status as of `now`; its seq is set by whoever posts it.
pub(super) fn of(context: &NodeContext, view: &ClusterView, now: Timestamp) -> NodeStatus {
    let election = context.board.election.borrow().clone();
    let postgres = context.board.postgres.borrow().clone();
    let search = context.board.search.borrow().role.clone();
    let health = context.board.health.borrow().clone();
    build(&Inputs { guid: &context.guid, election, postgres, search, health, view, now })
}

struct Inputs<'a> {
    guid: &'a NodeId,
    election: ElectionView,
    postgres: PostgresReport,
    search: String,
    health: BTreeMap<ServiceName, HealthView>,
    view: &'a ClusterView,
    now: Timestamp,
}

fn build(inputs: &Inputs<'_>) -> NodeStatus {
    let (election, postgres) = (&inputs.election, &inputs.postgres);
    let lag = lag_bytes(inputs);
    let aged = |(reason, since): &(leaderl_decision::model::Reason, Timestamp)| AgedReason {
        reason: reason.clone(),
        age_secs: inputs.now.since(*since).as_secs(),
    };
    let or = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    let known = !matches!(postgres.state, PostgresState::Unknown);
    let nothing_against =
        election.reasons.iter().all(|(reason, _)| NOT_AGAINST_THE_NODE.contains(&reason.code.as_str()));
    NodeStatus {
        schema: SCHEMA,
        guid: inputs.guid.clone(),
        seq: 0,
        role: or(&election.role, "initializing"),
        following: match &postgres.state {
            PostgresState::Standby { streaming_from } => streaming_from.clone(),
            PostgresState::Unknown
            | PostgresState::Down { .. }
            | PostgresState::Starting
            | PostgresState::Promoting { .. }
            | PostgresState::Primary(_)
            | PostgresState::Stopping => None,
        },
        pg: pg_word(postgres, lag).to_owned(),
        search: or(&inputs.search, "offline"),
        partially_synced: postgres.unsynced.is_some(),
        needs_remake: postgres.needs_remake(),
        eligible: known && nothing_against && postgres.unsynced.is_none() && postgres.no_start.is_none(),
        reasons: election.reasons.iter().map(aged).collect(),
        position: position(inputs),
        lag_bytes: lag,
        system_identifier: postgres.system_identifier.clone(),
        health: inputs.health.iter().map(|(name, health)| (name.to_string(), health_word(health))).collect(),
        epoch: election.epoch,
        holds_key: election.holds_key,
        writable: election.writable,
        serves: election.serves,
    }
}

/// As known, or as published before while PostgreSQL cannot say: a leader's last word is what `async` measures others by, and
/// must not go when its daemon begins anew.
fn position(inputs: &Inputs<'_>) -> Option<Position> {
    let published = || inputs.view.nodes.get(inputs.guid).and_then(|seen| seen.record.position);
    let before = match &inputs.postgres.state {
        PostgresState::Unknown
        | PostgresState::Down { initialised: true }
        | PostgresState::Starting
        | PostgresState::Stopping => published(),
        PostgresState::Down { initialised: false }
        | PostgresState::Standby { .. }
        | PostgresState::Promoting { .. }
        | PostgresState::Primary(_) => None,
    };
    inputs.postgres.position.or(before)
}

fn pg_word(postgres: &PostgresReport, lag: Option<u64>) -> &'static str {
    match &postgres.state {
        PostgresState::Primary(_) | PostgresState::Promoting { .. } => "leader",
        PostgresState::Standby { streaming_from: Some(_) }
            if postgres.unsynced.is_none() && lag.is_none_or(|bytes| bytes <= SYNCED_WITHIN_BYTES) =>
        {
            "synced"
        }
        PostgresState::Standby { .. } => "syncing",
        // A base copy or a rewind under way.
        PostgresState::Down { .. } | PostgresState::Starting if postgres.busy.is_some() => "syncing",
        PostgresState::Unknown | PostgresState::Down { .. } | PostgresState::Starting | PostgresState::Stopping => {
            "offline"
        }
    }
}

/// How far the leader's last posted position is ahead of ours; `None` on different histories or when either is unknown.
fn lag_bytes(inputs: &Inputs<'_>) -> Option<u64> {
    let own = inputs.postgres.position?;
    let leader = inputs.election.leader.as_ref()?;
    if leader == inputs.guid {
        return Some(0);
    }
    let theirs = inputs.view.nodes.get(leader)?.record.position?;
    let distance = |from: Lsn, to: Lsn| to.ahead_of(from).0;
    (theirs.timeline == own.timeline).then(|| distance(own.lsn, theirs.lsn))
}

fn health_word(health: &HealthView) -> String {
    match (health.failures, health.detail.as_str()) {
        (0, _) => "ok".to_owned(),
        (_, "") => "failing".to_owned(),
        (_, detail) => detail.to_owned(),
    }
}

/// Whether the difference is worth a post of its own: positions, lag and ages move all the time and wait for the regular one.
pub(super) fn differ(posted: &NodeStatus, now: &NodeStatus) -> bool {
    let essence = |status: &NodeStatus| {
        let mut essence = status.clone();
        essence.seq = 0;
        essence.lag_bytes = None;
        if let Some(position) = &mut essence.position {
            position.lsn = Lsn(0);
        }
        essence.reasons.iter_mut().for_each(|aged| {
            aged.age_secs = 0;
            aged.reason.text.clear();
        });
        essence
    };
    essence(posted) != essence(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leaderl_decision::cluster::Seen;
    use leaderl_decision::model::{Epoch, Reason, Revision, Timeline};

    fn inputs<'a>(guid: &'a NodeId, view: &'a ClusterView) -> Inputs<'a> {
        let leads = Reason::new("other-leads", "backend-2 leads");
        Inputs {
            guid,
            election: ElectionView {
                role: "follower".into(),
                leader: Some(NodeId("b".repeat(32))),
                epoch: Epoch(4),
                reasons: vec![(leads, Timestamp(0))],
                ..ElectionView::default()
            },
            postgres: PostgresReport {
                state: PostgresState::Standby { streaming_from: Some(NodeId("b".repeat(32))) },
                position: Some(Position { epoch: Epoch(4), lsn: Lsn(1000), timeline: Timeline(4) }),
                ..PostgresReport::default()
            },
            search: "not_master".into(),
            health: BTreeMap::from([(ServiceName::Etcd, HealthView { failures: 1, ..HealthView::default() })]),
            view,
            now: Timestamp(3_500_000_000),
        }
    }

    #[test]
    fn a_streaming_follower_is_synced_and_eligible_although_another_leads() {
        let (guid, view) = (NodeId("a".repeat(32)), ClusterView::default());
        let status = build(&inputs(&guid, &view));
        assert_eq!((status.pg.as_str(), status.role.as_str(), status.eligible), ("synced", "follower", true));
        assert_eq!(status.reasons[0].age_secs, 3);
        assert_eq!(status.health["etcd"], "failing");
        let mut unsynced = inputs(&guid, &view);
        unsynced.postgres.unsynced = Some("base copy".into());
        let status = build(&unsynced);
        assert_eq!((status.pg.as_str(), status.partially_synced, status.eligible), ("syncing", true, false));
    }

    #[test]
    fn a_daemon_that_begins_anew_does_not_take_back_how_far_its_node_had_come() {
        let (guid, mut view) = (NodeId("a".repeat(32)), ClusterView::default());
        let before = build(&inputs(&guid, &view));
        let seen = Seen { record: before.clone(), revision: Revision(7), at: Timestamp(0) };
        view.nodes.insert(guid.clone(), seen);
        let mut anew = inputs(&guid, &view);
        (anew.postgres.state, anew.postgres.position) = (PostgresState::Unknown, None);
        assert_eq!(build(&anew).position, before.position, "PostgreSQL has not been asked yet");
        anew.postgres.state = PostgresState::Down { initialised: false };
        assert_eq!(build(&anew).position, None, "its data are gone");
    }

    #[test]
    fn positions_and_ages_alone_are_no_news() {
        let (guid, view) = (NodeId("a".repeat(32)), ClusterView::default());
        let before = build(&inputs(&guid, &view));
        let mut later = inputs(&guid, &view);
        later.now = Timestamp(9_000_000_000);
        later.postgres.position = Some(Position { epoch: Epoch(4), lsn: Lsn(2000), timeline: Timeline(4) });
        assert!(!differ(&before, &build(&later)));
        later.postgres.state = PostgresState::Stopping;
        assert!(differ(&before, &build(&later)));
    }
}
