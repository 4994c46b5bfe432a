//! A write-ahead log as a path of records: commits, the beginnings of timelines, and the marks of orderly stops.
//!
//! Two logs with equal records have equal content. An LSN is the sum of the sizes of the records before it, so that different
//! content can have equal LSNs, as in PostgreSQL.

/// Longest log.
pub(crate) const LONGEST: usize = 12;
/// The first commit is larger than all else, so that an unacknowledged tail can outgrow a newer timeline.
const FIRST_COMMIT_SIZE: u8 = 3;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record(pub(crate) u8);

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client's commit.
    Commit(u8),
    /// The first record of a timeline. `birth` tells two promotions to one timeline number apart.
    Switch { timeline: u8, birth: u8 },
    /// The shutdown checkpoint of a primary.
    Shutdown { birth: u8 },
}

impl Record {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(match kind {
            Kind::Commit(number) => 0x40 | number,
            Kind::Switch { timeline, birth } => 0x80 | (birth << 4) | timeline,
            Kind::Shutdown { birth } => 0x20 | birth,
        })
    }

    pub(crate) fn kind(self) -> Kind {
        match self.0 {
            byte if byte & 0x80 != 0 => Kind::Switch { timeline: byte & 0x0f, birth: (byte >> 4) & 7 },
            byte if byte & 0x40 != 0 => Kind::Commit(byte & 0x3f),
            byte => Kind::Shutdown { birth: byte & 0x1f },
        }
    }

    pub(crate) fn size(self) -> u8 {
        if self.kind() == Kind::Commit(0) { FIRST_COMMIT_SIZE } else { 1 }
    }
}

/// Records from the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    len: u8,
    records: [u8; LONGEST],
}

impl Log {
    pub(crate) fn len(&self) -> u8 {
        self.len
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.records[..usize::from(self.len)].iter().map(|byte| Record(*byte))
    }

    /// Every record, to be renamed.
    pub(crate) fn records_mut(&mut self) -> impl Iterator<Item = &mut u8> + '_ {
        self.records[..usize::from(self.len)].iter_mut()
    }

    /// Appends; a log that is full stops the run, so that no bound is met unseen.
    pub(crate) fn push(&mut self, record: Record) {
        assert!(usize::from(self.len) < LONGEST, "the model's log is too short: raise LONGEST");
        self.records[usize::from(self.len)] = record.0;
        self.len += 1;
    }

    /// The first `len` records.
    pub(crate) fn prefix(&self, len: u8) -> Self {
        let mut shorter = Self::default();
        self.records().take(usize::from(len)).for_each(|record| shorter.push(record));
        shorter
    }

    /// Where the first `len` records end.
    pub(crate) fn lsn_of(&self, len: u8) -> u8 {
        self.records().take(usize::from(len)).map(Record::size).sum()
    }

    pub(crate) fn lsn(&self) -> u8 {
        self.lsn_of(self.len)
    }

    /// The timeline after the first `len` records; 1 is initdb's.
    pub(crate) fn timeline_of(&self, len: u8) -> u8 {
        let switches = self.records().take(usize::from(len)).filter_map(|record| match record.kind() {
            Kind::Switch { timeline, .. } => Some(timeline),
            Kind::Commit(_) | Kind::Shutdown { .. } => None,
        });
        switches.last().unwrap_or(1)
    }

    pub(crate) fn timeline(&self) -> u8 {
        self.timeline_of(self.len)
    }

    /// The commits in it.
    pub(crate) fn commits(&self) -> u8 {
        self.records().fold(0, |commits, record| match record.kind() {
            Kind::Commit(number) => commits | 1 << number,
            Kind::Switch { .. } | Kind::Shutdown { .. } => commits,
        })
    }

    /// How many records both begin with.
    pub(crate) fn common(&self, other: &Self) -> u8 {
        self.records().zip(other.records()).take_while(|(one, two)| one == two).count() as u8
    }

    /// Where the part on `timeline` ends; `None` when the path never was on it.
    fn end_of(&self, timeline: u8) -> Option<u8> {
        let left =
            (0..self.len).find(|len| self.timeline_of(*len) == timeline && self.timeline_of(len + 1) != timeline);
        match left {
            Some(len) => Some(self.lsn_of(len)),
            None => (self.timeline() == timeline).then(|| self.lsn()),
        }
    }

    /// Whether a server with this log lets a standby with `other` stream: it goes by timeline and LSN, not by content.
    pub(crate) fn accepts(&self, other: &Self) -> bool {
        self.end_of(other.timeline()).is_some_and(|end| other.lsn() <= end)
    }

    /// The record that begins at this LSN.
    pub(crate) fn record_at(&self, lsn: u8) -> Option<Record> {
        (0..self.len).find(|len| self.lsn_of(*len) == lsn).and_then(|len| self.records().nth(usize::from(len)))
    }
}

#[test]
fn a_log_accepts_what_its_own_path_passed_through() {
    let mut old = Log::default();
    old.push(Record::new(Kind::Switch { timeline: 2, birth: 0 }));
    let mut new = old;
    old.push(Record::new(Kind::Commit(1)));
    new.push(Record::new(Kind::Switch { timeline: 3, birth: 1 }));
    assert!(!new.accepts(&old), "the old one has records behind the fork");
    assert!(new.accepts(&old.prefix(1)) && !old.accepts(&new));
    new.push(Record::new(Kind::Commit(0)));
    assert_eq!((new.lsn(), new.timeline(), new.commits(), new.common(&old)), (5, 3, 1, 1));
    assert_eq!(new.record_at(2), Some(Record::new(Kind::Commit(0))));
}
