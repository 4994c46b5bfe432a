//! The oracles: predicates over the whole world after every event, on global truth, never on a node's belief.

pub(crate) mod holds;
pub(crate) mod liveness;
pub(crate) mod orders;
pub(crate) mod promotion;
pub(crate) mod records;
mod voters;
pub(crate) mod writers;

use crate::postgres::Row;
use crate::world::{Time, World, note};
use leaderl_decision::model::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// What really happened, and what of it must never have.
#[derive(Default)]
pub(crate) struct Truth {
    ids: u64,
    pub(crate) violations: Vec<Violation>,
    /// Something about who writes has changed since the last look.
    pub(crate) writer_changed: bool,
    pub(crate) vip_changed: bool,
    /// Rows that a client was told are committed, or has read.
    pub(crate) promised: BTreeMap<Row, Time>,
    /// Timelines as recorded in etcd: epoch and node.
    pub(crate) recorded: BTreeMap<u32, (Epoch, usize)>,
    pub(crate) epoch: Epoch,
    /// The last leader before the newest epoch, and how far it had published to be when that was taken.
    pub(crate) published_before: Option<(usize, leaderl_decision::model::Lsn)>,
    pub(crate) holder: Option<usize>,
    /// Which incarnation of a node's daemon last committed a claim or a renewal there.
    pub(crate) renewed_by: BTreeMap<usize, u64>,
    /// Epochs under which a server has left recovery.
    pub(crate) promoted: BTreeSet<Epoch>,
    /// The newest timeline under which anything was acknowledged.
    pub(crate) newest_ack: Option<(u32, Time)>,
    /// Last time this node's PostgreSQL had nobody to end it: daemon and heart both stopped, or the machine paused.
    pub(crate) unguarded: BTreeMap<usize, Time>,
    /// Something that justifies a change of leaders was there at this time.
    pub(crate) justified: Time,
    /// An operator has accepted a loss.
    pub(crate) loss_accepted: bool,
    pub(crate) voters_empty: bool,
    /// When somebody deleted the leader key by hand: its holder finds out at its next renewal.
    pub(crate) key_deleted: Option<Time>,
    /// etcd went back: nobody may act on it before an operator has looked.
    pub(crate) restored: bool,
    /// Since when a node is a voter.
    pub(crate) voter_since: BTreeMap<usize, Time>,
    pub(crate) vip_alone_since: BTreeMap<usize, Time>,
    pub(crate) dead_voters_since: BTreeMap<usize, Time>,
    pub(crate) last_writer_seen: BTreeMap<usize, Time>,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Violation {
    pub(crate) invariant: String,
    pub(crate) at: Time,
    pub(crate) text: String,
}

impl Truth {
    /// A number never used before in this run.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn violate(&mut self, at: Time, invariant: &'static str, text: String) {
        if self.violations.len() < 20 {
            self.violations.push(Violation { invariant: invariant.to_owned(), at, text });
        }
    }

    /// A client has been told, or has seen, that this row is committed.
    pub(crate) fn promised(&mut self, row: Row, at: Time) {
        self.promised.entry(row).or_insert(at);
    }
}

/// Looks at everything that this event may have changed.
pub(crate) fn after_event(w: &mut World) {
    writers::note_unguarded(w);
    if std::mem::take(&mut w.truth.writer_changed) {
        writers::at_most_one(w);
    }
    if std::mem::take(&mut w.truth.vip_changed) {
        writers::at_most_one_address(w);
    }
}

impl World {
    pub(crate) fn violate(&mut self, invariant: &'static str, text: String) {
        note!(self, "VIOLATION of {invariant}: {text}");
        let now = self.now;
        self.truth.violate(now, invariant, text);
    }
}
