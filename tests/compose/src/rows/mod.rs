//! The rows: each a fault or an order on a real cluster, with what must hold.

mod actors;
pub mod case;
mod etcd;
mod network;
mod nodes;
mod operator;
mod processes;
mod replication;
pub mod runner;
mod search;
mod starvation;

use crate::{Outcome, fail};
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
    Row { name, about, kind: Kind::Quorum, core: false, gap: Gap::Any, changes: (0, 0), may_lose: false, body }
}

impl Row {
    const fn core(mut self) -> Self {
        self.core = true;
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

/// All rows, in the order they run.
pub static ROWS: &[Row] = &[
    row("bad-input", "orders that must be refused and change nothing", operator::bad_input).core().within(1),
    row("promote", "planned promotion of a follower", operator::promote).core().within(3).changes(1, 1),
    row("demote", "the leader steps down on demand", operator::demote).core().within(3).changes(1, 1),
    row("daemon-restarted", "daemon killed on the leader, started again at once", processes::daemon_restarted)
        .core()
        .unnoticed(),
    row("binary-replaced", "daemon's binary replaced and the daemon restarted", processes::binary_replaced).unnoticed(),
    row("actors-killed", "every actor of the leader's daemon killed in turn", actors::killed).unnoticed(),
    row("postmaster-killed", "postmaster killed -9 on the leader", processes::postmaster_killed)
        .core()
        .within(5)
        .changes(1, 2),
    row("leader-killed", "the leader's container killed, and back", nodes::leader_killed)
        .core()
        .within(12)
        .changes(1, 1),
    row("follower-killed", "a follower's container killed, and back", nodes::follower_killed).core().unnoticed(),
    row("daemon-dead", "daemon killed on the leader for good", processes::daemon_dead).within(12).changes(1, 1),
    row("daemon-stopped", "all the daemon's threads stopped for 2 D", processes::daemon_stopped)
        .core()
        .within(12)
        .changes(1, 1),
    row("backend-stopped", "one session stopped while the node is fenced", processes::backend_stopped)
        .within(12)
        .changes(1, 1),
    row("heart-killed", "the guardian killed on the leader", processes::heart_killed).within(12).changes(1, 2),
    row("heart-stopped", "the guardian alone stopped on the leader", processes::heart_stopped).within(14).changes(1, 1),
    row("leader-cut", "the leader cut from both others, reachable for clients", network::leader_cut)
        .core()
        .within(12)
        .changes(1, 1),
    row("vip-removed", "the VIP taken off the leader by hand", network::vip_removed).core().within(3),
    row("etcd-member-killed", "the leader's own etcd member killed", etcd::local_member_killed).unnoticed(),
    row("etcd-leader-killed", "etcd's leader killed with both cores busy", etcd::leader_killed_busy).within(5),
    row(
        "receivers-stopped",
        "both followers' receivers stopped: degraded in etcd before the first row",
        replication::degrade,
    )
    .within(10),
    row("two-killed", "two nodes killed: fenced, no promotion, status says why; one back: a leader", nodes::two_killed)
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

/// Rows by names with commas; `core`, `all`, or `slice:<text>` (a third of what is not core, by the text).
///
/// # Errors
/// A name is not known: the ones that are.
pub fn choose(wanted: &str) -> Outcome<Vec<&'static Row>> {
    let mut chosen: Vec<&'static Row> = Vec::new();
    for word in wanted.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let found: Vec<&'static Row> = match word {
            "all" => ROWS.iter().collect(),
            "core" => ROWS.iter().filter(|row| row.core).collect(),
            _ => match word.strip_prefix("slice:") {
                Some(text) => slice(text),
                None => ROWS.iter().filter(|row| row.name == word).collect(),
            },
        };
        if found.is_empty() {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            return fail(format!("there is no row {word:?}; there are core, all, {}", names.join(", ")));
        }
        chosen.extend(found);
    }
    let mut ordered: Vec<&'static Row> =
        ROWS.iter().filter(|row| chosen.iter().any(|one| one.name == row.name)).collect();
    // Stable: within a kind the order of the table.
    ordered.sort_by_key(|row| row.kind);
    Ok(ordered)
}

/// Every third row that is not core, starting where the text says.
fn slice(text: &str) -> Vec<&'static Row> {
    let sum: usize = text.bytes().map(usize::from).sum();
    ROWS.iter()
        .filter(|row| !row.core)
        .enumerate()
        .filter(|(index, _)| (index + sum).is_multiple_of(3))
        .map(|(_, row)| row)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn three_slices_make_all_that_is_not_core() {
        let of = |text| slice(text).len();
        assert_eq!(of("a") + of("b") + of("c"), ROWS.iter().filter(|row| !row.core).count());
    }

    #[test]
    fn an_unknown_row_is_refused_and_a_known_one_comes_once() {
        assert!(choose("promote,nothing-such").is_err());
        assert_eq!(
            choose("promote,core,promote").expect("known").iter().filter(|row| row.name == "promote").count(),
            1
        );
    }
}
