//! The voter record's changes, step by step, as `docs/election-states.md` draws them.

use super::election_states::n;
use leaderl_decision::cluster::Seen;
use leaderl_decision::model::{Epoch, Lsn, NodeId, ReplicationMode, Revision, Timestamp};
use leaderl_decision::postgres_report::{FollowerReport, PrimaryReport};
use leaderl_decision::records::VotersRecord;
use leaderl_decision::voters::{VoterStep, VotersFacts, VotersState, plan};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

const HEAD: &str = "## The voter record

n1 leads, n2 and n3 may vote and have caught up. A row begins with V in etcd, the names PostgreSQL waits for, and who streams
now (and goes on, or not, for longer than `degrade_after`). The steps end where the plan is at rest.

| V | names | streams | `quorum` | `strict` | `async` |
|---|---|---|---|---|---|
";

/// Sets of followers, smallest first.
fn sets() -> [BTreeSet<NodeId>; 4] {
    [[].into(), [n(2)].into(), [n(3)].into(), [n(2), n(3)].into()]
}

/// V in etcd and names in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    voters: BTreeSet<NodeId>,
    names: BTreeSet<NodeId>,
}

impl Standing {
    fn next(&self, streams: &BTreeSet<NodeId>, mode: ReplicationMode) -> Option<(String, Self)> {
        let row = FollowerReport { streaming: true, flushed: Lsn(600), counted: true };
        let primary = PrimaryReport {
            sync_names: Some(self.names.clone()),
            names_effective_at: Some(Lsn(500)),
            flushed: Lsn(600),
            followers: streams.iter().map(|node| (node.clone(), row)).collect(),
            ..PrimaryReport::default()
        };
        let record = VotersRecord { voters: self.voters.clone(), quorum: 1, ..VotersRecord::default() };
        let record = Seen { record, revision: Revision(2), at: Timestamp(0) };
        let may_vote = BTreeSet::from([n(2), n(3)]);
        let mut facts = VotersFacts {
            now: Timestamp(0),
            epoch: Epoch(1),
            epoch_revision: Revision(1),
            record: &record,
            primary: &primary,
            may_vote: &may_vote,
            mode,
            degrade_after: Duration::from_secs(2),
            may_give_up: false,
        };
        // The first look notices who does not stream; the second comes after every wait.
        let mut state = VotersState { own_put: true, ..VotersState::default() };
        let step = plan(&mut state, &facts).or_else(|| {
            facts.now = Timestamp(0).plus(Duration::from_secs(10));
            plan(&mut state, &facts)
        })?;
        Some(match step {
            VoterStep::Put { record, .. } => {
                (format!("etcd {}", words(&record.voters)), Self { voters: record.voters, ..self.clone() })
            }
            VoterStep::SetNames { names, .. } => {
                (format!("PostgreSQL {}", words(&names)), Self { names, ..self.clone() })
            }
        })
    }

    fn steps(&self, streams: &BTreeSet<NodeId>, mode: ReplicationMode) -> String {
        let (mut at, mut said) = (self.clone(), Vec::new());
        while let Some((step, next)) = at.next(streams, mode) {
            said.push(step);
            at = next;
            assert!(said.len() < 10, "a change without an end: {said:?}");
        }
        said.join(" → ")
    }
}

fn words(set: &BTreeSet<NodeId>) -> String {
    let names: Vec<&str> = set.iter().map(|node| node.0.as_str()).collect();
    if names.is_empty() { "∅".to_owned() } else { names.join(" ") }
}

/// Appends the chapter.
pub(crate) fn draw(text: &mut String) {
    text.push_str(HEAD);
    for voters in sets() {
        for names in sets() {
            for streams in sets() {
                let standing = Standing { voters: voters.clone(), names: names.clone() };
                let modes = [ReplicationMode::Quorum, ReplicationMode::Strict, ReplicationMode::Async];
                let steps = modes.map(|mode| standing.steps(&streams, mode));
                let (v, n, s) = (words(&voters), words(&names), words(&streams));
                let _ = writeln!(text, "| {v} | {n} | {s} | {} |", steps.join(" | "));
            }
        }
    }
    diagram(text);
}

fn diagram(text: &mut String) {
    text.push_str("\n### `quorum`, from one standing to the next\n\n```mermaid\nstateDiagram-v2\n");
    let mut known = BTreeSet::from([Standing { voters: [n(2), n(3)].into(), names: [n(2), n(3)].into() }]);
    let mut open: Vec<Standing> = known.iter().cloned().collect();
    let mut edges = BTreeSet::new();
    while let Some(standing) = open.pop() {
        for streams in sets() {
            let Some((step, next)) = standing.next(&streams, ReplicationMode::Quorum) else { continue };
            edges.insert((standing.clone(), next.clone(), format!("{step}, streams {}", words(&streams))));
            if known.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    for standing in &known {
        let _ = writeln!(text, "    {}: V {}, names {}", id(standing), words(&standing.voters), words(&standing.names));
    }
    for (from, to, why) in edges {
        let _ = writeln!(text, "    {} --> {}: {why}", id(&from), id(&to));
    }
    text.push_str("```\n");
}

fn id(standing: &Standing) -> String {
    let short = |set: &BTreeSet<NodeId>| set.iter().map(|node| node.0.clone()).collect::<String>();
    format!("V{}_N{}", short(&standing.voters), short(&standing.names))
}
