//! An operator who replaces a machine: it is off, it is removed, comes back all the same or empty, and joins anew.

use crate::network::gate::PortGate;
use crate::postgres::Postgres;
use crate::world::daemon::Process;
use crate::world::{MS, SEC, Time, World, note};
use leaderl_decision::model::NodeId;
use std::collections::BTreeMap;

/// How often the operator looks.
const LOOK: Time = 500 * MS;
/// A command that has not ended by then is given up and given again.
const GIVEN_UP: Time = 120 * SEC;

/// A command of some length.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    Remove { name: String },
    Join { node: usize, number: u64 },
}

/// What operators of members do now.
#[derive(Default)]
pub(crate) struct Members {
    replaced: Option<Replaced>,
    /// For the driver: where, under which number, what.
    pub(crate) begun: Vec<(usize, u64, Errand)>,
    pub(crate) ended: BTreeMap<u64, Result<String, String>>,
    number: u64,
}

/// The machine that is replaced.
struct Replaced {
    id: usize,
    stage: Stage,
    under_way: Option<UnderWay>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is off and shall be removed.
    Leaves,
    /// Somebody has switched it on again, its old data on it.
    BackUninvited(Time),
    /// It is empty, another node by name only, and shall join.
    Joins,
}

struct UnderWay {
    number: u64,
    at: usize,
    incarnation: u64,
    since: Time,
}

impl World {
    /// Begins, when this node may be missed: as a disk that is lost.
    pub(crate) fn replace_node(&mut self, id: usize) {
        if self.clients.members.replaced.is_some() || self.truth.holder.is_none() || !self.may_be_missed(id) {
            return;
        }
        note!(self, "operator: n{id} is to be replaced");
        self.cut_power(id);
        self.clients.members.replaced = Some(Replaced { id, stage: Stage::Leaves, under_way: None });
        let wait = self.millis(300, 4000);
        self.after(wait, World::look_after_members);
    }

    /// It has no identity of the cluster yet: its services are not enabled.
    pub(crate) fn has_not_joined(&self, id: usize) -> bool {
        self.clients.members.replaced.as_ref().is_some_and(|it| it.id == id && it.stage == Stage::Joins)
    }

    fn look_after_members(&mut self) {
        let Some(mut it) = self.clients.members.replaced.take() else { return };
        let goes_on = match it.stage {
            Stage::BackUninvited(until) => {
                if self.now >= until {
                    self.wipe(it.id);
                    it.stage = Stage::Joins;
                }
                true
            }
            Stage::Leaves | Stage::Joins => self.look_after_errand(&mut it),
        };
        if goes_on {
            self.clients.members.replaced = Some(it);
            self.after(LOOK, World::look_after_members);
        }
    }

    fn look_after_errand(&mut self, it: &mut Replaced) -> bool {
        if let Some(way) = &it.under_way {
            let (number, at, id) = (way.number, way.at, it.id);
            if let Some(ended) = self.clients.members.ended.remove(&number) {
                note!(self, "operator: {:?} of n{id} ended: {ended:?}", it.stage);
                it.under_way = None;
                // The errand before this one had done it, and its answer was lost.
                let gone = it.stage == Stage::Leaves && !self.is_member(id) && !self.etcd_votes(id);
                return self.errand_ended(it, ended.is_ok() || gone);
            }
            if self.lives(at, way.incarnation) && self.now - way.since < GIVEN_UP {
                return true;
            }
            it.under_way = None;
        }
        self.begin_errand(it);
        true
    }

    /// `false`: nothing is left to do.
    fn errand_ended(&mut self, it: &mut Replaced, well: bool) -> bool {
        let id = it.id;
        match it.stage {
            Stage::Leaves if well => {
                self.counts.removed += 1;
                if self.rng.percent(40) {
                    note!(self, "operator: n{id} is switched on although it is no member");
                    self.restore_power(id);
                    let stays = self.millis(2000, 15_000);
                    it.stage = Stage::BackUninvited(self.now + stays);
                } else {
                    self.wipe(id);
                    it.stage = Stage::Joins;
                }
                true
            }
            // Refused, and nothing is done yet: it comes back as what it was. Half done: once more.
            Stage::Leaves if self.etcd_votes(id) => {
                self.restore_power(id);
                false
            }
            Stage::Joins if well => {
                self.counts.joined += 1;
                self.nodes[id].daemon.wanted = true;
                self.after(200 * MS, move |w| w.start_daemon(id));
                false
            }
            Stage::Leaves | Stage::Joins | Stage::BackUninvited(_) => true,
        }
    }

    fn is_member(&self, id: usize) -> bool {
        self.etcd.kv.get(&self.keys.member(&self.nodes[id].guid)).is_some()
    }

    fn begin_errand(&mut self, it: &mut Replaced) {
        let able = |id: &usize| {
            let node = &self.nodes[*id];
            *id != it.id && node.is_running() && node.daemon.state == Process::Running && !node.daemon.frozen
        };
        let able: Vec<usize> = (0..self.nodes.len()).filter(able).collect();
        let Some(at) = self.rng.pick(&able).copied() else { return };
        self.clients.members.number += 1;
        let number = self.clients.members.number;
        let errand = match it.stage {
            Stage::Leaves => Errand::Remove { name: self.nodes[it.id].name.clone() },
            Stage::BackUninvited(_) | Stage::Joins => Errand::Join { node: it.id, number },
        };
        note!(self, "operator on n{at}: {errand:?}");
        let incarnation = self.nodes[at].daemon.incarnation;
        it.under_way = Some(UnderWay { number, at, incarnation, since: self.now });
        self.clients.members.begun.push((at, number, errand));
    }

    /// A machine in its place, with nothing on it but the software, and another identity.
    fn wipe(&mut self, id: usize) {
        self.cut_power(id);
        note!(self, "operator: n{id} is empty");
        let joined = self.clients.members.number + 1;
        let node = &mut self.nodes[id];
        node.guid = NodeId(format!("{:02x}{joined:014x}{id:016x}", 0xb0 + id));
        node.postgres = Postgres::default();
        node.files.clear();
        node.gate = PortGate::default();
        node.power = true;
        node.boots += 1;
        node.search.up = true;
        self.faults.forget_node(id);
        self.after(300 * MS, move |w| w.heart_starts(id));
    }
}
