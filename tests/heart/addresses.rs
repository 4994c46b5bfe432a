//! The VIP in a network namespace of its own.

use crate::node::{Client, Node, now, wait_until};
use leaderl::heart::protocol::{HeartOrder, VipAddress};
use leaderl_decision::model::Epoch;
use nix::sys::signal::Signal;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Runs [`in_a_namespace`] in a fresh namespace, or says why not.
pub(crate) fn the_vip_lives_as_long_as_the_lease() {
    let possible = Command::new("unshare")
        .args(["-n", "ip", "link", "add", "vip0", "type", "veth", "peer", "name", "vip1"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("  skipped: needs root with NET_ADMIN, unshare and ip");
        return;
    }
    crate::network::run_inside("addresses");
}

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shown() -> (bool, bool) {
    let addresses = ip(&["-o", "address", "show"]);
    (addresses.contains("10.99.0.100/32"), addresses.contains("fd99::100/128"))
}

fn vips() -> Vec<VipAddress> {
    let vip =
        |ip: &str, prefix| VipAddress { ip: ip.parse().expect("an address"), prefix, interface: "vip0".to_owned() };
    vec![vip("10.99.0.100", 32), vip("fd99::100", 128)]
}

fn assign(client: &mut Client) -> Result<(), String> {
    client.order(HeartOrder::AssignVips { epoch: Epoch(7), vips: vips() })
}

/// The checks, with nothing but loopback around.
pub(crate) fn in_a_namespace() -> ExitCode {
    ip(&["link", "add", "vip0", "type", "veth", "peer", "name", "vip1"]);
    ip(&["link", "set", "vip1", "up"]);
    ip(&["link", "set", "vip0", "up"]);
    assigned_refreshed_released();
    fenced_by_the_deadline();
    frozen_heart_loses_it_to_the_kernel();
    removed_at_the_orderly_end();
    ExitCode::SUCCESS
}

fn assigned_refreshed_released() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    client.arm(Duration::from_secs(8));
    let mut unknown = vips();
    unknown[1].interface = "nowhere0".to_owned();
    let order = HeartOrder::AssignVips { epoch: Epoch(7), vips: unknown };
    assert!(client.order(order).expect_err("refused").contains("nowhere0"));
    assert_eq!(shown(), (false, false), "a half assignment is undone");
    assign(&mut client).expect("assigned");
    assert_eq!(shown(), (true, true));
    let lines = ip(&["-o", "address", "show", "dev", "vip0"]);
    assert!(lines.lines().any(|line| line.contains("10.99.0.100/32") && line.contains("dynamic vip0:vip")), "{lines}");
    let v6 = lines.lines().find(|line| line.contains("fd99::100")).expect("the IPv6 address");
    assert!(v6.contains("dynamic") && !v6.contains("tentative"), "usable at once: {v6}");
    ip(&["address", "del", "10.99.0.100/32", "dev", "vip0"]);
    wait_until("its return after a removal by hand", || shown() == (true, true));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(shown(), (true, true), "refreshed");
    client.order(HeartOrder::ReleaseVips).expect("released");
    assert_eq!(shown(), (false, false));
}

fn fenced_by_the_deadline() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let deadline = client.arm(Duration::from_millis(2500));
    assign(&mut client).expect("assigned");
    wait_until("the fence", || shown() == (false, false));
    let left = deadline.since(now());
    println!("  VIP gone {left:?} before the deadline");
    assert!(left > Duration::ZERO);
}

fn frozen_heart_loses_it_to_the_kernel() {
    let node = Node::new();
    let mut client = Client::attach(&node.socket());
    let deadline = client.arm(Duration::from_millis(3500));
    assign(&mut client).expect("assigned");
    node.signal_heart(Signal::SIGSTOP);
    wait_until("the kernel's removal", || shown() == (false, false));
    let left = deadline.since(now());
    println!("  VIP gone {left:?} before the deadline with heart frozen");
    assert!(left > Duration::ZERO);
}

fn removed_at_the_orderly_end() {
    let mut node = Node::new();
    let mut client = Client::attach(&node.socket());
    client.arm(Duration::from_secs(8));
    assign(&mut client).expect("assigned");
    node.signal_heart(Signal::SIGTERM);
    assert_eq!(node.heart_ends(), Some(0));
    assert_eq!(shown(), (false, false));
}
