//! The table `inet leaderl`, as `nft list table inet leaderl` shows it.
//!
//! Both hooks look at PostgreSQL's local port only, and never at what stays inside the node. Members' packets to and from
//! this node's publish address go through the chain `members`, all others (the VIP's too) through `clients`. Each of the two
//! lets a packet pass only before an instant of the wall clock *and* while an element with a lifetime is in its set: the
//! first ends when the clock says so even if the refresh came late, the second even if the clock was set back.

use super::batch::{APPEND, Batch, CREATE, LIST_ELEM, Verdict, octets};
use std::net::IpAddr;

/// The table's name, in the family `inet`.
pub const TABLE: &str = "leaderl";

const ARRIVING: &str = "arriving";
const LEAVING: &str = "leaving";
const MEMBERS: &str = "members";
const CLIENTS: &str = "clients";
const TURNED_AWAY: &str = "turned-away";
const MEMBER_ADDRESSES: &str = "member-addresses";
const MEMBERS_UNTIL: &str = "members-until";
const CLIENTS_UNTIL: &str = "clients-until";

/// Before the usual filters, so that nothing is accepted or rewritten that this table has not seen.
const PRIORITY: i32 = -10;
const TCP: u8 = 6;
const ARPHRD_LOOPBACK: u32 = 772;
/// libc has no name for it; `meta time` since Linux 5.4.
const META_TIME_NS: u32 = 30;
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;
const TCP_FLAGS: u32 = 13;
const FIN_SYN_RST_ACK: u8 = 0x17;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

// How nft names the types of a set's keys.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;

/// The end of a way, once for each clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// CLOCK_REALTIME, in ns.
    pub(super) wall_ns: u64,
    /// From the moment the kernel takes it, in ms.
    pub(super) lifetime_ms: u64,
}

/// What a chain lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Shut,
    /// No new connections; those that exist until then.
    Ending(Limit),
    Until(Limit),
    Free,
}

/// What does not change while heart lives.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// PostgreSQL's port.
    pub(super) port: u16,
    /// This node's publish address; without one nobody is a member.
    pub(super) own: Option<IpAddr>,
    /// Whether the kernel can answer with a reset; otherwise new connections are dropped without an answer.
    pub(super) resets: bool,
}

/// The whole table, in place of whatever has its name.
pub(super) fn install(batch: &mut Batch, frame: &Frame, members: &[IpAddr], member_way: Way, client_way: Way) {
    // Added first, so that the removal finds one.
    table(batch, libc::NFT_MSG_NEWTABLE, CREATE);
    table(batch, libc::NFT_MSG_DELTABLE, 0);
    table(batch, libc::NFT_MSG_NEWTABLE, CREATE);
    set(batch, MEMBERS_UNTIL, 1, (TYPE_PROTOCOL, 1), libc::NFT_SET_TIMEOUT);
    set(batch, CLIENTS_UNTIL, 2, (TYPE_PROTOCOL, 1), libc::NFT_SET_TIMEOUT);
    for chain in [TURNED_AWAY, MEMBERS, CLIENTS] {
        inner_chain(batch, chain);
    }
    base_chain(batch, ARRIVING, libc::NF_INET_LOCAL_IN);
    base_chain(batch, LEAVING, libc::NF_INET_LOCAL_OUT);
    if frame.resets {
        rule(batch, TURNED_AWAY, |rule| {
            new_connection(rule);
            rule.reset();
        });
    }
    rule(batch, TURNED_AWAY, |rule| rule.verdict(Verdict::Drop));
    loopback_passes(batch, ARRIVING, libc::NFT_META_IIFTYPE.cast_unsigned());
    loopback_passes(batch, LEAVING, libc::NFT_META_OIFTYPE.cast_unsigned());
    // A reset carries no data, and tells a client at once that its session is over.
    rule(batch, LEAVING, |rule| {
        port(rule, SOURCE_PORT, frame.port);
        flags(rule, RST, RST);
        rule.verdict(Verdict::Accept);
    });
    if let Some(own) = frame.own {
        member_rules(batch, frame.port, own, members);
    }
    for (chain, side) in [(ARRIVING, DESTINATION_PORT), (LEAVING, SOURCE_PORT)] {
        rule(batch, chain, |rule| {
            port(rule, side, frame.port);
            rule.verdict(Verdict::Goto(CLIENTS));
        });
    }
    way(batch, MEMBERS, MEMBERS_UNTIL, member_way);
    way(batch, CLIENTS, CLIENTS_UNTIL, client_way);
}

/// The two ways alone, in place of what they were.
pub(super) fn refresh(batch: &mut Batch, member_way: Way, client_way: Way) {
    for (chain, until, new) in [(MEMBERS, MEMBERS_UNTIL, member_way), (CLIENTS, CLIENTS_UNTIL, client_way)] {
        batch.message(libc::NFT_MSG_DELRULE, 0);
        batch.text(1, TABLE);
        batch.text(2, chain);
        // All elements: one that has just run out would make the removal of that one fail.
        batch.message(libc::NFT_MSG_DELSETELEM, 0);
        batch.text(1, TABLE);
        batch.text(2, until);
        way(batch, chain, until, new);
    }
}

/// No table at all: for a node whose gate is switched off.
pub(super) fn remove(batch: &mut Batch) {
    table(batch, libc::NFT_MSG_NEWTABLE, CREATE);
    table(batch, libc::NFT_MSG_DELTABLE, 0);
}

fn way(batch: &mut Batch, chain: &str, until: &str, way: Way) {
    match way {
        Way::Shut => {}
        Way::Free => rule(batch, chain, |rule| rule.verdict(Verdict::Accept)),
        Way::Ending(limit) => {
            rule(batch, chain, |rule| {
                new_connection(rule);
                rule.verdict(Verdict::Goto(TURNED_AWAY));
            });
            limited(batch, chain, until, limit);
        }
        Way::Until(limit) => limited(batch, chain, until, limit),
    }
    rule(batch, chain, |rule| rule.verdict(Verdict::Goto(TURNED_AWAY)));
}

fn limited(batch: &mut Batch, chain: &str, until: &str, limit: Limit) {
    element(batch, until, &[TCP], Some(limit.lifetime_ms));
    rule(batch, chain, |rule| {
        rule.load_meta(META_TIME_NS);
        rule.order_for_network();
        rule.compare(libc::NFT_CMP_LT, &limit.wall_ns.to_be_bytes());
        rule.load_meta(libc::NFT_META_L4PROTO.cast_unsigned());
        rule.look_up(until);
        rule.verdict(Verdict::Accept);
    });
}

/// Members are known by their address, and only on the way to or from the publish address: on the VIP they are clients.
fn member_rules(batch: &mut Batch, port_number: u16, own: IpAddr, members: &[IpAddr]) {
    // Where the addresses stand in a packet, and how long they are.
    let (family, source, destination, length, key) = match own {
        IpAddr::V4(_) => (libc::NFPROTO_IPV4, 12, 16, 4, TYPE_IPV4),
        IpAddr::V6(_) => (libc::NFPROTO_IPV6, 8, 24, 16, TYPE_IPV6),
    };
    set(batch, MEMBER_ADDRESSES, 3, (key, length), 0);
    for member in members.iter().filter(|member| member.is_ipv4() == own.is_ipv4()) {
        element(batch, MEMBER_ADDRESSES, &octets(*member), None);
    }
    for (chain, side, mine, theirs) in
        [(ARRIVING, DESTINATION_PORT, destination, source), (LEAVING, SOURCE_PORT, source, destination)]
    {
        rule(batch, chain, |rule| {
            rule.load_meta(libc::NFT_META_NFPROTO.cast_unsigned());
            rule.compare(libc::NFT_CMP_EQ, &[u8::try_from(family).unwrap_or(0)]);
            rule.load_payload(libc::NFT_PAYLOAD_NETWORK_HEADER, mine, length);
            rule.compare(libc::NFT_CMP_EQ, &octets(own));
            rule.load_payload(libc::NFT_PAYLOAD_NETWORK_HEADER, theirs, length);
            rule.look_up(MEMBER_ADDRESSES);
            port(rule, side, port_number);
            rule.verdict(Verdict::Goto(MEMBERS));
        });
    }
}

fn table(batch: &mut Batch, kind: i32, flags: u16) {
    batch.message(kind, flags);
    batch.text(1, TABLE);
}

fn set(batch: &mut Batch, name: &str, id: u32, (key_type, key_bytes): (u32, u32), flags: i32) {
    batch.message(libc::NFT_MSG_NEWSET, CREATE);
    batch.text(1, TABLE);
    batch.text(2, name);
    batch.number(3, flags.cast_unsigned());
    batch.number(4, key_type);
    batch.number(5, key_bytes);
    batch.number(10, id);
}

fn element(batch: &mut Batch, set: &str, key: &[u8], lifetime_ms: Option<u64>) {
    batch.message(libc::NFT_MSG_NEWSETELEM, CREATE);
    batch.text(1, TABLE);
    batch.text(2, set);
    batch.nest(3, |list| {
        list.nest(LIST_ELEM, |element| {
            element.nest(1, |data| data.bytes(1, key));
            if let Some(ms) = lifetime_ms {
                element.long(4, ms);
            }
        });
    });
}

fn inner_chain(batch: &mut Batch, name: &str) {
    batch.message(libc::NFT_MSG_NEWCHAIN, CREATE);
    batch.text(1, TABLE);
    batch.text(3, name);
}

fn base_chain(batch: &mut Batch, name: &str, hook: i32) {
    inner_chain(batch, name);
    batch.nest(4, |inside| {
        inside.number(1, hook.cast_unsigned());
        inside.number(2, PRIORITY.cast_unsigned());
    });
    batch.number(5, libc::NF_ACCEPT.cast_unsigned());
    batch.text(7, "filter");
}

fn rule(batch: &mut Batch, chain: &str, expressions: impl FnOnce(&mut Batch)) {
    batch.message(libc::NFT_MSG_NEWRULE, CREATE | APPEND);
    batch.text(1, TABLE);
    batch.text(2, chain);
    batch.nest(4, expressions);
}

fn loopback_passes(batch: &mut Batch, chain: &str, side: u32) {
    rule(batch, chain, |rule| {
        rule.load_meta(side);
        // The kernel keeps a device's type in its own byte order, as 16 bits.
        rule.compare(libc::NFT_CMP_EQ, &u16::try_from(ARPHRD_LOOPBACK).unwrap_or(0).to_ne_bytes());
        rule.verdict(Verdict::Accept);
    });
}

fn port(rule: &mut Batch, side: u32, number: u16) {
    rule.load_meta(libc::NFT_META_L4PROTO.cast_unsigned());
    rule.compare(libc::NFT_CMP_EQ, &[TCP]);
    rule.load_payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, side, 2);
    rule.compare(libc::NFT_CMP_EQ, &number.to_be_bytes());
}

/// Only after [`port`] or where every packet is TCP.
fn flags(rule: &mut Batch, among: u8, set: u8) {
    rule.load_payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1);
    rule.mask(among);
    rule.compare(libc::NFT_CMP_EQ, &[set]);
}

fn new_connection(rule: &mut Batch) {
    rule.load_meta(libc::NFT_META_L4PROTO.cast_unsigned());
    rule.compare(libc::NFT_CMP_EQ, &[TCP]);
    flags(rule, FIN_SYN_RST_ACK, SYN);
}
