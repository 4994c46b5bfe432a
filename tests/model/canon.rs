//! One name for states that differ only in names: revisions, nonces and births are renamed to the smallest ones, and nodes are
//! exchanged.

use super::bounds::Bounds;
use super::hasher::hash;
use super::log::{Kind, Record};
use super::world::{
    Compares, Election, Etcd, Machine, Mask, NODES, Node, Postgres, Process, Seat, Token, Txn, Upstream, World, Writes,
    has, nodes, only,
};
use leaderl_decision::planted::{Planted, planted};

/// The revision of a hold whose key has been overwritten: no later revision equals it, nor does an absent key's.
const GONE: u8 = u8::MAX;
/// Every way to exchange three nodes.
const EXCHANGES: [[Node; NODES]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The number that stands for a state and all its likes. Collisions would hide states: with 128 bits there are none.
pub(crate) fn fingerprint(bounds: &Bounds, world: &World) -> u128 {
    if bounds.switched_off != 0 {
        return hash(&renamed(bounds, world));
    }
    let kinds = [0, 1, 2].map(|node| kind(world, node));
    let order = |exchange: &[Node; NODES]| {
        let mut ordered = [0; NODES];
        kinds.iter().zip(exchange).for_each(|(kind, to)| ordered[usize::from(*to)] = *kind);
        ordered
    };
    // Nodes in the order of their kinds; those of one kind in every order.
    let first = EXCHANGES.iter().map(order).min().unwrap_or_default();
    let in_order = EXCHANGES.iter().filter(|exchange| order(exchange) == first);
    in_order.map(|exchange| hash(&renamed(bounds, &exchanged(world, exchange)))).min().unwrap_or_default()
}

/// Something that does not depend on names and tells most nodes apart.
fn kind(world: &World, node: Node) -> u64 {
    let machine = world.machine(node);
    let postgres = &machine.postgres;
    let stage = match machine.election {
        Election::Off => 0,
        Election::Undecided => 1,
        Election::Observing => 2,
        Election::Claiming { .. } => 3,
        Election::Holding(hold) => 4 + hold.stage as u64,
        Election::SteppingDown(down) => 7 + down.phase as u64,
    };
    let bid = world.etcd.bids[usize::from(node)].is_some_and(|bid| bid.for_rev == world.etcd.leader_rev);
    let upstream = match postgres.upstream {
        Upstream::Unset => 0,
        Upstream::Sentinel(_) => 1,
        Upstream::Node(_) => 2,
    };
    let parts = [
        stage,
        u64::from(machine.powered),
        postgres.process as u64,
        postgres.log.lsn().into(),
        postgres.log.commits().into(),
        u64::from(has(world.etcd.voters, node)),
        u64::from(world.etcd.epoch_node == node),
        upstream,
        bid.into(),
        u64::from(machine.heart.armed.is_some()),
    ];
    parts.iter().fold(0, |all, part| all * 31 + part)
}

/// The same state with the smallest revisions, nonces and births.
pub(crate) fn renamed(bounds: &Bounds, world: &World) -> World {
    let mut world = *world;
    if bounds.forget_void_bids {
        let present = world.etcd.leader_rev;
        for bid in &mut world.etcd.bids {
            *bid = bid.filter(|bid| bid.for_rev == present);
        }
    }
    if bounds.rename {
        forget(&mut world);
        let mut used = [false; 256];
        each_rev(&mut world, &mut |rev| used[usize::from(*rev)] = true);
        let names = ranks(&used);
        each_rev(&mut world, &mut |rev| *rev = names[usize::from(*rev)]);
    }
    let (mut names, mut next) = ([0_u8; 256], 1);
    each_nonce(&mut world, &mut |nonce| {
        if *nonce != 0 && names[usize::from(*nonce)] == 0 {
            names[usize::from(*nonce)] = next;
            next += 1;
        }
        *nonce = names[usize::from(*nonce)];
    });
    let (mut names, mut next) = ([None; 8], 0);
    each_birth(&mut world, &mut |birth| {
        let name = *names[usize::from(*birth)].get_or_insert_with(|| {
            next += 1;
            next - 1
        });
        *birth = name;
    });
    world
}

/// What no later step can tell apart is made equal.
fn forget(world: &mut World) {
    let present = world.etcd.leader_rev;
    for machine in &mut world.machines {
        if let Some(hold) = machine.election.hold_mut().filter(|hold| hold.rev != present) {
            hold.rev = GONE;
        }
        let held = machine.election.hold_mut().is_some();
        if !held && machine.heart.fenced <= world.etcd.epoch {
            machine.heart.fenced = 0;
        }
        if !held && machine.heart.highest <= world.etcd.epoch && machine.heart.armed.is_none() {
            machine.heart.highest = 0;
            machine.heart.door = None;
        }
        forget_of_standby(&mut machine.postgres, &world.etcd, &world.late);
        // A promise below the present key binds no more; which of two such names the startup process has read still matters.
        let postgres = &mut machine.postgres;
        let same = postgres.read == postgres.upstream;
        let old = |upstream: Upstream| matches!(upstream, Upstream::Sentinel(rev) if rev < present);
        let as_promised = Upstream::Sentinel(u8::from(postgres.upstream == Upstream::Sentinel(postgres.promised)));
        if old(postgres.read) {
            postgres.read = if same { as_promised } else { Upstream::Unset };
        }
        if old(postgres.upstream) {
            postgres.upstream = as_promised;
        }
        // Never to have promised is something else.
        if postgres.promised != 0 && postgres.promised < present {
            postgres.promised = 1;
        }
    }
    // A token that nobody bears proves nothing; what a promotion writes takes its place.
    let borne = |token: &Token| {
        let bids = world.etcd.bids.iter().flatten().any(|bid| bid.token == Some(*token));
        bids || world.late.iter().any(Option::is_some)
            || world.machines.iter().any(|machine| machine.postgres.token == Some(*token))
    };
    let taken_with = world.etcd.taken_with.filter(borne);
    world.etcd.taken_with = taken_with;
    // Only a transaction that is still under way can tell these from newer ones.
    if world.late.iter().all(Option::is_none) {
        (world.etcd.epoch_rev, world.etcd.voters_rev) = (1, 1);
        world.etcd.bids.iter_mut().flatten().for_each(|bid| bid.rev = 1);
    }
    world.etcd.newest = 0;
    let mut newest = 0;
    each_rev(world, &mut |rev| newest = newest.max(*rev));
    world.etcd.newest = newest;
}

/// What a promotion writes anew, and a token of another epoch than the newest, mean nothing to a standby.
fn forget_of_standby(postgres: &mut Postgres, etcd: &Etcd, late: &[Option<Txn>]) {
    match postgres.process {
        Process::Gone | Process::Standby => {}
        Process::Promoting | Process::Primary | Process::Stopping => return,
    }
    let newest = Token { epoch: etcd.epoch, nonce: etcd.epoch_nonce };
    let claims_with = |token: &Token| {
        let writes = late.iter().flatten().map(|txn| txn.writes);
        writes
            .into_iter()
            .any(|writes| matches!(writes, Writes::Claim { taken_with, .. } if taken_with == Some(*token)))
    };
    postgres.token =
        postgres.token.filter(|token| *token == newest || Some(*token) == etcd.taken_with || claims_with(token));
    postgres.placed = 0;
    if !planted(Planted::NamesAfterPromotion) {
        postgres.names = 0;
    }
}

/// Revision 0 (absent) stays 0; the others keep their order.
fn ranks(used: &[bool; 256]) -> [u8; 256] {
    let (mut names, mut next) = ([0; 256], 1);
    for rev in 1..256 {
        if used[rev] {
            names[rev] = next;
            next += 1;
        }
    }
    names
}

pub(crate) fn fresh_nonce(world: &World) -> u8 {
    let mut used = [false; 256];
    each_nonce(&mut { *world }, &mut |nonce| used[usize::from(*nonce)] = true);
    (1..=255).find(|nonce| !used[usize::from(*nonce)]).expect("nonces are renamed")
}

pub(crate) fn fresh_birth(world: &World) -> u8 {
    let mut used = [false; 8];
    each_birth(&mut { *world }, &mut |birth| used[usize::from(*birth)] = true);
    (0..8).find(|birth| !used[usize::from(*birth)]).expect("at most seven promotions and stops are still in a log")
}

fn each_rev(world: &mut World, with: &mut impl FnMut(&mut u8)) {
    each_rev_of_etcd(&mut world.etcd, with);
    if let Some(backup) = &mut world.backup {
        each_rev_of_etcd(backup, with);
    }
    for txn in world.late.iter_mut().flatten() {
        let Compares { leader, epoch, voters, bids } = &mut txn.compares;
        [leader, epoch, voters].into_iter().flatten().for_each(&mut *with);
        bids.iter_mut().flatten().for_each(&mut *with);
        if let Writes::Bid(bid) = &mut txn.writes {
            with(&mut bid.for_rev);
        }
    }
    for machine in &mut world.machines {
        machine.election.hold_mut().filter(|hold| hold.rev != GONE).into_iter().for_each(|hold| with(&mut hold.rev));
        with(&mut machine.postgres.promised);
        for upstream in [&mut machine.postgres.upstream, &mut machine.postgres.read] {
            if let Upstream::Sentinel(rev) = upstream {
                with(rev);
            }
        }
        with(&mut machine.high_water.revision);
    }
}

fn each_rev_of_etcd(etcd: &mut Etcd, with: &mut impl FnMut(&mut u8)) {
    for rev in [&mut etcd.newest, &mut etcd.leader_rev, &mut etcd.epoch_rev, &mut etcd.voters_rev] {
        with(rev);
    }
    for bid in etcd.bids.iter_mut().flatten() {
        with(&mut bid.for_rev);
        with(&mut bid.rev);
    }
}

fn each_nonce(world: &mut World, with: &mut impl FnMut(&mut u8)) {
    for etcd in std::iter::once(&mut world.etcd).chain(&mut world.backup) {
        with(&mut etcd.epoch_nonce);
        etcd.taken_with.iter_mut().for_each(|token| with(&mut token.nonce));
        seat_nonce(&mut etcd.leader, with);
        etcd.bids.iter_mut().flatten().filter_map(|bid| bid.token.as_mut()).for_each(|token| with(&mut token.nonce));
    }
    for machine in &mut world.machines {
        if let Some(hold) = machine.election.hold_mut() {
            with(&mut hold.nonce);
            with(&mut hold.acquired_with);
        }
        machine.heart.armed.iter_mut().for_each(|armed| with(&mut armed.nonce));
        machine.postgres.token.iter_mut().for_each(|token| with(&mut token.nonce));
    }
    for txn in world.late.iter_mut().flatten() {
        match &mut txn.writes {
            Writes::Seat(seat) => seat_nonce(seat, with),
            Writes::Bid(bid) => bid.token.iter_mut().for_each(|token| with(&mut token.nonce)),
            Writes::Claim { nonce, taken_with, .. } => {
                with(nonce);
                taken_with.iter_mut().for_each(|token| with(&mut token.nonce));
            }
            Writes::Voters { .. } => {}
        }
    }
}

fn seat_nonce(seat: &mut Seat, with: &mut impl FnMut(&mut u8)) {
    match seat {
        Seat::Holder { nonce, .. } => with(nonce),
        Seat::Absent | Seat::Vacancy { .. } => {}
    }
}

fn each_birth(world: &mut World, with: &mut impl FnMut(&mut u8)) {
    for machine in &mut world.machines {
        for record in machine.postgres.log.records_mut() {
            *record = match Record(*record).kind() {
                Kind::Commit(_) => *record,
                Kind::Switch { timeline, mut birth } => {
                    with(&mut birth);
                    Record::new(Kind::Switch { timeline, birth }).0
                }
                Kind::Shutdown { mut birth } => {
                    with(&mut birth);
                    Record::new(Kind::Shutdown { birth }).0
                }
            };
        }
    }
}

/// Node `n` becomes node `to[n]`.
fn exchanged(world: &World, to: &[Node; NODES]) -> World {
    let mut other = *world;
    for node in nodes() {
        *other.machine_mut(to[usize::from(node)]) = exchanged_machine(world.machine(node), to);
    }
    other.etcd = exchanged_etcd(&world.etcd, to);
    other.backup = world.backup.as_ref().map(|etcd| exchanged_etcd(etcd, to));
    for txn in other.late.iter_mut().flatten() {
        *txn = exchanged_txn(txn, to);
    }
    other
}

fn mask(mask: Mask, to: &[Node; NODES]) -> Mask {
    nodes().filter(|node| has(mask, *node)).fold(0, |all, node| all | only(to[usize::from(node)]))
}

fn exchanged_machine(machine: &Machine, to: &[Node; NODES]) -> Machine {
    let mut other = *machine;
    let postgres = &mut other.postgres;
    for upstream in [&mut postgres.upstream, &mut postgres.read] {
        if let Upstream::Node(node) = upstream {
            *node = to[usize::from(*node)];
        }
    }
    postgres.names = mask(postgres.names, to);
    postgres.late_names = postgres.late_names.map(|names| mask(names, to));
    let in_force = (0..8_u8).filter(|names| machine.postgres.names_in_force & (1 << names) != 0);
    postgres.names_in_force = in_force.fold(0, |all, names| all | 1 << mask(names, to));
    other
}

fn exchanged_seat(seat: Seat, to: &[Node; NODES]) -> Seat {
    match seat {
        Seat::Absent => Seat::Absent,
        Seat::Holder { node, nonce, epoch } => Seat::Holder { node: to[usize::from(node)], nonce, epoch },
        Seat::Vacancy { left_by, epoch, end } => {
            Seat::Vacancy { left_by: left_by.map(|node| to[usize::from(node)]), epoch, end }
        }
    }
}

fn exchanged_etcd(etcd: &Etcd, to: &[Node; NODES]) -> Etcd {
    let mut other = *etcd;
    other.leader = exchanged_seat(etcd.leader, to);
    other.epoch_node = to[usize::from(etcd.epoch_node)];
    other.voters = mask(etcd.voters, to);
    other.unsynced = mask(etcd.unsynced, to);
    for history in other.history.iter_mut().flatten() {
        history.node = to[usize::from(history.node)];
    }
    for node in nodes() {
        other.bids[usize::from(to[usize::from(node)])] = etcd.bids[usize::from(node)];
    }
    other
}

fn exchanged_txn(txn: &Txn, to: &[Node; NODES]) -> Txn {
    let mut other = *txn;
    other.by = to[usize::from(txn.by)];
    for node in nodes() {
        other.compares.bids[usize::from(to[usize::from(node)])] = txn.compares.bids[usize::from(node)];
    }
    other.writes = match txn.writes {
        Writes::Seat(seat) => Writes::Seat(exchanged_seat(seat, to)),
        Writes::Bid(bid) => Writes::Bid(bid),
        Writes::Voters { voters, version } => Writes::Voters { voters: mask(voters, to), version },
        Writes::Claim { nonce, epoch, taken_with, history, voters, version } => {
            let history =
                history.map(|history| super::world::History { node: to[usize::from(history.node)], ..history });
            Writes::Claim { nonce, epoch, taken_with, history, voters: mask(voters, to), version }
        }
    };
    other
}
