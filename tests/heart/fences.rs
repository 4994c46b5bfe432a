//! What ends PostgreSQL, and when it counts as gone.

use crate::node::{Client, Node, is_alive, now, signal_process, wait_until};
use leaderl::heart::protocol::{HeartOrder, PostgresProcess, PostgresStop, StopMode};
use leaderl_decision::model::{Epoch, Timestamp};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

fn stop(mode: StopMode, after: Duration) -> HeartOrder {
    HeartOrder::StopPostgres { stop: PostgresStop { mode, kill_at: now().plus(after) } }
}

fn nobody_lives(pids: &[u32]) {
    let alive: Vec<&u32> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(alive.is_empty(), "alive after `Gone`: {alive:?}");
}

pub(crate) fn gone_only_when_all_are_reaped() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    assert_eq!(client.state.postgres, PostgresProcess::Gone);
    let pids = node.start_postgres(&mut client, true);
    assert_eq!(client.state.postgres, PostgresProcess::Running { pid: pids[0], start: 1 });
    client.order(stop(StopMode::Immediate, Duration::from_millis(200))).expect("begun");
    client.wait_for("the stop", |state| matches!(state.postgres, PostgresProcess::Ending { .. }));
    // Deaf to SIGQUIT: only the kill at its time ends them.
    assert!(is_alive(pids[0]) && is_alive(pids[2]));
    client.wait_until_gone();
    nobody_lives(&pids);
}

pub(crate) fn backends_die_with_their_postmaster() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let pids = node.start_postgres(&mut client, true);
    let killed_at = Instant::now();
    signal_process(pids[0], Signal::SIGKILL);
    client.wait_until_gone();
    println!("  postmaster killed -> Gone: {:?}", killed_at.elapsed());
    nobody_lives(&pids);
}

pub(crate) fn a_killed_heart_ends_the_postmaster() {
    let mut node = Node::new();
    let mut client = Client::attach(&node.socket());
    let pids = node.start_postgres(&mut client, false);
    node.signal_heart(Signal::SIGKILL);
    node.heart_ends();
    wait_until("the postmaster's end", || !pids.iter().any(|pid| is_alive(*pid)));
}

fn until(deadline: Timestamp) -> Duration {
    deadline.since(now())
}

pub(crate) fn a_frozen_daemon_is_fenced() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let pids = node.start_postgres(&mut client, true);
    let deadline = client.arm(Duration::from_millis(1500));
    std::thread::sleep(until(deadline).saturating_sub(Duration::from_millis(700)));
    assert!(is_alive(pids[0]), "fenced too early");
    wait_until("the fence", || !pids.iter().any(|pid| is_alive(*pid)));
    assert!(until(deadline) > Duration::ZERO, "fenced after the deadline");
    client.wait_until_gone();
    assert_eq!((client.state.fenced, client.state.armed.clone()), (Some(Epoch(7)), None));
}

pub(crate) fn a_frozen_heart_fences_when_it_thaws() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let pids = node.start_postgres(&mut client, true);
    let deadline = client.arm(Duration::from_millis(1000));
    node.signal_heart(Signal::SIGSTOP);
    std::thread::sleep(until(deadline) + Duration::from_millis(200));
    assert!(is_alive(pids[0]), "nobody could have ended it");
    let thawed = Instant::now();
    node.signal_heart(Signal::SIGCONT);
    wait_until("the fence", || !pids.iter().any(|pid| is_alive(*pid)));
    println!("  thawed -> all ended: {:?}", thawed.elapsed());
    client.wait_until_gone();
}

pub(crate) fn told_to_end() {
    let mut node = Node::new();
    let mut client = Client::attach(&node.socket());
    let pids = node.start_postgres(&mut client, false);
    node.signal_heart(Signal::SIGTERM);
    assert_eq!(node.heart_ends(), Some(0));
    nobody_lives(&pids);
}

pub(crate) fn a_fresh_heart_sweeps() {
    let mut node = Node::new();
    let mut client = Client::attach(&node.socket());
    let pids = node.start_postgres(&mut client, true);
    node.signal_heart(Signal::SIGKILL);
    node.heart_ends();
    assert!(is_alive(pids[0]), "deaf to the death signal");
    std::fs::write(node.path().join("data/postmaster.pid"), "1\n").expect("a stale lock file");
    node.restart_heart();
    let mut client = Client::attach(&node.socket());
    client.wait_until_gone();
    nobody_lives(&pids);
    node.start_postgres(&mut client, false);
    assert!(!node.path().join("data/postmaster.pid").exists());
}
