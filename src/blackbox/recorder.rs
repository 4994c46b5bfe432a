//! The flight recorder: the last things one actor heard, decided and ordered. Bounded, and it remembers long: what only
//! repeats (a timer that changes nothing) is counted instead of pushing the rest out.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// So many of the newest entries are compared with a new one.
const LOOK_BACK: usize = 8;
/// Notes of one entry; what comes after them is only counted.
pub(super) const MOST_NOTES: usize = 32;
/// Bytes of a text.
const LONGEST_TEXT: usize = 300;

/// What an actor did with one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A decision's step: on which event, from which state to which.
    Decided {
        /// The event.
        on: &'static str,
        /// Before.
        from: &'static str,
        /// After; equal when only the details changed.
        to: &'static str,
    },
    /// A command of that decision, or a step of a plan that was carried out.
    Command(&'static str),
    /// A message to another actor.
    Sent {
        /// Whom.
        to: &'static str,
        /// Its kind.
        what: &'static str,
    },
    /// Its own state has another name now.
    Became(&'static str),
    /// A sentence.
    Said(Box<str>),
    /// So many more notes.
    More(usize),
}

impl Note {
    /// A sentence, cut where it is too long.
    pub fn said(text: &str) -> Self {
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_TEXT).unwrap_or(text.len());
        Self::Said(text[..end].into())
    }

    /// Whether the actor is another one after this.
    fn moves(&self) -> bool {
        match self {
            Self::Decided { from, to, .. } => from != to,
            Self::Became(_) => true,
            Self::Command(_) | Self::Sent { .. } | Self::Said(_) | Self::More(_) => false,
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    Done,
    /// With this error: the actor ends.
    Failed(Box<str>),
    /// By a panic.
    Panicked,
    /// The actor was killed meanwhile.
    CutShort,
}

/// One entry, or several that are alike.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The message's kind, or what happened to the actor.
    pub event: &'static str,
    /// When the first of them began.
    pub first: Instant,
    /// When the last of them began.
    pub last: Instant,
    /// How many they are.
    pub times: u64,
    /// The longest.
    pub took: Duration,
    /// What came of it.
    pub notes: Vec<Note>,
    /// How it ended.
    pub ended: Ended,
}

impl Entry {
    pub(super) fn new(event: &'static str, began: Instant, took: Duration, notes: Vec<Note>, ended: Ended) -> Self {
        Self { event, first: began, last: began, times: 1, took, notes, ended }
    }

    fn is_like(&self, other: &Self) -> bool {
        // Static words of one enum have one address most of the time, so this is cheap.
        self.event == other.event && self.ended == other.ended && self.notes == other.notes
    }

    fn is_a_turn(&self) -> bool {
        self.ended != Ended::Done || self.notes.iter().any(Note::moves)
    }
}

/// The last `kept` entries.
#[derive(Debug)]
pub(super) struct Recorder {
    kept: usize,
    entries: VecDeque<Entry>,
}

impl Recorder {
    pub(super) fn new(kept: usize) -> Self {
        Self { kept: kept.max(1), entries: VecDeque::new() }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if !entry.is_a_turn() {
            // What is before a turn belongs to another story: nothing is counted there any more.
            let story = self.entries.iter_mut().rev().take(LOOK_BACK).take_while(|known| !known.is_a_turn());
            for known in story {
                if known.is_like(&entry) {
                    known.times += entry.times;
                    known.last = entry.last;
                    known.took = known.took.max(entry.took);
                    return;
                }
            }
        }
        if self.entries.len() >= self.kept {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// The newest `last`, the oldest first.
    pub(super) fn newest(&self, last: usize) -> Vec<Entry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(last)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: &'static str, notes: &[Note]) -> Entry {
        Entry::new(event, Instant::now(), Duration::from_micros(3), notes.to_vec(), Ended::Done)
    }

    fn told(recorder: &Recorder) -> Vec<(&'static str, u64)> {
        recorder.newest(usize::MAX).iter().map(|entry| (entry.event, entry.times)).collect()
    }

    const LED: Note = Note::Decided { on: "claim-won", from: "claiming", to: "promoting" };

    #[test]
    fn what_repeats_is_counted_and_what_changes_something_is_kept_apart() {
        let mut recorder = Recorder::new(256);
        for _ in 0..1000 {
            recorder.push(entry("tick", &[]));
            recorder.push(entry("cluster-seen", &[]));
        }
        recorder.push(entry("happened", &[LED]));
        recorder.push(entry("tick", &[]));
        recorder.push(entry("happened", &[LED]));
        assert_eq!(
            told(&recorder),
            [("tick", 1000), ("cluster-seen", 1000), ("happened", 1), ("tick", 1), ("happened", 1)]
        );
    }

    #[test]
    fn other_orders_are_another_entry() {
        let mut recorder = Recorder::new(256);
        recorder.push(entry("tick", &[Note::Sent { to: "vip", what: "assign" }]));
        recorder.push(entry("tick", &[]));
        recorder.push(entry("tick", &[Note::Sent { to: "vip", what: "assign" }]));
        assert_eq!(told(&recorder), [("tick", 2), ("tick", 1)]);
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let mut recorder = Recorder::new(3);
        for event in ["a", "b", "c", "d"] {
            recorder.push(entry(event, &[LED]));
        }
        assert_eq!(told(&recorder), [("b", 1), ("c", 1), ("d", 1)]);
        assert_eq!(recorder.newest(2).len(), 2);
    }

    #[test]
    fn a_long_sentence_is_cut_at_a_character() {
        let Note::Said(text) = Note::said(&"ü".repeat(400)) else { panic!("a sentence") };
        assert_eq!(text.len(), LONGEST_TEXT);
    }
}
