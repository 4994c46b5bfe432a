//! Orders of an operator: checked against what is known, then written to etcd, where they survive their client.

use super::admin_protocol::{Order, STORE_SILENT, Submitted};
use super::cluster_report::{ClusterReport, NodeReport};
use crate::ports::{Compare, CoordinationStore, StoreError, Txn, TxnAnswer, Write};
use leaderl_decision::model::{Epoch, NodeId, Reason, Revision};
use leaderl_decision::records::{FailoverSwitch, Keys, RequestKind, RequestRecord, RequestState, SCHEMA, read};
use std::time::Duration;

/// How long one request to etcd may take.
const STORE_LIMIT: Duration = Duration::from_secs(3);

fn refuse<T>(code: &str, text: impl Into<String>) -> Result<T, Reason> {
    Err(Reason::new(code, text))
}

fn silent(why: &StoreError) -> Reason {
    Reason::new(STORE_SILENT, why.to_string())
}

/// Whether the order can be given now, and whom it names. `own` is the node that was asked.
pub fn plan(order: &Order, report: &ClusterReport, own: &NodeId) -> Result<RequestKind, Reason> {
    match order {
        Order::Promote { node } => plan_promote(node, report),
        Order::Demote => plan_demote(report),
        Order::ForceLeader { accept_data_loss, checked } => {
            check_force(report, *checked)?;
            Ok(RequestKind::ForceLeader { target: own.clone(), accept_data_loss: *accept_data_loss })
        }
    }
}

fn plan_promote(wanted: &str, report: &ClusterReport) -> Result<RequestKind, Reason> {
    let Some(node) = report.find(wanted) else {
        let names: Vec<_> = report.nodes.iter().map(|node| node.name.as_str()).collect();
        return refuse(
            "unknown-node",
            format!("`{wanted}` is no member of this cluster; its members are {}", names.join(", ")),
        );
    };
    let leader = present_leader(report)?;
    if leader.guid == node.guid {
        return refuse("already-leader", format!("{} is the leader already", node.name));
    }
    switches_allow(report, leader)?;
    may_lead(node)?;
    Ok(RequestKind::Promote { target: NodeId(node.guid.clone()) })
}

fn plan_demote(report: &ClusterReport) -> Result<RequestKind, Reason> {
    let leader = present_leader(report)?;
    switches_allow(report, leader)?;
    let others = || report.nodes.iter().filter(|node| node.guid != leader.guid);
    if others().any(|node| may_lead(node).is_ok()) {
        return Ok(RequestKind::Demote);
    }
    let why: Vec<_> = others().filter_map(|node| may_lead(node).err()).map(|reason| reason.text).collect();
    let why = if why.is_empty() { "it is the only node".to_owned() } else { why.join("; ") };
    refuse("no-successor", format!("nobody could lead instead of {}: {why}", leader.name))
}

fn present_leader(report: &ClusterReport) -> Result<&NodeReport, Reason> {
    let held = report.cluster.leader_key == "held";
    let leader = report.cluster.leader.as_deref().filter(|_| held).and_then(|name| report.find(name));
    leader.ok_or_else(|| {
        let text = "nobody leads now; wait for the election (`leaderl cluster-status` shows why it has not ended), or run \
                    `leaderl force-leader` on the node that shall lead";
        Reason::new("no-leader", text)
    })
}

fn switches_allow(report: &ClusterReport, leader: &NodeReport) -> Result<(), Reason> {
    if !report.cluster.failover {
        return refuse(
            "cluster-failover-off",
            "failover is off for the cluster; first run `leaderl set-cluster-failover on`",
        );
    }
    if leader.leader_blocked {
        let next = format!("first run `leaderl set-node-failover on {}`", leader.name);
        return refuse("node-failover-off", format!("failover is off for {}, which leads; {next}", leader.name));
    }
    Ok(())
}

fn may_lead(node: &NodeReport) -> Result<(), Reason> {
    let name = &node.name;
    let why = || node.reasons.iter().map(|aged| aged.reason.text.clone()).collect::<Vec<_>>().join("; ");
    if !node.online {
        return refuse("node-offline", format!("{name} cannot lead: {}", why()));
    }
    if node.leader_blocked {
        return refuse(
            "node-failover-off",
            format!("failover is off for {name}; first run `leaderl set-node-failover on {name}`"),
        );
    }
    if node.partially_synced {
        return refuse(
            "unsynced",
            format!(
                "{name} cannot lead: its copy of the data is not complete yet; wait until \
                       `leaderl cluster-status` shows it synced"
            ),
        );
    }
    if !node.leader_eligible {
        let why = if node.reasons.is_empty() { "it says that it is not eligible".into() } else { why() };
        return refuse("not-eligible", format!("{name} cannot lead: {why}"));
    }
    Ok(())
}

fn check_force(report: &ClusterReport, checked: Option<usize>) -> Result<(), Reason> {
    if report.cluster.leader_key == "held" {
        let leader = report.cluster.leader.as_deref().unwrap_or("another node");
        return refuse(
            "leader-exists",
            format!("{leader} holds the key and renews it; use `leaderl promote NODE` or `leaderl demote`"),
        );
    }
    let visible = report.nodes.iter().filter(|node| node.online).count();
    let all = report.nodes.len();
    if visible < all && checked != Some(visible) {
        return refuse(
            "nodes-missing",
            format!(
                "only {visible} of {all} nodes are visible, and a partition could hide a \
            leader; make sure that none of the others runs, then repeat with --i-have-checked {visible}"
            ),
        );
    }
    Ok(())
}

/// Writes an order for the leader of the present epoch. Asking twice with one id orders once.
pub async fn submit(
    store: &dyn CoordinationStore,
    keys: &Keys,
    id: &str,
    kind: RequestKind,
    present: (Epoch, Revision),
) -> Result<(), Reason> {
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return refuse("bad-id", "an order's id has letters, digits and - only");
    }
    let (epoch, epoch_revision) = present;
    let key = keys.request(id);
    let record =
        RequestRecord { schema: SCHEMA, kind, state: RequestState::Pending, epoch, detail: "not taken up yet".into() };
    let txn = Txn {
        compares: vec![
            Compare { key: keys.epoch(), mod_revision: epoch_revision },
            Compare { key: key.clone(), mod_revision: Revision(0) },
        ],
        writes: vec![Write::Put { key: key.clone(), value: encode(&record)? }],
        else_reads: vec![key.clone()],
    };
    match store.txn(txn, STORE_LIMIT).await.map_err(|why| silent(&why))? {
        TxnAnswer::Committed { .. } => Ok(()),
        TxnAnswer::Refused { reads, .. } if reads.iter().any(|entry| entry.key == key) => Ok(()),
        TxnAnswer::Refused { .. } => {
            refuse(STORE_SILENT, "the leadership changed at this moment; the order is checked again")
        }
    }
}

fn encode<T: serde::Serialize>(record: &T) -> Result<Vec<u8>, Reason> {
    serde_json::to_vec(record).map_err(|why| Reason::new("unwritable-document", why.to_string()))
}

/// How far an order is; `None` when it is not there (any more).
pub async fn state(store: &dyn CoordinationStore, keys: &Keys, id: &str) -> Result<Option<RequestRecord>, Reason> {
    let key = keys.request(id);
    let answer = store.get(&key, STORE_LIMIT).await.map_err(|why| silent(&why))?;
    answer.entries.first().map(|entry| read(&key, &entry.value)).transpose()
}

/// Removes an order.
pub async fn withdraw(store: &dyn CoordinationStore, keys: &Keys, id: &str) -> Result<(), Reason> {
    let txn = Txn { writes: vec![Write::Delete { key: keys.request(id) }], ..Txn::default() };
    store.txn(txn, STORE_LIMIT).await.map(|_| ()).map_err(|why| silent(&why))
}

/// Writes a failover switch and reads it back.
pub async fn set_switch(
    store: &dyn CoordinationStore,
    key: String,
    enabled: bool,
    reason: String,
) -> Result<(), Reason> {
    let record = FailoverSwitch { schema: SCHEMA, enabled, reason };
    let write = Write::Put { key: key.clone(), value: encode(&record)? };
    let txn = Txn { writes: vec![write], ..Txn::default() };
    store.txn(txn, STORE_LIMIT).await.map_err(|why| silent(&why))?;
    let answer = store.get(&key, STORE_LIMIT).await.map_err(|why| silent(&why))?;
    let now = answer.entries.first().map(|entry| read::<FailoverSwitch>(&key, &entry.value)).transpose()?;
    if now.as_ref().is_some_and(|switch| switch.enabled == enabled) {
        return Ok(());
    }
    refuse("switch-not-kept", format!("`{key}` was written and reads otherwise; somebody else sets it too"))
}

/// What was submitted, for the one who waits.
pub fn submitted(kind: &RequestKind, epoch: Epoch, report: &ClusterReport) -> Submitted {
    let target = match kind {
        RequestKind::Promote { target } | RequestKind::ForceLeader { target, .. } => Some(target.0.clone()),
        RequestKind::Demote => None,
    };
    let from = report.nodes.iter().find(|node| Some(&node.name) == report.cluster.leader.as_ref());
    Submitted { epoch, target, from: from.map(|node| node.guid.clone()) }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
