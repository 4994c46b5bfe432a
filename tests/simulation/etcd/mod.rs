//! etcd: members with a leader, one committed log, and everything between a request and its answer that can go wrong.
//!
//! The log is abstract: what is committed is in `kv` at once; members show it to their watchers when they have applied it.
//! A proposal that is under way when the leader changes commits late or is lost: its asker cannot know which.

mod election;
mod membership;
mod requests;
mod watches;

use crate::world::Time;
use leaderl::ports::{Compare, KeyValue, TxnAnswer, Write};
use leaderl_decision::model::Revision;
pub(crate) use membership::{Change as MemberChange, Standing};
pub(crate) use requests::Question;
use std::collections::BTreeMap;
pub(crate) use watches::{Shown, Watcher};

/// The store.
pub(crate) struct Etcd {
    pub(crate) store_id: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) leader: Option<usize>,
    pub(crate) term: u64,
    /// An election is under way or planned under this number.
    election: u64,
    electing: bool,
    pub(crate) kv: Kv,
    /// NOSPACE is raised.
    pub(crate) full: bool,
    pub(crate) db_bytes: u64,
    pub(crate) watchers: Vec<Watcher>,
    /// Late proposals: commit when there is a leader again.
    stranded: Vec<Stranded>,
    /// Until when, and by how much, answers to a node are late.
    pub(crate) late_answers: BTreeMap<usize, (Time, Time)>,
    /// Until when transactions of a node may arrive seconds late.
    pub(crate) late_requests: BTreeMap<usize, Time>,
    /// Whose next put of voters is held up, and until when that waits.
    pub(crate) hold_voters: Option<(usize, Time)>,
    /// Also a put that names nobody.
    pub(crate) hold_any_voters: bool,
    /// The next claim is held up until then.
    pub(crate) hold_claims_until: Time,
    /// Claims take seconds until then.
    pub(crate) slow_claims_until: Time,
    /// Whose renewals are held up, and until when.
    pub(crate) hold_renewals: Option<(usize, Time)>,
    /// Older states, as backups have them.
    pub(crate) backups: Vec<Kv>,
}

type Commit = Box<dyn FnOnce(&mut crate::world::World) + Send>;

struct Stranded {
    commit: Commit,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) up: bool,
    /// Stopped by a signal.
    pub(crate) frozen: bool,
    pub(crate) has_data: bool,
    /// It refuses every token until then.
    pub(crate) refuses_until: Time,
    /// Added to every commit and apply of this member.
    pub(crate) slow: Time,
    /// What its watchers have been shown.
    pub(crate) applied: i64,
    pub(crate) standing: Standing,
    /// etcd's id of it; another one each time it is added.
    pub(crate) number: u64,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            up: true,
            frozen: false,
            has_data: true,
            refuses_until: 0,
            slow: 0,
            applied: 0,
            standing: Standing::Voter,
            number: 1,
        }
    }
}

/// The committed state and its history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kv {
    pub(crate) revision: i64,
    map: BTreeMap<String, (Vec<u8>, i64)>,
    history: Vec<(i64, Vec<Change>)>,
    /// History before this is gone.
    pub(crate) compacted: i64,
}

/// A key, and its new value; `None`: deleted.
pub(crate) type Change = (String, Option<KeyValue>);

impl Etcd {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            store_id: 0xe7cd,
            members: (1..=nodes as u64).map(|number| Member { number, ..Member::default() }).collect(),
            leader: Some(0),
            term: 1,
            election: 0,
            electing: false,
            kv: Kv::default(),
            full: false,
            db_bytes: 1 << 20,
            watchers: Vec::new(),
            stranded: Vec::new(),
            late_answers: BTreeMap::new(),
            late_requests: BTreeMap::new(),
            hold_voters: None,
            hold_any_voters: false,
            hold_claims_until: 0,
            slow_claims_until: 0,
            hold_renewals: None,
            backups: Vec::new(),
        }
    }
}

impl Kv {
    pub(crate) fn get(&self, key: &str) -> Option<KeyValue> {
        self.map.get(key).map(|(value, at)| entry(key, value, *at))
    }

    pub(crate) fn prefix(&self, prefix: &str) -> Vec<KeyValue> {
        let from = self.map.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix)).map(|(key, (value, at))| entry(key, value, *at)).collect()
    }

    fn holds(&self, compare: &Compare) -> bool {
        self.map.get(&compare.key).map_or(0, |(_, at)| *at) == compare.mod_revision.0
    }

    /// A whole transaction, atomically.
    pub(crate) fn apply(&mut self, compares: &[Compare], writes: &[Write], else_reads: &[String]) -> TxnAnswer {
        if !compares.iter().all(|compare| self.holds(compare)) {
            let reads = else_reads.iter().filter_map(|key| self.get(key)).collect();
            return TxnAnswer::Refused { revision: Revision(self.revision), reads };
        }
        let revision = self.revision + 1;
        let mut changes = Vec::new();
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    self.map.insert(key.clone(), (value.clone(), revision));
                    changes.push((key.clone(), Some(entry(key, value, revision))));
                }
                Write::Delete { key } => {
                    if self.map.remove(key).is_some() {
                        changes.push((key.clone(), None));
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.revision = revision;
            self.history.push((revision, changes));
        }
        TxnAnswer::Committed { revision: Revision(self.revision) }
    }

    /// The changes in [from, to], oldest first.
    pub(crate) fn changes(&self, from: i64, to: i64) -> impl Iterator<Item = &(i64, Vec<Change>)> {
        let begin = self.history.partition_point(|(at, _)| *at < from);
        self.history[begin..].iter().take_while(move |(at, _)| *at <= to)
    }

    pub(crate) fn compact(&mut self, to: i64) {
        self.compacted = self.compacted.max(to);
        let keep = self.history.partition_point(|(at, _)| *at < self.compacted);
        self.history.drain(..keep);
    }
}

fn entry(key: &str, value: &[u8], at: i64) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_vec(), mod_revision: Revision(at) }
}
