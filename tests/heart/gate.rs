//! The port gate with real packets, in network namespaces of their own.

use crate::network::{Beyond, CLIENT, MEMBER, NODE, Server, Session, VIP, run, run_inside, sleep_until};
use crate::node::{Client, Node, is_alive, now, signal_process, wait_until};
use leaderl::heart::gate::TABLE;
use leaderl::heart::protocol::{HeartOrder, VipAddress};
use leaderl_decision::model::{Door, Epoch, Timestamp};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Runs [`in_a_namespace`] in a fresh namespace, or says why not.
pub(crate) fn the_port_gate() {
    let possible = Command::new("unshare").args(["-n", "nft", "list", "ruleset"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("  skipped: needs root with NET_ADMIN, unshare, ip and nft");
        return;
    }
    run_inside("gate");
}

type Check = (&'static str, fn(&Place));

/// One node with its surroundings.
struct Place {
    beyond: Beyond,
    server: Server,
}

pub(crate) fn in_a_namespace() -> ExitCode {
    let place = Place { beyond: Beyond::new(), server: Server::new() };
    let checks: [Check; 10] = [
        ("clients wait for the door", clients_wait_for_the_door),
        ("sessions that end, and sessions that are shut out", ending_and_shut),
        ("a frozen heart", a_frozen_heart_lets_nothing_pass_after_the_deadline),
        ("a heart stopped in its refresh", a_late_refresh_reopens_nothing),
        ("a heart stopped in the VIP's refresh", a_late_vip_refresh_is_undone),
        ("a killed heart", a_killed_heart_leaves_a_deadline),
        ("a flushed rule set", a_flushed_table_comes_back),
        ("processes that cannot be ended", nobody_passes_before_everything_is_reaped),
        ("a renewed deadline", a_healthy_leader_is_never_shut_out),
        ("an orderly end", an_ended_heart_leaves_it_shut),
    ];
    for (name, check) in checks {
        let began = Instant::now();
        check(&place);
        println!("  gate: {name} ({:?})", began.elapsed());
    }
    ExitCode::SUCCESS
}

fn a_node() -> (Node, Client) {
    let node = Node::with_gate(Some(&NODE.to_string()));
    let mut client = Client::attach(&node.socket());
    client.order(HeartOrder::SetMembers { members: vec![MEMBER.into()] }).expect("introduced");
    (node, client)
}

fn set_door(client: &mut Client, epoch: u64, door: Door) -> Result<(), String> {
    client.order(HeartOrder::SetDoor { epoch: Epoch(epoch), door })
}

impl Place {
    fn session(&self, from: std::net::Ipv4Addr, to: std::net::Ipv4Addr) -> Session {
        Session::new(self.beyond.connect(from, to).unwrap_or_else(|error| panic!("{from} to {to}: {error}")))
    }

    /// No word of the server's reaches the session, and none of the session's reaches the server.
    fn is_cut(&self, session: &mut Session) {
        let heard = self.server.last_heard();
        session.say();
        assert!(!session.is_alive(), "the server's words arrive");
        assert_eq!(self.server.last_heard(), heard, "the session's words arrive");
    }
}

fn clients_wait_for_the_door(place: &Place) {
    let (_node, mut client) = a_node();
    let beyond = &place.beyond;
    beyond.refused(CLIENT, NODE);
    beyond.refused(MEMBER, VIP);
    let member = place.session(MEMBER, NODE);
    for own in [NODE, VIP, std::net::Ipv4Addr::LOCALHOST] {
        TcpStream::connect((own, 5432)).expect("the node itself always gets through");
    }
    client.arm(Duration::from_secs(8));
    beyond.refused(CLIENT, VIP);
    beyond.refused(MEMBER, VIP);
    assert!(member.is_alive(), "streams on while voters are awaited");
    set_door(&mut client, 7, Door::Open).expect("opened");
    client.wait_for("the gate", |state| state.gate.open_for == Some(Epoch(7)));
    assert!(member.is_alive(), "the opening ends clients' older sessions, not the members'");
    for to in [NODE, VIP] {
        let mut session = place.session(CLIENT, to);
        let before = place.server.last_heard();
        session.say();
        wait_until("its word", || place.server.last_heard() != before);
    }
    let shown = run(&["nft", "list", "ruleset"]);
    assert!(shown.contains("elements = { 10.98.0.2 }") && shown.contains("expires"), "{shown}");
}

fn ending_and_shut(place: &Place) {
    let (_node, mut client) = a_node();
    client.arm(Duration::from_secs(9));
    set_door(&mut client, 7, Door::Open).expect("opened");
    let (mut direct, mut through_vip) = (place.session(CLIENT, NODE), place.session(CLIENT, VIP));
    let member = place.session(MEMBER, NODE);
    set_door(&mut client, 7, Door::Ending).expect("no new sessions");
    place.beyond.refused(CLIENT, NODE);
    place.beyond.refused(CLIENT, VIP);
    assert!(direct.is_alive() && through_vip.is_alive() && member.is_alive());
    set_door(&mut client, 7, Door::Shut).expect("shut");
    place.is_cut(&mut direct);
    place.is_cut(&mut through_vip);
    assert!(member.is_alive(), "followers get the end of the WAL");
    set_door(&mut client, 7, Door::Open).expect_err("not under this epoch again");
    place.is_cut(&mut direct);
    let silent_since = direct.last();
    client.arm_epoch(8, Duration::from_secs(9));
    place.is_cut(&mut direct);
    set_door(&mut client, 8, Door::Open).expect("opened under the newer one");
    wait_until("the end of the older sessions", || direct.end().is_some() && through_vip.end().is_some());
    assert_eq!(
        (direct.end(), direct.last()),
        (Some(ErrorKind::ConnectionReset), silent_since),
        "and no byte before it"
    );
    assert!(member.is_alive());
    place.session(CLIENT, VIP);
}

/// Words arrive until shortly before the deadline, and none after it, in neither direction.
fn last_words(place: &Place, deadline: Timestamp, sessions: &mut [&mut Session]) {
    while now() < deadline.plus(Duration::from_millis(300)) {
        for session in sessions.iter_mut() {
            session.say();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for session in sessions.iter_mut() {
        let last = session.falls_silent();
        assert!(last < deadline, "a word arrived {:?} after the deadline", last.since(deadline));
        assert!(deadline.since(last) < Duration::from_millis(200), "shut {:?} too early", deadline.since(last));
        println!("    last word to a client {:?} before the deadline", deadline.since(last));
        place.is_cut(session);
    }
    let heard = place.server.last_heard().unwrap_or_default();
    assert!(heard < deadline, "a client was heard {:?} after the deadline", heard.since(deadline));
}

/// After a thaw: fenced, older sessions reset without another byte, and a newer epoch opens for new ones only.
fn thawed(place: &Place, client: &mut Client, old: &mut [&mut Session]) {
    let before: Vec<_> = old.iter().map(|session| session.last()).collect();
    client.wait_for("the fence", |state| state.fenced == Some(Epoch(7)));
    place.beyond.refused(CLIENT, NODE);
    for (session, before) in old.iter_mut().zip(before) {
        wait_until("the older session's end", || session.end().is_some());
        assert_eq!(
            (session.end(), session.last()),
            (Some(ErrorKind::ConnectionReset), before),
            "and no byte before it"
        );
    }
    place.session(MEMBER, NODE);
    client.arm_epoch(8, Duration::from_secs(8));
    set_door(client, 8, Door::Open).expect("opened");
    place.session(CLIENT, NODE);
}

fn a_frozen_heart_lets_nothing_pass_after_the_deadline(place: &Place) {
    let (node, mut client) = a_node();
    let deadline = client.arm(Duration::from_millis(2500));
    set_door(&mut client, 7, Door::Open).expect("opened");
    let (mut session, mut member) = (place.session(CLIENT, VIP), place.session(MEMBER, NODE));
    node.signal_heart(Signal::SIGSTOP);
    last_words(place, deadline, &mut [&mut session, &mut member]);
    place.beyond.refused(CLIENT, VIP);
    place.beyond.refused(MEMBER, NODE);
    TcpStream::connect((NODE, 5432)).expect("the node itself still gets through");
    node.signal_heart(Signal::SIGCONT);
    thawed(place, &mut client, &mut [&mut session, &mut member]);
}

/// P17: stopped between its look at the clock and the call that renews the gate; the call comes long after the deadline.
fn a_late_refresh_reopens_nothing(place: &Place) {
    let (node, mut client) = a_node();
    let deadline = client.arm(Duration::from_millis(2500));
    set_door(&mut client, 7, Door::Open).expect("opened");
    let mut session = place.session(CLIENT, VIP);
    node.stop_heart_at("gate-refresh");
    last_words(place, deadline, &mut [&mut session]);
    sleep_until(deadline.plus(Duration::from_secs(1)));
    // It makes the late call, and is stopped again before it looks at the clock.
    node.stop_heart_at("gate-refreshed");
    let element = run(&["nft", "list", "set", "inet", TABLE, "clients-until"]);
    assert!(element.contains("expires"), "the late call has put the element back: {element}");
    place.is_cut(&mut session);
    place.beyond.refused(CLIENT, VIP);
    node.signal_heart(Signal::SIGCONT);
    thawed(place, &mut client, &mut [&mut session]);
}

fn a_late_vip_refresh_is_undone(_place: &Place) {
    let (node, mut client) = a_node();
    let deadline = client.arm(Duration::from_millis(3500));
    let ip = "10.98.0.101".parse().expect("an address");
    let vips = vec![VipAddress { ip, prefix: 32, interface: "near".to_owned() }];
    client.order(HeartOrder::AssignVips { epoch: Epoch(7), vips }).expect("assigned");
    let shown = || run(&["ip", "-o", "address", "show"]).contains("10.98.0.101/32");
    assert!(shown());
    node.stop_heart_at("vip-refresh");
    wait_until("the kernel's removal", || !shown());
    assert!(now() < deadline);
    sleep_until(deadline.plus(Duration::from_millis(500)));
    let mut monitor = Command::new("ip");
    monitor.args(["-ts", "monitor", "address", "dev", "near"]).stdout(std::process::Stdio::piped());
    let monitor = monitor.spawn().expect("ip monitor");
    let id = monitor.id().to_string();
    let sockets = || std::fs::read_to_string("/proc/net/netlink").unwrap_or_default();
    wait_until("the monitor", || sockets().lines().any(|line| line.split_whitespace().nth(2) == Some(id.as_str())));
    node.signal_heart(Signal::SIGCONT);
    client.wait_for("the fence", |state| state.fenced == Some(Epoch(7)) && state.vips.is_empty());
    assert!(!shown(), "the late refresh was undone before heart said anything");
    signal_process(monitor.id(), Signal::SIGTERM);
    let heard = String::from_utf8(monitor.wait_with_output().expect("its end").stdout).expect("text");
    let lines: Vec<&str> = heard.lines().filter(|line| line.contains("10.98.0.101")).collect();
    let [came, went] = lines[..] else { panic!("one late addition and its removal: {heard}") };
    assert!(!came.contains("Deleted") && went.contains("Deleted"), "{heard}");
    let there = (seconds_of(went) - seconds_of(came)).rem_euclid(60.0);
    println!("    late VIP there for {:.3} ms", there * 1e3);
    assert!(there < 1.0);
}

/// The seconds in `[2026-11-27T16:34:03.118389] ...`.
fn seconds_of(line: &str) -> f64 {
    let time = line.split([']', '[']).nth(1).and_then(|stamp| stamp.rsplit_once(':')).expect("a time");
    time.1.parse().expect("seconds")
}

fn a_killed_heart_leaves_a_deadline(place: &Place) {
    let (mut node, mut client) = a_node();
    let deadline = client.arm(Duration::from_millis(2000));
    set_door(&mut client, 7, Door::Open).expect("opened");
    let mut session = place.session(CLIENT, VIP);
    node.signal_heart(Signal::SIGKILL);
    node.heart_ends();
    last_words(place, deadline, &mut [&mut session]);
    node.restart_heart();
    wait_until("the older session's end", || session.end().is_some());
    place.beyond.refused(CLIENT, VIP);
}

fn a_flushed_table_comes_back(place: &Place) {
    let there =
        || Command::new("nft").args(["list", "table", "inet", TABLE]).output().is_ok_and(|o| o.status.success());
    let (_node, mut client) = a_node();
    for armed in [false, true] {
        if armed {
            client.arm(Duration::from_secs(8));
        }
        run(&["nft", "flush", "ruleset"]);
        let flushed = Instant::now();
        wait_until("the table", there);
        let took = flushed.elapsed();
        println!("    flushed -> back, {}: {took:?}", if armed { "armed" } else { "idle" });
        assert!(took < Duration::from_secs(1));
        place.beyond.refused(CLIENT, NODE);
    }
    run(&["nft", "insert", "rule", "inet", TABLE, "arriving", "accept"]);
    wait_until("the hole's end", || !run(&["nft", "list", "chain", "inet", TABLE, "arriving"]).contains("\t\taccept"));
    client.order(HeartOrder::ReleaseVips).expect("obeyed");
}

fn nobody_passes_before_everything_is_reaped(place: &Place) {
    let (node, mut client) = a_node();
    let pids = node.start_postgres(&mut client, true);
    let deadline = client.arm(Duration::from_millis(2000));
    set_door(&mut client, 7, Door::Open).expect("opened");
    let member = place.session(MEMBER, NODE);
    client.wait_for("the fence", |state| state.fenced == Some(Epoch(7)));
    let fenced = now();
    place.beyond.refused(MEMBER, NODE);
    assert!(now() < deadline && pids.iter().all(|pid| is_alive(*pid)), "deaf to SIGQUIT, and not yet killed");
    client.wait_until_gone();
    wait_until("members to be let in", || place.beyond.connect(MEMBER, NODE).is_ok());
    wait_until("the older session's end", || member.end().is_some());
    assert_eq!(member.end(), Some(ErrorKind::ConnectionReset));
    assert!(member.last().unwrap_or_default() < fenced, "no word after the fence, and none before the reset");
}

fn a_healthy_leader_is_never_shut_out(place: &Place) {
    let (_node, mut client) = a_node();
    client.arm(Duration::from_millis(1500));
    set_door(&mut client, 7, Door::Open).expect("opened");
    let session = place.session(CLIENT, VIP);
    let mut longest = Duration::ZERO;
    let end = now().plus(Duration::from_secs(4));
    while now() < end {
        client.arm(Duration::from_millis(1500));
        let next = now().plus(Duration::from_millis(300));
        while now() < next {
            longest = longest.max(now().since(session.last().unwrap_or_default()));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    println!("    longest silence under 1.5 s deadlines: {longest:?}");
    assert!(longest < Duration::from_millis(300), "{longest:?}");
}

fn an_ended_heart_leaves_it_shut(place: &Place) {
    let (mut node, mut client) = a_node();
    client.arm(Duration::from_secs(8));
    set_door(&mut client, 7, Door::Open).expect("opened");
    place.session(CLIENT, VIP);
    node.signal_heart(Signal::SIGTERM);
    assert_eq!(node.heart_ends(), Some(0));
    place.beyond.refused(CLIENT, VIP);
    place.beyond.refused(MEMBER, NODE);
}
