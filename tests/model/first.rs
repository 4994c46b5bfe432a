//! Where runs begin: node 1 leads and serves epoch 1, the others stream and vote.

use super::bounds::Bounds;
use super::log::{Kind, Log, Record};
use super::world::{
    Budget, Door, Election, Etcd, HighWater, History, Hold, Keeper, Machine, Node, Postgres, Process, Seat, Stage,
    Token, Truth, Upstream, World, has, nodes, only,
};

/// The first state.
pub(crate) fn world(bounds: &Bounds) -> World {
    let mut log = Log::default();
    log.push(Record::new(Kind::Switch { timeline: 2, birth: 0 }));
    let budget: Budget = bounds.budget;
    let mut world = World { etcd: etcd(bounds), budget, truth: truth(bounds), ..World::default() };
    for node in nodes() {
        *world.machine_mut(node) = if node == 0 { leader(bounds, log) } else { follower(bounds, log) };
        let machine: &mut Machine = world.machine_mut(node);
        if bounds.just_won {
            before_promotion(machine);
        }
        if has(bounds.absent, node) {
            *machine = Machine::default();
        }
        if !bounds.rename {
            machine.high_water = HighWater { revision: 3, epoch: 1, version: 1, went_back: false };
        }
    }
    world
}

fn etcd(bounds: &Bounds) -> Etcd {
    let mut etcd = Etcd {
        newest: 3,
        leader: Seat::Holder { node: 0, nonce: 1, epoch: 1 },
        leader_rev: 3,
        epoch: 1,
        epoch_node: 0,
        epoch_nonce: 1,
        epoch_rev: 1,
        voters: bounds.voters,
        voters_version: u8::from(!bounds.rename),
        voters_rev: 2,
        ..Etcd::default()
    };
    etcd.history[1] = Some(History { timeline: 2, parent: 1, fork: 0, node: 0 });
    etcd
}

fn truth(bounds: &Bounds) -> Truth {
    if bounds.just_won {
        return Truth::default();
    }
    Truth { promoted: 1, epochs: 1 << 1, timelines: 1 << 2, ..Truth::default() }
}

fn leader(bounds: &Bounds, log: Log) -> Machine {
    let token = Token { epoch: 1, nonce: 1 };
    let hold = Hold { epoch: 1, nonce: 1, acquired_with: 1, rev: 3, stage: Stage::Serving, old: false };
    Machine {
        powered: true,
        election: Election::Holding(hold),
        keeper: Some(Keeper { epoch: 1, own_put: true }),
        heart: super::world::Heart {
            armed: Some(token),
            unbacked: false,
            fenced: 0,
            highest: 1,
            vip: true,
            door: Some((1, Door::Open)),
        },
        postgres: Postgres {
            process: Process::Primary,
            data: true,
            log,
            replayed: log.len(),
            promised: 1,
            token: Some(token),
            names: bounds.voters,
            names_in_force: 1 << bounds.voters,
            proven_at: Some(log.lsn()),
            open: true,
            looked_after: true,
            stood: true,
            ..Postgres::default()
        },
        ..Machine::default()
    }
}

/// Everybody has let go, and the winner has been armed.
fn before_promotion(machine: &mut Machine) {
    if let Election::Holding(hold) = &mut machine.election {
        hold.stage = Stage::Promoting;
    }
    machine.keeper = None;
    machine.heart.vip = false;
    machine.heart.door = None;
    machine.postgres = Postgres {
        process: Process::Standby,
        data: true,
        promised: 1,
        upstream: Upstream::Sentinel(1),
        read: Upstream::Sentinel(1),
        stood: true,
        ..Postgres::default()
    };
}

fn follower(_bounds: &Bounds, log: Log) -> Machine {
    let leader: Node = 0;
    Machine {
        powered: true,
        election: Election::Observing,
        postgres: Postgres {
            process: Process::Standby,
            data: true,
            log,
            replayed: log.len(),
            promised: 1,
            upstream: Upstream::Node(leader),
            read: Upstream::Node(leader),
            stood: true,
            ..Postgres::default()
        },
        ..Machine::default()
    }
}

#[test]
fn the_first_state_is_at_rest() {
    let bounds = Bounds { budget: Budget::default(), ..Bounds::quiet("at rest") };
    let world = world(&bounds);
    let mut mover = super::moves::Mover::new(&bounds);
    let known = super::canon::fingerprint(&bounds, &world);
    for step in mover.steps(&world) {
        let moved = super::canon::fingerprint(&bounds, &step.world) != known;
        let expected = matches!(step.what, super::moves::Move::Look { age, .. } if age != super::look::Age::Fresh);
        assert!(!moved || expected, "{:?}: {}", step.what, super::story::tell(&world, std::slice::from_ref(&step)));
    }
    assert!(only(0) == 1 && super::properties::leader(&world) == Some(0));
}
