//! Rules R3, R6 and R11: what a daemon must have done itself before it promotes or serves.

use crate::world::World;
use leaderl::ports::{Txn, Write};
use leaderl_decision::records::LeaderValue;

/// Committed: a claim or a renewal is this daemon's own.
pub(crate) fn committed(w: &mut World, txn: &Txn, node: usize, incarnation: u64) {
    let key = w.keys.leader();
    let own = |write: &Write| match write {
        Write::Put { key: its, value } => {
            *its == key && matches!(serde_json::from_slice(value), Ok(LeaderValue::Holder(_)))
        }
        Write::Delete { .. } => false,
    };
    if txn.writes.iter().any(own) {
        w.truth.renewed_by.insert(node, incarnation);
    }
}

/// Rule R11: no promotion is ordered by a daemon that has not committed a renewal since it started.
pub(crate) fn promotes(w: &mut World, id: usize) {
    if !has_renewed(w, id) {
        w.violate("I12", format!("n{id} is to be promoted by a daemon that has committed nothing on the leader key"));
    }
}

/// The same for serving; and rule R3: statements of the daemon before are over by then.
pub(super) fn serves(w: &mut World, id: usize) {
    if !has_renewed(w, id) {
        w.violate("I8", format!("/leader is 200 on n{id}, whose daemon has committed nothing on the leader key"));
    }
    if w.is_writable(id) && w.nodes[id].postgres.server.as_ref().is_some_and(|server| server.predecessor_until > w.now)
    {
        w.violate("I3", format!("n{id} serves while its PostgreSQL still runs a statement of the daemon before"));
    }
}

/// Rules R6 and R9: one epoch is promoted once.
pub(super) fn promoted(w: &mut World, id: usize) {
    let token = w.nodes[id].postgres.data.as_ref().and_then(|data| data.token.clone());
    let Some(epoch) = token.map(|token| token.epoch).filter(|_| !w.truth.restored) else { return };
    if !w.truth.promoted.insert(epoch) {
        w.violate("I11", format!("n{id} leaves recovery under epoch {epoch}, under which a server did so before"));
    }
}

fn has_renewed(w: &World, id: usize) -> bool {
    w.truth.renewed_by.get(&id) == Some(&w.nodes[id].daemon.incarnation)
}
