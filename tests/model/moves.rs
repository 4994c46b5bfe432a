//! Everything that can happen next.

use super::bounds::Bounds;
use super::choices;
use super::hasher::Twice;
use super::lens::Lens;
use super::log::Record;
use super::look::{Age, Input, Look, Output, Peer};
use super::nature;
use super::pass::upstream_of;
use super::properties;
use super::relations::{add_late, all_fenced, follows, is_held, is_source, set_hold, settle};
use super::store;
use super::world::{Compares, Election, LATE, NODES, Node, Phase, Process, Seat, Txn, World, Writes, nodes};
use leaderl_decision::model::ReplicationMode;
use leaderl_decision::planted::{Planted, planted};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;

/// One kind of move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Look { node: Node, age: Age },
    Keep { node: Node, patient: bool },
    Renew(Node),
    InDoubt(Node),
    Fenced(Node),
    Reloads(Node),
    Receives(Node),
    Replays(Node),
    Promoted(Node),
    NamesProven(Node),
    Stopped(Node),
    LateNames(Node),
    Publishes(Node),
    Commits(Node),
    Acknowledged { node: Node, commit: u8 },
    PowerLost(Node),
    PowerBack(Node),
    DiskLost(Node),
    OldCopyPutBack(Node),
    DaemonKilled(Node),
    DaemonStarts(Node),
    PostmasterKilled(Node),
    Cut(Node),
    Healed(Node),
    LateCommit(Node),
    HearsOfRenewal(Node),
    ToldToStop(Node),
    KeyDeleted,
    BackedUp,
    Restored,
}

/// A move that was made, where it led, and what it broke.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) what: Move,
    pub(crate) said: Rc<[String]>,
    pub(crate) world: World,
    pub(crate) broken: Option<String>,
}

/// Looks that were made before, by all that they depend on.
type Remembered = HashMap<(u8, Input), Rc<[(Output, Rc<[String]>)]>, BuildHasherDefault<Twice>>;

/// What makes moves.
pub(crate) struct Mover<'a> {
    pub(crate) bounds: &'a Bounds,
    pub(crate) lens: Lens,
    remembered: Remembered,
    nothing_said: Rc<[String]>,
}

impl<'a> Mover<'a> {
    pub(crate) fn new(bounds: &'a Bounds) -> Self {
        let lens = Lens::new(bounds);
        Self { bounds, lens, remembered: Remembered::default(), nothing_said: Rc::from([]) }
    }

    /// How many different looks were computed.
    pub(crate) fn different_looks(&self) -> usize {
        self.remembered.len()
    }

    /// Every next step.
    pub(crate) fn steps(&mut self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        for node in nodes() {
            self.by_daemon(world, node, &mut steps);
            self.by_server(world, node, &mut steps);
            super::faults::on_machine(self.bounds, world, node, &mut |what, next| self.push(&mut steps, what, next));
        }
        super::faults::on_store(self.bounds, world, &mut |what, next| self.push(&mut steps, what, next));
        self.late_commits(world, &mut steps);
        for step in &mut steps {
            settle(self.bounds, &mut step.world);
            step.broken = step.broken.take().or_else(|| properties::of_state(self.bounds, &step.world));
        }
        let last = self.bounds.revisions;
        steps.retain(|step| step.broken.is_some() || (step.world != *world && step.world.etcd.newest <= last));
        steps
    }

    fn push(&self, steps: &mut Vec<Step>, what: Move, world: World) {
        steps.push(Step { what, said: self.nothing_said.clone(), world, broken: None });
    }

    fn by_daemon(&mut self, world: &World, node: Node, steps: &mut Vec<Step>) {
        let machine = world.machine(node);
        if !machine.powered || machine.election == Election::Off {
            return;
        }
        for age in self.ages(world, node).iter().copied() {
            self.look(world, Move::Look { node, age }, steps);
        }
        if machine.keeper.is_some() {
            self.look(world, Move::Keep { node, patient: false }, steps);
            self.look(world, Move::Keep { node, patient: true }, steps);
        }
        self.renew(world, node, steps);
    }

    fn look(&mut self, world: &World, what: Move, steps: &mut Vec<Step>) {
        let (kind, node, age) = match what {
            Move::Keep { node, patient } => (1 + u8::from(patient), node, Age::Fresh),
            Move::Look { node, age } => (0, node, age),
            Move::HearsOfRenewal(node) => (0, node, Age::Fresh),
            other => panic!("not a daemon's look: {other:?}"),
        };
        let mut fenced = *world;
        // Who left the seat in order has ended everything before: nothing about it depends on D.
        let expires = !matches!(world.etcd.leader, Seat::Vacancy { left_by: Some(_), .. });
        if age == Age::Open && self.bounds.timed && expires && !all_fenced(&mut fenced) {
            return;
        }
        let world = &fenced;
        let hears = matches!(what, Move::HearsOfRenewal(_));
        let key = (kind, Input { age, hears, ..self.input(world, node) });
        let outputs = match self.remembered.get(&key) {
            Some(outputs) => outputs.clone(),
            None => {
                let outputs = self.make(kind, &key.1);
                self.remembered.insert(key, outputs.clone());
                outputs
            }
        };
        for (output, said) in outputs.iter().filter(|(output, _)| output.etcd.epoch <= self.bounds.epochs) {
            let mut next = *world;
            *next.machine_mut(node) = output.machine;
            next.etcd = output.etcd;
            if let Some(txn) = output.late {
                add_late(&mut next, txn);
            }
            next.budget.deaf_hearts -= u8::from(output.deaf);
            if output.cut {
                next.budget.daemon_crashes -= 1;
                super::faults::kill_daemon(next.machine_mut(node));
            }
            let appears = output.machine.heart.vip && !world.machine(node).heart.vip;
            let early = appears && output.machine.postgres.process != Process::Primary;
            let mut broken = early.then(|| format!("{} has the VIP and is no primary", super::story::name(node)));
            broken = broken.or(output.claimed.then(|| properties::claimed(self.bounds, &next, node)).flatten());
            if output.machine.postgres.open && !world.machine(node).postgres.open {
                broken = broken.or(properties::opened(self.bounds, &mut next, node));
            }
            steps.push(Step { what, said: said.clone(), world: next, broken });
        }
    }

    fn make(&self, kind: u8, input: &Input) -> Rc<[(Output, Rc<[String]>)]> {
        let mut outputs = choices::every(|choices| {
            let look = Look::new(&self.lens, input, self.bounds.max_lag, choices);
            match kind {
                0 => look.run(),
                1 => look.keep(false),
                _ => look.keep(true),
            }
        });
        outputs.dedup();
        outputs.into_iter().map(|mut output| (output.clone(), Rc::from(std::mem::take(&mut output.said)))).collect()
    }

    fn input(&self, world: &World, node: Node) -> Input {
        let mut peers = [Peer::default(); NODES];
        for other in nodes().filter(|other| *other != node) {
            let peer = &mut peers[usize::from(other)];
            let postgres = &world.machine(other).postgres;
            peer.follows = follows(world, other, node).then(|| postgres.log.lsn());
            // Nobody else's process and log can matter: what does not is not looked at, and a look is remembered oftener.
            if is_source(world, other, node) {
                (peer.process, peer.log) = (postgres.process, postgres.log);
            }
        }
        let free = world.late.iter().any(Option::is_none);
        Input {
            me: node,
            machine: *world.machine(node),
            age: Age::Fresh,
            waits: world.late.iter().flatten().any(|txn| txn.awaited && txn.by == node),
            hears: false,
            etcd: world.etcd,
            peers,
            may_be_late: free && world.budget.late > 0,
            may_be_cut: self.bounds.cuts_in_passes && world.budget.daemon_crashes > 0,
            may_be_deaf: world.budget.deaf_hearts > 0,
            sessions_outlive: self.bounds.sessions_outlive && world.budget.daemon_crashes > 0,
            reloads_lag: self.bounds.reloads_lag,
            may_be_restored: !self.bounds.rename,
            fresh_nonce: super::canon::fresh_nonce(world),
            fresh_birth: super::canon::fresh_birth(world),
        }
    }

    /// What was on its way commits; a holder that is still there hears of its renewal.
    fn late_commits(&mut self, world: &World, steps: &mut Vec<Step>) {
        for slot in 0..LATE {
            let Some(txn) = world.late[slot] else { continue };
            let mut next = *world;
            next.late[slot] = None;
            if !store::commit(&mut next.etcd, &txn) || next.etcd.epoch > self.bounds.epochs {
                continue;
            }
            let what = Move::LateCommit(txn.by);
            let claims = matches!(txn.writes, Writes::Claim { .. });
            let broken = (txn.awaited && claims).then(|| properties::claimed(self.bounds, &next, txn.by)).flatten();
            steps.push(Step { what, said: self.nothing_said.clone(), world: next, broken });
            if txn.awaited && !claims {
                self.look(&next, Move::HearsOfRenewal(txn.by), steps);
            }
        }
    }

    fn renew(&self, world: &World, node: Node, steps: &mut Vec<Step>) {
        let hold = match world.machine(node).election {
            Election::Holding(hold) => hold,
            Election::SteppingDown(down) if down.planned && down.phase != Phase::Vacating => down.hold,
            Election::SteppingDown(_)
            | Election::Claiming { .. }
            | Election::Off
            | Election::Undecided
            | Election::Observing => return,
        };
        if !self.bounds.rename && world.budget.renewals == 0 {
            return;
        }
        let seat = Seat::Holder { node, nonce: hold.nonce, epoch: hold.epoch };
        let blind = planted(Planted::CreateRevisionAsToken);
        let mut next = *world;
        next.budget.renewals = next.budget.renewals.saturating_sub(1);
        if world.etcd.leader != seat && !blind {
            set_hold(next.machine_mut(node), hold.rev, true);
            return self.push(steps, Move::Renew(node), next);
        }
        let leader = (!blind).then_some(world.etcd.leader_rev);
        let txn = Txn {
            by: node,
            awaited: true,
            compares: Compares { leader, ..Compares::default() },
            writes: Writes::Seat(seat),
        };
        if world.budget.late > 0 && world.late.iter().any(Option::is_none) {
            let mut late = next;
            add_late(&mut late, txn);
            self.push(steps, Move::Renew(node), late);
        }
        store::commit(&mut next.etcd, &txn);
        let rev = next.etcd.leader_rev;
        set_hold(next.machine_mut(node), rev, false);
        self.push(steps, Move::Renew(node), next);
    }

    /// How old the seat may look from here.
    fn ages(&self, world: &World, node: Node) -> &'static [Age] {
        if world.machine(node).election != Election::Observing || (self.bounds.calm && is_held(world)) {
            return &[Age::Fresh];
        }
        match world.etcd.leader {
            Seat::Holder { .. } | Seat::Vacancy { left_by: None, .. } => &[Age::Fresh, Age::Bidding, Age::Open],
            Seat::Vacancy { .. } if self.bounds.mode == ReplicationMode::Async => &[Age::Fresh, Age::Bidding],
            // Whoever has just handed over lets others go first for a while; what was not acknowledged is given up later.
            Seat::Vacancy { left_by, .. } if left_by == Some(node) => &[Age::Fresh, Age::Bidding, Age::Open],
            Seat::Vacancy { .. } => &[Age::Fresh, Age::Open],
            Seat::Absent => &[Age::Fresh],
        }
    }

    fn by_server(&self, world: &World, node: Node, steps: &mut Vec<Step>) {
        let machine = world.machine(node);
        let postgres = &machine.postgres;
        let mut push = |what, change: &dyn Fn(&mut World)| {
            let mut next = *world;
            change(&mut next);
            self.push(steps, what, next);
        };
        if postgres.reloading {
            push(Move::Reloads(node), &|next| nature::obey(next.postgres(node)));
        }
        if postgres.replayed < postgres.log.len() && postgres.process == Process::Standby {
            push(Move::Replays(node), &|next| next.postgres(node).replayed += 1);
        }
        if postgres.in_proof && !postgres.reloading && self.bounds.reloads_lag {
            push(Move::NamesProven(node), &|next| nature::prove(next.postgres(node)));
        }
        if postgres.process == Process::Stopping {
            push(Move::Stopped(node), &|next| {
                nature::ended(next.postgres(node));
                next.postgres(node).clean = true;
            });
        }
        if let Some(names) = postgres.late_names.filter(|_| postgres.process == Process::Primary) {
            push(Move::LateNames(node), &|next| nature::late_names(next.postgres(node), names));
        }
        if let Some(record) = self.arriving(world, node) {
            push(Move::Receives(node), &|next| nature::receive(next.postgres(node), record, self.bounds.replay_lags));
        }
        if postgres.process == Process::Primary && self.bounds.mode == ReplicationMode::Async {
            push(Move::Publishes(node), &|next| properties::publish(next, node));
        }
        if postgres.process == Process::Primary && postgres.open && world.budget.commits > 0 {
            push(Move::Commits(node), &|next| properties::commit(next, node));
        }
        if postgres.process == Process::Promoting {
            let mut next = *world;
            let birth = super::canon::fresh_birth(world);
            let broken = properties::promote(self.bounds, &mut next, node, birth);
            steps.push(Step { what: Move::Promoted(node), said: self.nothing_said.clone(), world: next, broken });
        }
        self.acknowledge(world, node, steps);
    }

    /// The next record from where this node streams.
    fn arriving(&self, world: &World, node: Node) -> Option<Record> {
        let input = self.input(world, node);
        let from = upstream_of(&input.machine, &input.peers)?;
        world.machine(from).postgres.log.record_at(input.machine.postgres.log.lsn())
    }

    fn acknowledge(&self, world: &World, node: Node, steps: &mut Vec<Step>) {
        let machine = world.machine(node);
        if machine.postgres.process != Process::Primary {
            return;
        }
        let flushed = |other: Node| follows(world, other, node).then(|| world.machine(other).postgres.log.lsn());
        for (commit, lsn) in nature::waiting(&machine.postgres, &world.truth) {
            if nature::may_acknowledge(machine, lsn, flushed) {
                let mut next = *world;
                let broken = properties::acknowledge(self.bounds, &mut next, node, commit);
                let what = Move::Acknowledged { node, commit };
                steps.push(Step { what, said: self.nothing_said.clone(), world: next, broken });
            }
        }
    }
}
