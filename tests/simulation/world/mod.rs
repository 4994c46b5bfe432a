//! The world: one clock, one queue of events, one source of chance; everything outside the daemons is plain state in here.

pub(crate) mod begin;
pub(crate) mod counts;
pub(crate) mod daemon;
pub(crate) mod drive;
pub(crate) mod kernel;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod profile;
pub(crate) mod random;
pub(crate) mod reply;
pub(crate) mod rng;
pub(crate) mod sim;

use crate::clients::Clients;
use crate::etcd::Etcd;
use crate::faults::FaultState;
use crate::network::Network;
use crate::oracles::Truth;
use counts::Counts;
use leaderl_decision::records::Keys;
use log::Log;
use node::Node;
use profile::Profile;
use rng::Rng;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// World time in nanoseconds since the start of the run.
pub(crate) type Time = u64;
/// A millisecond of it.
pub(crate) const MS: Time = 1_000_000;
/// A microsecond of it.
pub(crate) const US: Time = 1_000;
/// A second of it.
pub(crate) const SEC: Time = 1_000_000_000;

/// What happens at an instant.
pub(crate) type Happening = Box<dyn FnOnce(&mut World) + Send>;

struct Entry {
    at: Time,
    number: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Everything outside the daemons.
pub(crate) struct World {
    pub(crate) now: Time,
    number: u64,
    queue: BinaryHeap<Entry>,
    pub(crate) rng: Rng,
    pub(crate) log: Log,
    pub(crate) profile: Profile,
    pub(crate) keys: Keys,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Network,
    pub(crate) etcd: Etcd,
    pub(crate) clients: Clients,
    pub(crate) faults: FaultState,
    pub(crate) truth: Truth,
    pub(crate) counts: Counts,
    /// Questions of daemons that wait for an answer.
    pub(crate) in_flight: u64,
}

/// The world as ports and driver share it.
pub(crate) type Shared = Arc<Mutex<World>>;

/// Locks it; a panic of one event ends the whole run anyway.
pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(seed: u64, profile: Profile, log: Log) -> Self {
        let mut rng = Rng::new(seed, 1);
        let nodes: Vec<Node> = (0..profile.nodes).map(|id| Node::new(id, &profile, &mut rng)).collect();
        let keys = Keys::new(node::CLUSTER_ID);
        Self {
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            log,
            keys,
            net: Network::new(profile.nodes),
            etcd: Etcd::new(profile.nodes),
            clients: Clients::default(),
            faults: FaultState::default(),
            truth: Truth::default(),
            counts: Counts::default(),
            in_flight: 0,
            rng,
            nodes,
            profile,
        }
    }

    /// At this instant, after everything that was put there before.
    pub(crate) fn at(&mut self, at: Time, what: impl FnOnce(&mut World) + Send + 'static) {
        self.number += 1;
        let at = at.max(self.now);
        self.queue.push(Entry { at, number: self.number, what: Box::new(what) });
    }

    /// So much later.
    pub(crate) fn after(&mut self, delay: Time, what: impl FnOnce(&mut World) + Send + 'static) {
        self.at(self.now + delay, what);
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.queue.peek().map(|entry| entry.at)
    }

    /// Does the next event that is due by `until`; `false` when there is none.
    pub(crate) fn step(&mut self, until: Time) -> bool {
        if self.next_at().is_none_or(|at| at > until) {
            return false;
        }
        if let Some(entry) = self.queue.pop() {
            self.now = self.now.max(entry.at);
            (entry.what)(self);
            crate::oracles::after_event(self);
        }
        true
    }

    /// A line of the story.
    pub(crate) fn note(&mut self, text: std::fmt::Arguments<'_>) {
        self.log.line(self.now, text);
    }

    /// A random duration in microseconds.
    pub(crate) fn micros(&mut self, low: u64, high: u64) -> Time {
        self.rng.between(low, high) * US
    }

    /// A random duration in milliseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Time {
        self.rng.between(low * 1000, high * 1000) * US
    }
}

/// Writes a line of the story.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        $world.note(format_args!($($text)*))
    };
}
pub(crate) use note;
