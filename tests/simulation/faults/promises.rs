//! Scenes about promises and claims while the old primary lives on: its clock is far too slow, and only the quorum holds it.

use super::Scope;
use super::copies::away;
use super::kinds::Kind::{self, *};
use super::mixes::{Class, SHORT};
use super::scenes::{On, cut_stream};
use crate::postgres::Receiver;
use crate::world::{MS, SEC, Time, World, note};

/// The leader's clock is so slow that others take its seat while it serves: every acknowledged row is kept all the same.
pub(super) const CLASS: Class = Class {
    name: "adrift",
    kinds: &[(ReconnectsLate, 5), (PromiseLost, 5), (VotersDuringClaim, 6), (LagOne, 1), (KillDaemon, 1)],
    gap_ds: 100,
    spans: SHORT,
    edge_clocks: false,
    leader: 90,
};

/// The node whose clock is the slowest.
const SLOW: usize = 0;

pub(super) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) -> bool {
    match kind {
        ReconnectsLate => while_it_leads(w, id, move |w| reconnects_late(w, lasts)),
        PromiseLost => while_it_leads(w, id, move |w| {
            stand_still(w, lasts + 12 * SEC);
            let voter = w.other_than(SLOW);
            w.ambush_by(voter, On::Bid, StateLost, 300 * MS, lasts);
        }),
        VotersDuringClaim => while_it_leads(w, id, voters_during_claim),
        StreamBlinks => stream_blinks(w, id),
        StateLost => state_lost(w, id),
        _ => return false,
    }
    true
}

/// An operator wants the slow one to lead, and it does. One scene at a time: each needs the leader to itself.
fn while_it_leads(w: &mut World, id: usize, then: impl FnOnce(&mut World) + Send + 'static) {
    let begin = |w: &mut World, then: Box<dyn FnOnce(&mut World) + Send>| {
        if w.truth.holder == Some(SLOW) && w.now > w.faults.scene_until {
            w.faults.scene_until = w.now + 15 * SEC;
            then(w);
        }
    };
    if w.truth.holder == Some(SLOW) {
        return begin(w, Box::new(then));
    }
    w.order_promote(id, SLOW);
    let wait = w.millis(3500, 5500);
    w.later(wait, move |w| begin(w, Box::new(then)));
}

/// Daemon and heart of the leader stand still; its PostgreSQL goes on.
fn stand_still(w: &mut World, lasts: Time) {
    w.freeze_daemon(SLOW);
    w.freeze_heart(SLOW);
    w.undo(lasts, Scope::Process, SLOW, |w| {
        w.thaw_heart(SLOW);
        w.thaw_daemon(SLOW);
    });
}

/// A voter lets go, and its stream breaks; its startup process has not read the new conninfo and connects to the old primary again.
fn reconnects_late(w: &mut World, lasts: Time) {
    stand_still(w, lasts + 12 * SEC);
    let Some(voter) = w.other_than(SLOW) else { return };
    w.nodes[voter].postgres.slow_reload = 40 * SEC;
    w.undo(12 * SEC, Scope::Process, voter, move |w| w.nodes[voter].postgres.slow_reload = 0);
    w.ambush_by(Some(voter), On::LetsGo, StreamBlinks, 5 * MS, lasts);
}

/// The connection that this node streams over is reset, and none can be made for a moment.
fn stream_blinks(w: &mut World, id: usize) {
    let receiver = w.nodes[id].postgres.server.as_ref().map(|server| &server.receiver);
    let Some(Receiver::Streaming { node, .. }) = receiver else { return };
    let (source, blink) = (*node, w.millis(200, 900));
    w.break_stream(source, id);
    cut_stream(w, source, id, blink);
}

/// The daemon dies and finds nothing of its state again: no promise, no high-water mark. The data directory lies elsewhere.
fn state_lost(w: &mut World, id: usize) {
    if w.nodes[id].postgres.marks.unsynced.is_some() {
        return;
    }
    w.kill_daemon(id, "its state directory is lost");
    note!(w, "n{id}: everything below its state directory is gone");
    let node = &mut w.nodes[id];
    node.files.clear();
    node.postgres.marks.promised = Default::default();
    node.postgres.marks.epochs.clear();
}

/// `voters` names one of two followers. The other comes back, and becomes a voter, while a claim of the first is on its way.
fn voters_during_claim(w: &mut World) {
    let Some(back) = w.other_than(SLOW) else { return };
    away(w, back, 22 * SEC);
    let silent = w.millis(3500, 5000);
    let returns = silent + w.millis(3000, 5500);
    cut_stream(w, SLOW, back, returns);
    w.later(silent, |w| {
        w.etcd.hold_renewals = Some((SLOW, w.now + 11 * SEC));
        w.etcd.slow_claims_until = w.now + 9 * SEC;
    });
}
