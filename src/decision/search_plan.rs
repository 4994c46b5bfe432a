//! What the search engine on this node must become, and what its cluster must be told.
//!
//! The engine elects its own master; leaderl gives it its configuration, starts it, keeps its quorum in step with the
//! cluster's members, and restarts one node at a time when a setting needs it. PostgreSQL's leader has no part in this.

use crate::model::{NodeId, Reason};
use std::collections::BTreeSet;
use std::time::Duration;

mod facts;
pub mod render;
#[cfg(test)]
mod tests;

pub use facts::*;

/// How long a started engine may be silent before that is called a failure.
pub const START_ALLOWANCE: Duration = Duration::from_secs(120);
/// How long an engine without a master keeps a quorum of its own before a restart with a smaller one is considered.
pub const QUORUM_PATIENCE: Duration = Duration::from_secs(60);

/// What is to be done, in this order; the rest is planned again after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchCommand {
    /// Create (or take over from a node that left) the founder's record.
    ClaimRecord,
    /// Write the cluster's id into it.
    RecordCluster {
        /// The engine's cluster id.
        uuid: String,
    },
    /// Write the configuration directory.
    WriteFiles,
    /// Write the service's definition.
    DefineService,
    /// Start it.
    StartService,
    /// Ask for the turn to restart.
    TakeTurn,
    /// Restart the engine.
    RestartService,
    /// Let the next node have the turn.
    GiveBackTurn,
    /// zen1: the number of master-eligible nodes that make a quorum.
    SetQuorum(u32),
    /// Take these nodes (engine's ids) out of the voting configuration.
    ExcludeVoters(BTreeSet<String>),
    /// Forget exclusions that have done their work.
    ClearExclusions,
}

/// The plan: what to do, and what an operator should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPlan {
    /// In order.
    pub commands: Vec<SearchCommand>,
    /// What is wrong or waited for.
    pub problems: Vec<Reason>,
}

/// How many of `members` make a quorum.
pub fn quorum_of(members: usize) -> u32 {
    u32::try_from(members / 2 + 1).unwrap_or(u32::MAX)
}

/// Whether this node's next start may found the cluster.
pub fn may_found(me: &NodeId, record: &RecordSeen) -> bool {
    match record {
        RecordSeen::Present(record) => record.founder == *me && record.cluster_uuid.is_none(),
        RecordSeen::Unknown | RecordSeen::Absent => false,
    }
}

/// Whether the running engine was started with something that only a restart can change.
pub fn needs_restart(facts: &SearchFacts) -> bool {
    let (Some(state), ServiceSeen::Running(up)) = (facts.engine_state, facts.service) else { return false };
    // A smaller quorum cannot be set without a master, and without it there will be none.
    let stuck = facts.engine.has_quorum_setting()
        && facts.members_fresh
        && state.master.is_none()
        && state.start_quorum.is_some_and(|started| started > quorum_of(facts.members.len()))
        && up > QUORUM_PATIENCE;
    state.fingerprint.as_deref() != Some(facts.fingerprint) || stuck
}

/// Plans for a managed engine.
pub fn plan(facts: &SearchFacts) -> SearchPlan {
    let mut plan = SearchPlan::default();
    if !facts.members.contains(facts.me) {
        plan.problem("not-a-member", "this node is not (yet) a member of the cluster; its search engine is left alone");
        return plan;
    }
    if let Some(founder) = unclaimed(facts) {
        plan.commands.push(SearchCommand::ClaimRecord);
        plan.problem("search-founder", founder);
        return plan;
    }
    if other_cluster(facts, &mut plan) {
        return plan;
    }
    if !facts.files_match {
        plan.commands.push(SearchCommand::WriteFiles);
    }
    service(facts, &mut plan);
    if let Some(state) = facts.engine_state {
        answers(facts, state, &mut plan);
    }
    turn(facts, &mut plan);
    plan
}

impl SearchPlan {
    fn problem(&mut self, code: &str, text: impl Into<String>) {
        self.problems.push(Reason::new(code, text));
    }
}

fn unclaimed(facts: &SearchFacts) -> Option<String> {
    match facts.record {
        RecordSeen::Absent => Some("the search cluster's founder is being recorded".to_owned()),
        RecordSeen::Present(record)
            if record.cluster_uuid.is_none() && facts.members_fresh && !facts.members.contains(&record.founder) =>
        {
            Some(format!(
                "{} left before it founded the search cluster; another founder is recorded",
                record.founder.short()
            ))
        }
        RecordSeen::Unknown | RecordSeen::Present(_) => None,
    }
}

fn other_cluster(facts: &SearchFacts, plan: &mut SearchPlan) -> bool {
    let Some(state) = facts.engine_state else { return false };
    if !state.cluster_name.is_empty() && state.cluster_name != facts.cluster_name {
        plan.problem(
            "search-other-cluster",
            format!(
                "port answered by a search engine of cluster `{}`, not `{}`",
                state.cluster_name, facts.cluster_name
            ),
        );
        return true;
    }
    if let (RecordSeen::Present(SearchRecord { cluster_uuid: Some(wanted), .. }), Some(found)) =
        (facts.record, &state.cluster_uuid)
        && wanted != found
    {
        plan.problem(
            "search-other-cluster",
            format!("this node's search data belong to another search cluster ({found} instead of {wanted}): stop the service, move the data directory away, start it again"),
        );
        return true;
    }
    false
}

fn service(facts: &SearchFacts, plan: &mut SearchPlan) {
    // Before the record was read once, nobody knows whether the first start may found the cluster.
    let ready = *facts.record != RecordSeen::Unknown || facts.has_run;
    if !ready {
        plan.problem("search-founder", "the search engine's first start waits for etcd");
        return;
    }
    let missing = facts.service == ServiceSeen::NotInstalled;
    if missing || (!facts.service_defined && facts.service != ServiceSeen::Unknown) {
        plan.commands.push(SearchCommand::DefineService);
    }
    match facts.service {
        ServiceSeen::NotInstalled => plan.commands.push(SearchCommand::StartService),
        ServiceSeen::Down if !facts.has_run => plan.commands.push(SearchCommand::StartService),
        ServiceSeen::Down => plan.problem(
            "search-stopped",
            "the search engine was stopped by hand; start the service `leaderl-search` (`sv up leaderl-search` or `systemctl start leaderl-search`)",
        ),
        ServiceSeen::Running(up) if facts.engine_state.is_none() && up < START_ALLOWANCE => {
            plan.problem(
                "search-starting",
                format!("the search engine was started {} s ago and does not answer yet", up.as_secs()),
            );
        }
        ServiceSeen::Running(up) if facts.engine_state.is_none() => {
            plan.problem(
                "search-silent",
                format!("the search engine has run for {} s and does not answer; see its log", up.as_secs()),
            );
        }
        ServiceSeen::Running(_) => {}
        ServiceSeen::Changing => plan.problem("search-changing", "the search engine's service is between two states"),
        ServiceSeen::Unknown => {
            plan.problem("search-service", "the service manager does not say whether the search engine runs")
        }
    }
}

fn answers(facts: &SearchFacts, state: &EngineState, plan: &mut SearchPlan) {
    if state.master.is_none() {
        plan.problem(
            "search-no-master",
            format!("the search engine sees {} node(s) and knows no master", state.nodes.len()),
        );
        return;
    }
    if state.colour == Colour::Red {
        plan.problem(
            "search-red",
            "a primary shard is missing: see `_cluster/allocation/explain` of the search engine",
        );
    }
    if let (RecordSeen::Present(SearchRecord { founder, cluster_uuid: None, .. }), Some(uuid)) =
        (facts.record, &state.cluster_uuid)
        && founder == facts.me
    {
        plan.commands.push(SearchCommand::RecordCluster { uuid: uuid.clone() });
    }
    if facts.members_fresh {
        quorum(facts, state, plan);
        voting(facts, state, plan);
    }
}

fn quorum(facts: &SearchFacts, state: &EngineState, plan: &mut SearchPlan) {
    if !facts.engine.has_quorum_setting() {
        return;
    }
    let wanted = quorum_of(facts.members.len());
    let now = state.quorum.or(state.start_quorum);
    // The engine refuses more than it has nodes. A joining node starts with the larger quorum itself, so it never
    // forms a cluster of its own; as soon as it is here, everybody has the larger one.
    if now != Some(wanted) && usize::try_from(wanted).is_ok_and(|wanted| wanted <= state.nodes.len()) {
        plan.commands.push(SearchCommand::SetQuorum(wanted));
    }
}

fn voting(facts: &SearchFacts, state: &EngineState, plan: &mut SearchPlan) {
    let Some(voting) = &state.voting else { return };
    let is_member = |name: &NodeId| facts.members.contains(name);
    let strangers: BTreeSet<&String> =
        state.nodes.iter().filter(|(_, name)| !is_member(name)).map(|(id, _)| id).collect();
    let all_here = facts.members.iter().all(|member| state.nodes.values().any(|name| name == member));
    // Ids have no names once their node is away; only when every member is here they surely belong to none.
    let leavers: BTreeSet<String> = voting
        .committed
        .iter()
        .filter(|id| strangers.contains(id) || (all_here && !state.nodes.contains_key(*id)))
        .filter(|id| !voting.excluded.contains(*id))
        .cloned()
        .collect();
    if !leavers.is_empty() {
        plan.commands.push(SearchCommand::ExcludeVoters(leavers));
    } else if !voting.excluded.is_empty()
        && voting.excluded.is_disjoint(&voting.committed)
        && !voting.excluded.iter().any(|id| strangers.contains(id))
    {
        plan.commands.push(SearchCommand::ClearExclusions);
    }
}

fn turn(facts: &SearchFacts, plan: &mut SearchPlan) {
    let mine = *facts.turn == TurnSeen::Mine;
    if !needs_restart(facts) {
        let back = facts.engine_state.is_some_and(|state| state.master.is_some());
        if mine && back {
            plan.commands.push(SearchCommand::GiveBackTurn);
        }
        return;
    }
    if !quiet(facts) {
        plan.problem(
            "search-restart",
            "a changed setting needs a restart of the search engine; it waits until every node is here and green",
        );
        return;
    }
    match facts.turn {
        TurnSeen::Free => plan.commands.push(SearchCommand::TakeTurn),
        TurnSeen::Mine if facts.files_match => plan.commands.push(SearchCommand::RestartService),
        TurnSeen::Mine => {}
        TurnSeen::Other(node) => {
            plan.problem(
                "search-restart",
                format!("a changed setting needs a restart of the search engine; {} has the turn", node.short()),
            );
        }
        TurnSeen::Unknown => {
            plan.problem("search-restart", "a changed setting needs a restart of the search engine; it waits for etcd")
        }
    }
}

/// Whether one engine may go away without anybody missing it.
fn quiet(facts: &SearchFacts) -> bool {
    let Some(state) = facts.engine_state else { return false };
    let all_here = facts.members.iter().all(|member| state.nodes.values().any(|name| name == member));
    match state.master {
        // Nothing works that a restart could interrupt.
        None => true,
        Some(_) if facts.members.len() == 1 => true,
        Some(_) => all_here && state.colour == Colour::Green,
    }
}
