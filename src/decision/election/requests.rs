//! Operators' requests: promote and demote as the leader takes them up, force-leader as a node without leader does.

use super::{Command, Completeness, Facts, Hold};
use crate::cluster::ClusterView;
use crate::model::{NodeId, Reason, ReplicationMode};
use crate::postgres_report::PostgresState;
use crate::records::{LeaderValue, RequestKind, RequestState};
use std::time::Duration;

/// A posted status older than this says nothing about a node.
const STATUS_LIMIT: Duration = Duration::from_secs(8);

/// A force-leader request that names this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forced {
    /// The request.
    pub id: String,
    /// The operator named the loss.
    pub accept_data_loss: bool,
}

impl Forced {
    /// An operator may override the switches, and nothing that is about the data.
    pub(super) fn overrides(&self, reason: &Reason) -> bool {
        matches!(reason.code.as_str(), "node-failover-off" | "cluster-failover-off")
    }
}

/// The pending force-leader request for this node under the newest epoch, if any.
pub(super) fn forced(view: &ClusterView, facts: &Facts<'_>) -> Option<Forced> {
    view.requests.iter().find_map(|(id, seen)| {
        let request = &seen.record;
        match &request.kind {
            RequestKind::ForceLeader { target, accept_data_loss }
                if target == facts.me
                    && request.state == RequestState::Pending
                    && request.epoch == view.newest_epoch() =>
            {
                Some(Forced { id: id.clone(), accept_data_loss: *accept_data_loss })
            }
            RequestKind::ForceLeader { .. } | RequestKind::Promote { .. } | RequestKind::Demote => None,
        }
    })
}

/// The answer to a force-leader request that cannot be carried out without naming a loss.
pub(super) fn refusal(view: &ClusterView, forced: &Forced, judged: &Completeness) -> Option<Command> {
    let Completeness::Missing { whose, .. } = judged else { return None };
    if forced.accept_data_loss {
        return None;
    }
    let names: Vec<_> = whose.iter().map(|node| view.name_of(node)).collect();
    Some(Command::UpdateRequest {
        id: forced.id.clone(),
        state: RequestState::Refused,
        detail: format!(
            "completeness is unproven: acknowledged commits may exist only on {}; bring a node back, or repeat with \
             --accept-data-loss to lead without them",
            names.join(", ")
        ),
    })
}

/// A promote or demote request as the leader judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Step down for it.
    Accept {
        /// The request.
        id: String,
        /// Who shall lead next; `None`: whoever wins.
        designated: Option<NodeId>,
    },
    /// Tell the operator why not.
    Refuse {
        /// The request.
        id: String,
        /// Reason and next step.
        detail: String,
    },
}

/// The first pending request of this epoch.
pub(super) fn pending(view: &ClusterView, facts: &Facts<'_>, hold: &Hold) -> Option<Judged> {
    let (id, seen) = view
        .requests
        .iter()
        .find(|(_, seen)| seen.record.state == RequestState::Pending && seen.record.epoch == hold.epoch)?;
    let judged = match &seen.record.kind {
        RequestKind::Promote { target } => may_succeed(view, facts, target).map(|()| Some(target.clone())),
        RequestKind::Demote => successor(view, facts).map(|_| None),
        RequestKind::ForceLeader { .. } => Err(format!("{} leads; there is nothing to force", view.name_of(facts.me))),
    };
    Some(match judged {
        Ok(designated) => Judged::Accept { id: id.clone(), designated },
        Err(detail) => Judged::Refuse { id: id.clone(), detail },
    })
}

/// Some follower that could take over at once, or why none can.
pub(super) fn successor(view: &ClusterView, facts: &Facts<'_>) -> Result<NodeId, String> {
    let mut refusals = Vec::new();
    for node in view.members.keys().filter(|node| *node != facts.me) {
        match may_succeed(view, facts, node) {
            Ok(()) => return Ok(node.clone()),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Err(if refusals.is_empty() { "there is no other node".to_owned() } else { refusals.join("; ") })
}

/// Whether this node left the seat in order while another could lead. Its own bid is complete first of all, so without
/// waiting for the others it would win again, and an operator's `demote` would end where it began.
pub(super) fn has_just_handed_over(view: &ClusterView, facts: &Facts<'_>) -> bool {
    let left = view.leader.as_ref().is_some_and(|leader| match &leader.record {
        LeaderValue::Vacancy(vacancy) => vacancy.left_by.as_ref() == Some(facts.me) && vacancy.final_position.is_some(),
        LeaderValue::Holder(_) => false,
    });
    let fresh = |at| facts.now.since(at) < STATUS_LIMIT;
    left && view.nodes.iter().any(|(node, seen)| node != facts.me && fresh(seen.at) && seen.record.eligible)
}

/// Whether `target` could take over at once, with nothing lost and no long catch-up.
pub(super) fn may_succeed(view: &ClusterView, facts: &Facts<'_>, target: &NodeId) -> Result<(), String> {
    let name = view.name_of(target);
    if target == facts.me {
        return Err(format!("{name} leads already"));
    }
    if !view.members.contains_key(target) {
        return Err(format!("{name} is no member of this cluster"));
    }
    if !view.cluster_failover_on() {
        return Err(
            "failover is switched off for the cluster; switch it on with `leaderl set-cluster-failover on`".into()
        );
    }
    if !view.node_failover_on(target) {
        return Err(format!(
            "failover is switched off for {name}; switch it on with `leaderl set-node-failover on {name}`"
        ));
    }
    let Some(status) = view.nodes.get(target).filter(|seen| facts.now.since(seen.at) < STATUS_LIMIT) else {
        return Err(format!("{name} has not posted its status lately"));
    };
    if !status.record.eligible {
        let why: Vec<_> = status.record.reasons.iter().map(|aged| aged.reason.text.clone()).collect();
        return Err(format!("{name} is not eligible: {}", why.join(", ")));
    }
    let streaming = match &facts.postgres.state {
        PostgresState::Primary(primary) => primary.followers.get(target).is_some_and(|follower| follower.streaming),
        PostgresState::Unknown
        | PostgresState::Down { .. }
        | PostgresState::Starting
        | PostgresState::Standby { .. }
        | PostgresState::Promoting { .. }
        | PostgresState::Stopping => false,
    };
    if !streaming {
        return Err(format!("{name} does not stream from the leader"));
    }
    let counted = view.voters.as_ref().is_some_and(|voters| voters.record.voters.contains(target));
    if facts.mode != ReplicationMode::Async && !counted {
        return Err(format!("{name} has not caught up with the leader yet"));
    }
    Ok(())
}
