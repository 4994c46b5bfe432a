//! Who leads etcd: whoever can talk to a majority; changing takes from half a second to two.

use super::Standing;
use crate::world::{MS, World, note};

impl World {
    fn member_runs(&self, id: usize) -> bool {
        let member = &self.etcd.members[id];
        member.up && member.has_data && !member.frozen && self.nodes[id].is_running()
    }

    /// The members that this one can exchange messages with, itself included.
    fn etcd_circle(&self, id: usize) -> usize {
        (0..self.etcd.members.len())
            .filter(|other| self.etcd_votes(*other) && self.member_runs(*other))
            .filter(|other| *other == id || self.connected_etcd(id, *other))
            .count()
    }

    pub(crate) fn has_majority(&self, id: usize) -> bool {
        self.etcd_votes(id) && self.member_runs(id) && self.etcd_circle(id) * 2 > self.etcd_voters()
    }

    /// Whether etcd can commit anything now.
    pub(crate) fn etcd_has_leader(&self) -> bool {
        self.etcd.leader.is_some_and(|leader| self.has_majority(leader))
    }

    /// Something about members or links has changed.
    pub(crate) fn etcd_reconsider(&mut self) {
        if self.etcd_has_leader() || self.etcd.electing {
            self.etcd_apply_everywhere();
            return;
        }
        self.etcd.electing = true;
        self.etcd.election += 1;
        let election = self.etcd.election;
        // The followers' timers, a campaign, sometimes a split vote.
        let wait = self.millis(500, 1100);
        let wait = if self.rng.percent(25) { wait + self.millis(300, 1000) } else { wait };
        self.after(wait, move |w| w.etcd_elect(election));
    }

    fn etcd_elect(&mut self, election: u64) {
        if self.etcd.election != election {
            return;
        }
        self.etcd.electing = false;
        if self.etcd_has_leader() {
            self.etcd_apply_everywhere();
            return;
        }
        let able: Vec<usize> = (0..self.etcd.members.len()).filter(|id| self.has_majority(*id)).collect();
        let before = self.etcd.leader;
        self.etcd.leader = self.rng.pick(&able).copied();
        if self.etcd.leader != before {
            match self.etcd.leader {
                Some(leader) => note!(self, "etcd: member {leader} leads"),
                None => note!(self, "etcd: no leader"),
            }
        }
        self.etcd.term += 1;
        match self.etcd.leader {
            Some(_) => self.etcd_begin_term(),
            None => {
                self.etcd.electing = true;
                self.after(300 * MS, move |w| w.etcd_elect(election));
            }
        }
    }

    fn etcd_begin_term(&mut self) {
        let stranded = std::mem::take(&mut self.etcd.stranded);
        for proposal in stranded {
            (proposal.commit)(self);
        }
        self.etcd_apply_everywhere();
    }

    /// The leader gives its office up although nothing is broken (its disk was slow, say).
    pub(crate) fn etcd_lose_leader(&mut self) {
        if self.etcd.electing {
            return;
        }
        note!(self, "etcd: the leader loses its office");
        self.etcd.leader = None;
        self.etcd.term += 1;
        self.etcd_reconsider();
    }

    pub(crate) fn etcd_member_down(&mut self, id: usize) {
        if self.etcd.members[id].up {
            note!(self, "etcd: member {id} ends");
            self.etcd.members[id].up = false;
            self.etcd_break_watches_of_member(id);
            if self.etcd.leader == Some(id) {
                self.etcd.leader = None;
                self.etcd.term += 1;
            }
            self.etcd_reconsider();
        }
    }

    pub(crate) fn etcd_member_up(&mut self, id: usize) {
        if !self.etcd.members[id].up && self.nodes[id].power && self.etcd.members[id].standing != Standing::Removed {
            note!(self, "etcd: member {id} runs");
            self.etcd.members[id].up = true;
            self.etcd_reconsider();
        }
    }

    /// What members have seen of the log, shown to their watchers.
    pub(crate) fn etcd_apply_everywhere(&mut self) {
        let Some(leader) = self.etcd.leader.filter(|leader| self.has_majority(*leader)) else { return };
        let revision = self.etcd.kv.revision;
        for id in 0..self.etcd.members.len() {
            let reached = self.member_runs(id) && (id == leader || self.connected_etcd(leader, id));
            if !reached || self.etcd.members[id].applied >= revision {
                continue;
            }
            let slow = self.etcd.members[id].slow;
            let delay = if id == leader { self.micros(50, 300) } else { self.delay(leader, id) + self.micros(50, 300) };
            self.after(delay + slow, move |w| w.etcd_applied(id, revision));
        }
    }

    fn etcd_applied(&mut self, id: usize, revision: i64) {
        if self.member_runs(id) && self.etcd.members[id].applied < revision {
            self.etcd.members[id].applied = revision;
            self.etcd_show(id);
        }
    }
}
