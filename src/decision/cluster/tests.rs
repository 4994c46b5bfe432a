use super::high_water::{HighWater, Urgency};
use super::*;
use crate::model::ReplicationMode;
use crate::records::{Keys, SCHEMA};
use serde_json::json;

fn keys() -> Keys {
    Keys::new(&"c".repeat(32))
}

fn node() -> NodeId {
    NodeId("a".repeat(32))
}

fn epoch_value(epoch: u64) -> Vec<u8> {
    json!({"schema": 1, "epoch": epoch, "guid": node(), "nonce": "n", "later_field": true}).to_string().into_bytes()
}

fn listed(view: &ClusterView, at: u64, revision: i64, entries: &[(String, Vec<u8>, i64)]) -> ClusterView {
    let entries = entries.iter().map(|(key, value, revision)| Entry { key, value, revision: Revision(*revision) });
    view.after_list(&keys(), 77, Revision(revision), entries, Timestamp(at))
}

#[test]
fn a_relist_keeps_the_receipt_of_what_did_not_change() {
    let keys = keys();
    let entry = (keys.epoch(), epoch_value(3), 10);
    let first = listed(&ClusterView::default(), 1000, 12, std::slice::from_ref(&entry));
    let again = listed(&first, 2000, 15, &[entry]);
    assert_eq!(again.epoch.as_ref().unwrap().at, Timestamp(1000));
    assert_eq!((again.heard_at, again.revision), (Timestamp(2000), Revision(15)));
    let changed = listed(&again, 3000, 17, &[(keys.epoch(), epoch_value(4), 16)]);
    assert_eq!(changed.epoch.as_ref().unwrap().at, Timestamp(3000));
    assert_eq!(changed.newest_epoch(), Epoch(4));
}

#[test]
fn watch_changes_apply_in_order_and_old_ones_not_at_all() {
    let keys = keys();
    let mut view = listed(&ClusterView::default(), 1000, 12, &[(keys.epoch(), epoch_value(3), 10)]);
    view.apply_change(&keys, &keys.epoch(), Some(&epoch_value(2)), Revision(9), Timestamp(1100));
    assert_eq!(view.newest_epoch(), Epoch(3), "older than the list");
    view.apply_change(&keys, &keys.epoch(), Some(&epoch_value(4)), Revision(13), Timestamp(1200));
    let seen = view.epoch.clone().unwrap();
    assert_eq!((seen.record.epoch, seen.revision, seen.at), (Epoch(4), Revision(13), Timestamp(1200)));
    view.apply_change(&keys, &keys.epoch(), None, Revision(14), Timestamp(1300));
    assert_eq!(view.epoch, None);
    view.advance(Revision(14), Timestamp(1300));
    view.advance(Revision(13), Timestamp(1200));
    assert_eq!((view.revision, view.heard_at), (Revision(14), Timestamp(1300)), "never backwards");
}

#[test]
fn every_kind_of_key_finds_its_place_and_garbage_becomes_a_reason() {
    let keys = keys();
    let voters =
        VotersRecord { schema: SCHEMA, quorum: 1, mode: ReplicationMode::Quorum, version: 5, ..Default::default() };
    let switch = json!({"enabled": false, "reason": "by hand"}).to_string().into_bytes();
    let history = json!({"epoch": 2, "timeline": 2, "parent_timeline": 1, "fork_lsn": "0/3000148", "node": node()});
    let mut view = listed(
        &ClusterView::default(),
        1,
        20,
        &[
            (keys.voters(), serde_json::to_vec(&voters).unwrap(), 11),
            (keys.cluster_failover(), switch.clone(), 12),
            (keys.node_failover(&node()), switch, 13),
            (keys.history(Epoch(2)), history.to_string().into_bytes(), 14),
            (keys.leader(), b"not json".to_vec(), 15),
            (keys.join(), b"{}".to_vec(), 16),
            ("/other/leader".into(), b"{}".to_vec(), 17),
        ],
    );
    assert_eq!(view.voters.as_ref().unwrap().record.version, 5);
    assert!(!view.cluster_failover_on() && !view.node_failover_on(&node()));
    assert_eq!(view.history[&Epoch(2)].timeline.0, 2);
    assert!(view.leader.is_none());
    assert_eq!(view.unreadable.keys().collect::<Vec<_>>(), [&keys.leader()]);
    let vacancy = json!({"kind": "vacancy", "left_by": null, "epoch": 0, "final_position": null, "designated": null,
        "cause": "x", "nonce": "n"});
    view.apply_change(&keys, &keys.leader(), Some(vacancy.to_string().as_bytes()), Revision(21), Timestamp(2));
    assert!(view.leader.is_some() && view.unreadable.is_empty());
    view.apply_change(&keys, &keys.leader(), Some(b"["), Revision(22), Timestamp(3));
    assert!(view.leader.is_none(), "an unreadable value does not leave the old one standing");
}

#[test]
fn a_control_state_that_went_back_is_noticed_and_remembered() {
    let keys = keys();
    let mut water = HighWater::default();
    let view = listed(&ClusterView::default(), 1, 100, &[(keys.epoch(), epoch_value(3), 10)]);
    assert_eq!(water.judge(&view), None);
    assert_eq!(water.raise(&view), Urgency::Now);
    assert_eq!(water.raise(&view), Urgency::Nothing);
    let later = listed(&view, 2, 101, &[(keys.epoch(), epoch_value(3), 10)]);
    assert_eq!(water.raise(&later), Urgency::Soon);
    for below in [
        listed(&view, 3, 99, &[(keys.epoch(), epoch_value(3), 10)]),
        listed(&view, 3, 200, &[(keys.epoch(), epoch_value(2), 10)]),
        ClusterView { store_id: 78, ..later.clone() },
    ] {
        assert_eq!(water.judge(&below).unwrap().code, "control-state-went-back");
    }
    let mut restored = listed(&view, 3, 50, &[]);
    restored.went_back = water.judge(&restored);
    assert_eq!(water.raise(&restored), Urgency::Now);
    // Growing past the old revision changes nothing: only the operator does.
    let grown = listed(&restored, 4, 500, &[(keys.epoch(), epoch_value(9), 400)]);
    assert!(water.judge(&grown).is_some());
    water.accept(&grown);
    assert_eq!(water.judge(&grown), None);
    assert_eq!((water.revision, water.epoch), (Revision(500), Epoch(9)));
}
