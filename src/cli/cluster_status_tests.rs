//! The table and the JSON as scripts in the field read them.

use super::*;
use crate::actors::api::cluster_report::Freshness;
use crate::actors::api::testing::{FakeNode, guid, three_nodes};
use leaderl_decision::model::Timestamp;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(100_000_000_000);

fn report(change: impl FnOnce(&mut leaderl_decision::cluster::ClusterView)) -> ClusterReport {
    let mut view = three_nodes(NOW);
    change(&mut view);
    let fresh = Freshness { now: NOW, leader_ttl: Duration::from_secs(5), stale_after: Duration::from_secs(5) };
    ClusterReport::from_view(&view, fresh, "etcd")
}

/// `grep leader.*leader`.
fn leader_lines(text: &str) -> Vec<&str> {
    let matches = |line: &&str| line.find("leader").is_some_and(|at| line[at + 6..].contains("leader"));
    text.lines().filter(matches).collect()
}

#[test]
fn the_table_is_the_originals_with_reasons_below() {
    let expected = "\
Name       IP         GUID                              Role      PG      ES          Following  Lag
backend-1  10.0.0.11  00000000000000000000000000000001  leader    leader  not_master  -          -
backend-2  10.0.0.12  00000000000000000000000000000002  follower  synced  not_master  backend-1  0
backend-3  10.0.0.13  00000000000000000000000000000003  follower  synced  master      backend-1  0

backend-1 leads epoch 4: holds the key: yes; PostgreSQL writable: yes; serves: yes
Failover: on; no other node confirms commits
backend-2: eligible
  for 1h 1m: backend-1 is the leader and no
    leader change was asked for
backend-3: eligible
  for 1h 1m: backend-1 is the leader and no
    leader change was asked for
";
    let text = render(&report(|view| {
        view.voters = None;
    }));
    assert_eq!(text, expected);
}

#[test]
fn exactly_one_line_is_a_leaders_and_none_when_nobody_leads() {
    let healthy = render(&report(|_| {}));
    let lines = leader_lines(&healthy);
    assert_eq!(lines.len(), 1, "{healthy}");
    assert_eq!(lines[0].split_whitespace().nth(2), Some(guid(1).0.as_str()), "the identity is the third word");

    // A deposed leader that still calls itself one, and PostgreSQL that is out of recovery on a follower.
    let two = render(&report(|view| {
        view.nodes.get_mut(&guid(2)).unwrap().record.role = "leader".into();
        view.nodes.get_mut(&guid(2)).unwrap().record.pg = "leader".into();
        view.nodes.get_mut(&guid(3)).unwrap().record.role = "waiting_for_leader".into();
        view.nodes.get_mut(&guid(3)).unwrap().record.pg = "leader".into();
    }));
    assert_eq!(leader_lines(&two).len(), 1, "{two}");
    let none = render(&report(|view| view.leader = None));
    assert!(leader_lines(&none).is_empty() && none.contains("Nobody leads: the key is absent"), "{none}");
    let dead = render(&report(|view| {
        view.leader.as_mut().unwrap().at = Timestamp(0);
        view.nodes.get_mut(&guid(1)).unwrap().at = Timestamp(0);
    }));
    assert!(leader_lines(&dead).is_empty() && dead.contains("backend-1 held the key last"), "{dead}");
    assert!(dead.contains("nothing has been heard from this node for 100s"), "{dead}");
}

/// The nightly backup of the field: 4 lines before and 5 after a line with `follower`, of these the 8 lines before
/// `partially_synced": false`, and the first of them names the node to back up.
fn backup_script(json: &str) -> Option<String> {
    let lines: Vec<&str> = json.lines().collect();
    let mut kept = std::collections::BTreeSet::new();
    for (number, line) in lines.iter().enumerate() {
        if line.contains("follower") {
            kept.extend(number.saturating_sub(4)..(number + 6).min(lines.len()));
        }
    }
    let kept: Vec<&str> = kept.into_iter().map(|number| lines[number]).collect();
    let found = kept.iter().position(|line| line.contains("partially_synced\": false"))?;
    Some(kept[found.saturating_sub(8)].trim().to_owned())
}

#[test]
fn the_json_has_the_order_that_the_backup_script_counts_on() {
    let report = report(|_| {});
    let json = serde_json::to_string_pretty(&report).unwrap();
    let keys: Vec<_> = serde_json::to_value(&report.nodes[1]).unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys[..11],
        [
            "name",
            "ip",
            "guid",
            "online",
            "role",
            "following",
            "pg",
            "es",
            "partially_synced",
            "leader_eligible",
            "leader_blocked"
        ]
    );
    assert_eq!(backup_script(&json).as_deref(), Some("\"name\": \"backend-2\","), "{json}");
    let parsed: ClusterReport = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed, report);
}

#[test]
fn a_copy_that_is_not_complete_is_not_backed_up() {
    let report = report(|view| view.nodes.get_mut(&guid(2)).unwrap().record.partially_synced = true);
    let json = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(backup_script(&json).as_deref(), Some("\"name\": \"backend-3\","), "{json}");
}

#[test]
fn local_facts_are_shown_while_etcd_is_silent() {
    let node = FakeNode::new();
    node.board.cluster.send_replace(Arc::new(three_nodes(Timestamp(1))));
    node.board.election.send_modify(|view| view.role = "waiting_for_leader".into());
    let report = ClusterReport::from_facts(&node);
    assert_eq!(report.nodes[0].role, "waiting_for_leader");
    assert!(report.nodes[0].online && !report.nodes[1].online && report.nodes[1].role == "offline");
    assert!(render(&report).contains("etcd has not been heard for 1m 39s"), "{}", render(&report));
}
