//! The two documents in etcd: the cluster's founder, and the turn to restart. Every write compares the revision read.

use super::context::SearchContext;
use crate::ports::{Compare, StoreError, Txn, TxnAnswer, Write};
use leaderl_decision::model::{NodeId, Revision, Timestamp};
use leaderl_decision::records::{self, SCHEMA};
use leaderl_decision::search_plan::{RecordSeen, RestartTurn, SearchRecord, TurnSeen};
use std::time::Duration;

/// One question to etcd; the engine does not wait for it.
const ETCD: Duration = Duration::from_secs(1);
/// A turn that has not moved for so long on this node's clock belongs to a node that died with it.
const STALE_TURN: Duration = Duration::from_secs(600);

/// What is known of both documents.
#[derive(Debug, Default)]
pub(super) struct Records {
    cluster: RecordSeen,
    cluster_revision: Revision,
    turn: TurnSeen,
    turn_revision: Revision,
    turn_since: Option<Timestamp>,
}

impl Records {
    /// The founder's record as last read.
    pub(super) fn cluster(&self) -> &RecordSeen {
        &self.cluster
    }

    /// The turn as last read.
    pub(super) fn turn(&self) -> &TurnSeen {
        &self.turn
    }

    /// Reads the founder's record until it names a cluster; from then on it does not change.
    pub(super) async fn read_cluster(&mut self, context: &SearchContext) {
        if matches!(&self.cluster, RecordSeen::Present(SearchRecord { cluster_uuid: Some(_), .. })) {
            return;
        }
        let Ok(answer) = context.store.get(&cluster_key(context), ETCD).await else { return };
        let Some(entry) = answer.entries.first() else {
            (self.cluster, self.cluster_revision) = (RecordSeen::Absent, Revision(0));
            return;
        };
        match records::read::<SearchRecord>(&entry.key, &entry.value) {
            Ok(record) => (self.cluster, self.cluster_revision) = (RecordSeen::Present(record), entry.mod_revision),
            // Nobody knows what it said: an engine that has run goes on, a new one waits for the operator.
            Err(reason) => tracing::warn!("{reason}"),
        }
    }

    /// Reads the turn when it is wanted, or held, or when this incarnation does not know whether it holds it.
    pub(super) async fn read_turn(&mut self, context: &SearchContext, wanted: bool) {
        if !wanted && !matches!(self.turn, TurnSeen::Unknown | TurnSeen::Mine) {
            return;
        }
        let Ok(answer) = context.store.get(&turn_key(context), ETCD).await else {
            self.turn = TurnSeen::Unknown;
            return;
        };
        let now = context.clock.now();
        let revision = answer.entries.first().map(|entry| entry.mod_revision).unwrap_or_default();
        if revision != self.turn_revision || self.turn_since.is_none() {
            (self.turn_revision, self.turn_since) = (revision, Some(now));
        }
        let stale = self.turn_since.is_some_and(|since| now.since(since) > STALE_TURN);
        let holder = answer.entries.first().map(|entry| records::read::<RestartTurn>(&entry.key, &entry.value));
        self.turn = match holder {
            None | Some(Err(_)) => TurnSeen::Free,
            Some(Ok(turn)) if turn.guid == context.guid => TurnSeen::Mine,
            Some(Ok(_)) if stale => TurnSeen::Free,
            Some(Ok(turn)) => TurnSeen::Other(turn.guid),
        };
    }

    /// Makes this node the founder, unless somebody was faster.
    pub(super) async fn claim(&mut self, context: &SearchContext) -> Result<(), StoreError> {
        self.write_cluster(context, SearchRecord { schema: SCHEMA, founder: context.guid.clone(), cluster_uuid: None })
            .await
    }

    /// Records which cluster was founded.
    pub(super) async fn record(&mut self, context: &SearchContext, uuid: &str) -> Result<(), StoreError> {
        let founder: NodeId = context.guid.clone();
        self.write_cluster(context, SearchRecord { schema: SCHEMA, founder, cluster_uuid: Some(uuid.to_owned()) }).await
    }

    async fn write_cluster(&mut self, context: &SearchContext, record: SearchRecord) -> Result<(), StoreError> {
        let written = put(context, cluster_key(context), self.cluster_revision, &record).await?;
        // A refused or doubtful write is read again at the next tick.
        (self.cluster, self.cluster_revision) = match written {
            Some(revision) => (RecordSeen::Present(record), revision),
            None => (RecordSeen::Unknown, Revision(0)),
        };
        Ok(())
    }

    /// Takes the turn, unless somebody was faster.
    pub(super) async fn take_turn(&mut self, context: &SearchContext) -> Result<(), StoreError> {
        let turn = RestartTurn { schema: SCHEMA, guid: context.guid.clone() };
        let from = self.turn_revision;
        self.turn = TurnSeen::Unknown;
        if let Some(revision) = put(context, turn_key(context), from, &turn).await? {
            (self.turn, self.turn_revision) = (TurnSeen::Mine, revision);
            self.turn_since = Some(context.clock.now());
        }
        Ok(())
    }

    /// Lets the next node have the turn.
    pub(super) async fn give_back_turn(&mut self, context: &SearchContext) -> Result<(), StoreError> {
        let key = turn_key(context);
        let compares = vec![Compare { key: key.clone(), mod_revision: self.turn_revision }];
        self.turn = TurnSeen::Unknown;
        context
            .store
            .txn(Txn { compares, writes: vec![Write::Delete { key }], else_reads: vec![] }, ETCD)
            .await
            .map(drop)
    }
}

/// The new revision, or `None` when the compare failed.
async fn put<T: serde::Serialize>(
    context: &SearchContext,
    key: String,
    from: Revision,
    value: &T,
) -> Result<Option<Revision>, StoreError> {
    let value = serde_json::to_vec(value).map_err(|why| StoreError::Refused { detail: why.to_string() })?;
    let compares = vec![Compare { key: key.clone(), mod_revision: from }];
    let txn = Txn { compares, writes: vec![Write::Put { key, value }], else_reads: vec![] };
    match context.store.txn(txn, ETCD).await? {
        TxnAnswer::Committed { revision } => Ok(Some(revision)),
        TxnAnswer::Refused { .. } => Ok(None),
    }
}

fn cluster_key(context: &SearchContext) -> String {
    format!("{}search/cluster", context.keys.prefix())
}

fn turn_key(context: &SearchContext) -> String {
    format!("{}search/restart", context.keys.prefix())
}
