//! Scenes about one write on its way: a renewal between etcd and heart, a change of voters between a daemon and its successor.

use super::Scope;
use super::kinds::Kind;
use super::scenes::lose_processes;
use crate::world::{MS, SEC, Time, World};

pub(super) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    match kind {
        Kind::FeedLate => feed_late(w, id, lasts),
        Kind::AnswersLost => answers_lost(w, id, lasts),
        Kind::ReturnHeld => return_held(w, id, lasts),
        _ => {}
    }
}

/// heart stands still with a renewal in its socket, and so does the daemon that sent it; heart goes on before its deadline, and
/// nothing else comes.
fn feed_late(w: &mut World, id: usize, lasts: Time) {
    let period = w.profile.ttl / 10 / MS;
    let ttl = w.profile.ttl / MS;
    w.freeze_heart(id);
    // After one renewal, and before heart's silence is noticed.
    let sent = w.millis(period * 7 / 10, period * 12 / 10);
    let goes_on = w.millis(ttl * 22 / 100, ttl * 40 / 100);
    w.later(sent, move |w| {
        w.freeze_daemon(id);
        w.undo(lasts + 9 * SEC, Scope::Process, id, move |w| w.thaw_daemon(id));
    });
    w.undo(goes_on, Scope::Process, id, move |w| w.thaw_heart(id));
}

/// Nothing that etcd answers reaches the node, while what it sends arrives; as soon as it has heard again, it stands still.
fn answers_lost(w: &mut World, id: usize, lasts: Time) {
    let ttl = w.profile.ttl / MS;
    let silent = w.millis(ttl * 20 / 100, ttl * 42 / 100);
    w.etcd.late_answers.insert(id, (w.now + silent, 600 * SEC));
    let heard = silent + w.millis(60, 500);
    w.later(heard, move |w| {
        w.freeze_daemon(id);
        w.undo(lasts + 9 * SEC, Scope::Process, id, move |w| w.thaw_daemon(id));
    });
}

/// A leader is alone until its followers are back; the put that makes one of them a voter again is held up, and everybody who
/// could see to it that it is put once more ends: its daemon, and the followers.
fn return_held(w: &mut World, id: usize, lasts: Time) {
    let alone = w.millis(3500, 6000);
    for other in (0..w.nodes.len()).filter(|other| *other != id) {
        lose_processes(w, other, alone);
    }
    // Not before the record says that nobody follows.
    w.later(alone - 500 * MS, move |w| {
        w.etcd.hold_voters = Some((id, w.now + lasts + 8 * SEC));
        w.faults.loses_followers = true;
    });
}

impl World {
    /// What was to follow from a put of voters does not follow: its sender's daemon is begun anew, and nobody streams any more.
    pub(super) fn return_is_held(&mut self, id: usize) {
        self.kill_daemon(id, "while a voter's return is on its way");
        for other in (0..self.nodes.len()).filter(|other| *other != id) {
            lose_processes(self, other, 12 * SEC);
        }
    }
}
