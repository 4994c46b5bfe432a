//! What must hold, judged on what really happened and not on what any node believes.

use super::bounds::Bounds;
use super::log::{Kind, Record};
use super::nature;
use super::relations::follows;
use super::story::{commits, name};
use super::world::{Election, Mark, Node, Pos, Process, Seat, Stage, World, has, nodes, only};
use leaderl_decision::model::ReplicationMode;

/// The properties by name, for the report.
pub(crate) const CHECKED: &[&str] = &[
    "no acknowledged (or shown) commit is lost (I3; async: at most a suffix within max_lag of what was published)",
    "timed: never two primaries at once, never two VIPs (I1, I2)",
    "one epoch is promoted once, one timeline is made once (I11)",
    "no promotion without history/<epoch> recorded as promoted, without the token, or with a mark (I4)",
    "no claim without a complete set of bids: the claimant has every acknowledged commit (I4)",
    "no claim by a node whose failover is switched off",
    "an acknowledged commit is on a voter, or V is empty (strict: on another node always)",
];

/// A client's commit.
pub(crate) fn commit(world: &mut World, node: Node) {
    let number = world.truth.committed;
    world.truth.committed += 1;
    world.budget.commits -= 1;
    let postgres = world.postgres(node);
    postgres.log.push(Record::new(Kind::Commit(number)));
    postgres.replayed = postgres.log.len();
    let epoch = postgres.token.map_or(0, |token| token.epoch);
    world.truth.epoch_of[usize::from(number)] = epoch;
}

/// The leader posts its status.
pub(crate) fn publish(world: &mut World, node: Node) {
    let postgres = &world.machine(node).postgres;
    let epoch = postgres.token.map_or(0, |token| token.epoch);
    let pos = Pos { epoch, lsn: postgres.log.lsn(), timeline: postgres.log.timeline() };
    if world.etcd.epoch_node == node && world.etcd.epoch == epoch {
        world.etcd.published = Some(pos);
    }
}

/// A commit is acknowledged.
pub(crate) fn acknowledge(bounds: &Bounds, world: &mut World, node: Node, commit: u8) -> Option<String> {
    world.truth.acknowledged |= only(commit);
    let truth = &world.truth;
    let elsewhere =
        |mask: u8| nodes().any(|other| has(mask, other) && has(world.machine(other).postgres.log.commits(), commit));
    let epoch = world.machine(node).postgres.token.map_or(0, |token| token.epoch);
    if bounds.mode == ReplicationMode::Async {
        return None;
    }
    if epoch < truth.promoted && !has(truth.promoted_with, commit) {
        return Some(format!(
            "{} acknowledges commit {commit} in epoch {epoch}, and epoch {} was promoted without it",
            name(node),
            truth.promoted
        ));
    }
    if bounds.mode == ReplicationMode::Strict && !elsewhere(!only(node)) {
        return Some(format!("{} acknowledges commit {commit} alone in strict mode", name(node)));
    }
    let voters = world.etcd.voters;
    (voters != 0 && !is_restored(bounds, world) && !elsewhere(voters)).then(|| {
        format!(
            "{} acknowledges commit {commit}, which none of the voters {} has",
            name(node),
            super::story::names(voters)
        )
    })
}

/// Clients are let in on `node`: whatever its log has can be read from now on, acknowledged or not (rule R6).
pub(crate) fn opened(bounds: &Bounds, world: &mut World, node: Node) -> Option<String> {
    if bounds.mode == ReplicationMode::Async {
        return None;
    }
    let shown = world.machine(node).postgres.log.commits() & !world.truth.acknowledged;
    nodes_of(shown).into_iter().find_map(|commit| acknowledge(bounds, world, node, commit))
}

fn nodes_of(mask: u8) -> Vec<u8> {
    (0..8).filter(|number| has(mask, *number)).collect()
}

/// A claim was committed by `node`.
pub(crate) fn claimed(bounds: &Bounds, world: &World, node: Node) -> Option<String> {
    if has(bounds.switched_off, node) {
        return Some(format!("{} takes epoch {} although its failover is switched off", name(node), world.etcd.epoch));
    }
    let missing = world.truth.acknowledged & !world.machine(node).postgres.log.commits();
    (bounds.mode != ReplicationMode::Async && missing != 0)
        .then(|| format!("{} takes epoch {} without acknowledged {}", name(node), world.etcd.epoch, commits(missing)))
}

/// Promotion ends on `node`.
pub(crate) fn promote(bounds: &Bounds, world: &mut World, node: Node, birth: u8) -> Option<String> {
    let token = world.machine(node).postgres.token;
    let marked = world.machine(node).postgres.mark != Mark::None;
    let log = world.machine(node).postgres.log;
    let timeline = nature::promoted(world.postgres(node), birth);
    let Some(token) = token else { return Some(format!("{} is promoted without a token", name(node))) };
    let epoch = token.epoch;
    let broken = once(world, node, epoch, timeline)
        .or_else(|| recorded(bounds, world, node, epoch, timeline, log.lsn()))
        .or_else(|| marked.then(|| format!("{} is promoted although its copy is not in sync", name(node))))
        // A promotion that ends after a newer one is an old primary like any other: what it acknowledges is judged then.
        .or_else(|| {
            (epoch > world.truth.promoted).then(|| complete(bounds, world, node, epoch, log.commits())).flatten()
        });
    if epoch > world.truth.promoted {
        world.truth.promoted = epoch;
        world.truth.promoted_with = log.commits();
    }
    world.truth.epochs |= 1 << epoch;
    world.truth.timelines |= 1 << timeline.min(7);
    broken
}

/// A restored etcd says nothing about the present; that nobody acts on it is judged by what becomes of the commits.
fn is_restored(bounds: &Bounds, world: &World) -> bool {
    world.budget.restores < bounds.budget.restores
}

fn recorded(bounds: &Bounds, world: &World, node: Node, epoch: u8, timeline: u8, fork: u8) -> Option<String> {
    let record = world.etcd.history[usize::from(epoch)];
    let right = record.is_some_and(|record| record.node == node && record.fork == fork && record.timeline == timeline);
    (!right && !is_restored(bounds, world))
        .then(|| format!("{} is promoted to timeline {timeline} and history/{epoch} says {record:?}", name(node)))
}

fn once(world: &World, node: Node, epoch: u8, timeline: u8) -> Option<String> {
    if world.truth.epochs & (1 << epoch) != 0 {
        return Some(format!("{} is promoted under epoch {epoch}, which was promoted before", name(node)));
    }
    (world.truth.timelines & (1 << timeline.min(7)) != 0)
        .then(|| format!("{} makes timeline {timeline}, which was made before with other content", name(node)))
}

fn complete(bounds: &Bounds, world: &World, node: Node, epoch: u8, has_commits: u8) -> Option<String> {
    let missing = world.truth.acknowledged & !has_commits;
    if bounds.mode == ReplicationMode::Async {
        return bounded_loss(bounds, world, node, epoch, missing);
    }
    (missing != 0).then(|| format!("{} promotes epoch {epoch} without acknowledged {}", name(node), commits(missing)))
}

/// What `async` promises: what is lost is a suffix of the old epoch, and not what was published, as far as `max_lag` goes.
fn bounded_loss(bounds: &Bounds, world: &World, node: Node, epoch: u8, missing: u8) -> Option<String> {
    let kept = world.truth.acknowledged & !missing;
    let hole = (0..4).any(|number| {
        let of = |other: u8| world.truth.epoch_of[usize::from(other)];
        has(missing, number) && (number + 1..4).any(|later| has(kept, later) && of(later) == of(number))
    });
    if hole {
        return Some(format!(
            "{} promotes epoch {epoch} without {}, with later ones kept",
            name(node),
            commits(missing)
        ));
    }
    let mine = world.machine(node).postgres.promoted_at;
    let published = world.etcd.published.filter(|published| published.epoch < epoch)?;
    let behind = published.lsn.saturating_sub(mine);
    (missing != 0 && u64::from(behind) > bounds.max_lag)
        .then(|| format!("{} promotes epoch {epoch} and is {behind} behind what was published", name(node)))
}

/// What must hold in every state.
pub(crate) fn of_state(bounds: &Bounds, world: &World) -> Option<String> {
    if !bounds.timed {
        return None;
    }
    let writes = |node: &Node| match world.machine(*node).postgres.process {
        Process::Primary | Process::Stopping => true,
        Process::Gone | Process::Standby | Process::Promoting => false,
    };
    let primaries: Vec<Node> = nodes().filter(writes).collect();
    if let [one, two, ..] = primaries[..] {
        return Some(format!("{} and {} are primaries at once", name(one), name(two)));
    }
    let vips: Vec<Node> = nodes().filter(|node| world.machine(*node).heart.vip).collect();
    if let [one, two, ..] = vips[..] {
        return Some(format!("{} and {} have the VIP at once", name(one), name(two)));
    }
    None
}

/// What must stay within reach, whatever has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Somebody leads and serves under the newest epoch.
    Led,
    /// And every other node that is powered streams from it, in sync.
    Whole,
    /// And no voter is off.
    VotersAlive,
}

impl Goal {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Led => "a serving leader",
            Self::Whole => "a serving leader whom everybody follows in sync",
            Self::VotersAlive => "a record that names no node that is off",
        }
    }

    pub(crate) fn is_reached(self, world: &World) -> bool {
        let Some(leader) = leader(world) else { return false };
        let others = || nodes().filter(move |node| *node != leader);
        match self {
            Self::Led => true,
            Self::Whole => others()
                .filter(|node| world.machine(*node).powered)
                .all(|node| follows(world, node, leader) && world.machine(node).postgres.mark == Mark::None),
            Self::VotersAlive => others().all(|node| world.machine(node).powered || !has(world.etcd.voters, node)),
        }
    }
}

/// Who leads and serves under the newest epoch.
pub(crate) fn leader(world: &World) -> Option<Node> {
    let Seat::Holder { node, .. } = world.etcd.leader else { return None };
    let machine = world.machine(node);
    let serves = matches!(machine.election, Election::Holding(hold)
        if hold.stage == Stage::Serving && hold.epoch == world.etcd.epoch && !hold.old);
    (serves && machine.postgres.process == Process::Primary && machine.postgres.open).then_some(node)
}
