//! The socket: who is attached, what is refused, and the daemon's own link.

use crate::node::{Client, LIMIT, Node, be_heart, is_alive, wait_until};
use leaderl::adapters::clock::BoottimeClock;
use leaderl::adapters::heart::HeartLink;
use leaderl::heart::protocol::{HeartMessage, HeartOrder, PostgresProcess, ToolOutcome};
use leaderl::ports::{ArmedLease, Clock, Guardian, GuardianError};
use leaderl_decision::model::{Epoch, Nonce};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

const TTL: Duration = Duration::from_secs(5);

/// Attaches and lives on.
pub(crate) fn be_daemon(socket: &Path) -> ExitCode {
    let _attached = Client::attach(socket);
    std::thread::sleep(Duration::from_secs(1000));
    ExitCode::SUCCESS
}

pub(crate) fn a_second_daemon_kills_the_first() {
    let node = Node::new();
    let program = std::env::current_exe().expect("this program");
    let mut first = Command::new(program).arg("daemon").arg(node.socket()).spawn().expect("a daemon");
    let heart_log = node.path().join("heart.log");
    let mut client = Client::connect(&node.socket());
    wait_until("its attach", || {
        // Not attached ourselves: orders are refused, whoever else is.
        client.order(HeartOrder::ReleaseVips).expect_err("refused");
        std::fs::read_link(format!("/proc/{}/fd/3", first.id())).is_ok()
    });
    // The first one's attach lies in the socket before ours or is refused after it; either way only one stays.
    std::thread::sleep(Duration::from_millis(100));
    client.order(HeartOrder::Attach { version: "2".to_owned() }).expect("attached");
    assert!(!is_alive(first.id()), "answered before the first daemon was dead");
    first.wait().expect("reaped");
    client.order(HeartOrder::ReleaseVips).expect("obeyed");
    assert!(std::fs::read_to_string(heart_log).expect("a log").contains("is killed"));
}

pub(crate) fn malformed_packets_are_refused() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let table: [(&[u8], u64); 4] =
        [(b"\xff\xff", 0), (b"{}", 0), (br#"{"id":44,"order":{"do":"dance"}}"#, 44), (&[b' '; 70_000], 0)];
    for (packet, id) in table {
        client.send_bytes(packet);
        let answer = loop {
            match client.receive().expect("an answer") {
                HeartMessage::Reply { id, refused } => break (id, refused.is_some()),
                HeartMessage::State { .. } => {}
            }
        };
        assert_eq!(answer, (id, true));
    }
    client.order(HeartOrder::ReleaseVips).expect("still attached");
}

pub(crate) fn the_link_attaches_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut node = Node::new();
    runtime.block_on(async {
        let link = HeartLink::start(node.socket(), TTL, Arc::new(BoottimeClock));
        let mut state = link.state();
        let attached = |state: &Option<leaderl::heart::protocol::HeartState>| state.is_some();
        let first = node.heart_pid();
        let seen =
            tokio::time::timeout(LIMIT, state.wait_for(attached)).await.expect("attached").expect("a state").clone();
        assert_eq!(seen.map(|it| (it.pid, it.postgres)), Some((first, PostgresProcess::Gone)));
        let outcome = link.run_tool(node.tool_order(5, "exit 4"), LIMIT).await.expect("an outcome");
        assert_eq!(outcome, ToolOutcome { id: 5, exit_code: Some(4) });
        let overrun = link.run_tool(node.tool_order(6, "sleep 1000"), Duration::from_millis(200)).await;
        assert!(matches!(overrun, Err(GuardianError::Refused { .. })), "{overrun:?}");
        node.signal_heart(Signal::SIGSTOP);
        let silent = link.release_vips(Duration::from_millis(100)).await;
        assert!(matches!(silent, Err(GuardianError::Silent { .. })), "{silent:?}");
        node.signal_heart(Signal::SIGKILL);
        node.heart_ends();
        tokio::time::timeout(LIMIT, state.wait_for(Option::is_none)).await.expect("noticed").expect("a state");
        let detached = link.release_vips(LIMIT).await;
        assert!(matches!(detached, Err(GuardianError::Silent { .. })), "{detached:?}");
        node.restart_heart();
        let second = node.heart_pid();
        let seen =
            tokio::time::timeout(LIMIT, state.wait_for(attached)).await.expect("attached").expect("a state").clone();
        assert_eq!(seen.map(|it| it.pid), Some(second));
        link.release_vips(LIMIT).await.expect("obeyed");
    });
}

/// A daemon that starts beside a heart that stands still knows its process by the socket alone.
pub(crate) fn a_heart_that_never_answers_is_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut node = Node::new();
    let first = node.heart_pid();
    runtime.block_on(async {
        node.signal_heart(Signal::SIGSTOP);
        let link = HeartLink::start(node.socket(), TTL, Arc::new(BoottimeClock));
        let mut state = link.state();
        let attached = |state: &Option<leaderl::heart::protocol::HeartState>| state.is_some();
        let early = tokio::time::timeout(Duration::from_millis(500), state.wait_for(attached)).await.is_err();
        assert!(early, "it stands still");
        node.signal_heart(Signal::SIGCONT);
        let late =
            tokio::time::timeout(LIMIT, state.wait_for(attached)).await.expect("attached").expect("a state").clone();
        assert_eq!(late.map(|it| it.pid), Some(first), "one that is late is left alone");
        drop(link);
        node.signal_heart(Signal::SIGSTOP);
        let link = HeartLink::start(node.socket(), TTL, Arc::new(BoottimeClock));
        tokio::task::spawn_blocking(move || {
            node.heart_ends();
            node
        })
        .await
        .expect("it has ended, and the test goes on");
        drop(link);
    });
}

/// Nobody above the link looks: no actor runs here.
pub(crate) fn a_heart_that_sleeps_through_its_deadline_is_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut node = Node::new();
    let fence_at = runtime.block_on(async {
        let link = HeartLink::start(node.socket(), TTL, Arc::new(BoottimeClock));
        let mut state = link.state();
        tokio::time::timeout(LIMIT, state.wait_for(Option::is_some)).await.expect("attached").expect("a state");
        let t0 = BoottimeClock.now();
        let fence_at = t0.plus(Duration::from_millis(1500));
        let lease = ArmedLease { epoch: Epoch(3), nonce: Nonce("a".to_owned()), seq: 1, t0, fence_at };
        link.arm(lease, LIMIT).await.expect("armed");
        node.signal_heart(Signal::SIGSTOP);
        tokio::time::timeout(LIMIT, state.wait_for(Option::is_none)).await.expect("ended").expect("a state");
        fence_at
    });
    assert!(BoottimeClock.now() > fence_at, "not before its deadline");
    node.heart_ends();
}

pub(crate) fn one_heart_on_a_node() {
    let node = Node::new();
    assert_eq!(format!("{:?}", be_heart(node.path())), format!("{:?}", ExitCode::FAILURE));
}
