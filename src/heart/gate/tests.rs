//! The real kernel, in network namespaces of their own, read back with the real `nft`. Without root they say so and pass.

use super::*;
use leaderl_decision::model::Epoch;
use std::process::Command;

const PORT: u16 = 5432;

/// Runs the test on a thread that has a fresh network namespace; sockets and child processes made there belong to it.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root for a network namespace");
        return;
    }
    let work = move || match nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(),
        Err(errno) => println!("skipped: no network namespace may be made here ({errno})"),
    };
    std::thread::spawn(work).join().unwrap();
}

fn nft(words: &[&str]) -> String {
    let done = Command::new("nft").args(words).output().unwrap();
    assert!(done.status.success(), "nft {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The table without blank lines and with its times blanked.
fn table() -> String {
    let text = nft(&["-n", "list", "table", "inet", TABLE]);
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = Vec::new();
        let mut after = "";
        for word in line.split(' ') {
            let is_time = after == "timeout" || after == "expires" || (after == "<" && word.starts_with('"'));
            words.push(if is_time { "T" } else { word });
            after = word;
        }
        // A date has a space inside.
        let line = words.join(" ");
        lines.push(match line.split_once("< T ") {
            Some((before, rest)) => format!("{before}< T {}", rest.split_once(' ').map_or("", |(_, rest)| rest)),
            None => line,
        });
    }
    lines.join("\n")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_ms(ms: u64) -> Timestamp {
    system::boottime().unwrap().plus(Duration::from_millis(ms))
}

fn open_plan(deadline: Timestamp) -> GatePlan {
    GatePlan {
        epoch: Some(Epoch(7)),
        member_passage: Passage::Until(deadline),
        client_passage: Passage::Until(deadline),
        members: vec![ip("10.0.0.2"), ip("10.0.0.3"), ip("fd00::2")],
    }
}

/// What the table is when both ways are limited.
const OPEN: &str = r#"table inet leaderl {
	set members-until {
		type inet_proto
		flags timeout
		elements = { 6 timeout T expires T }
	}
	set clients-until {
		type inet_proto
		flags timeout
		elements = { 6 timeout T expires T }
	}
	set member-addresses {
		type ipv4_addr
		elements = { 10.0.0.2, 10.0.0.3 }
	}
	chain turned-away {
		tcp flags 0x2 / 0x1,0x2,0x4,0x10 reject with tcp reset
		drop
	}
	chain members {
		meta time < T meta l4proto @members-until accept
		goto turned-away
	}
	chain clients {
		meta time < T meta l4proto @clients-until accept
		goto turned-away
	}
	chain arriving {
		type filter hook input priority -10; policy accept;
		meta iiftype 772 accept
		ip daddr 10.0.0.1 ip saddr @member-addresses tcp dport 5432 goto members
		tcp dport 5432 goto clients
	}
	chain leaving {
		type filter hook output priority -10; policy accept;
		meta oiftype 772 accept
		tcp sport 5432 tcp flags & 0x4 == 0x4 accept
		ip saddr 10.0.0.1 ip daddr @member-addresses tcp sport 5432 goto members
		tcp sport 5432 goto clients
	}
}"#;

fn a_gate() -> Gate {
    let mut gate = Gate::open(PORT, Some(ip("10.0.0.1"))).unwrap();
    gate.shut_first().unwrap();
    gate
}

/// Milliseconds that the clients' element has left, as `nft` tells.
fn clients_expire_in_ms() -> Option<u64> {
    let text = nft(&["list", "set", "inet", TABLE, "clients-until"]);
    let (_, left) = text.split_once("expires ")?;
    let left = left.split(' ').next()?;
    humantime::parse_duration(left).ok().and_then(|left| u64::try_from(left.as_millis()).ok())
}

#[test]
fn an_open_gate_reads_as_it_is_meant() {
    in_namespace(|| {
        let mut gate = a_gate();
        gate.assert(&open_plan(in_ms(3000))).unwrap();
        assert_eq!(table(), OPEN);
        gate.assert(&open_plan(in_ms(3000))).unwrap();
        assert_eq!(table(), OPEN, "the same after a refresh");
    });
}

#[test]
fn a_shut_gate_has_neither_rule_nor_element_that_lets_anything_pass() {
    in_namespace(|| {
        let mut gate = a_gate();
        let shut = table();
        assert!(!shut.contains("elements = { 6") && !shut.contains("meta time"), "{shut}");
        gate.assert(&open_plan(in_ms(3000))).unwrap();
        gate.assert(&GatePlan { members: open_plan(in_ms(1)).members, ..GatePlan::default() }).unwrap();
        let again = table();
        assert!(!again.contains("elements = { 6") && !again.contains("meta time"), "{again}");
        assert!(again.contains("chain clients {\n\t\tgoto turned-away\n\t}"), "{again}");
    });
}

#[test]
fn a_refresh_extends_the_element_and_never_beyond_the_deadline() {
    in_namespace(|| {
        let mut gate = a_gate();
        gate.assert(&open_plan(in_ms(2000))).unwrap();
        let short = clients_expire_in_ms().expect("an element");
        assert!(short < 2000, "{short}");
        gate.assert(&open_plan(in_ms(9000))).unwrap();
        let long = clients_expire_in_ms().expect("an element");
        assert!((8000..9000).contains(&long), "{long}");
        gate.assert(&open_plan(in_ms(2000))).unwrap();
        assert!(clients_expire_in_ms().expect("an element") < 2000, "also back");
        gate.assert(&open_plan(in_ms(10))).unwrap();
        assert_eq!(clients_expire_in_ms(), None, "too near to be told the kernel");
        assert!(!table().contains("meta time"));
    });
}

#[test]
fn sessions_that_end_keep_their_way_and_new_ones_do_not() {
    in_namespace(|| {
        let mut gate = a_gate();
        let deadline = in_ms(3000);
        gate.assert(&GatePlan { client_passage: Passage::Ending(deadline), ..open_plan(deadline) }).unwrap();
        let clients = "chain clients {\n\t\ttcp flags 0x2 / 0x1,0x2,0x4,0x10 goto turned-away\n\t\tmeta time < T";
        assert!(table().contains(clients), "{}", table());
        gate.assert(&GatePlan { member_passage: Passage::Free, ..GatePlan::default() }).unwrap();
        assert!(table().contains("chain members {\n\t\taccept\n"), "{}", table());
    });
}

#[test]
fn whatever_somebody_else_changes_our_table_is_put_in_place_anew() {
    in_namespace(|| {
        let mut gate = a_gate();
        let plan = open_plan(in_ms(9000));
        gate.assert(&plan).unwrap();
        let whole = gate.generation;
        let disturbances: [&[&str]; 5] = [
            &["flush", "ruleset"],
            &["delete", "table", "inet", TABLE],
            &["flush", "chain", "inet", TABLE, "leaving"],
            &["insert", "rule", "inet", TABLE, "arriving", "accept"],
            &["add", "table", "inet", "somebody"],
        ];
        for disturbance in disturbances {
            nft(disturbance);
            gate.assert(&plan).unwrap();
            assert_eq!(table(), OPEN, "after {disturbance:?}");
        }
        assert_ne!(gate.generation, whole);
        // A plan without an instant is looked at all the same.
        let idle = GatePlan { member_passage: Passage::Free, members: plan.members, ..GatePlan::default() };
        gate.assert(&idle).unwrap();
        let (before, generation) = (table(), gate.generation);
        gate.assert(&idle).unwrap();
        assert_eq!(gate.generation, generation, "nothing is written when nothing changed");
        nft(&["flush", "ruleset"]);
        gate.assert(&idle).unwrap();
        assert_eq!(table(), before);
    });
}

#[test]
fn members_change_with_the_plan_and_ipv6_has_its_own_addresses() {
    in_namespace(|| {
        let mut gate = Gate::open(PORT, Some(ip("fd00::1"))).unwrap();
        gate.shut_first().unwrap();
        gate.assert(&open_plan(in_ms(3000))).unwrap();
        let shown = table();
        assert!(shown.contains("type ipv6_addr\n\t\telements = { fd00::2 }"), "{shown}");
        assert!(shown.contains("ip6 daddr fd00::1 ip6 saddr @member-addresses tcp dport 5432 goto members"), "{shown}");
        assert!(shown.contains("ip6 saddr fd00::1 ip6 daddr @member-addresses tcp sport 5432 goto members"), "{shown}");
        gate.assert(&GatePlan { members: vec![ip("fd00::9")], ..open_plan(in_ms(3000)) }).unwrap();
        assert!(table().contains("elements = { fd00::9 }"));
        let mut nobody = Gate::open(PORT, None).unwrap();
        nobody.shut_first().unwrap();
        nobody.assert(&open_plan(in_ms(3000))).unwrap();
        assert!(!table().contains("goto members"), "without a publish address nobody is a member");
    });
}

#[test]
fn a_kernel_without_resets_drops_instead() {
    in_namespace(|| {
        let mut gate = a_gate();
        gate.frame.resets = false;
        gate.generation = None;
        gate.assert(&open_plan(in_ms(3000))).unwrap();
        assert!(table().contains("chain turned-away {\n\t\tdrop\n"), "{}", table());
    });
}

#[test]
fn it_can_be_taken_away() {
    in_namespace(|| {
        let mut gate = a_gate();
        gate.remove().unwrap();
        assert_eq!(nft(&["list", "ruleset"]), "");
        gate.remove().unwrap();
        gate.assert(&GatePlan::default()).unwrap();
        assert!(table().contains("chain leaving"));
    });
}

#[test]
fn without_the_capability_it_says_so() {
    in_namespace(|| {
        // Only this thread loses it.
        let status = Command::new("setpriv").arg("--version").output();
        if !status.is_ok_and(|output| output.status.success()) {
            println!("skipped: no setpriv");
            return;
        }
        let program = std::env::current_exe().unwrap();
        let words = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"];
        let test = "heart::gate::tests::the_capability_is_missing_here";
        let done =
            Command::new("setpriv").args(words).arg(program).args(["--ignored", "--exact", test]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    });
}

#[test]
#[ignore = "run by the test above, without CAP_NET_ADMIN"]
fn the_capability_is_missing_here() {
    let mut gate = Gate::open(PORT, None).unwrap();
    let error = gate.shut_first().unwrap_err();
    assert!(error.is_final(), "{error:?}");
}
