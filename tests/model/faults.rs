//! What goes wrong, as often as the budget allows; and what comes back.

use super::bounds::Bounds;
use super::moves::Move;
use super::nature;
use super::store;
use super::world::{Election, Etcd, HighWater, LATE, Machine, Node, Postgres, Process, Seat, Stage, World, has};

/// The daemon's process is gone; PostgreSQL and heart go on.
pub(crate) fn kill_daemon(machine: &mut Machine) {
    machine.election = Election::Off;
    machine.keeper = None;
    machine.told_to_stop = false;
    let postgres = &mut machine.postgres;
    postgres.looked_after = false;
    postgres.hopeless = false;
    postgres.stood = false;
    postgres.proven_at = None;
    postgres.in_proof = false;
}

fn lose_power(machine: &mut Machine) {
    kill_daemon(machine);
    machine.powered = false;
    machine.heart = super::world::Heart::default();
    nature::ended(&mut machine.postgres);
}

/// Faults of one machine, and its return.
pub(crate) fn on_machine(bounds: &Bounds, world: &World, node: Node, push: &mut dyn FnMut(Move, World)) {
    let machine = world.machine(node);
    let budget = &world.budget;
    let mut with = |what, possible: bool, change: &dyn Fn(&mut World)| {
        if possible {
            let mut next = *world;
            change(&mut next);
            push(what, next);
        }
    };
    let runs = machine.powered && machine.election != Election::Off;
    let mortal = has(bounds.mortal, node);
    let returns = has(bounds.returns, node) && !has(bounds.absent, node);
    with(Move::PowerLost(node), machine.powered && mortal && budget.crashes > 0, &|next| {
        next.budget.crashes -= 1;
        lose_power(next.machine_mut(node));
    });
    with(Move::PowerBack(node), !machine.powered && returns, &|next| {
        next.machine_mut(node).powered = true;
        next.machine_mut(node).election = Election::Undecided;
    });
    with(Move::DiskLost(node), !machine.powered && budget.disk_losses > 0, &|next| {
        next.budget.disk_losses -= 1;
        *next.postgres(node) = Postgres::default();
        next.machine_mut(node).high_water = HighWater::default();
    });
    let log = machine.postgres.log;
    // On a node that `voters` names nobody may do this (rule R7).
    let may_be_restored = !machine.powered && !has(world.etcd.voters, node) && log.len() > 1;
    with(Move::OldCopyPutBack(node), may_be_restored && budget.old_copies > 0, &|next| {
        next.budget.old_copies -= 1;
        *next.postgres(node) = Postgres { data: true, log: log.prefix(1), replayed: 1, ..Postgres::default() };
        next.postgres(node).promised = machine.postgres.promised;
    });
    with(Move::DaemonKilled(node), runs && budget.daemon_crashes > 0, &|next| {
        next.budget.daemon_crashes -= 1;
        kill_daemon(next.machine_mut(node));
    });
    with(Move::DaemonStarts(node), machine.powered && !runs && returns, &|next| {
        next.machine_mut(node).election = Election::Undecided;
    });
    let alive = machine.postgres.process != Process::Gone;
    with(Move::PostmasterKilled(node), alive && budget.postgres_crashes > 0, &|next| {
        next.budget.postgres_crashes -= 1;
        nature::ended(next.postgres(node));
    });
    with(Move::Fenced(node), machine.heart.armed.is_some() && budget.fences > 0, &|next| fence(next, node));
    with(Move::Cut(node), machine.powered && !machine.cut && budget.cuts > 0, &|next| {
        next.budget.cuts -= 1;
        next.machine_mut(node).cut = true;
    });
    with(Move::Healed(node), machine.cut, &|next| next.machine_mut(node).cut = false);
    on_hold(bounds, world, node, &mut with);
}

/// Takes a move, whether it is possible, and what it changes.
type Befalls<'a> = dyn FnMut(Move, bool, &dyn Fn(&mut World)) + 'a;

fn on_hold(bounds: &Bounds, world: &World, node: Node, with: &mut Befalls<'_>) {
    let machine = world.machine(node);
    let holds = match machine.election {
        Election::Holding(hold) => !hold.old,
        Election::SteppingDown(down) => down.planned && !down.hold.old,
        Election::Off | Election::Undecided | Election::Observing | Election::Claiming { .. } => false,
    };
    with(Move::InDoubt(node), holds && world.budget.doubts > 0, &|next| {
        next.budget.doubts -= 1;
        next.machine_mut(node).election.hold_mut().into_iter().for_each(|hold| hold.old = true);
    });
    // While it promotes too, where the run is about that.
    let serves = matches!(machine.election, Election::Holding(hold) if hold.stage == Stage::Serving || bounds.just_won);
    with(Move::ToldToStop(node), serves && !machine.told_to_stop && world.budget.stops > 0, &|next| {
        next.budget.stops -= 1;
        next.machine_mut(node).told_to_stop = true;
    });
}

fn fence(world: &mut World, node: Node) {
    world.budget.fences -= 1;
    let machine = world.machine_mut(node);
    if let Some(armed) = machine.heart.armed.take() {
        machine.heart.fenced = armed.epoch;
    }
    machine.heart.vip = false;
    machine.heart.door = None;
    if machine.postgres.process != Process::Gone {
        nature::ended(&mut machine.postgres);
    }
}

/// What befalls etcd's keys.
pub(crate) fn on_store(bounds: &Bounds, world: &World, push: &mut dyn FnMut(Move, World)) {
    if world.etcd.leader != Seat::Absent && world.budget.deletes > 0 {
        let mut next = *world;
        next.budget.deletes -= 1;
        store::delete_leader(&mut next.etcd);
        push(Move::KeyDeleted, next);
    }
    if world.budget.restores > 0 {
        let mut next = *world;
        match world.backup {
            None => {
                next.backup = Some(world.etcd);
                push(Move::BackedUp, next);
            }
            Some(backup) => {
                next.budget.restores -= 1;
                if !bounds.unnoticed {
                    next.machines.iter_mut().for_each(|machine| saw_the_last(machine, &world.etcd));
                    next.late = [None; LATE];
                }
                next.etcd = backup;
                push(Move::Restored, next);
            }
        }
    }
}

/// Who watched until etcd stopped has seen all of it. A node that had not would take the backup for the present.
fn saw_the_last(machine: &mut Machine, etcd: &Etcd) {
    if machine.election != Election::Off {
        let mark = &mut machine.high_water;
        (mark.revision, mark.epoch, mark.version) = (etcd.newest, etcd.epoch, etcd.voters_version);
    }
}
