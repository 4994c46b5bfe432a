//! Actors as data: what `leaderl actors` prints.

use crate::blackbox::{Ended, Entry, Handled, Note, Seen};
use crate::tree::Actor;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};
use supervisors::{ChildNow, ChildSnapshot, Strategy, TreeSnapshot};
use tokio::time::Instant;

/// Both clocks at one moment, to turn one's instants into the other's.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    now: Instant,
    wall: SystemTime,
}

impl Clocks {
    /// Now.
    pub fn now() -> Self {
        Self { now: Instant::now(), wall: SystemTime::now() }
    }

    fn ms_since(self, then: Instant) -> u64 {
        ms(self.now.saturating_duration_since(then))
    }

    fn rfc3339(self, then: Instant) -> String {
        humantime::format_rfc3339_millis(self.wall - self.now.saturating_duration_since(then)).to_string()
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One actor or supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorNode {
    /// Its id in the tree.
    pub id: String,
    /// `supervisor` or `worker`.
    pub kind: String,
    /// Its own word for its state, if it has one; else the supervisor's.
    pub state: String,
    /// How long it has been so, in milliseconds.
    pub in_state_ms: u64,
    /// `running`, `restarting`, `down`: the supervisor's word.
    pub lifecycle: String,
    /// How long it has been so, in milliseconds.
    pub in_lifecycle_ms: u64,
    /// Another one for every incarnation; empty without a process.
    pub pid: String,
    /// Restarts so far: of a worker in the daemon's life, of a supervisor in its own supervisor's.
    pub restarts: u64,
    /// Messages of others that wait; not known of supervisors.
    pub mailbox: Option<u64>,
    /// The message in hand and for how long, in milliseconds.
    pub in_hand: Option<(String, u64)>,
    /// Messages handled in the daemon's life.
    pub handled: u64,
    /// Half of them took at most so long, in nanoseconds.
    pub p50_ns: u64,
    /// All but one of a hundred.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Why its last process ended; empty when none did.
    pub last_exit: String,
    /// What is below it, in start order.
    pub children: Vec<ActorNode>,
}

impl ActorNode {
    /// The whole tree; `seen` gives an actor's record.
    pub fn root(tree: &TreeSnapshot<Actor>, seen: &dyn Fn(Actor) -> Seen, clocks: Clocks) -> Self {
        Self {
            id: "leaderl".to_owned(),
            kind: "supervisor".to_owned(),
            state: supervisor_state(tree),
            lifecycle: "running".to_owned(),
            children: tree.children.iter().map(|child| Self::child(child, seen, clocks)).collect(),
            ..Self::default()
        }
    }

    fn child(child: &ChildSnapshot<Actor>, seen: &dyn Fn(Actor) -> Seen, clocks: Clocks) -> Self {
        let record = seen(child.id);
        let is_worker = child.kind == supervisors::ChildKind::Worker;
        let (lifecycle, pid) = match &child.now {
            ChildNow::Running(cell) => ("running", cell.get_id().to_string()),
            ChildNow::Restarting => ("restarting", String::new()),
            ChildNow::Down => ("down", String::new()),
        };
        let in_lifecycle_ms = ms(child.in_state);
        let own = record.state.filter(|_| lifecycle == "running");
        let state = match (own, &child.subtree) {
            (Some((word, _)), _) => word.to_owned(),
            (None, Some(tree)) => supervisor_state(tree),
            (None, None) => lifecycle.to_owned(),
        };
        let last_exit = record.exits.last().map(|exit| exit.reason.to_string());
        let subtree = child.subtree.iter().flat_map(|tree| &tree.children);
        Self {
            id: child.id.to_string(),
            kind: if is_worker { "worker" } else { "supervisor" }.to_owned(),
            state,
            in_state_ms: own.map_or(in_lifecycle_ms, |(_, since)| clocks.ms_since(since)),
            lifecycle: lifecycle.to_owned(),
            in_lifecycle_ms,
            pid,
            restarts: if is_worker { record.starts.saturating_sub(1) } else { child.restarts },
            mailbox: child.sent.filter(|_| is_worker).map(|sent| sent.saturating_sub(record.mail_taken)),
            in_hand: record.in_hand.map(|(word, since)| (word.to_owned(), clocks.ms_since(since))),
            handled: if is_worker { record.all.count } else { child.handled },
            p50_ns: ns(record.all.p50),
            p99_ns: ns(record.all.p99),
            max_ns: ns(record.all.max),
            last_exit: last_exit.unwrap_or_default(),
            children: subtree.map(|child| Self::child(child, seen, clocks)).collect(),
        }
    }

    /// The one of this id, at or below this one.
    pub fn find(&self, id: &str) -> Option<&Self> {
        if self.id == id { Some(self) } else { self.children.iter().find_map(|child| child.find(id)) }
    }

    /// This one and everything below it, from top to bottom.
    pub fn flat(&self) -> Vec<&Self> {
        std::iter::once(self).chain(self.children.iter().flat_map(Self::flat)).collect()
    }
}

/// Its strategy, and how near it is to giving up.
fn supervisor_state(tree: &TreeSnapshot<Actor>) -> String {
    let strategy = match tree.strategy {
        Some(Strategy::OneForOne) => "one_for_one",
        Some(Strategy::OneForAll) => "one_for_all",
        Some(Strategy::RestForOne) => "rest_for_one",
        None => "dynamic",
    };
    let (counted, limit) = (tree.recent_restarts, tree.intensity);
    format!("{strategy}, {counted} of {} restarts in {} s", limit.restarts, limit.within.as_secs())
}

/// All that is known of one actor but its flight recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorDetail {
    /// As in the tree.
    pub actor: ActorNode,
    /// By kind of message.
    pub messages: Vec<MessageReport>,
    /// Its last ends, the oldest first.
    pub exits: Vec<ExitReport>,
    /// How many entries its flight recorder holds at most.
    pub flight_recorder: usize,
    /// Notes that were not taken because somebody was just reading.
    pub missed: u64,
}

/// One kind of message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageReport {
    /// The kind.
    pub kind: String,
    /// The actor sends it to itself.
    pub own: bool,
    /// How often.
    pub handled: u64,
    /// As of the actor.
    pub p50_ns: u64,
    /// As of the actor.
    pub p99_ns: u64,
    /// As of the actor.
    pub max_ns: u64,
}

/// One end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// Wall clock, RFC 3339.
    pub at: String,
    /// Why.
    pub reason: String,
}

impl ActorDetail {
    /// Joins both.
    pub fn of(actor: ActorNode, seen: &Seen, clocks: Clocks) -> Self {
        let exit =
            |exit: &crate::blackbox::Exit| ExitReport { at: clocks.rfc3339(exit.at), reason: exit.reason.to_string() };
        Self {
            actor,
            messages: seen.kinds.iter().map(MessageReport::of).collect(),
            exits: seen.exits.iter().map(exit).collect(),
            flight_recorder: seen.kept,
            missed: seen.missed,
        }
    }
}

impl MessageReport {
    fn of(handled: &Handled) -> Self {
        Self {
            kind: handled.kind.word.to_owned(),
            own: handled.kind.own,
            handled: handled.count,
            p50_ns: ns(handled.p50),
            p99_ns: ns(handled.p99),
            max_ns: ns(handled.max),
        }
    }
}

/// One entry of a flight recorder, or several that were alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEntry {
    /// When the last of them began: wall clock, RFC 3339.
    pub at: String,
    /// When the first of them did.
    pub first_at: String,
    /// How many they are.
    pub times: u64,
    /// The message's kind; `start`, `ended`, or the name of one of its tasks.
    pub event: String,
    /// The longest of them, in nanoseconds.
    pub took_ns: u64,
    /// `done`, `panicked`, `killed meanwhile`, or the error.
    pub ended: String,
    /// What was decided and ordered.
    pub notes: Vec<String>,
}

impl TraceEntry {
    /// For people and machines.
    pub fn of(entry: &Entry, clocks: Clocks) -> Self {
        Self {
            at: clocks.rfc3339(entry.last),
            first_at: clocks.rfc3339(entry.first),
            times: entry.times,
            event: entry.event.to_owned(),
            took_ns: ns(entry.took),
            ended: match &entry.ended {
                Ended::Done => "done".to_owned(),
                Ended::Failed(why) => why.to_string(),
                Ended::Panicked => "panicked".to_owned(),
                Ended::CutShort => "killed meanwhile".to_owned(),
            },
            notes: entry.notes.iter().map(note).collect(),
        }
    }
}

fn note(note: &Note) -> String {
    match note {
        Note::Decided { on, from, to } if from == to => format!("{on}: {from}"),
        Note::Decided { on, from, to } => format!("{on}: {from} -> {to}"),
        Note::Command(name) => (*name).to_owned(),
        Note::Sent { to, what } => format!("to {to}: {what}"),
        Note::Became(state) => format!("-> {state}"),
        Note::Said(text) => text.to_string(),
        Note::More(count) => format!("and {count} more"),
    }
}
