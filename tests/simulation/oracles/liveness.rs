//! I3 at the end, I5 and I9 after the faults, I14 over everything that was written.

use crate::postgres::{Phase, Receiver};
use crate::world::node::SECRET;
use crate::world::{SEC, Time, World};
use leaderl_decision::model::ReplicationMode;
use leaderl_decision::records::NodeStatus;

impl World {
    /// The node that writes, holds the key and has the VIP, if there is exactly such a one.
    pub(crate) fn serving(&self) -> Option<usize> {
        let id = self.truth.holder?;
        (super::writers::can_acknowledge(self, id) && self.answers_for_vip(id)).then_some(id)
    }

    /// A writer through the VIP has been answered since then.
    pub(crate) fn acknowledged_since(&self, since: Time) -> bool {
        self.clients.writers.iter().any(|writer| writer.last_ack > since)
    }

    /// One leader, everybody else streams from it, nobody bears a mark.
    pub(crate) fn is_redundant(&self) -> bool {
        let Some(leader) = self.serving() else { return false };
        (0..self.nodes.len()).filter(|id| *id != leader).all(|id| {
            let postgres = &self.nodes[id].postgres;
            postgres.marks.unsynced.is_none() && self.streams_from(id, leader)
        })
    }

    /// A standby that streams from this node.
    pub(super) fn streams_from(&self, id: usize, leader: usize) -> bool {
        self.nodes[id].postgres.server.as_ref().is_some_and(|server| {
            server.phase == Phase::Standby
                && matches!(&server.receiver, Receiver::Streaming { node, .. } if *node == leader)
        })
    }

    /// Why not, for the story.
    pub(crate) fn state_of_all(&self) -> String {
        let one = |id: usize| {
            let node = &self.nodes[id];
            let server = node.postgres.server.as_ref().map(|server| (server.phase, server.receiver.clone()));
            let status = self.etcd.kv.get(&self.keys.node(&node.guid));
            let status = status.and_then(|entry| serde_json::from_slice::<NodeStatus>(&entry.value).ok());
            let reasons = status.map(|status| {
                let texts =
                    status.reasons.into_iter().map(|aged| format!("{}: {}", aged.reason.code, aged.reason.text));
                texts.collect::<Vec<_>>()
            });
            format!(
                "n{id} says {reasons:?}; power={} daemon={:?}/{} heart={}/{} vip={} server={server:?} unsynced={:?} promised={} end={:?}",
                node.power,
                node.daemon.state,
                node.daemon.frozen,
                node.heart.runs(),
                node.heart.frozen,
                node.kernel.vip_until.is_some(),
                node.postgres.marks.unsynced.as_ref().map(|mark| (mark.work, mark.cause.clone())),
                node.postgres.marks.promised,
                node.postgres.data.as_ref().map(|data| (data.timeline, data.end())),
            )
        };
        (0..self.nodes.len()).map(one).collect::<Vec<_>>().join("\n    ")
    }

    /// Every promised row is on the leader, and on every follower that is in sync.
    pub(crate) fn check_history(&mut self) {
        let Some(leader) = self.serving() else { return };
        let rows = |w: &Self, id: usize| -> Option<std::collections::BTreeSet<_>> {
            w.nodes[id].postgres.data.as_ref().map(|data| data.rows().collect())
        };
        let Some(here) = rows(self, leader) else { return };
        let written = self.nodes[leader].postgres.data.as_ref().map_or(0, |data| data.rows().count());
        if written != here.len() {
            self.violate("I3", format!("n{leader} has a row twice"));
        }
        if self.profile.mode != ReplicationMode::Async && !self.truth.loss_accepted {
            let missing: Vec<_> = self.truth.promised.keys().filter(|row| !here.contains(row)).copied().collect();
            if !missing.is_empty() {
                self.violate("I3", format!("{} promised rows are lost, the first is {:?}", missing.len(), missing[0]));
            }
        }
        self.check_secrets();
    }

    /// I14, as far as a simulation can see it: no secret leaves its file.
    fn check_secrets(&mut self) {
        let leaks = |value: &[u8]| value.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        let in_etcd = self.etcd.kv.prefix(self.keys.prefix()).iter().any(|entry| leaks(&entry.value));
        let in_files = self.nodes.iter().flat_map(|node| node.files.values()).any(|bytes| leaks(bytes));
        if in_etcd || in_files || self.log.text().contains(SECRET) {
            self.violate("I14", "a secret was written outside its file".to_owned());
        }
    }
}

/// How long the core of two nodes may take to have a leader again: B4 with a margin for slow clocks, and a promotion.
pub(crate) fn leader_bound(w: &World) -> Time {
    (w.profile.ttl + 12 * SEC) * 14 / 10 + 25 * SEC
}

/// How long full redundancy may take: R3 with a base copy for every follower in turn.
pub(crate) fn redundancy_bound(w: &World) -> Time {
    120 * SEC + leader_bound(w) + w.nodes.len() as u64 * 20 * SEC
}
