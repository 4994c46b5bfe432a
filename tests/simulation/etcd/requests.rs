//! A request's way: client, member, leader, majority, and back. Each step may be the last.

use super::{Standing, Stranded};
use crate::world::reply::Reply;
use crate::world::{MS, World, note};
use leaderl::adapters::etcd::CallError;
use leaderl::ports::{LocalStoreStatus, RangeAnswer, Txn, TxnAnswer, Write};
use leaderl_decision::model::Revision;
use leaderl_decision::records::VotersRecord;

/// What a member is asked.
pub(crate) enum Question {
    Prefix(String),
    Get(String),
}

/// An answer, or what its absence proves.
pub(crate) type Answered<T> = Result<T, CallError>;

impl World {
    /// Hands a request to a member; `false`: it was refused at the door, and the asker has been told.
    pub(super) fn reach<T: Send + 'static>(
        &mut self,
        member: usize,
        reply: Reply<Answered<T>>,
        then: impl FnOnce(&mut World, Reply<Answered<T>>) + Send + 'static,
    ) {
        let from = reply.node;
        if self.passes_etcd(from, member) && self.nodes[member].is_running() && !self.etcd.members[member].up {
            let delay = self.delay(from, member) + self.delay(member, from);
            self.after(delay, move |_| reply.send(Err(CallError::NotSent("connection refused".into()))));
            return;
        }
        if !self.nodes[member].power || !self.connected_etcd(from, member) && self.rng.percent(30) {
            // No connection is open any more, and none can be made within its limit.
            self.after(300 * MS, move |_| reply.send(Err(CallError::NotSent("no connection".into()))));
            return;
        }
        self.send_etcd(from, member, move |w| w.arrive(member, reply, then));
    }

    fn arrive<T: Send + 'static>(
        &mut self,
        member: usize,
        reply: Reply<Answered<T>>,
        then: impl FnOnce(&mut World, Reply<Answered<T>>) + Send + 'static,
    ) {
        let state = &self.etcd.members[member];
        if !state.up {
            return;
        }
        if state.frozen {
            // The kernel has taken it; the process reads it when it goes on.
            self.after(50 * MS, move |w| w.arrive(member, reply, then));
            return;
        }
        if state.standing == Standing::Learner {
            let unable = CallError::NotSent("etcdserver: rpc not supported for learner".into());
            return self.respond(member, reply, Err(unable));
        }
        if state.refuses_until > self.now {
            return self.respond(member, reply, Err(CallError::Refused("etcdserver: invalid auth token".into())));
        }
        then(self, reply);
    }

    pub(super) fn respond<T: Send + 'static>(&mut self, member: usize, reply: Reply<Answered<T>>, answer: Answered<T>) {
        let to = reply.node;
        let late = self.etcd.late_answers.get(&to).filter(|(until, _)| *until > self.now).map_or(0, |(_, by)| *by);
        if late > 0 {
            return self.after(late, move |w| w.send_etcd(member, to, move |_| reply.send(answer)));
        }
        self.send_etcd(member, to, move |_| reply.send(answer));
    }

    /// A linearizable read: the leader proves its office to a majority first.
    pub(crate) fn etcd_read(&mut self, member: usize, question: Question, reply: Reply<Answered<RangeAnswer>>) {
        self.reach(member, reply, move |w, reply| w.read_at(member, question, reply, 0));
    }

    fn read_at(&mut self, member: usize, question: Question, reply: Reply<Answered<RangeAnswer>>, tries: u32) {
        if !self.etcd.members[member].up {
            return;
        }
        let leader = self
            .etcd
            .leader
            .filter(|leader| self.has_majority(*leader) && (*leader == member || self.connected_etcd(member, *leader)));
        let Some(leader) = leader else {
            // etcd gives a pending read up after seven seconds, or when a leader is elected.
            if tries > 140 {
                return self.respond(member, reply, Err(CallError::Unclear("etcdserver: request timed out".into())));
            }
            self.after(50 * MS, move |w| w.read_at(member, question, reply, tries + 1));
            return;
        };
        let round = self.delay(member, leader) + self.micros(100, 500) + self.delay(leader, member);
        let slow = self.etcd.members[leader].slow / 4;
        self.after(round + slow, move |w| {
            let kv = &w.etcd.kv;
            let entries = match &question {
                Question::Prefix(prefix) => kv.prefix(prefix),
                Question::Get(key) => kv.get(key).into_iter().collect(),
            };
            let answer = RangeAnswer { store_id: w.etcd.store_id, revision: Revision(kv.revision), entries };
            w.respond(member, reply, Ok(answer));
        });
    }

    /// A transaction: proposed by the leader, committed by a majority.
    pub(crate) fn etcd_txn(&mut self, member: usize, txn: Txn, reply: Reply<Answered<TxnAnswer>>) {
        self.reach(member, reply, move |w, reply| {
            if w.etcd.full && txn.writes.iter().any(|write| matches!(write, Write::Put { .. })) {
                let full = CallError::Refused("etcdserver: mvcc: database space exceeded".into());
                return w.respond(member, reply, Err(full));
            }
            if w.etcd.hold_claims_until > w.now && txn.writes.len() > 2 {
                w.claim_held_up(reply.node);
                let late = w.millis(50, 900);
                return w.after(late, move |w| w.propose(member, txn, reply));
            }
            if let Some(late) = w.overtaken(&txn, reply.node) {
                return w.after(late, move |w| w.propose(member, txn, reply));
            }
            if w.puts_voters(&txn, reply.node) {
                let late = w.millis(3500, 7000);
                note!(w, "etcd: a put of voters by n{} is held up for {} ms", reply.node, late / MS);
                w.voters_held_up(reply.node, late);
                return w.after(late, move |w| w.propose(member, txn, reply));
            }
            if w.etcd.late_requests.get(&reply.node).is_some_and(|until| *until > w.now) && w.rng.percent(25) {
                let late = w.millis(300, 6000);
                note!(w, "etcd: a transaction of n{} is held up for {} ms", reply.node, late / MS);
                return w.after(late, move |w| w.propose(member, txn, reply));
            }
            w.propose(member, txn, reply);
        });
    }

    fn propose(&mut self, member: usize, txn: Txn, reply: Reply<Answered<TxnAnswer>>) {
        let Some(leader) = self.etcd.leader.filter(|leader| *leader == member || self.connected_etcd(member, *leader))
        else {
            // Without a leader a proposal is dropped at once, or waits and times out.
            if self.rng.percent(50) {
                let none = CallError::Unclear("etcdserver: no leader".into());
                self.respond(member, reply, Err(none));
            }
            return;
        };
        let term = self.etcd.term;
        let way = self.delay(member, leader);
        self.after(way, move |w| {
            if w.etcd.leader != Some(leader) || w.etcd.term != term {
                return;
            }
            let slow = w.etcd.members[leader].slow;
            let commit = w.replication_delay(leader) + w.micros(200, 1200) + slow;
            w.after(commit, move |w| w.commit_proposal(member, leader, term, txn, reply));
        });
    }

    /// To the nearest members that make a majority, and back.
    pub(super) fn replication_delay(&mut self, leader: usize) -> u64 {
        let others: Vec<usize> =
            (0..self.etcd.members.len()).filter(|id| *id != leader && self.etcd_votes(*id)).collect();
        let mut rounds: Vec<u64> = Vec::new();
        for other in others {
            if self.connected_etcd(leader, other) && self.etcd.members[other].up {
                let slow = self.etcd.members[other].slow;
                rounds.push(self.delay(leader, other) + self.delay(other, leader) + slow);
            }
        }
        rounds.sort_unstable();
        let needed = self.etcd_voters() / 2;
        rounds.get(needed.saturating_sub(1)).copied().filter(|_| needed > 0).unwrap_or(0)
    }

    fn commit_proposal(
        &mut self,
        member: usize,
        leader: usize,
        term: u64,
        txn: Txn,
        reply: Reply<Answered<TxnAnswer>>,
    ) {
        let in_office = self.etcd.leader == Some(leader) && self.etcd.term == term && self.has_majority(leader);
        if in_office {
            return self.apply(member, &txn, reply);
        }
        // It was in the old leader's log, and perhaps in others': then the next leader commits it, late.
        if self.rng.percent(40) {
            let commit = Box::new(move |w: &mut World| w.apply(member, &txn, reply));
            self.etcd.stranded.push(Stranded { commit });
        }
    }

    fn apply(&mut self, member: usize, txn: &Txn, reply: Reply<Answered<TxnAnswer>>) {
        let answer = self.etcd.kv.apply(&txn.compares, &txn.writes, &txn.else_reads);
        self.etcd.db_bytes += 500;
        if matches!(answer, TxnAnswer::Committed { .. }) {
            let given_up = reply.is_given_up();
            self.truth_of_commit(txn, reply.node, given_up);
            crate::oracles::holds::committed(self, txn, reply.node, reply.incarnation);
            self.etcd_apply_everywhere();
        }
        if self.etcd.members[member].up && !self.etcd.members[member].frozen {
            self.respond(member, reply, Ok(answer));
        }
    }

    /// The local member's own view.
    pub(crate) fn etcd_status(&mut self, member: usize, reply: Reply<Answered<LocalStoreStatus>>) {
        self.reach(member, reply, move |w, reply| {
            let status = LocalStoreStatus {
                db_bytes: w.etcd.db_bytes,
                no_space: w.etcd.full,
                has_leader: w.etcd.leader.is_some_and(|leader| leader == member || w.connected_etcd(member, leader)),
                version: "3.4.23".into(),
            };
            w.respond(member, reply, Ok(status));
        });
    }

    /// Compaction, defragmentation and the end of the alarm.
    pub(crate) fn etcd_compact(&mut self, member: usize, to: Revision, frees: bool, reply: Reply<Answered<()>>) {
        self.reach(member, reply, move |w, reply| {
            w.etcd.kv.compact(to.0.min(w.etcd.kv.revision));
            if frees {
                w.etcd.db_bytes = 1 << 20;
            }
            w.respond(member, reply, Ok(()));
        });
    }

    pub(crate) fn etcd_disarm(&mut self, member: usize, reply: Reply<Answered<()>>) {
        self.reach(member, reply, move |w, reply| {
            if w.etcd.full {
                note!(w, "etcd: the NOSPACE alarm is cleared");
            }
            w.etcd.full = false;
            w.respond(member, reply, Ok(()));
        });
    }
}

impl World {
    /// How much later a claim, or a renewal, arrives than what is sent after it.
    fn overtaken(&mut self, txn: &Txn, node: usize) -> Option<u64> {
        let key = self.keys.leader();
        let seat = txn.writes.iter().any(|write| matches!(write, Write::Put { key: its, .. } if *its == key));
        let claims = seat && txn.writes.len() > 1;
        let held = self.etcd.hold_renewals.is_some_and(|(whose, until)| whose == node && until > self.now);
        let late = if claims && self.etcd.slow_claims_until > self.now {
            self.millis(2500, 6000)
        } else if seat && !claims && held {
            self.millis(11_000, 14_000)
        } else {
            return None;
        };
        let what = if claims { "claim" } else { "renewal" };
        note!(self, "etcd: a {what} by n{node} is held up for {} ms", late / MS);
        Some(late)
    }

    /// Whether this is the change of voters that is to be held up: no claim, and somebody is named.
    fn puts_voters(&self, txn: &Txn, node: usize) -> bool {
        let waits = self.etcd.hold_voters.is_some_and(|(whose, until)| whose == node && until > self.now);
        let names = |write: &Write| match write {
            Write::Put { key, value } if *key == self.keys.voters() => serde_json::from_slice::<VotersRecord>(value)
                .is_ok_and(|record| self.etcd.hold_any_voters || !record.voters.is_empty()),
            Write::Put { .. } | Write::Delete { .. } => false,
        };
        waits && txn.writes.len() == 1 && txn.writes.iter().any(names)
    }

    /// A backup that may be restored later.
    pub(crate) fn back_up_etcd(&mut self) {
        let now = self.etcd.kv.clone();
        self.etcd.backups.push(now);
    }

    /// The whole store is put back to its oldest backup; every stream ends.
    pub(crate) fn restore_etcd(&mut self) {
        let Some(backup) = self.etcd.backups.first().cloned() else { return };
        let before = self.etcd.kv.revision;
        note!(self, "etcd: restored from a backup, revision {} instead of {before}", backup.revision);
        self.truth.restored = true;
        self.etcd.kv = backup;
        self.etcd.kv.compact(self.etcd.kv.revision);
        let numbers: Vec<u64> = self.etcd.watchers.iter().map(|watcher| watcher.number).collect();
        for number in numbers {
            self.etcd_cancel_watch(number, "the member was restored");
        }
        for member in &mut self.etcd.members {
            member.applied = self.etcd.kv.revision;
        }
    }
}
