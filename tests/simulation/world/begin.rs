//! How a cluster begins: as `create-cluster` and `join-cluster` leave it, before any daemon runs.

use super::{MS, World};
use crate::postgres::Data;
use leaderl::ports::Write;
use leaderl_decision::model::{Epoch, Lsn, Nonce, Position, Timeline};
use leaderl_decision::records::{ClusterSettings, LeaderValue, SCHEMA, Vacancy, VotersRecord};
use serde::Serialize;

impl World {
    /// The first records, the first data directory, and every process about to start.
    pub(crate) fn begin(&mut self) {
        let creator = self.nodes[0].guid.clone();
        let settings = ClusterSettings {
            schema: SCHEMA,
            cluster_id: super::node::CLUSTER_ID.to_owned(),
            system_identifier: Some(Data::initdb().system_identifier.to_owned()),
            leader_ttl_ms: self.profile.ttl_ms(),
            mode: self.profile.mode,
        };
        let vacancy = Vacancy {
            schema: SCHEMA,
            left_by: Some(creator),
            epoch: Epoch(0),
            final_position: Some(Position { epoch: Epoch(0), lsn: Lsn(0), timeline: Timeline(1) }),
            designated: None,
            cause: "new cluster".to_owned(),
            nonce: Nonce("first".to_owned()),
        };
        let voters = VotersRecord { schema: SCHEMA, mode: self.profile.mode, ..VotersRecord::default() };
        let keys = self.keys.clone();
        self.seed(keys.settings(), &settings);
        self.seed(keys.leader(), &LeaderValue::Vacancy(vacancy));
        self.seed(keys.voters(), &voters);
        for id in 0..self.nodes.len() {
            let member = self.nodes[id].member();
            self.seed(keys.member(&member.guid), &member);
        }
        self.truth.voters_empty = true;
        self.nodes[0].postgres.data = Some(Data::initdb());
        for id in 0..self.nodes.len() {
            self.etcd.members[id].applied = self.etcd.kv.revision;
            self.heart_starts(id);
            let wait = self.millis(1, 400) + MS;
            self.after(wait, move |w| w.start_daemon(id));
        }
    }

    fn seed<T: Serialize>(&mut self, key: String, record: &T) {
        let value = serde_json::to_vec(record).unwrap_or_default();
        self.etcd.kv.apply(&[], &[Write::Put { key, value }], &[]);
    }

    /// A line of a daemon's journal becomes a line of the story.
    pub(crate) fn hear_journal(&mut self, id: usize, line: &str) {
        let Ok(entry) = serde_json::from_str::<leaderl::actors::api::journal::JournalEntry>(line) else { return };
        if entry.code == "adopted" {
            self.counts.adoptions += 1;
        }
        let at = self.now + super::drive::elapsed();
        let text = format!("n{id} {}: {} ({})", entry.actor, entry.code, entry.text);
        self.log.line(at, format_args!("{text}"));
    }
}
