//! THE supervision tree: declared once, as data.
//!
//! `actors/start.rs` gives every declared worker its start function, `docs/supervision-tree.md` is drawn from here, and the
//! folders under `actors/` mirror it.
//!
//! Order is meaning. Children start from top to bottom and stop from bottom to top: what is asked from outside stops first,
//! then search, health, the VIP, PostgreSQL's actor, and coordination last, with the session that renews the key at the
//! very end. Whoever stops the daemon for good demotes before that ([`crate::daemon`]); the order serves the rest: nobody is
//! told anything by an actor that has stopped before it.
//!
//! Intensities multiply up the tree: a branch may restart its own children often, the root hardly ever.

use leaderl_decision::model::ServiceName;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;
use supervisors::{Shutdown, Strategy};

/// Every child of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// Supervisor: etcd, heart, the election and what it rests on.
    Coordination,
    /// The session with etcd.
    EtcdSession,
    /// The link to heart.
    HeartLink,
    /// Membership and posted status.
    Membership,
    /// The election.
    Election,
    /// The voter record.
    Voters,
    /// Supervisor: the search engine.
    Search,
    /// The search engine's actor.
    Es,
    /// Supervisor: PostgreSQL.
    Postgres,
    /// PostgreSQL's actor.
    PgReplication,
    /// Supervisor: the VIP.
    Network,
    /// The VIP's actor.
    Vip,
    /// Supervisor: health checks.
    Health,
    /// One service's health.
    HealthOf(ServiceName),
    /// Supervisor: what the outside asks.
    Api,
    /// HTTP.
    StatusHttp,
    /// Admin socket.
    AdminSocket,
    /// Journal.
    Journal,
}

impl Actor {
    /// Its id in the tree, as operators type it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Coordination => "coordination",
            Self::EtcdSession => "etcd_session",
            Self::HeartLink => "heart_link",
            Self::Membership => "membership",
            Self::Election => "election",
            Self::Voters => "voters",
            Self::Search => "search",
            Self::Es => "es",
            Self::Postgres => "postgres",
            Self::PgReplication => "pg_replication",
            Self::Network => "network",
            Self::Vip => "vip",
            Self::Health => "health",
            Self::HealthOf(ServiceName::Postgres) => "health(postgres)",
            Self::HealthOf(ServiceName::Search) => "health(search)",
            Self::HealthOf(ServiceName::Etcd) => "health(etcd)",
            Self::HealthOf(ServiceName::System) => "health(system)",
            Self::Api => "api",
            Self::StatusHttp => "status_http",
            Self::AdminSocket => "admin_socket",
            Self::Journal => "journal",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// No actor of the tree has this id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no actor `{word}`; there are {}", names(known()))]
pub struct UnknownActor {
    /// As typed.
    pub word: String,
}

impl FromStr for Actor {
    type Err = UnknownActor;

    /// Shells want quotes around `health(etcd)`, so `health.etcd` and `health-etcd` mean the same.
    fn from_str(word: &str) -> Result<Self, UnknownActor> {
        let plain = |word: &str| word.trim_end_matches(')').replace(['(', '.', '-'], "_").to_ascii_lowercase();
        let found = known().into_iter().find(|actor| plain(actor.word()) == plain(word));
        found.ok_or_else(|| UnknownActor { word: word.to_owned() })
    }
}

/// Everything below the root, in start order.
pub fn known() -> Vec<Actor> {
    fn below(branch: &'static Branch, all: &mut Vec<Actor>) {
        for child in branch.children {
            match child {
                Child::Worker(actor, _) => all.push(*actor),
                Child::Supervisor(branch) => {
                    all.extend(branch.id);
                    below(branch, all);
                }
            }
        }
    }
    let mut all = Vec::new();
    below(&LEADERL, &mut all);
    all
}

/// The branches that rest when they give up, and for how long.
pub fn resting() -> Vec<(Actor, Duration)> {
    let of = |child: &Child| match child {
        Child::Supervisor(Branch { id: Some(id), surrender: Surrender::Rests(pause), .. }) => Some((*id, *pause)),
        Child::Supervisor(_) | Child::Worker(..) => None,
    };
    LEADERL.children.iter().filter_map(of).collect()
}

fn names(actors: Vec<Actor>) -> String {
    actors.iter().map(|actor| actor.word()).collect::<Vec<_>>().join(", ")
}

/// One entry of the declaration.
#[derive(Debug)]
pub enum Child {
    /// A supervisor and its children.
    Supervisor(&'static Branch),
    /// An actor, and how long its orderly stop may take.
    Worker(Actor, Shutdown),
}

/// A supervisor.
#[derive(Debug)]
pub struct Branch {
    /// Its id below its parent; the root has none.
    pub id: Option<Actor>,
    /// Whom a child that ends takes along.
    pub strategy: Strategy,
    /// More restarts than this within `within`: the branch gives up.
    pub restarts: u32,
    /// See `restarts`.
    pub within: Duration,
    /// What its giving up means.
    pub surrender: Surrender,
    /// In start order.
    pub children: &'static [Child],
}

/// What it means that a branch gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surrender {
    /// Its supervisor restarts it, and counts.
    Climbs,
    /// It rests for so long and is then tried again; nobody else is touched.
    Rests(Duration),
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// For what it does at its end.
const fn worker(actor: Actor, seconds: u64) -> Child {
    Child::Worker(actor, Shutdown::Within(secs(seconds)))
}

/// It waits for others while it handles a message, and has nothing to do at its end: a question that is cut off is as good as
/// one whose answer is lost. Whoever is restarted with it must not wait for that answer.
const fn asker(actor: Actor) -> Child {
    Child::Worker(actor, Shutdown::Within(Duration::from_millis(200)))
}

/// The root. A branch that gives up was not cured by restarting its own: then whoever reports to it begins anew as well, and
/// reports flow from later branches to earlier ones (PostgreSQL, the VIP and health report to the election; everything is
/// read by the API). Orders flow the other way, are repeated, and need no restart of who gives them. Hence rest_for_one.
///
/// Two in a minute: a third surrender means that restarting does not help, and a fenced node, whose seat another can take,
/// is better than one that leads without its actors.
pub static LEADERL: Branch = Branch {
    id: None,
    strategy: Strategy::RestForOne,
    restarts: 2,
    within: secs(60),
    surrender: Surrender::Climbs,
    children: &[
        Child::Supervisor(&COORDINATION),
        Child::Supervisor(&POSTGRES),
        Child::Supervisor(&NETWORK),
        Child::Supervisor(&HEALTH),
        Child::Supervisor(&SEARCH),
        Child::Supervisor(&API),
    ],
};

/// Each begins anew from etcd, heart, the board, and orders that its neighbours give again as soon as they see a new
/// incarnation; none holds state of another. So none takes another along, least of all the election: with it went what it
/// has decided, such as a step-down half-way. A restart costs milliseconds and no leadership.
///
/// The order is that of an orderly stop: the session, which renews, ends last.
static COORDINATION: Branch = Branch {
    id: Some(Actor::Coordination),
    strategy: Strategy::OneForOne,
    restarts: 5,
    within: secs(30),
    surrender: Surrender::Climbs,
    children: &[
        worker(Actor::EtcdSession, 5),
        worker(Actor::HeartLink, 5),
        asker(Actor::Membership),
        worker(Actor::Election, 5),
        worker(Actor::Voters, 5),
    ],
};

/// Its stop leaves PostgreSQL to heart; long work in hand is given up and taken up again by the next incarnation.
static POSTGRES: Branch = Branch {
    id: Some(Actor::Postgres),
    strategy: Strategy::OneForOne,
    restarts: 5,
    within: secs(30),
    surrender: Surrender::Climbs,
    children: &[asker(Actor::PgReplication)],
};

/// Its stop leaves the VIP to heart, whose deadline removes it.
static NETWORK: Branch = Branch {
    id: Some(Actor::Network),
    strategy: Strategy::OneForOne,
    restarts: 5,
    within: secs(30),
    surrender: Surrender::Climbs,
    children: &[asker(Actor::Vip)],
};

/// Independent checks: one that fails to run says nothing about the others. Four share the limit, so it is twice a single
/// actor's. A node that cannot be checked must not lead, so a surrender climbs.
static HEALTH: Branch = Branch {
    id: Some(Actor::Health),
    strategy: Strategy::OneForOne,
    restarts: 10,
    within: secs(30),
    surrender: Surrender::Climbs,
    children: &[
        asker(Actor::HealthOf(ServiceName::Postgres)),
        asker(Actor::HealthOf(ServiceName::Search)),
        asker(Actor::HealthOf(ServiceName::Etcd)),
        asker(Actor::HealthOf(ServiceName::System)),
    ],
};

/// Its stop leaves the engine running. PostgreSQL does without it, so its surrender fences nobody: the engine counts as
/// offline here (health then moves the leadership, if another node's is well), and after a pause the branch is tried again.
static SEARCH: Branch = Branch {
    id: Some(Actor::Search),
    strategy: Strategy::OneForOne,
    restarts: 5,
    within: secs(30),
    surrender: Surrender::Rests(secs(30)),
    children: &[asker(Actor::Es)],
};

/// Readers only: losing one costs an answer, never a decision. A surrender climbs all the same: a leader whose `/leader`
/// cannot be asked is no leader to the frontends.
static API: Branch = Branch {
    id: Some(Actor::Api),
    strategy: Strategy::OneForOne,
    restarts: 10,
    within: secs(30),
    surrender: Surrender::Climbs,
    children: &[worker(Actor::StatusHttp, 5), worker(Actor::AdminSocket, 5), worker(Actor::Journal, 5)],
};

/// The tree as `docs/supervision-tree.md` shows it.
pub fn drawn() -> String {
    let mut text = String::from(
        "# Supervision tree\n\nDrawn from `src/tree.rs` by `leaderl actors tree --declared`; a test keeps it fresh. Children start from top to\n\
         bottom and stop from bottom to top, each within its time.\n\n```\n",
    );
    draw(&LEADERL, "", &mut text);
    text.push_str("```\n");
    text
}

fn draw(branch: &Branch, indent: &str, text: &mut String) {
    let name = branch.id.map_or_else(|| "leaderl".to_owned(), |id| id.to_string());
    let strategy = match branch.strategy {
        Strategy::OneForOne => "one_for_one",
        Strategy::OneForAll => "one_for_all",
        Strategy::RestForOne => "rest_for_one",
    };
    let within = branch.within.as_secs();
    // Writing to a String cannot fail.
    let rests = match branch.surrender {
        Surrender::Climbs => String::new(),
        Surrender::Rests(pause) => format!("; gives up for {} s", pause.as_secs()),
    };
    let _written = writeln!(text, "{name} ({strategy}, {} restarts within {within} s{rests})", branch.restarts);
    for (index, child) in branch.children.iter().enumerate() {
        let last = index + 1 == branch.children.len();
        let (tee, bar) = if last { ("└ ", "  ") } else { ("├ ", "│ ") };
        text.push_str(indent);
        text.push_str(tee);
        match child {
            Child::Supervisor(branch) => draw(branch, &format!("{indent}{bar}"), text),
            Child::Worker(actor, shutdown) => {
                let stop = match shutdown {
                    Shutdown::BrutalKill => "killed".to_owned(),
                    Shutdown::Within(limit) if limit.subsec_millis() > 0 => {
                        format!("stops within {} ms", limit.as_millis())
                    }
                    Shutdown::Within(limit) => format!("stops within {} s", limit.as_secs()),
                    Shutdown::Infinity => "stops in its own time".to_owned(),
                };
                let _written = writeln!(text, "{actor} ({stop})");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_is_found_by_its_id_and_without_the_shells_brackets() {
        for actor in known() {
            assert_eq!(actor.word().parse(), Ok(actor));
        }
        assert_eq!("health.etcd".parse(), Ok(Actor::HealthOf(ServiceName::Etcd)));
        assert_eq!("heart-link".parse(), Ok(Actor::HeartLink));
        let unknown = "vips".parse::<Actor>().unwrap_err().to_string();
        assert!(unknown.starts_with("there is no actor `vips`; there are coordination, etcd_session,"), "{unknown}");
    }
}
