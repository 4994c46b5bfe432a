//! A data directory: its log, its history, its control file. Two copies that differ in one record are different for ever.

use super::{Slot, TokenFile};
use leaderl_decision::model::{Lsn, Timeline};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A row as its writer numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) writer: u32,
    pub(crate) seq: u64,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Row(Row),
    /// Checkpoints, ends of recovery, test writes.
    Other,
    Shutdown,
}

/// One record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) timeline: u32,
    pub(crate) what: What,
    /// Unlike any other record that was ever written.
    pub(crate) id: u64,
}

/// PGDATA.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) system_identifier: &'static str,
    pub(crate) log: Arc<Vec<Record>>,
    /// timeline -> (parent, where it left the parent).
    pub(crate) history: BTreeMap<u32, (u32, u64)>,
    /// History files without content, placed so that these numbers are not taken.
    pub(crate) taken: BTreeSet<u32>,
    pub(crate) timeline: u32,
    /// The control file: timeline and place of the latest checkpoint.
    pub(crate) control_timeline: u32,
    pub(crate) checkpoint: u64,
    pub(crate) ended: Ended,
    pub(crate) token: TokenFile,
    pub(crate) slots: BTreeMap<String, Slot>,
    pub(crate) standby_signal: bool,
    /// A rewind was cut short in here, or a block is broken: nothing good can come of starting it.
    pub(crate) intact: bool,
    /// WAL before this place is removed.
    pub(crate) removed_before: u64,
    /// After a rewind or a copy it is consistent only from here on.
    pub(crate) consistent_from: u64,
}

/// The control file's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It runs, or its end was not orderly.
    Not,
    AsPrimary,
    InRecovery,
}

/// Where initdb's log ends.
const FIRST: u64 = 0x0300_0000;

impl Data {
    pub(crate) fn initdb() -> Self {
        Self {
            system_identifier: "7300000000000000001",
            log: Arc::new(Vec::new()),
            history: BTreeMap::new(),
            taken: BTreeSet::new(),
            timeline: 1,
            control_timeline: 1,
            checkpoint: FIRST,
            ended: Ended::AsPrimary,
            token: None,
            slots: BTreeMap::new(),
            standby_signal: false,
            intact: true,
            removed_before: 0,
            consistent_from: 0,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.log.last().map_or(FIRST, |record| record.end)
    }

    pub(crate) fn end_at(&self, records: usize) -> u64 {
        records.checked_sub(1).and_then(|last| self.log.get(last)).map_or(FIRST, |record| record.end)
    }

    pub(crate) fn append(&mut self, what: What, size: u64, id: u64) -> Lsn {
        let start = self.end();
        let record = Record { start, end: start + size.max(40), timeline: self.timeline, what, id };
        Arc::make_mut(&mut self.log).push(record);
        Lsn(record.end)
    }

    /// Takes over a record that a source has sent; its timeline may be a newer one.
    pub(crate) fn receive(&mut self, records: &[Record], source: &BTreeMap<u32, (u32, u64)>) {
        for record in records {
            if record.start != self.end() {
                return;
            }
            if record.timeline != self.timeline {
                self.timeline = record.timeline;
                for (timeline, parent) in source.range(..=record.timeline) {
                    self.history.insert(*timeline, *parent);
                }
            }
            Arc::make_mut(&mut self.log).push(*record);
        }
    }

    /// The timeline that a promotion here would take.
    pub(crate) fn next_timeline(&self) -> u32 {
        let mut next = self.timeline + 1;
        while self.taken.contains(&next) || self.history.contains_key(&next) {
            next += 1;
        }
        next
    }

    pub(crate) fn began_at(&self, timeline: Timeline) -> Lsn {
        Lsn(self.history.get(&timeline.0).map_or(0, |(_, at)| *at))
    }

    /// How far a copy on this timeline, ending there, can be followed by a server with this history; `None`: not at all.
    pub(crate) fn leads_on_from(&self, timeline: u32, end: u64) -> bool {
        if timeline == self.timeline {
            return true;
        }
        let mut at = self.timeline;
        for _ in 0..=self.history.len() {
            let Some((parent, left)) = self.history.get(&at) else { return false };
            if *parent == timeline {
                return end <= *left;
            }
            at = *parent;
        }
        false
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.log.iter().filter_map(|record| match record.what {
            What::Row(row) => Some(row),
            What::Other | What::Shutdown => None,
        })
    }

    /// How many records both copies begin with.
    pub(crate) fn common(&self, other: &Self) -> usize {
        self.log.iter().zip(other.log.iter()).take_while(|(one, two)| one.id == two.id).count()
    }
}
