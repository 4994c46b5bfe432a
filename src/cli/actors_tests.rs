//! How actors are printed.

use super::*;
use crate::actors::api::actor_report::{ExitReport, MessageReport};

fn leaf(id: &str) -> ActorNode {
    ActorNode {
        id: id.into(),
        kind: "worker".into(),
        state: "running".into(),
        lifecycle: "running".into(),
        in_state_ms: 65_000,
        pid: "0.7".into(),
        mailbox: Some(0),
        ..ActorNode::default()
    }
}

fn vip() -> ActorNode {
    ActorNode {
        state: "here".into(),
        handled: 1200,
        p50_ns: 850,
        p99_ns: 12_345,
        max_ns: 3_400_000,
        restarts: 2,
        in_hand: Some(("assign".into(), 1500)),
        last_exit: "killed".into(),
        ..leaf("vip")
    }
}

#[test]
fn a_tree_is_drawn_with_state_mail_times_and_restarts() {
    let state = "one_for_one, 0 of 5 restarts in 30 s";
    let mut network = ActorNode { kind: "supervisor".into(), state: state.into(), mailbox: None, ..leaf("network") };
    network.children =
        vec![vip(), ActorNode { lifecycle: "restarting".into(), state: "restarting".into(), ..leaf("x") }];
    let mut root = ActorNode { kind: "supervisor".into(), mailbox: None, ..leaf("leaderl") };
    root.children = vec![network];
    let expected = "\
Actor      State                                 For    Mailbox  Handled  p50    p99   Max    Restarts  Last exit
leaderl    running                               1m 5s  -        -        -      -     -      0         -
└ network  one_for_one, 0 of 5 restarts in 30 s  1m 5s  -        -        -      -     -      0         -
  ├ vip    here (busy with assign for 1500ms)    1m 5s  0        1200     850ns  12us  3.4ms  2         killed
  └ x      restarting                            1m 5s  0        0        -      -     -      0         -
";
    assert_eq!(drawn(&root), expected);
}

#[test]
fn details_have_messages_ends_and_the_last_entries() {
    let message = MessageReport {
        kind: "assign".into(),
        handled: 7,
        p50_ns: 999,
        p99_ns: 1000,
        max_ns: 2_000_000_000,
        own: false,
    };
    let detail = ActorDetail {
        actor: vip(),
        messages: vec![message],
        exits: vec![ExitReport { at: "2026-01-01T00:00:00.000Z".into(), reason: "killed".into() }],
        ..ActorDetail::default()
    };
    let entry = TraceEntry {
        at: "2026-01-01T00:00:01.000Z".into(),
        times: 3,
        event: "assign".into(),
        took_ns: 1000,
        ended: "killed meanwhile".into(),
        notes: vec!["-> here".into(), "assign".into()],
        ..TraceEntry::default()
    };
    let text = detailed(&Shown { detail, trace: vec![entry] });
    for expected in [
        "Pid 0.7, running for 0s",
        "Message  From    Handled  p50    p99  Max",
        "assign   others  7        999ns  1us  2.0s",
        "2026-01-01T00:00:00.000Z  killed",
        "2026-01-01T00:00:01.000Z  3      assign  1us   -> here; assign; ENDED: killed meanwhile",
    ] {
        assert!(text.contains(expected), "{expected}\nis missing in\n{text}");
    }
}

#[test]
fn the_top_is_who_is_held_up_and_then_who_handles_the_most() {
    let mut tree = ActorNode { kind: "supervisor".into(), ..leaf("leaderl") };
    let quick = |id: &str, handled| ActorNode { handled, in_hand: Some(("tick".into(), 3)), ..leaf(id) };
    tree.children = vec![quick("slow", 1010), quick("fast", 2050), vip(), leaf("new")];
    let known = BTreeMap::from([("slow".to_owned(), 1000), ("fast".to_owned(), 2000), ("vip".to_owned(), 1200)]);
    let ranks: Vec<(String, u64)> =
        busiest(&tree, &known).into_iter().map(|busy| (busy.actor.id, busy.per_second)).collect();
    let expected = [("vip", 0), ("fast", 50), ("slow", 10), ("new", 0)];
    assert_eq!(ranks, expected.map(|(id, rate)| (id.to_owned(), rate)));
}
