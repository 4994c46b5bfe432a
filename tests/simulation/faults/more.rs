//! Faults of machines, networks, etcd, and operators.

use super::Scope;
use super::kinds::{Kind, STEP, postgres};
use crate::world::{SEC, Time, World, note};
use leaderl_decision::model::NodeId;
use leaderl_decision::records::{EpochRecord, Token, VotersRecord};

pub(super) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    if postgres(w, kind, id, lasts) || network(w, kind, id, lasts) || etcd(w, kind, id, lasts) {
        return;
    }
    if super::copies::apply(w, kind, id, lasts) || super::promises::apply(w, kind, id, lasts) {
        return;
    }
    let nodes = w.nodes.len();
    let at = w.rng.index(nodes);
    match kind {
        Kind::PowerCut => {
            w.cut_power(id);
            w.undo(lasts, Scope::Machine, id, move |w| w.restore_power(id));
        }
        Kind::PowerCutAll => {
            for each in 0..nodes {
                w.cut_power(each);
                let back = lasts / 2 + w.millis(0, 15_000);
                w.undo(back, Scope::Machine, each, move |w| w.restore_power(each));
            }
        }
        Kind::PauseMachine => {
            w.pause_machine(id);
            w.undo(lasts, Scope::Machine, id, move |w| w.resume_machine(id));
        }
        Kind::SearchDown => {
            w.nodes[id].search.up = false;
            w.undo(lasts, Scope::Process, id, move |w| {
                w.nodes[id].search.up = true;
                w.nodes[id].search.since = w.now;
            });
        }
        Kind::WallClock => {
            let step = w.rng.between(1, 10) * 3600;
            let step = i64::try_from(step).unwrap_or(0);
            w.nodes[id].clock.wall_step = if w.rng.percent(50) { step } else { -step };
        }
        Kind::Promote => w.order_promote(at, id),
        Kind::Demote => w.order_demote(at),
        Kind::ReplaceNode => w.replace_node(id),
        Kind::SwitchNode => {
            w.switch_node(at, id, false);
            w.faults.note_switch(id, Some(w.now));
            w.undo(lasts, Scope::Operator, id, move |w| {
                w.faults.note_switch(id, None);
                w.switch_on_for_sure(Some(id));
            });
        }
        Kind::SwitchCluster => {
            w.switch_cluster(at, false);
            w.undo(lasts, Scope::Operator, id, move |w| w.switch_on_for_sure(None));
        }
        _ => {}
    }
}

fn network(w: &mut World, kind: Kind, id: usize, lasts: Time) -> bool {
    let nodes = w.nodes.len();
    let clients = w.net.clients();
    let others: Vec<usize> = (0..nodes).filter(|other| *other != id).collect();
    let both = |to: usize| [(id, to), (to, id)];
    let links: Vec<(usize, usize)> = match kind {
        Kind::CutFromAll => others.iter().copied().chain([clients]).flat_map(both).collect(),
        Kind::CutFromNodes => others.iter().copied().flat_map(both).collect(),
        Kind::CutFromEtcd | Kind::CutReplication => {
            cut_port(w, kind, id, &others, lasts);
            return true;
        }
        Kind::CutOutgoing => others.iter().map(|to| (id, *to)).collect(),
        Kind::CutIncoming => others.iter().map(|from| (*from, id)).collect(),
        Kind::CutPair => w.rng.pick(&others).copied().into_iter().flat_map(both).collect(),
        Kind::FlapLink | Kind::Swizzle => {
            flap(w, kind, id, lasts);
            return true;
        }
        Kind::SlowLinks | Kind::LossyLinks => {
            trouble(w, kind, id, lasts);
            return true;
        }
        Kind::CutArp => {
            w.net.arp_cut += 1;
            w.undo(lasts, Scope::Link, id, |w| w.net.arp_cut = w.net.arp_cut.saturating_sub(1));
            return true;
        }
        _ => return false,
    };
    for (from, to) in links {
        w.cut(from, to);
        w.undo(lasts, Scope::Link, id, move |w| w.heal(from, to));
    }
    true
}

fn cut_port(w: &mut World, kind: Kind, id: usize, others: &[usize], lasts: Time) {
    for (from, to) in others.iter().flat_map(|to| [(id, *to), (*to, id)]) {
        let link = w.net.link_mut(from, to);
        let cuts = if kind == Kind::CutFromEtcd { &mut link.etcd_cuts } else { &mut link.postgres_cuts };
        *cuts += 1;
        w.etcd_reconsider();
        w.undo(lasts, Scope::Link, id, move |w| {
            let link = w.net.link_mut(from, to);
            let cuts = if kind == Kind::CutFromEtcd { &mut link.etcd_cuts } else { &mut link.postgres_cuts };
            *cuts = cuts.saturating_sub(1);
            w.etcd_reconsider();
        });
    }
}

fn flap(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    let hosts: Vec<usize> = (0..=w.nodes.len()).filter(|other| *other != id).collect();
    let mut at = 0;
    while at < lasts {
        let up = w.rng.between(3, 20) * STEP;
        let down = w.rng.between(3, 25) * STEP;
        let from = if kind == Kind::Swizzle { w.rng.index(w.nodes.len()) } else { id };
        if let Some(to) = w.rng.pick(&hosts).copied().filter(|to| *to != from) {
            w.after(at, move |w| {
                w.cut(from, to);
                w.cut(to, from);
                w.undo(down, Scope::Link, from, move |w| {
                    w.heal(from, to);
                    w.heal(to, from);
                });
            });
        }
        at += up + if kind == Kind::Swizzle { 0 } else { down };
    }
}

fn trouble(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    let slow = *w.rng.pick(&[20_000_u64, 100_000, 400_000, 1_500_000]).unwrap_or(&20_000);
    let loss = *w.rng.pick(&[1_u64, 5, 15, 30]).unwrap_or(&1);
    for other in (0..=w.nodes.len()).filter(|other| *other != id) {
        for (from, to) in [(id, other), (other, id)] {
            let link = w.net.link_mut(from, to);
            match kind {
                Kind::SlowLinks => link.slow_us = (slow / 2, slow),
                _ => link.loss = loss,
            }
            w.undo(lasts, Scope::Link, id, move |w| {
                let link = w.net.link_mut(from, to);
                link.slow_us = (0, 0);
                link.loss = 0;
            });
        }
    }
}

fn etcd(w: &mut World, kind: Kind, id: usize, lasts: Time) -> bool {
    let nodes = w.nodes.len();
    match kind {
        Kind::EtcdMemberDown | Kind::EtcdTwoDown => {
            let second = (kind == Kind::EtcdTwoDown && nodes > 1).then_some((id + 1) % nodes);
            for member in std::iter::once(id).chain(second) {
                w.etcd_member_down(member);
                w.undo(lasts, Scope::Process, member, move |w| w.etcd_member_up(member));
            }
        }
        Kind::EtcdFreeze => {
            w.etcd.members[id].frozen = true;
            w.etcd_reconsider();
            w.undo(lasts, Scope::Process, id, move |w| {
                w.etcd.members[id].frozen = false;
                w.etcd_reconsider();
            });
        }
        Kind::EtcdLosesLeader => w.etcd_lose_leader(),
        Kind::EtcdSlow => {
            w.etcd.members[id].slow = w.millis(50, 1200);
            w.undo(lasts, Scope::Disk, id, move |w| w.etcd.members[id].slow = 0);
        }
        Kind::EtcdWatchStalls | Kind::EtcdWatchCancelled => {
            let numbers: Vec<u64> = w.etcd.watchers.iter().map(|watcher| watcher.number).collect();
            if let Some(number) = w.rng.pick(&numbers).copied() {
                if kind == Kind::EtcdWatchStalls {
                    w.stall_watch(number);
                } else {
                    w.etcd_cancel_watch(number, "the watch was canceled");
                }
            }
        }
        Kind::EtcdCompacts => {
            let newest = w.etcd.kv.revision;
            w.etcd.kv.compact(newest);
        }
        Kind::EtcdFull => {
            note!(w, "etcd: NOSPACE");
            w.etcd.full = true;
            w.etcd.db_bytes = 2 << 30;
        }
        Kind::EtcdAuth => {
            w.etcd.members[id].refuses_until = w.now + lasts.min(10 * SEC);
        }
        _ => return false,
    }
    true
}

/// A node's data directory is gone, and its promise with it.
pub(super) fn lose_data(w: &mut World, id: usize) {
    if !w.may_be_missed(id) {
        return;
    }
    note!(w, "n{id} postgres: its data directory is lost");
    w.postgres_crashes(id);
    w.nodes[id].postgres.data = None;
    w.nodes[id].postgres.marks.promised = Default::default();
}

/// A leader resigns in order with rows that nobody else has, and its disk is lost: before it is back, or after it has bid.
pub(super) fn resign_then_lose(w: &mut World, id: usize, lasts: Time) {
    apply(w, Kind::CutReplication, id, lasts.min(6 * SEC) + 4 * SEC);
    let (resigns, comes_back) = (w.millis(100, 1500), w.rng.percent(60));
    let lost = resigns + w.millis(300, 6000);
    w.later(resigns, move |w| {
        w.stop_daemon(id, false, comes_back);
        w.undo(lasts + 8 * SEC, Scope::Process, id, move |w| w.start_daemon(id));
    });
    w.later(lost, move |w| lose_data(w, id));
}

impl World {
    /// Whether this node's copy may be lost for good: it is not the writer's, two whole copies are left (a second loss
    /// while the first is made good is more than three nodes promise to survive), and what was acknowledged can be proven by
    /// the last leader's copy (R12) or by the voters' (|V| - q + 1 of them, with q = 1).
    pub(crate) fn may_be_missed(&self, id: usize) -> bool {
        let whole = |other: usize| {
            let postgres = &self.nodes[other].postgres;
            other != id && postgres.data.is_some() && postgres.marks.unsynced.is_none()
        };
        let of = |guid: &NodeId| self.nodes.iter().position(|node| node.guid == *guid);
        let voters: VotersRecord = self.record(&self.keys.voters()).unwrap_or_default();
        let by_voters = !voters.voters.is_empty() && voters.voters.iter().all(|guid| of(guid).is_some_and(whole));
        let by_last = self.record::<EpochRecord>(&self.keys.epoch()).is_some_and(|epoch| {
            let token = |other: usize| self.nodes[other].postgres.data.as_ref().and_then(|data| data.token.clone());
            let led_with = Token { epoch: epoch.epoch, nonce: epoch.nonce.clone() };
            of(&epoch.guid).is_some_and(|last| {
                let bears = token(last);
                whole(last) && (bears == Some(led_with) || bears.is_some() && bears == epoch.taken_with)
            })
        });
        let left = (0..self.nodes.len()).filter(|other| whole(*other)).count();
        let last_copy_is_old = self.faults.old_copy_under == Some(self.truth.epoch);
        !self.is_writable(id) && left >= 2 && (by_voters || by_last) && !last_copy_is_old
    }

    fn record<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.etcd.kv.get(key).and_then(|entry| serde_json::from_slice(&entry.value).ok())
    }

    pub(crate) fn pause_machine(&mut self, id: usize) {
        if self.nodes[id].is_running() {
            note!(self, "n{id} stands still");
            self.nodes[id].paused = true;
            self.truth.writer_changed = true;
            self.truth.vip_changed = true;
            self.etcd_reconsider();
        }
    }

    pub(crate) fn resume_machine(&mut self, id: usize) {
        if self.nodes[id].paused {
            note!(self, "n{id} goes on");
            self.nodes[id].paused = false;
            self.truth.writer_changed = true;
            self.truth.vip_changed = true;
            self.heart_goes_on(id);
            self.etcd_reconsider();
        }
    }

    /// The operator repeats it until it is done: here, directly.
    pub(crate) fn switch_on_for_sure(&mut self, node: Option<usize>) {
        if node.is_none() || node != self.faults.stays_off {
            self.switch_for_sure(node, true);
        }
    }

    pub(crate) fn switch_for_sure(&mut self, node: Option<usize>, enabled: bool) {
        let key = match node {
            Some(id) => self.keys.node_failover(&self.nodes[id].guid),
            None => self.keys.cluster_failover(),
        };
        let record = leaderl_decision::records::FailoverSwitch {
            schema: leaderl_decision::records::SCHEMA,
            enabled,
            reason: "operator".to_owned(),
        };
        let value = serde_json::to_vec(&record).unwrap_or_default();
        self.etcd.kv.apply(&[], &[leaderl::ports::Write::Put { key, value }], &[]);
        self.etcd_apply_everywhere();
    }
}
