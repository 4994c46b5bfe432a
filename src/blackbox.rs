//! What can be seen of a running actor: its state, what it has handled and how long that took, why it ended, and a flight
//! recorder. [`Watched`] keeps it for every actor; nothing here is asked of the actor itself, so
//! one that hangs can be looked at as well.
//!
//! Everything is bounded. An actor never waits for whoever reads: a note that finds the book in use is counted as missed.

mod histogram;
mod recorder;
mod scope;
mod watched;

pub use recorder::{Ended, Entry, Note};
pub use scope::{became, carried, command, decided, said, sent};
pub use watched::Watched;

use histogram::{Histogram, Summary};
use recorder::Recorder;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use supervisors::ExitReason;
use tokio::time::Instant;

/// So many ends of an actor are remembered.
const EXITS: usize = 16;

/// What a message is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Lower case, with hyphens.
    pub word: &'static str,
    /// The actor (its timer, its own tasks) sends it to itself: no mail.
    pub own: bool,
}

/// A kind that others send.
pub const fn heard(word: &'static str) -> Kind {
    Kind { word, own: false }
}

/// A kind that only the actor itself and its tasks send.
pub const fn own(word: &'static str) -> Kind {
    Kind { word, own: true }
}

/// A message that can say what it is.
pub trait Named {
    /// Its kind.
    fn kind(&self) -> Kind;
}

/// The record of one actor, over all its incarnations in this daemon's life.
#[derive(Debug)]
pub struct BlackBox {
    book: Mutex<Book>,
    missed: AtomicU64,
}

#[derive(Debug)]
struct Book {
    kinds: Vec<(Kind, Histogram)>,
    state: Option<(&'static str, Instant)>,
    in_hand: Option<(&'static str, Instant)>,
    /// Taken by the present incarnation, without its own.
    mail_taken: u64,
    starts: u64,
    exits: VecDeque<Exit>,
    recorder: Recorder,
}

/// The end of an incarnation.
#[derive(Clone, Debug)]
pub struct Exit {
    /// When.
    pub at: Instant,
    /// Why.
    pub reason: ExitReason,
}

/// How often and how long messages of one kind were handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The kind; an empty word: all together.
    pub kind: Kind,
    /// How often.
    pub count: u64,
    /// Half of them took at most so long.
    pub p50: Duration,
    /// All but one of a hundred.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// A copy of the record without the flight recorder.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The actor's own word for its state, and since when; `None` when it has none.
    pub state: Option<(&'static str, Instant)>,
    /// The message being handled, and since when.
    pub in_hand: Option<(&'static str, Instant)>,
    /// Messages of others that the present incarnation has taken from its mailbox.
    pub mail_taken: u64,
    /// Successful starts.
    pub starts: u64,
    /// The last ends, the oldest first.
    pub exits: Vec<Exit>,
    /// All kinds together.
    pub all: Handled,
    /// By kind, in order of their first use.
    pub kinds: Vec<Handled>,
    /// Notes that were not taken because somebody was reading.
    pub missed: u64,
    /// What the flight recorder holds at most.
    pub kept: usize,
}

impl BlackBox {
    /// An empty record with room for `kept` entries.
    pub fn new(kept: usize) -> Self {
        let book = Book {
            kinds: Vec::new(),
            state: None,
            in_hand: None,
            mail_taken: 0,
            starts: 0,
            exits: VecDeque::new(),
            recorder: Recorder::new(kept),
        };
        Self { book: Mutex::new(book), missed: AtomicU64::new(0) }
    }

    /// For readers and for the news of an actor's end, which may wait; an actor uses [`Self::try_note`].
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_note(&self, note: impl FnOnce(&mut Book)) {
        match self.book.try_lock() {
            Ok(mut book) => note(&mut book),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => note(&mut poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => drop(self.missed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn taken(&self, kind: Kind, at: Instant) {
        self.try_note(|book| {
            book.in_hand = Some((kind.word, at));
            book.mail_taken += u64::from(!kind.own);
        });
    }

    fn handled(&self, kind: Kind, entry: Entry) {
        self.try_note(|book| {
            book.in_hand = None;
            book.count(kind, entry.took);
            book.enter(entry);
        });
    }

    /// What a task of the actor did, beside its messages.
    fn did(&self, entry: Entry) {
        self.try_note(|book| book.enter(entry));
    }

    /// The actor's `pre_start` begins: nothing of the incarnation before counts as in hand or in the mailbox.
    fn starting(&self) {
        self.try_note(|book| {
            book.state = None;
            book.in_hand = None;
            book.mail_taken = 0;
        });
    }

    fn started(&self, entry: Entry) {
        self.try_note(|book| {
            book.starts += u64::from(entry.ended == Ended::Done);
            book.enter(entry);
        });
    }

    /// An incarnation has ended.
    pub fn exited(&self, reason: &ExitReason) {
        let at = Instant::now();
        let mut book = self.book();
        if book.exits.len() == EXITS {
            book.exits.pop_front();
        }
        book.exits.push_back(Exit { at, reason: reason.clone() });
        book.in_hand = None;
        let ended = Ended::Failed(reason.to_string().into());
        book.recorder.push(Entry::new("ended", at, Duration::ZERO, Vec::new(), ended));
    }

    /// A copy of everything but the flight recorder.
    pub fn seen(&self) -> Seen {
        let book = self.book();
        let mut all = Histogram::default();
        book.kinds.iter().for_each(|(_, times)| all.add(times));
        Seen {
            state: book.state,
            in_hand: book.in_hand,
            mail_taken: book.mail_taken,
            starts: book.starts,
            exits: book.exits.iter().cloned().collect(),
            all: told(own(""), all.summary()),
            kinds: book.kinds.iter().map(|(kind, times)| told(*kind, times.summary())).collect(),
            missed: self.missed.load(Ordering::Relaxed),
            kept: book.recorder.kept(),
        }
    }

    /// The newest entries of the flight recorder, the oldest first.
    pub fn trace(&self, last: usize) -> Vec<Entry> {
        self.book().recorder.newest(last)
    }

    /// Messages handled so far.
    pub fn count(&self) -> u64 {
        self.book().kinds.iter().map(|(_, times)| times.count()).sum()
    }
}

fn told(kind: Kind, summary: Summary) -> Handled {
    let Summary { count, p50, p99, max } = summary;
    Handled { kind, count, p50, p99, max }
}

impl Book {
    fn count(&mut self, kind: Kind, took: Duration) {
        // A handful of kinds per actor: a search is quicker than a map.
        if let Some((_, times)) = self.kinds.iter_mut().find(|(known, _)| known.word == kind.word) {
            return times.record(took);
        }
        let mut times = Histogram::default();
        times.record(took);
        self.kinds.push((kind, times));
    }

    fn enter(&mut self, mut entry: Entry) {
        let state = &mut self.state;
        entry.notes.retain(|note| match note {
            Note::Became(name) if state.is_some_and(|(known, _)| known == *name) => false,
            Note::Became(name) => {
                *state = Some((name, entry.last));
                true
            }
            Note::Decided { to, .. } => {
                if state.is_none_or(|(known, _)| known != *to) {
                    *state = Some((to, entry.last));
                }
                true
            }
            Note::Command(_) | Note::Sent { .. } | Note::Said(_) | Note::More(_) => true,
        });
        self.recorder.push(entry);
    }
}
