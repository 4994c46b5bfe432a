//! I1, I2 and I8: one writer, one address, one `/leader`.

use crate::postgres::Row;
use crate::world::node::VIP;
use crate::world::{MS, SEC, Time, World};
use leaderl_decision::model::{Lsn, ReplicationMode};

/// What a stopped guardian that goes on may need to end its PostgreSQL.
const AFTER_THAW: Time = 1500 * MS;

/// Whether this node's server could acknowledge a client's write now: out of recovery, and it moves.
pub(crate) fn can_acknowledge(w: &World, id: usize) -> bool {
    let node = &w.nodes[id];
    node.is_running() && w.is_writable(id) && node.postgres.server.as_ref().is_some_and(|server| !server.frozen)
}

/// Nodes whose heart is stopped and whose daemon is too, or not attached: until there is a port gate, only the quorum holds their clients off.
pub(crate) fn note_unguarded(w: &mut World) {
    for id in 0..w.nodes.len() {
        let node = &w.nodes[id];
        // A daemon that could not attach to a stopped heart does not know its process, and so cannot end it.
        let could_end_it = w.daemon_moves(id) && node.heart.attachment.is_attached();
        if node.paused || node.heart.frozen && !could_end_it {
            w.truth.unguarded.insert(id, w.now);
        }
    }
}

pub(super) fn was_unguarded(w: &World, id: usize) -> bool {
    w.truth.unguarded.get(&id).is_some_and(|at| w.now - at < AFTER_THAW)
}

/// I1: at no instant can two nodes acknowledge.
pub(super) fn at_most_one(w: &mut World) {
    let writers: Vec<usize> = (0..w.nodes.len()).filter(|id| can_acknowledge(w, *id)).collect();
    for id in &writers {
        w.truth.last_writer_seen.insert(*id, w.now);
    }
    if writers.len() > 1 && !w.profile.wild_clocks && !writers.iter().any(|id| was_unguarded(w, *id)) {
        w.violate("I1", format!("two nodes can acknowledge writes: {writers:?}"));
    }
}

/// I2: at most one node answers for the address, and it appears only where PostgreSQL is writable.
pub(super) fn at_most_one_address(w: &mut World) {
    let holders: Vec<usize> = (0..w.nodes.len()).filter(|id| w.answers_for_vip(*id)).collect();
    if holders.len() > 1 && !w.profile.wild_clocks {
        w.violate("I2", format!("{VIP} is on {holders:?} at once"));
    }
}

/// I1 on acknowledgements, as outsiders see them: epochs never interleave.
pub(crate) fn acknowledged(w: &mut World, id: usize, row: Row, lsn: Lsn) {
    let Some(timeline) = w.nodes[id].postgres.data.as_ref().map(|data| data.timeline) else { return };
    let acknowledges_alone = w.profile.mode == ReplicationMode::Async || w.truth.voters_empty;
    let exempt = w.profile.wild_clocks || was_unguarded(w, id) && acknowledges_alone;
    if let Some((newest, at)) = w.truth.newest_ack
        && timeline < newest
        && !exempt
    {
        let text = format!(
            "n{id} acknowledges {row:?} at {lsn} on timeline {timeline}, {} ms after timeline {newest} did",
            (w.now - at) / MS
        );
        w.violate("I1", text);
    }
    if w.truth.newest_ack.is_none_or(|(newest, _)| timeline >= newest) {
        w.truth.newest_ack = Some((timeline, w.now));
    }
    if w.truth.recorded.get(&timeline).is_none_or(|(_, node)| *node != id) {
        w.violate("I11", format!("n{id} acknowledges on timeline {timeline}, which is not recorded as its own"));
    }
}

/// I8: `GET /leader` is 200 on at most one node, the one that writes and holds the key.
pub(crate) fn poll_leader(w: &mut World, saying_yes: &[usize]) {
    if saying_yes.len() > 1 && !w.profile.wild_clocks {
        w.violate("I8", format!("/leader is 200 on {saying_yes:?} at once"));
    }
    for id in saying_yes {
        let writes = w.is_writable(*id) || w.truth.last_writer_seen.get(id).is_some_and(|at| w.now - at < SEC / 2);
        if !writes && !w.profile.wild_clocks {
            w.violate("I8", format!("/leader is 200 on n{id}, whose PostgreSQL is no primary"));
        }
        if w.truth.holder != Some(*id) && !w.profile.wild_clocks {
            w.violate("I8", format!("/leader is 200 on n{id}, and {:?} holds the key", w.truth.holder));
        }
    }
    for id in 0..w.nodes.len() {
        if can_acknowledge(w, id) {
            w.truth.last_writer_seen.insert(id, w.now);
        }
    }
}

impl World {
    /// The daemon's process runs and is not stopped.
    pub(crate) fn daemon_moves(&self, id: usize) -> bool {
        let daemon = &self.nodes[id].daemon;
        daemon.state == crate::world::daemon::Process::Running && !daemon.frozen && self.nodes[id].is_running()
    }
}
