//! I2, I4, I6 and R7 where something is begun: addresses, claims, rebuilds, voters.

use super::writers::moves_as_primary;
use crate::world::{MS, SEC, Time, World};
use leaderl::ports::KeyValue;
use leaderl_decision::records::{FailoverSwitch, VotersRecord};

/// What a node may need to hear of something that has just been written.
const HEARD: Time = 3 * SEC;
/// How long an address may outlive its writer while daemon and heart of the node run.
const VIP_OUTLIVES: Time = 600 * MS;
/// A daemon that has run so long knows what it holds.
const SETTLED: Time = 6 * SEC;
/// A voter that has not streamed for so long, beside one that does, has left V (rule R15).
const VOTER_LEAVES: Time = 8 * SEC;

/// I2: the address has just appeared on this node. A refresh by a heart that was stopped in the middle of it is undone by its next
/// look at the clock, within this.
pub(crate) fn vip_appears(w: &mut World, id: usize) {
    w.after(MS, move |w| {
        if w.nodes[id].kernel.vip_until.is_some() && w.nodes[id].is_running() {
            vip_is_there(w, id);
        }
    });
}

fn vip_is_there(w: &mut World, id: usize) {
    let wrote = w.truth.last_writer_seen.get(&id).is_some_and(|at| w.now - at < 2 * SEC);
    // A primary that is stopped by a signal is one all the same: nobody can tell it from one that is slow.
    if !moves_as_primary(w, id) && !w.is_writable(id) && !wrote {
        w.violate("I2", format!("the VIP appears on n{id}, whose PostgreSQL is no primary"));
    }
}

/// I6: pg_rewind begins to change files.
pub(crate) fn rewind_begins(w: &mut World, id: usize) {
    if w.nodes[id].postgres.marks.unsynced.is_none() {
        w.violate("I6", format!("n{id} rewinds without a mark: whoever finds the copy takes it for a whole one"));
    }
}

/// Rule R7: a voter is rebuilt.
pub(crate) fn rebuild_begins(w: &mut World, id: usize) {
    if w.truth.voter_since.get(&id).is_some_and(|since| w.now - since > HEARD) && !w.truth.restored {
        w.violate("I3", format!("n{id} is rebuilt although `voters` names it"));
    }
}

/// Rule R7: this node becomes a voter.
pub(super) fn votes(w: &mut World, id: usize) {
    if w.nodes[id].postgres.unsynced_since.is_some_and(|since| w.now - since > HEARD) {
        w.violate("I3", format!("n{id} becomes a voter although its copy is not complete"));
    }
}

/// I4: a node takes the key. What is true now counts, not what it has read.
pub(super) fn claimed(w: &mut World, id: usize) {
    let off = |entry: Option<KeyValue>| {
        let switch = entry.and_then(|entry| serde_json::from_slice::<FailoverSwitch>(&entry.value).ok());
        switch.is_some_and(|switch| !switch.enabled)
    };
    let node_off = off(w.etcd.kv.get(&w.keys.node_failover(&w.nodes[id].guid)));
    let again = w.truth.recorded.values().max_by_key(|(epoch, _)| *epoch).is_none_or(|(_, last)| *last == id);
    let cluster_off = off(w.etcd.kv.get(&w.keys.cluster_failover())) && !again;
    if (node_off || cluster_off) && !w.truth.restored {
        w.violate("I4", format!("n{id} takes the key although failover is switched off"));
    }
}

/// I2 over time, on every poll: an address must not outlive its writer while somebody there could take it off.
pub(super) fn vip_outlives(w: &mut World) {
    for id in 0..w.nodes.len() {
        let heart = &w.nodes[id].heart;
        let able = w.daemon_moves(id)
            && heart.runs()
            && !heart.frozen
            && heart.attachment.is_attached()
            && w.nodes[id].daemon.since.is_some_and(|since| w.now - since > SETTLED);
        // A stop in order keeps the address until every process has ended.
        let ended = w.nodes[id].postgres.server.is_none() && !moves_as_primary(w, id);
        if !able || !ended || !w.answers_for_vip(id) {
            w.truth.vip_alone_since.remove(&id);
            continue;
        }
        let since = *w.truth.vip_alone_since.entry(id).or_insert(w.now);
        if w.now - since > VIP_OUTLIVES && !w.profile.wild_clocks {
            w.violate("I2", format!("n{id} keeps the VIP {} ms after its PostgreSQL has ended", (w.now - since) / MS));
        }
    }
}

/// Rule R15, on every poll: the next single loss must not wait for a dead voter.
pub(super) fn dead_voter_stays(w: &mut World) {
    let (Some(leader), Some(entry)) = (w.serving(), w.etcd.kv.get(&w.keys.voters())) else {
        return w.truth.dead_voters_since.clear();
    };
    let Ok(record) = serde_json::from_slice::<VotersRecord>(&entry.value) else { return };
    let streams = |w: &World, id: usize| w.streams_from(id, leader);
    let voters: Vec<usize> = (0..w.nodes.len()).filter(|id| record.voters.contains(&w.nodes[*id].guid)).collect();
    let able = w.daemon_moves(leader) && w.acknowledged_since(w.now.saturating_sub(2 * SEC));
    // A walsender that stands still cannot be told that its follower does not count any more.
    let hangs = |w: &World, id: usize| {
        let server = w.nodes[leader].postgres.server.as_ref();
        server.is_some_and(|server| server.senders.iter().any(|it| it.frozen && it.guid == w.nodes[id].guid))
    };
    let alive = voters.iter().any(|id| streams(w, *id) && w.nodes[*id].postgres.marks.unsynced.is_none());
    if !able || !alive {
        return w.truth.dead_voters_since.clear();
    }
    for id in 0..w.nodes.len() {
        if !voters.contains(&id) || w.nodes[id].postgres.server.is_some() || hangs(w, id) {
            w.truth.dead_voters_since.remove(&id);
            continue;
        }
        let since = *w.truth.dead_voters_since.entry(id).or_insert(w.now);
        if w.now - since > VOTER_LEAVES {
            w.violate("I5", format!("`voters` names n{id}, which has been down for {} s", (w.now - since) / SEC));
        }
    }
}
