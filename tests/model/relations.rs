//! What one node is to another, and what follows at once from a move.

use super::bounds::Bounds;
use super::look::Peer;
use super::pass::upstream_of;
use super::store;
use super::world::{Machine, NODES, Node, Seat, Txn, Upstream, World};

pub(crate) fn add_late(world: &mut World, txn: Txn) {
    world.budget.late -= 1;
    if let Some(slot) = world.late.iter_mut().find(|slot| slot.is_none()) {
        *slot = Some(txn);
    }
}

pub(crate) fn set_hold(machine: &mut Machine, rev: u8, old: bool) {
    if let Some(hold) = machine.election.hold_mut() {
        (hold.rev, hold.old) = (rev, old);
    }
    machine.heart.unbacked &= old;
}

/// Whether the holder of the key is there and holds it.
pub(crate) fn is_held(world: &World) -> bool {
    let Seat::Holder { node, epoch, .. } = world.etcd.leader else { return false };
    let hold = { world.machine(node).election }.hold_mut().map(|hold| (hold.epoch, hold.old));
    hold == Some((epoch, false))
}

/// Whether `to` may stream, rewind or copy from `node`.
pub(crate) fn is_source(world: &World, node: Node, to: Node) -> bool {
    let postgres = &world.machine(to).postgres;
    let aimed = [postgres.read, postgres.upstream].contains(&Upstream::Node(node));
    let holds = matches!(world.etcd.leader, Seat::Holder { node: holder, .. } if holder == node);
    aimed || holds || world.etcd.bids[usize::from(node)].is_some_and(|bid| bid.ineligible)
}

/// Whether `node` streams from `from`.
pub(crate) fn follows(world: &World, node: Node, from: Node) -> bool {
    let machine = world.machine(node);
    if machine.postgres.read != Upstream::Node(from) {
        return false;
    }
    let mut peers = [Peer::default(); NODES];
    let postgres = &world.machine(from).postgres;
    peers[usize::from(from)] = Peer { process: postgres.process, log: postgres.log, follows: None };
    upstream_of(machine, &peers) == Some(from)
}

/// What clocks and fences promise once somebody's clock has reached D since the present key was received: no heart is armed (so
/// nothing of its PostgreSQL is left), and whoever still believes in its hold finds it old.
pub(crate) fn all_fenced(world: &mut World) -> bool {
    if world.machines.iter().any(|machine| machine.heart.armed.is_some() && !machine.heart.unbacked) {
        return false;
    }
    for hold in world.machines.iter_mut().filter_map(|machine| machine.election.hold_mut()) {
        hold.old = true;
    }
    true
}

/// What follows at once from a move: what cannot commit any more is forgotten, and nobody waits for a daemon that is gone.
pub(crate) fn settle(bounds: &Bounds, after: &mut World) {
    let etcd = after.etcd;
    for slot in &mut after.late {
        // An absent key may be absent again, and a revision may be handed out again.
        let again = |txn: &Txn| txn.compares.leader == Some(0) || bounds.unnoticed;
        *slot = slot.filter(|txn| again(txn) || store::may_commit(&etcd, txn));
        if let Some(txn) = slot {
            let mut sender = after.machines[usize::from(txn.by)].election;
            txn.awaited &= sender.hold_mut().is_some();
        }
    }
}
