//! Rows that are named after the fault catalogue's: what a cluster must survive besides the everyday ones.

use super::{
    Kind, Row, addresses, compounds, cuts, etcd_faults, frozen, half_open, row, signals, step_kills, wall_clock,
};

/// In the order they run.
pub(super) static ROWS: &[Row] = &[
    row("p03-daemon-frozen-0.3d", "the leader's daemon frozen for 0.3 D: unnoticed", frozen::for_three_tenths)
        .within(2),
    row("p03-daemon-frozen-0.6d", "the same for 0.6 D: leads on or is fenced", frozen::for_six_tenths)
        .within(14)
        .changes(0, 2),
    row("p03-daemon-frozen-0.9d", "the same for 0.9 D: fenced", frozen::for_nine_tenths).within(14).changes(1, 2),
    row("p03-daemon-frozen-1.5d", "the same for 1.5 D: another leads", frozen::for_one_and_a_half)
        .within(14)
        .changes(1, 2),
    row("p03-daemon-frozen-5d", "the same for 5 D", frozen::for_five).within(14).changes(1, 2).takes(35),
    row("p15-promote", "daemon killed between the acquired key and the promotion", step_kills::promote)
        .within(20)
        .changes(1, 3)
        .takes(10),
    row("p15-demote", "daemon killed while it demotes", step_kills::demote).within(20).changes(1, 3).takes(10),
    row("p15-rewind", "daemon killed while it rewinds, and again", step_kills::rewind).within(14).changes(1, 2),
    row("p15-join", "daemon killed just started by a join, and while it copies", step_kills::join).within(10),
    row("p15-base-copy", "daemon killed at the beginning, middle and end of a base copy", step_kills::base_copy)
        .within(10)
        .takes(15),
    row("p15-upgrade", "the upgraded daemon killed as soon as it is there", step_kills::upgrade)
        .within(14)
        .changes(0, 2)
        .takes(10),
    row("n01-cut-from-all", "the leader cut from nodes and clients", cuts::from_everything)
        .within(14)
        .changes(1, 1)
        .takes(15),
    row("n03-cut-from-etcd", "the leader cut from etcd, replication intact", cuts::from_etcd)
        .within(14)
        .changes(1, 1)
        .takes(15),
    row(
        "n04-cut-from-receivers",
        "the leader cut from its followers on 5432: degrades, and stays",
        cuts::from_receivers,
    )
    .within(14),
    row("n05-deaf", "one direction: nothing of the others reaches the leader", cuts::deaf)
        .within(14)
        .changes(1, 1)
        .takes(15),
    row("n11-half-open-etcd", "the leader's connections to etcd go silent", half_open::to_etcd).within(2),
    row("n11-half-open-members", "the connections of the leader's etcd member go silent", half_open::between_members)
        .within(2),
    row("n11-half-open-receivers", "the followers' replication connections go silent", half_open::to_followers)
        .within(14),
    row("n11-half-open-watches", "the followers' watches go silent and the leader dies", half_open::watches)
        .within(14)
        .changes(1, 1),
    row(
        "t01-wall-clock-steps",
        "wall clock of the leader's daemon and PostgreSQL steps by hours and years",
        wall_clock::steps,
    )
    .within(5)
    .changes(1, 2)
    .takes(60),
    row("e03-etcd-leader-moves", "etcd's leader changes every 3 s", etcd_faults::leader_moves).within(2).takes(40),
    row("e04-etcd-leader-pauses", "etcd's leader stands still for 1.5 D, three times", etcd_faults::leader_pauses)
        .within(2)
        .takes(40),
    row("e05-answers-late", "renewals are committed, their answers late", etcd_faults::answers_late)
        .within(2)
        .takes(30),
    row("e05-answers-lost", "renewals are committed, their answers lost", etcd_faults::answers_lost)
        .within(20)
        .changes(1, 2),
    row(
        "e07-watch-compacted",
        "the followers' watches end by compaction, then the leader dies",
        etcd_faults::watch_compacted,
    )
    .within(20)
    .changes(1, 1)
    .takes(30),
    row("e08-etcd-full", "etcd's quota used up: fenced, freed by itself, a leader within 30 s", etcd_faults::full)
        .within(40)
        .changes(0, 3)
        .takes(30),
    row(
        "l02-leader-gives-up",
        "more panics than the tree allows on the leader: fenced first",
        signals::gives_up_on_the_leader,
    )
    .within(20)
    .changes(1, 2)
    .takes(30),
    row("l02-follower-gives-up", "the same on a follower: PostgreSQL streams on", signals::gives_up_on_a_follower)
        .within(2),
    row("l13-sigterm", "the leader's daemon is told to end", signals::term).within(5).changes(1, 1).takes(10),
    row("l13-sigterm-twice", "the same, twice at once", signals::term_twice).within(14).changes(1, 2).takes(10),
    row("l13-sighup", "the leader's daemon gets SIGHUP", signals::hangup).within(5).changes(0, 1).takes(10),
    row("l13-sigterm-promoting", "a daemon is told to end while it promotes", signals::term_while_promoting)
        .within(20)
        .changes(1, 3)
        .takes(10),
    row("v01-vip-taken", "another machine has the VIP when a leader takes over", addresses::taken_at_takeover)
        .within(5)
        .changes(1, 1)
        .takes(15),
    row("v02-vip-claimed", "another machine claims the VIP later", addresses::claimed_later).within(5).takes(30),
    row("v03-link-blinks", "the leader's interface is down for a second", addresses::link_blinks)
        .within(14)
        .changes(0, 1),
    row("v03-link-down", "the leader's interface is down until another leads", addresses::link_down)
        .within(14)
        .changes(1, 1)
        .takes(15),
    row("v03-link-renamed", "the leader's interface is renamed, and back", addresses::link_renamed)
        .within(14)
        .changes(0, 2)
        .takes(10),
    row("v03-link-deleted", "the leader's interface is deleted and made anew", addresses::link_deleted)
        .within(14)
        .changes(2, 3),
    row("v04-vip-on-follower", "the VIP put on a follower by hand", addresses::added_to_a_follower).within(5),
    row("v05-vip-left-over", "the VIP left on a follower for ever while nothing ran there", addresses::left_over)
        .within(5)
        .takes(10),
    row("x03-chase", "each new leader killed as soon as it acknowledges, ten times", compounds::chase)
        .changes(10, 20)
        .takes(180),
    row("x07-voter-leaves", "the leader dies as a voter leaves", compounds::voter_leaves)
        .within(25)
        .changes(1, 1)
        .takes(25),
    row("x07-voter-returns", "the leader dies as a voter comes back", compounds::voter_returns)
        .within(25)
        .changes(1, 1)
        .takes(25),
    row("x12-promoted-meanwhile", "an operator promotes while the others take over", compounds::promoted_meanwhile)
        .within(20)
        .changes(1, 3),
    row("n04-cut-from-receivers-strict", "strict: the same, and commits wait", cuts::from_receivers_strict)
        .kind(Kind::Strict),
];
