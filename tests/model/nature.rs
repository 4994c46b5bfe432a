//! What PostgreSQL's processes do by themselves, in their own time.

use super::log::{Kind, Record};
use super::world::{Machine, Mask, Node, Postgres, Process, Truth, Upstream, has, nodes, only};

/// Every process is gone, and with them what they had in memory. What was flushed stays.
pub(crate) fn ended(postgres: &mut Postgres) {
    *postgres = Postgres {
        process: Process::Gone,
        replayed: postgres.log.len(),
        clean: false,
        read: Upstream::Unset,
        reloading: false,
        names_in_force: 0,
        proven_at: None,
        in_proof: false,
        promoted_at: 0,
        open: false,
        looked_after: false,
        hopeless: false,
        late_names: None,
        ..*postgres
    };
}

/// A reload was asked for: obeyed at once, or (where reloads lag) at any later time.
pub(crate) fn reload(postgres: &mut Postgres, lags: bool) {
    if lags && !obeys(postgres) {
        postgres.reloading = true;
        // Some processes may already go by the new names.
        postgres.names_in_force |= names_bit(postgres);
        return;
    }
    obey(postgres);
}

fn names_bit(postgres: &Postgres) -> u8 {
    if postgres.process == Process::Primary { 1 << postgres.names } else { 0 }
}

fn obeys(postgres: &Postgres) -> bool {
    let bit = names_bit(postgres);
    postgres.read == postgres.upstream && postgres.names_in_force & bit == bit
}

/// The processes read their configuration; which of them goes by which names stays open until it is proven.
pub(crate) fn obey(postgres: &mut Postgres) {
    postgres.reloading = false;
    postgres.read = postgres.upstream;
    postgres.names_in_force |= names_bit(postgres);
}

/// The names on disk are in force everywhere; the catch-up target is read after that.
pub(crate) fn prove(postgres: &mut Postgres) {
    postgres.in_proof = false;
    postgres.names_in_force = names_bit(postgres);
    postgres.proven_at = Some(postgres.log.lsn());
}

/// Promotion ends: a timeline above all that pg_wal knows of.
pub(crate) fn promoted(postgres: &mut Postgres, birth: u8) -> u8 {
    let timeline = postgres.log.timeline().max(postgres.placed).max(1) + 1;
    postgres.promoted_at = postgres.log.lsn();
    postgres.log.push(Record::new(Kind::Switch { timeline, birth }));
    postgres.replayed = postgres.log.len();
    postgres.process = Process::Primary;
    postgres.read = Upstream::Unset;
    postgres.names_in_force = 1 << postgres.names;
    postgres.placed = 0;
    timeline
}

/// One more record arrives and is flushed; replayed too, unless replay lags.
pub(crate) fn receive(postgres: &mut Postgres, record: Record, replay_lags: bool) {
    postgres.log.push(record);
    if !replay_lags {
        postgres.replayed = postgres.log.len();
    }
}

/// Whether a client may be told that its commit, which ends at `lsn`, is durable: by any names that some process goes by.
pub(crate) fn may_acknowledge(primary: &Machine, lsn: u8, flushed: impl Fn(Node) -> Option<u8>) -> bool {
    let has_it = |node: Node| flushed(node).is_some_and(|flushed| flushed >= lsn);
    (0..8_u8)
        .filter(|names| primary.postgres.names_in_force & (1 << names) != 0)
        .any(|names: Mask| names == 0 || nodes().any(|node| has(names, node) && has_it(node)))
}

/// Commits that a primary has and that nobody has been told of yet, with where each ends.
pub(crate) fn waiting(postgres: &Postgres, truth: &Truth) -> Vec<(u8, u8)> {
    let mut waiting = Vec::new();
    for (at, record) in postgres.log.records().enumerate() {
        if let Kind::Commit(number) = record.kind()
            && truth.acknowledged & only(number) == 0
        {
            waiting.push((number, postgres.log.lsn_of(at as u8 + 1)));
        }
    }
    waiting
}

/// A session of a killed daemon does what it was told last: it writes names and asks for a reload.
pub(crate) fn late_names(postgres: &mut Postgres, names: Mask) {
    postgres.late_names = None;
    if postgres.names != names {
        postgres.names = names;
        // Whoever looks at the file sees other names than the proven ones.
        postgres.proven_at = None;
        postgres.in_proof = false;
    }
    postgres.names_in_force |= names_bit(postgres);
}
