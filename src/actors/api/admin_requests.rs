//! Answers to the CLI's requests: reading from memory, changing through etcd, every change audited.

use super::admin_protocol::{AdminAnswer, AdminRequest, Order, STORE_SILENT};
use super::cluster_report::ClusterReport;
use super::control::Control;
use super::facts::Facts;
use super::journal::{JournalEntry, JournalMessage};
use super::orders;
use crate::actors::inside::Inside;
use crate::context::NodeContext;
use crate::ports::CoordinationStore;
use leaderl_decision::model::{NodeId, Reason};
use leaderl_decision::records::Keys;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use supervisors::ChildRef;

/// How long the journal may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// Everything an answer may need.
#[derive(Clone)]
pub struct AdminDesk {
    /// Memory.
    pub facts: Arc<dyn Facts>,
    /// etcd.
    pub store: Arc<dyn CoordinationStore>,
    /// Key names.
    pub keys: Keys,
    /// Where changes are written down.
    pub journal: ChildRef<JournalMessage>,
    /// The tree and the stop mode.
    pub control: Arc<Control>,
}

fn value<T: Serialize>(of: &T) -> Result<Value, Reason> {
    serde_json::to_value(of).map_err(|why| Reason::new("unwritable-answer", why.to_string()))
}

impl AdminDesk {
    /// The desk of a node.
    pub fn of(node: Arc<NodeContext>, control: Arc<Control>) -> Self {
        Self {
            store: node.store.clone(),
            keys: node.keys.clone(),
            journal: node.neighbours.journal.clone(),
            facts: node,
            control,
        }
    }

    /// One line in, one answer out. `uid` is the asker's, as the kernel says.
    pub async fn answer_line(&self, line: &[u8], uid: u32) -> AdminAnswer {
        match serde_json::from_slice(line) {
            Ok(request) => self.answer(request, uid).await.into(),
            Err(why) => Err(Reason::new("bad-request", format!("the request cannot be read: {why}"))).into(),
        }
    }

    async fn answer(&self, request: AdminRequest, uid: u32) -> Result<Value, Reason> {
        match request {
            AdminRequest::ClusterStatus => value(&ClusterReport::from_facts(self.facts.as_ref())),
            AdminRequest::Events { last } => {
                let asked = self.journal.call(|reply| JournalMessage::Read { last, reply }, ASK_LIMIT).await;
                value(&asked.map_err(|why| Reason::new("journal-silent", format!("the journal: {why}")))?)
            }
            AdminRequest::ActorsTree => value(&self.inside()?.tree().await?),
            AdminRequest::ActorShow { actor } => value(&self.inside()?.show(&actor).await?),
            AdminRequest::ActorTrace { actor, last } => value(&self.inside()?.trace(&actor, last)?),
            AdminRequest::ActorIntervene { actor, how } => {
                let result = match self.inside() {
                    Ok(inside) => inside.intervene(&actor, how).await.map(|()| Value::Null),
                    Err(reason) => Err(reason),
                };
                self.audit(uid, &format!("actors {how:?} {actor}"), &result);
                result
            }
            AdminRequest::ShowConfig => value(self.facts.settings()),
            AdminRequest::Order { id, order } => {
                let result = self.order(&id, &order).await;
                self.audit(uid, &format!("{order:?} (id {id})"), &result);
                result
            }
            AdminRequest::OrderState { id } => value(&orders::state(self.store.as_ref(), &self.keys, &id).await?),
            AdminRequest::Withdraw { id } => {
                orders::withdraw(self.store.as_ref(), &self.keys, &id).await.map(|()| Value::Null)
            }
            AdminRequest::SetClusterFailover { enabled } => {
                let key = self.keys.cluster_failover();
                let result =
                    orders::set_switch(self.store.as_ref(), key, enabled, who(uid)).await.map(|()| Value::Null);
                self.audit(uid, &format!("set-cluster-failover {enabled}"), &result);
                result
            }
            AdminRequest::SetNodeFailover { node, enabled } => {
                let result = self.set_node_failover(node.as_deref(), enabled, uid).await;
                let named = node.as_deref().unwrap_or("this node");
                self.audit(uid, &format!("set-node-failover {enabled} {named}"), &result);
                result
            }
            AdminRequest::AnnounceStop { mode } => {
                self.control.announce(mode, self.facts.now());
                let result = Ok(Value::Null);
                self.audit(uid, &format!("announce-stop {mode:?}"), &result);
                result
            }
        }
    }

    fn inside(&self) -> Result<&Inside, Reason> {
        let not_yet = || Reason::new("tree-silent", "the supervision tree has not started yet; try again in a moment");
        self.control.inside.get().ok_or_else(not_yet)
    }

    async fn order(&self, id: &str, order: &Order) -> Result<Value, Reason> {
        let view = self.facts.board().cluster.borrow().clone();
        let silent_for = self.facts.now().since(view.heard_at);
        if silent_for >= self.facts.settings().election.leader_ttl {
            let text =
                format!("etcd has not been heard for {}s; is a majority of its members up?", silent_for.as_secs());
            return Err(Reason::new(STORE_SILENT, text));
        }
        let report = ClusterReport::from_facts(self.facts.as_ref());
        let kind = orders::plan(order, &report, self.facts.guid())?;
        let present = (view.newest_epoch(), view.epoch_revision());
        orders::submit(self.store.as_ref(), &self.keys, id, kind.clone(), present).await?;
        value(&orders::submitted(&kind, present.0, &report))
    }

    async fn set_node_failover(&self, node: Option<&str>, enabled: bool, uid: u32) -> Result<Value, Reason> {
        let guid = match node {
            None => self.facts.guid().clone(),
            Some(wanted) => {
                let report = ClusterReport::from_facts(self.facts.as_ref());
                let found = report.find(wanted).ok_or_else(|| {
                    Reason::new("unknown-node", format!("`{wanted}` is no member; see `leaderl cluster-status`"))
                })?;
                NodeId(found.guid.clone())
            }
        };
        let key = self.keys.node_failover(&guid);
        orders::set_switch(self.store.as_ref(), key, enabled, who(uid)).await.map(|()| Value::Null)
    }

    /// The journal may be restarting; the log line stays.
    fn audit(&self, uid: u32, what: &str, result: &Result<Value, Reason>) {
        let outcome = match result {
            Ok(_) => "accepted".to_owned(),
            Err(reason) => format!("refused: {}", reason.text),
        };
        let entry = JournalEntry {
            actor: "operator".into(),
            code: "order".into(),
            epoch: self.facts.board().election.borrow().epoch,
            text: format!("uid {uid}: {what}: {outcome}"),
            ..JournalEntry::default()
        };
        if self.journal.cast(JournalMessage::Record(entry)).is_err() {
            tracing::info!(uid, what, outcome, "operator's order (the journal does not run)");
        }
    }
}

fn who(uid: u32) -> String {
    format!("operator (uid {uid})")
}
