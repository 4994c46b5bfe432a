//! Scenes about copies: remade, put back, replayed late; and a follower that misses an election.

use super::Scope;
use super::kinds::Kind::{self, *};
use super::mixes::{Class, SHORT};
use super::scenes::{On, cut_stream, lose_processes};
use crate::postgres::Data;
use crate::world::{MS, SEC, Time, World, note};
use leaderl_decision::records::{EpochRecord, Token};

/// Elections among copies that are not what they were: few faults, so that each is seen to its end.
pub(super) const CLASS: Class = Class {
    name: "copies",
    kinds: &[(SleepsThrough, 5), (RebuiltThenLost, 6), (OldCopyBack, 6), (ReplayLags, 5), (KillDaemon, 1)],
    gap_ds: 100,
    spans: SHORT,
    edge_clocks: false,
    leader: 90,
};

pub(super) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) -> bool {
    match kind {
        SleepsThrough => sleeps_through(w, id),
        RebuiltThenLost => {
            // Without a leader it could be the only one that proves completeness, the last leader's copy being an old one.
            if let Some(copy) = w.other_than(id).filter(|_| w.truth.holder == Some(id)) {
                super::more::lose_data(w, copy);
                w.ambush_by(Some(copy), On::Remade, HolderGone, 20 * MS, lasts + 15 * SEC);
            }
        }
        HolderGone => holder_gone(w, id, lasts),
        OldCopyBack => old_copy_back(w, id),
        ReplayLags => replay_lags(w, id, lasts),
        _ => return false,
    }
    true
}

/// The daemon of a node is away for so long; its PostgreSQL goes on.
pub(super) fn away(w: &mut World, id: usize, lasts: Time) {
    w.nodes[id].daemon.wanted = false;
    w.kill_daemon(id, "fault, for long");
    w.undo(lasts, Scope::Process, id, move |w| w.start_daemon(id));
}

/// A follower's daemon is away while the leader hands over: its PostgreSQL still streams from whom it streamed from.
fn sleeps_through(w: &mut World, id: usize) {
    let Some(follower) = w.other_than(id) else { return };
    let long = w.millis(5000, 9000);
    away(w, follower, long);
    let soon = w.millis(300, 1200);
    w.later(soon, move |w| w.order_demote(id));
}

/// A copy has just been remade, and has yet to hear how far its leader was: the leader is lost, and the other copy may not lead.
fn holder_gone(w: &mut World, id: usize, lasts: Time) {
    let Some(holder) = w.truth.holder.filter(|holder| *holder != id) else { return };
    cut_stream(w, holder, id, lasts + 10 * SEC);
    if let Some(other) = (0..w.nodes.len()).find(|other| *other != id && *other != holder) {
        w.faults.note_switch(other, Some(w.now));
        w.switch_for_sure(Some(other), false);
        w.undo(lasts + 10 * SEC, Scope::Operator, other, move |w| {
            w.faults.note_switch(other, None);
            w.switch_on_for_sure(Some(other));
        });
    }
    lose_processes(w, holder, lasts + 12 * SEC);
}

/// The leader falls, and somebody puts a copy into its place that is older than its office. Nobody else bids for a while.
///
/// Rule R7 lets one do this to a node that `voters` does not name and that has not bid for the present seat.
fn old_copy_back(w: &mut World, id: usize) {
    if older_copy(w, id).is_none() {
        return;
    }
    let others: Vec<usize> = (0..w.nodes.len()).filter(|other| *other != id).collect();
    for other in others {
        let long = w.millis(7000, 12_000);
        away(w, other, long);
    }
    let soon = w.millis(200, 1200);
    w.later(soon, move |w| {
        let Some(copy) = older_copy(w, id) else { return };
        lose_processes(w, id, SEC);
        note!(w, "n{id} postgres: somebody puts an older copy into its data directory");
        w.nodes[id].postgres.data = Some(copy);
        w.faults.old_copy_under = Some(w.truth.epoch);
    });
}

/// A backup of this leader's from before its office; the other copies are whole.
///
/// Not one with the token that its copy bore when it took the epoch: that passes for a copy that was never promoted.
fn older_copy(w: &World, id: usize) -> Option<Data> {
    let epoch = w.etcd.kv.get(&w.keys.epoch())?;
    let epoch: EpochRecord = serde_json::from_slice(&epoch.value).ok()?;
    let whole = |other: usize| {
        let postgres = &w.nodes[other].postgres;
        postgres.data.is_some() && postgres.marks.unsynced.is_none()
    };
    let older = w.nodes[id].postgres.backup.as_ref().filter(|_| (0..w.nodes.len()).all(whole));
    let older = older
        .filter(|copy| copy.token.is_none() || copy.token != epoch.taken_with && !is_of(copy.token.as_ref(), &epoch));
    older.filter(|_| w.truth.holder == Some(id) && w.is_writable(id) && !w.truth.voters_empty).cloned()
}

fn is_of(token: Option<&Token>, epoch: &EpochRecord) -> bool {
    token.is_some_and(|token| token.epoch == epoch.epoch)
}

/// One follower has everything and has replayed little of it; the other, cut off before the leader is lost, has less.
fn replay_lags(w: &mut World, id: usize, lasts: Time) {
    let Some(slow) = w.other_than(id) else { return };
    let Some(behind) = (0..w.nodes.len()).find(|other| *other != id && *other != slow) else { return };
    w.nodes[slow].postgres.replay_lag = w.millis(9000, 13_000);
    w.undo(lasts + 20 * SEC, Scope::Process, slow, move |w| w.nodes[slow].postgres.replay_lag = 0);
    let cut = w.millis(1500, 5000);
    let loss = cut + w.millis(150, 1500);
    w.later(cut, move |w| cut_stream(w, id, behind, lasts + 15 * SEC));
    w.later(loss, move |w| lose_processes(w, id, lasts + 15 * SEC));
}

impl World {
    /// An operator backs every copy up once, as soon as it is a standby's.
    pub(super) fn back_up_copies(&mut self) {
        for id in 0..self.nodes.len() {
            if self.nodes[id].postgres.backup.is_none() {
                self.nodes[id].postgres.backup = self.standby_copy(id);
            }
        }
        self.after(4 * SEC, Self::back_up_copies);
    }
}
