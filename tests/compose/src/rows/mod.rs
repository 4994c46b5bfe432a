//! The rows: each a fault or an order on a real cluster, with what must hold.

mod actors;
mod addresses;
pub mod case;
mod catalogue;
mod choose;
mod compounds;
mod cuts;
mod etcd;
mod etcd_faults;
mod frozen;
mod gate;
mod half_open;
mod network;
mod nodes;
mod operator;
mod processes;
mod replication;
pub mod runner;
mod search;
mod signals;
mod starvation;
mod step_kills;
mod wall_clock;

pub use choose::choose;

use crate::Outcome;
use case::Case;
use futures::future::BoxFuture;
use std::time::Duration;

/// The leader's lease time in these clusters: the default.
pub const D: Duration = Duration::from_secs(5);

/// What kind of cluster a row needs. One cluster serves all rows of a kind, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `quorum`, without a search engine.
    Quorum,
    /// `strict`, without a search engine.
    Strict,
    /// `async`, without a search engine.
    Async,
    /// `quorum`, with the search engine.
    Search,
}

/// What the writers may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// At most 250 ms of silence for any client on the VIP.
    Unnoticed,
    /// At most this long without any acknowledgement. Generous: what is reached is in docs/measurements.md.
    Within(Duration),
    /// As long as it takes.
    Any,
}

/// A row.
pub struct Row {
    /// How it is chosen.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Faults of the catalogue that it injects, besides the one its name begins with.
    pub covers: &'static [&'static str],
    /// How long it takes, as measured; only for dividing rows fairly.
    pub takes: Duration,
    /// The cluster it needs.
    pub kind: Kind,
    /// In every `make test`; others take turns by commit.
    pub core: bool,
    /// What writers may notice.
    pub gap: Gap,
    /// Changes of leader, at least and at most.
    pub changes: (u64, u64),
    /// Whether acknowledged rows may be lost (`async` only).
    pub may_lose: bool,
    /// What happens.
    pub body: for<'a> fn(&'a mut Case) -> BoxFuture<'a, Outcome<()>>,
}

const fn row(
    name: &'static str,
    about: &'static str,
    body: for<'a> fn(&'a mut Case) -> BoxFuture<'a, Outcome<()>>,
) -> Row {
    Row {
        name,
        about,
        covers: &[],
        takes: Duration::from_secs(20),
        kind: Kind::Quorum,
        core: false,
        gap: Gap::Any,
        changes: (0, 0),
        may_lose: false,
        body,
    }
}

impl Row {
    const fn core(mut self) -> Self {
        self.core = true;
        self
    }

    const fn covers(mut self, ids: &'static [&'static str]) -> Self {
        self.covers = ids;
        self
    }

    const fn takes(mut self, seconds: u64) -> Self {
        self.takes = Duration::from_secs(seconds);
        self
    }

    const fn unnoticed(mut self) -> Self {
        self.gap = Gap::Unnoticed;
        self
    }

    const fn within(mut self, seconds: u64) -> Self {
        self.gap = Gap::Within(Duration::from_secs(seconds));
        self
    }

    const fn changes(mut self, least: u64, most: u64) -> Self {
        self.changes = (least, most);
        self
    }

    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    const fn may_lose(mut self) -> Self {
        self.may_lose = true;
        self
    }
}

/// Every row, in the order they run.
pub fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(catalogue::ROWS)
}

/// What a cluster does every day, and the faults that come first to mind.
static ROWS: &[Row] = &[
    row("bad-input", "orders that must be refused and change nothing", operator::bad_input).core().within(1),
    row("promote", "planned promotion of a follower", operator::promote).core().within(3).changes(1, 1),
    row("demote", "the leader steps down on demand", operator::demote).core().within(3).changes(1, 1),
    row("daemon-restarted", "daemon killed on the leader, started again at once", processes::daemon_restarted)
        .covers(&["P01"])
        .core()
        .unnoticed(),
    row("binary-replaced", "daemon's binary replaced and the daemon restarted", processes::binary_replaced).unnoticed(),
    row("actors-killed", "every actor of the leader's and of a follower's daemon killed in turn", actors::killed)
        .covers(&["L01"])
        .unnoticed(),
    row("postmaster-killed", "postmaster killed -9 on the leader", processes::postmaster_killed)
        .covers(&["P06"])
        .core()
        .within(5)
        .changes(1, 2),
    row("leader-killed", "the leader's container killed, and back", nodes::leader_killed)
        .covers(&["P13"])
        .core()
        .within(12)
        .changes(1, 1),
    row("follower-killed", "a follower's container killed, and back", nodes::follower_killed)
        .covers(&["P13"])
        .core()
        .unnoticed(),
    row("daemon-dead", "daemon killed on the leader for good", processes::daemon_dead)
        .covers(&["P02"])
        .within(12)
        .changes(1, 1),
    row("daemon-stopped", "all the daemon's threads stopped for 2 D", processes::daemon_stopped)
        .covers(&["P03"])
        .core()
        .within(12)
        .changes(1, 1),
    row("backend-stopped", "one session stopped while the node is fenced", processes::backend_stopped)
        .covers(&["P02", "P09"])
        .within(12)
        .changes(1, 1),
    row("heart-killed", "the guardian killed on the leader", processes::heart_killed).within(12).changes(1, 2),
    row("heart-stopped", "the guardian alone stopped on the leader", processes::heart_stopped).within(14).changes(1, 1),
    row(
        "daemon-and-heart-stopped",
        "daemon and guardian both stopped for 2 D: only the kernel fences",
        gate::daemon_and_heart_stopped,
    )
    .covers(&["P04"])
    .core()
    .within(12)
    .changes(1, 1),
    row("node-paused", "the whole leader node paused, and thawed after 2 D", gate::node_paused)
        .covers(&["P05"])
        .within(12)
        .changes(1, 1),
    row("late-refresh", "each call that renews or opens a fence comes 2 D late", gate::late_refresh)
        .covers(&["P17"])
        .takes(110)
        .changes(6, 14),
    row("leader-cut", "the leader cut from both others, reachable for clients", network::leader_cut)
        .covers(&["N02"])
        .core()
        .within(12)
        .changes(1, 1),
    row("vip-removed", "the VIP taken off the leader by hand", network::vip_removed).covers(&["V04"]).core().within(3),
    row("etcd-member-killed", "the leader's own etcd member killed", etcd::local_member_killed)
        .covers(&["P12", "E01"])
        .unnoticed(),
    row("etcd-leader-killed", "etcd's leader killed with both cores busy", etcd::leader_killed_busy).within(5),
    row(
        "receivers-stopped",
        "both followers' receivers stopped: degraded in etcd before the first row",
        replication::degrade,
    )
    .covers(&["P10", "P11"])
    .within(10),
    row("two-killed", "two nodes killed: fenced, no promotion, status says why; one back: a leader", nodes::two_killed)
        .covers(&["E02"])
        .core()
        .changes(1, 2),
    row("failover-off", "cluster failover off and the leader dies", operator::failover_off).changes(1, 1),
    row("node-failover-off", "failover off for one follower and the leader dies", operator::node_failover_off)
        .within(12)
        .changes(1, 1),
    row("all-killed-leader-first", "all nodes killed; the last leader is back first", nodes::all_killed_leader_first)
        .changes(1, 2),
    row("all-killed-leader-last", "all nodes killed; the last leader is back last", nodes::all_killed_leader_last)
        .core()
        .changes(1, 2),
    row(
        "all-killed-leader-missing",
        "all nodes killed; a leader without the last one",
        nodes::all_killed_leader_missing,
    )
    .changes(1, 2),
    row("strict-receivers-stopped", "strict: both receivers stopped, so no commit returns", replication::strict_blocks)
        .kind(Kind::Strict),
    row(
        "async-leader-killed",
        "async: the leader's container killed; what is lost is reported",
        replication::async_loss,
    )
    .kind(Kind::Async)
    .within(16)
    .changes(1, 1)
    .may_lose(),
    row(
        "async-daemon-and-heart-stopped",
        "async: both stopped for 2 D; no follower has to confirm, so the port gate alone keeps the old leader quiet",
        gate::daemon_and_heart_stopped,
    )
    .covers(&["P04"])
    .kind(Kind::Async)
    .within(16)
    .changes(1, 1)
    .may_lose(),
    row("async-node-paused", "async: the whole leader node paused, and thawed after 2 D", gate::node_paused)
        .covers(&["P05"])
        .kind(Kind::Async)
        .within(16)
        .changes(1, 1)
        .may_lose(),
    row("search-failover", "index and search through the VIP before and after a failover", search::failover)
        .core()
        .kind(Kind::Search)
        .within(14)
        .changes(1, 1),
    row("search-follower-killed", "the engine killed on a follower", search::follower_killed)
        .kind(Kind::Search)
        .unnoticed(),
    row("search-leader-killed", "the engine killed on the leader", search::leader_killed)
        .kind(Kind::Search)
        .within(12)
        .changes(0, 1),
];
