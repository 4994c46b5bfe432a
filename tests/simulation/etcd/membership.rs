//! Members that come and go: a removed one ends for good, a new one learns before it votes.

use super::requests::Answered;
use crate::world::reply::Reply;
use crate::world::{MS, World, note};
use leaderl::adapters::etcd::CallError;
use leaderl::ports::StoreMember;

/// What a member is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    Voter,
    Learner,
    /// It ends when it starts.
    Removed,
}

/// A change of the members.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Remove(u64),
    /// By its peer URL.
    Learn(String),
    Promote(u64),
}

impl World {
    pub(crate) fn etcd_votes(&self, id: usize) -> bool {
        self.etcd.members[id].standing == Standing::Voter
    }

    /// How many members elect.
    pub(super) fn etcd_voters(&self) -> usize {
        (0..self.etcd.members.len()).filter(|id| self.etcd_votes(*id)).count()
    }

    /// Every member, as etcd lists them: a learner that never started has no name.
    pub(crate) fn etcd_list(&mut self, member: usize, reply: Reply<Answered<Vec<StoreMember>>>) {
        self.reach(member, reply, move |w, reply| {
            let listed = w.listed();
            w.respond(member, reply, Ok(listed));
        });
    }

    fn listed(&self) -> Vec<StoreMember> {
        let there = (0..self.nodes.len()).filter(|id| self.etcd.members[*id].standing != Standing::Removed);
        let one = |id: usize| {
            let (member, record) = (&self.etcd.members[id], self.nodes[id].member());
            let nameless = member.standing == Standing::Learner && !member.up;
            StoreMember {
                id: member.number,
                name: if nameless { String::new() } else { record.guid.0 },
                peer_urls: vec![record.etcd_peer_url],
                client_urls: if nameless { Vec::new() } else { vec![record.etcd_client_url] },
                is_learner: member.standing == Standing::Learner,
            }
        };
        there.map(one).collect()
    }

    /// Proposed and committed as everything else; answered with the list that came of it.
    pub(crate) fn etcd_change(&mut self, member: usize, change: Change, reply: Reply<Answered<Vec<StoreMember>>>) {
        self.reach(member, reply, move |w, reply| {
            let leader = w.etcd.leader.filter(|leader| *leader == member || w.connected_etcd(member, *leader));
            let Some(leader) = leader.filter(|leader| w.has_majority(*leader)) else { return };
            let commit = w.delay(member, leader) + w.replication_delay(leader) + w.micros(200, 1200);
            let term = w.etcd.term;
            w.after(commit, move |w| {
                if w.etcd.leader != Some(leader) || w.etcd.term != term || !w.has_majority(leader) {
                    return;
                }
                let done = w.change(change);
                if w.etcd.members[member].up {
                    w.respond(member, reply, done);
                }
            });
        });
    }

    fn change(&mut self, change: Change) -> Answered<Vec<StoreMember>> {
        let refused = |why: &str| Err(CallError::Refused(format!("etcdserver: {why}")));
        let known = |w: &Self, number: u64| {
            let there = |id: &usize| {
                let member = &w.etcd.members[*id];
                member.number == number && member.standing != Standing::Removed
            };
            (0..w.etcd.members.len()).find(there)
        };
        match change {
            Change::Remove(number) => {
                let Some(id) = known(self, number) else { return refused("member not found") };
                self.expel(id);
            }
            Change::Learn(url) => {
                let named = |id: &usize| self.nodes[*id].member().etcd_peer_url == url;
                let Some(id) = (0..self.nodes.len()).find(named) else { return refused("no such machine") };
                if self.etcd.members[id].standing != Standing::Removed {
                    return refused("Peer URLs already exists");
                }
                if (0..self.nodes.len()).any(|id| self.etcd.members[id].standing == Standing::Learner) {
                    return refused("too many learner members in cluster");
                }
                let member = &mut self.etcd.members[id];
                member.standing = Standing::Learner;
                member.number += 100;
                member.has_data = true;
                member.applied = 0;
                note!(self, "etcd: member {id} is to learn");
            }
            Change::Promote(number) => {
                let Some(id) = known(self, number) else { return refused("member not found") };
                let (member, revision) = (&mut self.etcd.members[id], self.etcd.kv.revision);
                if !member.up || member.applied + 20 < revision {
                    return refused("can only promote a learner member which is in sync with leader");
                }
                member.standing = Standing::Voter;
                note!(self, "etcd: member {id} votes");
                self.etcd_reconsider();
            }
        }
        Ok(self.listed())
    }

    fn expel(&mut self, id: usize) {
        note!(self, "etcd: member {id} is removed");
        self.etcd_member_down(id);
        self.etcd.members[id].standing = Standing::Removed;
        self.etcd_reconsider();
    }

    /// The service of a member that has just been added starts, without data of an earlier life.
    pub(crate) fn etcd_learner_starts(&mut self, id: usize) {
        let wait = self.millis(100, 900);
        self.after(wait + MS, move |w| w.etcd_member_up(id));
    }
}
