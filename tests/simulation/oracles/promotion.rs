//! I3, I4, I11 and I12 at the instant of a promotion, on what is really true.

use crate::world::World;
use leaderl_decision::model::{Lsn, ReplicationMode};
use leaderl_decision::records::{FailoverSwitch, NodeStatus};

/// This node has just left recovery.
pub(crate) fn check(w: &mut World, id: usize) {
    w.counts.promotions += 1;
    let Some(data) = w.nodes[id].postgres.data.as_ref() else { return };
    let (timeline, intact) = (data.timeline, data.intact);
    let token = data.token.clone();
    super::holds::promoted(w, id);
    // It may have lost the key after the order; then its deadline must end it. Nobody else may hold it already, unless everything
    // that could have ended it was stopped: then its port is shut, and nobody is led by it.
    let other = w.truth.holder.filter(|holder| *holder != id && !w.profile.wild_clocks);
    let outlived = other.is_some() && super::writers::was_unguarded(w, id);
    if let Some(other) = other.filter(|_| !outlived) {
        w.violate("I12", format!("n{id} leaves recovery while n{other} holds the key"));
    }
    match w.truth.recorded.get(&timeline).copied() {
        Some((epoch, node)) if node == id => {
            if token.as_ref().is_none_or(|token| token.epoch != epoch) {
                w.violate("I11", format!("n{id} leaves recovery without the token of epoch {epoch}"));
            }
        }
        // It takes no clients (`wrong-timeline`); the acknowledgement oracle watches that.
        Some(_) | None => {
            crate::world::note!(w, "n{id} left recovery on timeline {timeline}, which is not recorded for it")
        }
    }
    if !intact {
        w.violate("I4", format!("n{id} leads with a damaged copy"));
    }
    if w.nodes[id].postgres.marks.unsynced.is_some() {
        w.violate("I4", format!("n{id} leads with an unsynced copy"));
    }
    if !outlived {
        switched_off(w, id);
        near_enough(w, id);
        complete(w, id);
    }
}

fn switched_off(w: &mut World, id: usize) {
    let key = w.keys.node_failover(&w.nodes[id].guid);
    let off = |entry: Option<leaderl::ports::KeyValue>| {
        entry
            .and_then(|entry| serde_json::from_slice::<FailoverSwitch>(&entry.value).ok())
            .is_some_and(|switch| !switch.enabled)
    };
    // Switched off a moment ago is no fault of the node; the claim has compared the switch.
    if off(w.etcd.kv.get(&key)) && w.faults.switched_off_for(w.now, id) > 20 * crate::world::SEC {
        w.violate("I4", format!("n{id} leads although failover is switched off for it"));
    }
}

/// An epoch has just been taken: what the last leader had published by then. What it publishes afterwards, once it is back, nobody
/// could take into account.
pub(crate) fn note_published(w: &mut World) {
    let before = w.truth.recorded.values().filter(|(epoch, _)| *epoch < w.truth.epoch).max_by_key(|(epoch, _)| *epoch);
    w.truth.published_before = before.copied().and_then(|(_, last)| {
        let entry = w.etcd.kv.get(&w.keys.node(&w.nodes[last].guid))?;
        let record = serde_json::from_slice::<NodeStatus>(&entry.value).ok()?;
        Some((last, record.position?.lsn))
    });
}

/// I4 in `async`: not further behind what the last leader had published than the setting allows.
fn near_enough(w: &mut World, id: usize) {
    if w.profile.mix != "async" {
        return;
    }
    let Some((last, theirs)) = w.truth.published_before.filter(|(last, _)| *last != id) else { return };
    let Some(mine) = w.nodes[id].postgres.data.as_ref().map(|data| Lsn(data.end())) else { return };
    let behind = theirs.ahead_of(mine).0;
    // What it appended on its own way to the office counts as its own.
    if behind > crate::world::node::MAX_BEHIND + 1000 {
        w.violate("I4", format!("n{id} leads {behind} bytes behind what n{last} had published"));
    }
}

/// I3: everything promised to clients is in the copy that leads now.
fn complete(w: &mut World, id: usize) {
    if w.profile.mode == ReplicationMode::Async || w.truth.loss_accepted {
        return;
    }
    let Some(data) = w.nodes[id].postgres.data.as_ref() else { return };
    let here: std::collections::BTreeSet<_> = data.rows().collect();
    let missing: Vec<_> = w.truth.promised.keys().filter(|row| !here.contains(row)).copied().collect();
    if !missing.is_empty() {
        let text = format!("n{id} leads without {} promised rows, the first is {:?}", missing.len(), missing.first());
        w.violate("I3", text);
    }
}
