//! Orders that are refused, and orders that reach etcd once.

use super::super::cluster_report::Freshness;
use super::super::testing::{MapStore, guid, three_nodes};
use super::*;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::Timestamp;
use leaderl_decision::records::{LeaderValue, Vacancy};

const NOW: Timestamp = Timestamp(100_000_000_000);

fn report(view: &ClusterView, now: Timestamp) -> ClusterReport {
    let fresh = Freshness { now, leader_ttl: Duration::from_secs(5), stale_after: Duration::from_secs(5) };
    ClusterReport::from_view(view, fresh, "daemon")
}

fn promote(node: &str) -> Order {
    Order::Promote { node: node.into() }
}

fn code(order: &Order, view: &ClusterView) -> String {
    match plan(order, &report(view, NOW), &guid(2)) {
        Ok(kind) => format!("{kind:?}").split([' ', '{']).next().unwrap().to_owned(),
        Err(reason) => reason.code,
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let healthy = three_nodes(NOW);
    assert_eq!(code(&promote("backend-2"), &healthy), "Promote");
    assert_eq!(code(&promote("10.0.0.13"), &healthy), "Promote");
    assert_eq!(code(&promote("backend-9"), &healthy), "unknown-node");
    assert_eq!(code(&promote("backend-1"), &healthy), "already-leader");
    assert_eq!(code(&Order::Demote, &healthy), "Demote");
    let force = Order::ForceLeader { accept_data_loss: false, checked: None };
    assert_eq!(code(&force, &healthy), "leader-exists");

    let off = FailoverSwitch { schema: SCHEMA, enabled: false, reason: "upgrade".into() };
    let switch = |at| leaderl_decision::cluster::Seen { record: off.clone(), revision: Revision(1), at };
    let mut view = healthy.clone();
    view.cluster_failover = Some(switch(NOW));
    assert_eq!(code(&promote("backend-2"), &view), "cluster-failover-off");
    assert_eq!(code(&Order::Demote, &view), "cluster-failover-off");
    for (node, promoted) in [(1, "node-failover-off"), (2, "node-failover-off"), (3, "Promote")] {
        let mut view = healthy.clone();
        view.node_failover.insert(guid(node), switch(NOW));
        assert_eq!(code(&promote("backend-2"), &view), promoted, "{node}");
    }
    let mut view = healthy.clone();
    view.nodes.get_mut(&guid(2)).unwrap().record.eligible = false;
    assert_eq!(code(&promote("backend-2"), &view), "not-eligible");
    assert_eq!(code(&Order::Demote, &view), "Demote");
    view.nodes.get_mut(&guid(3)).unwrap().record.partially_synced = true;
    assert_eq!(code(&promote("backend-3"), &view), "unsynced");
    assert_eq!(code(&Order::Demote, &view), "no-successor");
    view.nodes.get_mut(&guid(3)).unwrap().at = Timestamp(0);
    assert_eq!(code(&promote("backend-3"), &view), "node-offline");
}

#[test]
fn force_leader_needs_an_empty_or_expired_seat_and_eyes_on_every_node() {
    let force = |checked| Order::ForceLeader { accept_data_loss: false, checked };
    let mut view = three_nodes(NOW);
    let vacancy = Vacancy {
        schema: SCHEMA,
        left_by: None,
        epoch: Epoch(4),
        final_position: None,
        designated: None,
        cause: "test".into(),
        nonce: leaderl_decision::model::Nonce("v".into()),
    };
    view.leader.as_mut().unwrap().record = LeaderValue::Vacancy(vacancy);
    assert_eq!(code(&force(None), &view), "ForceLeader");
    assert_eq!(code(&promote("backend-2"), &view), "no-leader");
    assert_eq!(code(&Order::Demote, &view), "no-leader");
    view.nodes.remove(&guid(3));
    assert_eq!(code(&force(None), &view), "nodes-missing");
    assert_eq!(code(&force(Some(3)), &view), "nodes-missing");
    assert_eq!(code(&force(Some(2)), &view), "ForceLeader");
    let mut view = three_nodes(NOW);
    view.leader.as_mut().unwrap().at = NOW.minus(Duration::from_secs(5));
    assert_eq!(code(&force(None), &view), "ForceLeader", "the last renewal is D old");
}

#[tokio::test]
async fn an_order_reaches_etcd_once_and_only_under_the_epoch_it_was_checked_against() {
    let store = MapStore::default();
    let keys = Keys::new("c");
    let epoch_revision = store.put(&keys.epoch(), &"any");
    let kind = RequestKind::Promote { target: guid(2) };
    let present = (Epoch(4), epoch_revision);
    submit(&store, &keys, "a1", kind.clone(), present).await.unwrap();
    submit(&store, &keys, "a1", kind.clone(), present).await.unwrap();
    let record = state(&store, &keys, "a1").await.unwrap().unwrap();
    assert_eq!((record.state, record.epoch, record.kind), (RequestState::Pending, Epoch(4), kind.clone()));
    withdraw(&store, &keys, "a1").await.unwrap();
    assert_eq!(state(&store, &keys, "a1").await.unwrap(), None);
    store.put(&keys.epoch(), &"newer");
    let refused = submit(&store, &keys, "a2", kind.clone(), present).await.unwrap_err();
    assert_eq!(refused.code, STORE_SILENT);
    assert_eq!(state(&store, &keys, "a2").await.unwrap(), None);
    assert_eq!(submit(&store, &keys, "../leader", kind, present).await.unwrap_err().code, "bad-id");
}

#[tokio::test]
async fn a_switch_is_read_back() {
    let store = MapStore::default();
    let keys = Keys::new("c");
    set_switch(&store, keys.cluster_failover(), false, "uid 0".into()).await.unwrap();
    let kept = store.get(&keys.cluster_failover(), STORE_LIMIT).await.unwrap();
    let switch: FailoverSwitch = read("k", &kept.entries[0].value).unwrap();
    assert!(!switch.enabled);
}
