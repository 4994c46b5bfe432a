//! Starting: what is refused, what a child gets, and how tools end.

use crate::node::{Client, Node, is_alive, wait_until};
use leaderl::heart::protocol::{HeartOrder, ToolOutcome};
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(crate) fn refused_without_standby_signal() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    fs::remove_file(node.path().join("data/standby.signal")).expect("removed");
    let start = node.start_order(false);
    let reason = client.order(HeartOrder::StartPostgres { start: start.clone() }).expect_err("refused");
    assert!(reason.contains("standby.signal"), "{reason}");
    let mut elsewhere = start;
    elsewhere.data_dir = "/tmp".into();
    let reason = client.order(HeartOrder::StartPostgres { start: elsewhere }).expect_err("refused");
    assert!(reason.contains("heart guards"), "{reason}");
}

pub(crate) fn a_tool_runs_to_its_end() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let script = "setsid sleep 1000 &\necho $! > $0.pid\necho SPECIAL=$SPECIAL HOME=$HOME LC_ALL=$LC_ALL\nexit 3";
    let tool = node.tool_order(5, script);
    client.order(HeartOrder::RunTool { tool }).expect("begun");
    client.wait_for("the outcome", |state| state.tool_finished.is_some());
    assert_eq!(client.state.tool_finished, Some(ToolOutcome { id: 5, exit_code: Some(3) }));
    let left: u32 = fs::read_to_string(node.path().join("tool.pid")).expect("pid").trim().parse().expect("a pid");
    assert!(!is_alive(left), "what the tool left behind");
    let log = fs::read_to_string(node.path().join("tool.log")).expect("a log");
    assert_eq!(log, "SPECIAL=yes HOME= LC_ALL=C\n");
    let mode = fs::metadata(node.path().join("tool.log")).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

pub(crate) fn a_cancelled_tool_leaves_nothing() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let script = "trap '' TERM INT QUIT\nsetsid sleep 1000 &\necho $! > $0.pid\nsleep 1000";
    client.order(HeartOrder::RunTool { tool: node.tool_order(5, script) }).expect("begun");
    let path = node.path().join("tool.pid");
    wait_until("the tool's child", || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
    let start = node.start_order(false);
    let reason = client.order(HeartOrder::StartPostgres { start }).expect_err("refused");
    assert!(reason.contains("tool"), "{reason}");
    client.order(HeartOrder::CancelTool).expect("cancelled");
    let left: u32 = fs::read_to_string(&path).expect("pid").trim().parse().expect("a pid");
    assert!(!is_alive(left));
    assert_eq!(client.state.tool_running, None);
}

pub(crate) fn children_inherit_nothing() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let script = "umask\nls /proc/self/fd | tr '\\n' ' '\ngrep -E '^Sig(Blk|Ign)' /proc/self/status";
    client.order(HeartOrder::RunTool { tool: node.tool_order(5, script) }).expect("begun");
    client.wait_for("the outcome", |state| state.tool_finished.is_some());
    let log = fs::read_to_string(node.path().join("tool.log")).expect("a log");
    // 3 is what `ls` itself reads the directory through.
    assert!(log.starts_with("0077\n0 1 2 3 SigBlk:\t0000000000000000\n"), "{log}");
    let ignored = log.trim().rsplit('\t').next().and_then(|mask| u64::from_str_radix(mask, 16).ok());
    // Above 31 are the C library's own.
    assert_eq!(ignored.map(|mask| mask & 0x7FFF_FFFF), Some(0), "{log}");
}
