//! Faults: planned from the seed before the run, each applied and undone at its time.

mod copies;
pub(crate) mod kinds;
mod leases;
mod list;
pub(crate) mod mixes;
mod more;
mod promises;
pub(crate) mod scenes;

use crate::world::rng::Rng;
use crate::world::{MS, SEC, Time, World, note};
use kinds::Kind;
use leaderl_decision::model::Epoch;
use mixes::Mix;
use std::collections::BTreeMap;

/// When the first fault may come: the cluster is complete by then.
const QUIET_START: Time = 22 * SEC;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Process,
    Machine,
    Link,
    Disk,
    Operator,
}

/// Whom a fault hits; resolved when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Leader,
    Follower(u64),
    Anybody(u64),
}

/// One planned fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Time,
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) lasts: Time,
}

type Undo = Box<dyn FnOnce(&mut World) + Send>;

/// What faults have done so far.
#[derive(Default)]
pub(crate) struct FaultState {
    switched_off: BTreeMap<usize, Time>,
    undos: BTreeMap<u64, Undo>,
    ambushes: Vec<scenes::Ambush>,
    /// Whoever sends the put of voters that is held up next loses its daemon and its followers.
    loses_followers: bool,
    /// No further fault comes.
    healed: bool,
    /// An operator has switched failover off for this node for good.
    pub(crate) stays_off: Option<usize>,
    /// The epoch whose leader's copy was replaced by an older one: nothing proves any more that it is complete.
    pub(crate) old_copy_under: Option<Epoch>,
    /// A scene that nothing else of its class may disturb goes on until then.
    pub(crate) scene_until: Time,
    recent: Vec<(Time, &'static str)>,
}

impl FaultState {
    /// How long failover has been off for this node.
    pub(crate) fn switched_off_for(&self, now: Time, id: usize) -> Time {
        self.switched_off.get(&id).map_or(0, |since| now - since)
    }

    /// Another node has its place.
    pub(crate) fn forget_node(&mut self, id: usize) {
        self.switched_off.remove(&id);
        self.stays_off = self.stays_off.filter(|off| *off != id);
    }

    pub(crate) fn note_switch(&mut self, id: usize, off_since: Option<Time>) {
        match off_since {
            Some(since) => drop(self.switched_off.insert(id, since)),
            None => drop(self.switched_off.remove(&id)),
        }
    }
}

/// The faults of a seed.
pub(crate) fn plan(seed: u64, count: usize, lasts: Time) -> Vec<Planned> {
    let mut rng = Rng::new(seed, 3);
    let mix = Mix::of(seed);
    let total: u32 = mix.kinds.iter().map(|(_, weight)| weight).sum();
    let draw = |rng: &mut Rng| {
        let mut at = u32::try_from(rng.between(0, u64::from(total) - 1)).unwrap_or(0);
        for (kind, weight) in &mix.kinds {
            if at < *weight {
                return *kind;
            }
            at -= weight;
        }
        Kind::KillDaemon
    };
    let mut planned: Vec<Planned> = (0..count)
        .map(|_| {
            let kind = draw(&mut rng);
            let pick = rng.next();
            // The leader is where it hurts.
            let drawn = u64::try_from(rng.index(10)).unwrap_or(0) * 10;
            let target = match drawn {
                _ if drawn < mix.leader => Target::Leader,
                _ if drawn < (mix.leader + 20).min(90) => Target::Follower(pick),
                _ => Target::Anybody(pick),
            };
            let span = *rng.pick(mix.spans).unwrap_or(&300);
            let lasts = rng.between(span / 3, span) * MS;
            Planned { at: 0, kind, target, lasts }
        })
        .collect();
    let end = QUIET_START + lasts;
    for (number, fault) in planned.iter_mut().enumerate() {
        // Spread over the phase, and every third right after the one before: pairs are where rules break.
        let slot = (end - QUIET_START) / count.max(1) as u64;
        let base = QUIET_START + slot * number as u64;
        let within = if number % 3 == 2 { rng.between(0, slot / 12) } else { rng.between(0, slot) };
        let earlier = if number % 3 == 2 { slot.saturating_sub(slot / 12) } else { 0 };
        fault.at = base.saturating_sub(earlier) + within;
    }
    planned.sort_by_key(|fault| fault.at);
    planned
}

impl World {
    /// Puts the planned faults where they belong.
    pub(crate) fn plan_faults(&mut self, planned: &[Planned]) {
        for fault in planned.iter().copied() {
            self.at(fault.at, move |w| w.strike(fault));
        }
        if self.profile.mix == "copies" {
            self.at(QUIET_START, World::back_up_copies);
        }
        if self.profile.mix == "restored" {
            for at in [QUIET_START, QUIET_START + 30 * SEC] {
                self.at(at, World::back_up_etcd);
            }
        }
    }

    fn strike(&mut self, fault: Planned) {
        let nodes = self.nodes.len();
        let leader = self.truth.holder.or_else(|| (0..nodes).find(|id| self.is_writable(*id)));
        let drawn = |pick: u64| usize::try_from(pick % nodes as u64).unwrap_or(0);
        let id = match fault.target {
            Target::Leader => leader.unwrap_or(0),
            Target::Anybody(pick) => drawn(pick),
            Target::Follower(pick) => {
                let id = drawn(pick);
                if Some(id) == leader && nodes > 1 { (id + 1) % nodes } else { id }
            }
        };
        let name = fault.kind.name();
        note!(self, "FAULT {name} on n{id} for {} ms", fault.lasts / MS);
        self.count_fault(name);
        let now = self.now;
        self.truth.justified = self.truth.justified.max(now + fault.lasts + 20 * SEC);
        self.faults.recent.retain(|(at, _)| now - at < 8 * SEC);
        for (_, other) in self.faults.recent.clone() {
            let pair = if other < name { (other, name) } else { (name, other) };
            self.counts.pairs.insert((pair.0.to_owned(), pair.1.to_owned()));
        }
        self.faults.recent.push((now, name));
        kinds::apply(self, fault.kind, id, fault.lasts);
    }

    pub(crate) fn count_fault(&mut self, kind: &'static str) {
        *self.counts.faults.entry(kind.to_owned()).or_default() += 1;
        self.truth.justified = self.truth.justified.max(self.now + 10 * SEC);
    }

    /// Undoes a part of a fault when its time is over, or when everything is healed.
    pub(crate) fn undo(
        &mut self,
        lasts: Time,
        scope: Scope,
        id: usize,
        undo: impl FnOnce(&mut World) + Send + 'static,
    ) {
        let number = self.truth.fresh_id();
        self.faults.undos.insert(number, Box::new(undo));
        self.after(lasts, move |w| {
            if let Some(undo) = w.faults.undos.remove(&number) {
                note!(w, "over: {scope:?} of n{id}");
                undo(w);
            }
        });
    }

    /// Everything that is still broken is mended now.
    pub(crate) fn heal_everything(&mut self) {
        note!(self, "everything is healed");
        self.faults.healed = true;
        self.etcd.hold_voters = None;
        self.etcd.hold_claims_until = 0;
        self.etcd.slow_claims_until = 0;
        self.etcd.hold_renewals = None;
        self.faults.ambushes.clear();
        self.faults.loses_followers = false;
        self.etcd.late_answers.clear();
        self.etcd.late_requests.clear();
        let undos = std::mem::take(&mut self.faults.undos);
        for (_, undo) in undos {
            undo(self);
        }
        if !self.nodes.iter().enumerate().any(|(id, node)| {
            let postgres = &node.postgres;
            Some(id) != self.faults.stays_off && postgres.data.is_some() && postgres.marks.unsynced.is_none()
        }) {
            // It is the only whole copy: nobody could fetch what it has, and an operator who sees that switches it on.
            self.faults.stays_off = None;
        }
        for id in 0..self.nodes.len() {
            self.nodes[id].daemon.stop_point = None;
            self.nodes[id].heart.stop_at_refresh = None;
            self.nodes[id].heart.stop_after_refresh = None;
            self.nodes[id].postgres.stuck_until = 0;
            self.restore_power(id);
            self.resume_machine(id);
            self.thaw_heart(id);
            self.thaw_daemon(id);
            if !self.nodes[id].heart.runs() {
                self.after(SEC, move |w| w.heart_starts(id));
            }
            self.nodes[id].daemon.wanted = true;
            self.after(2 * SEC, move |w| w.start_daemon(id));
            self.switch_on_for_sure(Some(id));
            self.nodes[id].search.up = true;
        }
        self.switch_on_for_sure(None);
        self.truth.justified = self.now + 60 * SEC;
    }
}
