//! I1, I2 and I8: one writer, one address, one `/leader`.

use crate::postgres::Row;
use crate::world::node::VIP;
use crate::world::{MS, SEC, Time, World};
use leaderl_decision::model::Lsn;

/// What a stopped guardian that goes on may need to end its PostgreSQL.
const AFTER_THAW: Time = 1500 * MS;

/// Whether this node's server is out of recovery and moves.
pub(crate) fn moves_as_primary(w: &World, id: usize) -> bool {
    let node = &w.nodes[id];
    let left_over = node.postgres.orphan_answers_until > w.now;
    let serves = w.is_writable(id) && node.postgres.server.as_ref().is_some_and(|server| !server.frozen);
    node.is_running() && (serves || left_over)
}

/// Whether it could acknowledge a client's write now: it moves as a primary, and packets pass its gate.
pub(crate) fn can_acknowledge(w: &World, id: usize) -> bool {
    moves_as_primary(w, id) && w.lets_clients(id, false)
}

/// Nodes whose PostgreSQL nobody can end: heart stands still and the daemon too, or it could not attach; or all of the machine.
pub(crate) fn note_unguarded(w: &mut World) {
    for id in 0..w.nodes.len() {
        let node = &w.nodes[id];
        // A daemon that could not attach to a stopped heart does not know its process, and so cannot end it.
        let could_end_it = w.daemon_moves(id) && node.heart.attachment.is_attached();
        // A backend that was busy when its postmaster was killed outlives heart, until the next heart sweeps what is left.
        let left_over = node.postgres.orphan_answers_until > w.now && !node.heart.runs();
        if node.paused || node.heart.frozen && !could_end_it || left_over {
            w.truth.unguarded.insert(id, w.now);
        }
    }
}

pub(super) fn was_unguarded(w: &World, id: usize) -> bool {
    w.truth.unguarded.get(&id).is_some_and(|at| w.now - at < AFTER_THAW)
}

/// I1: at no instant can two nodes acknowledge. Nor do two servers move as primaries, unless nobody is there to end one of them.
pub(super) fn at_most_one(w: &mut World) {
    let primaries: Vec<usize> = (0..w.nodes.len()).filter(|id| moves_as_primary(w, *id)).collect();
    for id in &primaries {
        w.truth.last_writer_seen.insert(*id, w.now);
    }
    if w.profile.wild_clocks {
        return;
    }
    let writers: Vec<usize> = primaries.iter().copied().filter(|id| w.lets_clients(*id, false)).collect();
    if writers.len() > 1 {
        w.violate("I1", format!("two nodes can acknowledge writes: {writers:?}"));
    } else if primaries.len() > 1 && !primaries.iter().any(|id| was_unguarded(w, *id)) {
        w.violate("I1", format!("two servers are primaries, behind gates or not: {primaries:?}"));
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
pub(crate) fn acknowledged(w: &mut World, id: usize, timeline: u32, row: Row, lsn: Lsn) {
    if let Some((newest, at)) = w.truth.newest_ack
        && timeline < newest
        && !w.profile.wild_clocks
    {
        let text = format!(
            "n{id} acknowledges {row:?} at {lsn} on timeline {timeline}, {} ms after timeline {newest} did",
            (w.now - at) / MS
        );
        w.violate("I1", text);
    }
    super::voters::acknowledged(w, id, row);
    if w.truth.newest_ack.is_none_or(|(newest, _)| timeline >= newest) {
        w.truth.newest_ack = Some((timeline, w.now));
    }
    if w.truth.recorded.get(&timeline).is_none_or(|(_, node)| *node != id) {
        w.violate("I11", format!("n{id} acknowledges on timeline {timeline}, which is not recorded as its own"));
    }
}

/// I8: what was cached before a pause must have expired by its own deadline: a process that goes on answers before it looks.
pub(crate) fn says_leader_after_thaw(w: &mut World, id: usize) {
    if let Some(other) = w.truth.holder.filter(|other| *other != id && !w.profile.wild_clocks) {
        w.violate("I8", format!("n{id} goes on and /leader is still 200 there, and n{other} holds the key"));
    }
}

/// I8: `GET /leader` is 200 on at most one node, the one that writes and holds the key.
pub(crate) fn poll_leader(w: &mut World, saying_yes: &[usize]) {
    if saying_yes.len() > 1 && !w.profile.wild_clocks {
        w.violate("I8", format!("/leader is 200 on {saying_yes:?} at once"));
    }
    for id in saying_yes {
        super::holds::serves(w, *id);
        let writes = w.is_writable(*id) || w.truth.last_writer_seen.get(id).is_some_and(|at| w.now - at < SEC / 2);
        if !writes && !w.profile.wild_clocks {
            w.violate("I8", format!("/leader is 200 on n{id}, whose PostgreSQL is no primary"));
        }
        // Its holder may not have heard of it before it steps down by its own clock.
        let deleted = w.truth.key_deleted.is_some_and(|at| w.now - at < w.profile.ttl);
        if w.truth.holder != Some(*id) && !w.profile.wild_clocks && !deleted {
            w.violate("I8", format!("/leader is 200 on n{id}, and {:?} holds the key", w.truth.holder));
        }
    }
    super::orders::vip_outlives(w);
    super::orders::dead_voter_stays(w);
    for id in 0..w.nodes.len() {
        // One that is stopped by a signal counts: only when it ends can its daemon know.
        if moves_as_primary(w, id) || w.is_writable(id) {
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
