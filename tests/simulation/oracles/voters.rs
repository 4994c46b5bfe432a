//! I3 at each acknowledgement: the row is flushed on a voter, unless `voters` says that only the leader is complete. Whoever
//! takes over asks all voters, and so would not hear of a row that none of them has.

use crate::postgres::{Row, What};
use crate::world::World;
use leaderl_decision::model::ReplicationMode;
use leaderl_decision::records::VotersRecord;
use std::collections::BTreeSet;

/// The holder's word that this row is committed leaves its machine.
pub(super) fn acknowledged(w: &mut World, id: usize, row: Row) {
    // Of a deposed leader's rows the next promotion is asked.
    if w.truth.holder != Some(id) || !is_kept(w) {
        return;
    }
    let Some(voters) = w.etcd.kv.get(&w.keys.voters()).and_then(|entry| voters_of(w, &entry.value)) else { return };
    let has = |voter: &usize| {
        let data = w.nodes[*voter].postgres.data.as_ref();
        data.is_some_and(|data| data.log.iter().rev().any(|record| record.what == What::Row(row)))
    };
    if !voters.is_empty() && !lost_something(w, &voters) && !voters.iter().any(has) {
        w.violate("I3", format!("n{id} acknowledges {row:?}, which none of the voters {voters:?} has"));
    }
}

/// The holder has changed the record: what was promised before is on one of those that it names now.
pub(super) fn changed(w: &mut World, record: &VotersRecord) {
    let voters: Vec<usize> = (0..w.nodes.len()).filter(|id| record.voters.contains(&w.nodes[*id].guid)).collect();
    if voters.is_empty() || !is_kept(w) || lost_something(w, &voters) {
        return;
    }
    let copies = voters.iter().filter_map(|voter| w.nodes[*voter].postgres.data.as_ref());
    let rows: BTreeSet<Row> = copies.flat_map(|data| data.rows()).collect();
    let missing = w.truth.promised.keys().filter(|row| !rows.contains(row));
    let (missing, first) = (missing.clone().count(), missing.clone().next().copied());
    if let Some(first) = first {
        let text = format!("`voters` names {voters:?}, and {missing} promised rows are on none of them, as {first:?}");
        w.violate("I3", text);
    }
}

/// Whether acknowledged rows are promised to be on voters.
fn is_kept(w: &World) -> bool {
    w.profile.mode != ReplicationMode::Async && !w.truth.restored && !w.truth.loss_accepted
}

/// A voter that has lost its disk since is a fault of its own; it has not left the record yet.
fn lost_something(w: &World, voters: &[usize]) -> bool {
    voters.iter().any(|voter| {
        let postgres = &w.nodes[*voter].postgres;
        postgres.data.is_none() || postgres.marks.unsynced.is_some()
    })
}

fn voters_of(w: &World, value: &[u8]) -> Option<Vec<usize>> {
    let record: VotersRecord = serde_json::from_slice(value).ok()?;
    Some((0..w.nodes.len()).filter(|id| record.voters.contains(&w.nodes[*id].guid)).collect())
}
