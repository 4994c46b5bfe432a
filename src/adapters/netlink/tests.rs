//! The real kernel, in network namespaces of their own. They need root; without it they say so and pass.

use super::*;
use std::process::{Child, Command};
use std::time::Instant;

const LIMIT: Duration = Duration::from_secs(5);

/// Runs the test on a thread that has a fresh network namespace; sockets and child processes made there belong to it.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root for a network namespace");
        return;
    }
    let work = move || {
        if let Err(errno) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            println!("skipped: no network namespace may be made here ({errno})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    };
    std::thread::spawn(work).join().unwrap();
}

pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A neighbour at the other end of a cable: another namespace, kept open by a sleeping process.
pub(crate) struct Neighbour(Child);

impl Neighbour {
    /// `near` is ours, `far` the neighbour's; both are up.
    pub(crate) fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
        let neighbour = Self(holder);
        let (own, began) = (std::fs::read_link("/proc/thread-self/ns/net").unwrap(), Instant::now());
        let namespace = format!("/proc/{}/ns/net", neighbour.0.id());
        while std::fs::read_link(&namespace).is_ok_and(|theirs| theirs == own) {
            assert!(began.elapsed() < LIMIT, "the neighbour's namespace did not come up");
            std::thread::yield_now();
        }
        ip("link add near type veth peer name far");
        ip(&format!("link set far netns {}", neighbour.0.id()));
        ip("link set near up");
        neighbour.run("ip link set far up");
        neighbour
    }

    pub(crate) fn run(&self, command: &str) {
        let pid = self.0.id().to_string();
        let done = Command::new("nsenter").args(["--net", "--target", &pid]).args(command.split(' ')).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// What the neighbour's cache says about an address.
    pub(crate) fn cache(&self, address: &str) -> String {
        let pid = self.0.id().to_string();
        let shown = Command::new("nsenter").args(["--net", "--target", &pid, "ip", "neigh", "show", address]).output();
        String::from_utf8_lossy(&shown.unwrap().stdout).into_owned()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn vip(address: &str, interface: &str) -> VipAddress {
    let address: IpAddr = address.parse().unwrap();
    VipAddress { ip: address, prefix: if address.is_ipv4() { 32 } else { 128 }, interface: interface.to_owned() }
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "not in time: {what}");
}

#[test]
fn addresses_are_listed_with_their_lifetimes_and_removed() {
    in_namespace(|| async {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("addr add 10.9.0.1/24 dev v0");
        ip("addr add 10.9.0.100/32 dev v0 valid_lft 50 preferred_lft 50");
        ip("addr add fd00:9::100/128 dev v0 nodad");
        let table = NetlinkAddresses::open();
        let seen = table.snapshot(LIMIT).await.unwrap();
        let link = seen.links.iter().find(|link| link.name == "v0").unwrap();
        assert!(link.up && link.mac.is_some(), "{link:?}");
        let of = |text: &str| seen.addresses.iter().find(|address| address.ip.to_string() == text).unwrap().clone();
        assert_eq!((of("10.9.0.1").prefix, of("10.9.0.1").valid_for), (24, None));
        assert!(of("10.9.0.100").valid_for.is_some_and(|left| left > Duration::from_secs(45)));
        for gone in [of("10.9.0.100"), of("fd00:9::100")] {
            table.remove(&gone, LIMIT).await.unwrap();
            table.remove(&gone, LIMIT).await.unwrap();
        }
        let elsewhere = BoundAddress { interface: "none".to_owned(), ..of("10.9.0.100") };
        table.remove(&elsewhere, LIMIT).await.unwrap();
        let left = table.snapshot(LIMIT).await.unwrap().addresses;
        assert!(left.iter().any(|address| address.ip.to_string() == "10.9.0.1"));
        assert!(!left.iter().any(|address| address.ip.to_string().ends_with("100")), "{left:?}");
    });
}

#[test]
fn changes_of_the_kernels_tables_are_counted() {
    in_namespace(|| async {
        let table = NetlinkAddresses::open();
        let mut changes = table.changes();
        // The event socket is open once its first count has arrived.
        tokio::time::timeout(LIMIT, changes.wait_for(|count| *count > 0)).await.unwrap().unwrap();
        ip("link add v0 type veth peer name v1");
        tokio::time::timeout(LIMIT, changes.wait_for(|count| *count > 1)).await.unwrap().unwrap();
        let before = *changes.borrow();
        ip("addr add 10.9.0.100/32 dev v0 valid_lft 1 preferred_lft 1");
        tokio::time::timeout(LIMIT, changes.wait_for(|count| *count > before)).await.unwrap().unwrap();
        let bound = async || table.snapshot(LIMIT).await.unwrap().addresses.iter().any(|found| found.interface == "v0");
        assert!(bound().await);
        // The kernel's own removal is noticed as well.
        while bound().await {
            tokio::time::timeout(LIMIT, changes.changed()).await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_refreshed_lifetime_is_no_change() {
    let mut message = AddressMessage::default();
    message.header.index = 3;
    message.header.prefix_len = 32;
    message.attributes.push(AddressAttribute::Local("10.9.0.100".parse().unwrap()));
    let new = NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message.clone()));
    let gone = NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message));
    let mut known = Known::default();
    let counted: Vec<bool> = [&new, &new, &gone, &new, &new].iter().map(|payload| known.changes(payload)).collect();
    assert_eq!(counted, [true, false, true, true, false]);
    assert!(known.changes(&NetlinkPayload::Overrun(Vec::new())), "something may have been missed");
}

#[test]
fn an_announcement_moves_a_neighbours_cache_entry_here() {
    in_namespace(|| async {
        let neighbour = Neighbour::new();
        neighbour.run("ip addr add 10.9.0.2/24 dev far");
        neighbour.run("ip addr add fd00:9::2/64 dev far nodad");
        // What the neighbour believed before: the former leader's Ethernet address.
        for address in ["10.9.0.100", "fd00:9::100"] {
            neighbour.run(&format!("ip neigh add {address} lladdr 02:00:00:00:00:99 nud stale dev far"));
        }
        ip("addr add 10.9.0.100/32 dev near");
        ip("addr add fd00:9::100/128 dev near nodad");
        let table = NetlinkAddresses::open();
        let links = table.snapshot(LIMIT).await.unwrap().links;
        let mac = links.iter().find(|link| link.name == "near").unwrap().mac.unwrap().to_string();
        for address in ["10.9.0.100", "fd00:9::100"] {
            table.announce(&vip(address, "near"), LIMIT).await.unwrap();
            until(&format!("{address} is at {mac}"), || neighbour.cache(address).contains(&mac)).await;
        }
        let error = table.announce(&vip("10.9.0.100", "none"), LIMIT).await.unwrap_err();
        assert!(matches!(error, AddressTableError::NoSuchInterface { .. }), "{error}");
    });
}

#[test]
fn a_probe_finds_a_foreign_holder_and_other_chatter_is_not_heard() {
    in_namespace(|| async {
        let neighbour = Neighbour::new();
        for address in ["10.9.0.2/24", "10.9.0.100/32", "10.9.0.101/32"] {
            neighbour.run(&format!("ip addr add {address} dev far"));
        }
        neighbour.run("ip addr add fd00:9::100/128 dev far nodad");
        let table = NetlinkAddresses::open();
        let links = table.snapshot(LIMIT).await.unwrap().links;
        let own = links.iter().find(|link| link.name == "near").unwrap().mac.unwrap();
        let wanted: Vec<IpAddr> = ["10.9.0.100", "fd00:9::100"].iter().map(|text| text.parse().unwrap()).collect();
        table.listen_for(&wanted).unwrap();
        let claims = table.claims();
        for address in ["10.9.0.101", "10.9.0.100", "10.9.0.77"] {
            table.probe(&vip(address, "near"), LIMIT).await.unwrap();
        }
        until("the IPv4 holder answers", || claims.borrow().contains_key(&wanted[0])).await;
        // A link-local source address takes the kernel a second or two to trust; until then the question cannot be sent.
        let began = Instant::now();
        while !claims.borrow().contains_key(&wanted[1]) {
            assert!(began.elapsed() < LIMIT, "the IPv6 holder did not answer");
            let _ = table.probe(&vip("fd00:9::100", "near"), LIMIT).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let claims = claims.borrow().clone();
        assert_eq!(claims.len(), 2, "{claims:?}");
        assert!(claims.values().all(|claim| claim.mac != own && claim.heard > 0));
    });
}

#[test]
fn a_missing_capability_is_named() {
    in_namespace(|| async {
        ip("link add v0 type veth peer name v1");
        ip("addr add 10.9.0.100/32 dev v0");
        drop_rights_of_this_thread();
        let table = NetlinkAddresses::open();
        let ip: IpAddr = "10.9.0.100".parse().unwrap();
        let error = table.listen_for(&[ip]).unwrap_err();
        assert!(matches!(error, AddressTableError::MissingCapability { capability: "CAP_NET_RAW", .. }), "{error}");
        let seen = table.snapshot(LIMIT).await.unwrap().addresses;
        let address = seen.into_iter().find(|address| address.ip == ip).unwrap();
        let error = table.remove(&address, LIMIT).await.unwrap_err();
        assert!(matches!(error, AddressTableError::MissingCapability { capability: "CAP_NET_ADMIN", .. }), "{error}");
    });
}

#[expect(
    unsafe_code,
    reason = "the raw call changes this thread only; the C library's wrapper would change the whole test process"
)]
fn drop_rights_of_this_thread() {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: no pointers.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    assert_eq!(done, 0);
}
