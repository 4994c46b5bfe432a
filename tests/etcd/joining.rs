//! Seeding, two joins at the same moment, and removal.

use crate::members::{LIMIT, Members, free_port};
use crate::renewals::put;
use leaderl::adapters::etcd_service::join::{JoinError, JoinTicket, abandon_join, finish_join, join_as_learner};
use leaderl::adapters::etcd_service::remove::{RemoveError, remove_member_everywhere};
use leaderl::adapters::etcd_service::seed::{SeedError, seed_new_cluster};
use leaderl::ports::CoordinationStore;
use leaderl_decision::model::{NodeId, Nonce, ReplicationMode};
use leaderl_decision::records::{ClusterSettings, Keys, LeaderValue, MemberRecord, SCHEMA, VotersRecord};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn keys() -> Keys {
    Keys::new(&"c".repeat(32))
}

fn record(digit: char, client: u16, peer: u16) -> MemberRecord {
    MemberRecord {
        schema: SCHEMA,
        guid: NodeId(digit.to_string().repeat(32)),
        name: format!("backend-{digit}"),
        address: format!("10.0.0.{digit}"),
        version: "0.1.0".into(),
        postgres_port: 5432,
        etcd_client_url: format!("http://127.0.0.1:{client}"),
        etcd_peer_url: format!("http://127.0.0.1:{peer}"),
        search_ports: None,
    }
}

async fn seed(store: &dyn CoordinationStore, nonce: &str) -> Result<(), SeedError> {
    let settings = ClusterSettings {
        schema: SCHEMA,
        cluster_id: "c".repeat(32),
        system_identifier: None,
        leader_ttl_ms: 5000,
        mode: ReplicationMode::Quorum,
    };
    seed_new_cluster(store, &keys(), &settings, &record('1', 1, 2), Nonce(nonce.into()), LIMIT).await
}

async fn join(store: Arc<dyn CoordinationStore>, joining: &MemberRecord) -> Result<JoinTicket, JoinError> {
    let nonce = Nonce(format!("join of {}", joining.name));
    let mut tell = |text: String| println!("    {text}");
    join_as_learner(store, &keys(), joining, nonce, PATIENCE, &mut tell).await
}

#[tokio::test]
async fn a_cluster_is_seeded_once() {
    let Some(members) = Members::start(1, &[]).await else { return };
    let store = members.store(0);
    let refused = join(store.clone(), &record('2', free_port(), free_port())).await;
    assert!(matches!(refused, Err(JoinError::NoSuchCluster)));
    seed(&*store, "n1").await.unwrap();
    seed(&*store, "n1").await.expect("the same seeding again, after a lost answer");
    assert!(matches!(seed(&*store, "n2").await, Err(SeedError::AlreadyThere)));
    let leader = store.get(&keys().leader(), LIMIT).await.unwrap();
    let value: LeaderValue = serde_json::from_slice(&leader.entries[0].value).unwrap();
    assert!(matches!(value, LeaderValue::Vacancy(vacancy) if vacancy.left_by == Some(NodeId("1".repeat(32)))));
}

#[ignore = "needs the machine for itself: `make test-all` runs it alone; the container rows cover the same faults"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_joins_at_the_same_moment_both_succeed_and_a_dead_member_can_be_removed() {
    let Some(mut members) = Members::start(1, &[]).await else { return };
    let store: Arc<dyn CoordinationStore> = members.store(0);
    seed(&*store, "n1").await.unwrap();
    let ports: Vec<(u16, u16)> = (0..2).map(|_| (free_port(), free_port())).collect();
    let records = [record('2', ports[0].0, ports[0].1), record('3', ports[1].0, ports[1].1)];
    let mut same_name = record('4', free_port(), free_port());
    same_name.name = "backend-1".into();
    assert!(matches!(join(store.clone(), &same_name).await, Err(JoinError::Taken { .. })));

    // An abandoned join of an earlier day left a learner behind.
    let forgotten = record('5', free_port(), free_port());
    drop(join(store.clone(), &forgotten).await.unwrap());
    let retried = join(store.clone(), &forgotten).await.expect("the same node's own leftover is no obstacle");
    abandon_join(&*store, retried).await.unwrap();

    let turn = tokio::sync::Mutex::new(&mut members);
    let whole_join = async |n: usize| {
        let mut ticket = join(store.clone(), &records[n]).await.unwrap();
        let initial = ticket.initial_cluster.clone();
        turn.lock().await.join(&records[n].guid.0, ports[n].0, ports[n].1, &initial).start();
        finish_join(&*store, &keys(), &mut ticket, &records[n], PATIENCE).await.unwrap();
    };
    let began = std::time::Instant::now();
    tokio::join!(whole_join(0), whole_join(1));
    println!("two joins at the same moment took {:?}", began.elapsed());
    let listed = store.members(LIMIT).await.unwrap();
    assert_eq!(listed.iter().filter(|member| !member.is_learner).count(), 3, "{listed:?}");
    assert!(store.get(&keys().join(), LIMIT).await.unwrap().entries.is_empty(), "the queue is empty again");
    removal(&*store, &records, &mut members).await;
}

async fn removal(store: &dyn CoordinationStore, records: &[MemberRecord; 2], members: &mut Members) {
    let own = NodeId("1".repeat(32));
    let observe = Duration::from_secs(1);
    let remove = async |who: &str| remove_member_everywhere(store, &keys(), who, &own, observe).await;
    assert!(matches!(remove("backend-1").await, Err(RemoveError::Itself(_))));
    assert!(matches!(remove("backend-9").await, Err(RemoveError::Unknown(_))));
    let gone = &records[1];
    // Alive: its status changes while we look.
    let (alive, ()) = tokio::join!(remove("backend-3"), async {
        put(store, &keys().node(&gone.guid), b"{}".to_vec()).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        put(store, &keys().node(&gone.guid), b"{ }".to_vec()).await;
    });
    assert!(matches!(alive, Err(RemoveError::Alive(_))), "{alive:?}");
    let named = VotersRecord { voters: [gone.guid.clone()].into(), quorum: 1, ..VotersRecord::default() };
    put(store, &keys().voters(), serde_json::to_vec(&named).unwrap()).await;
    let vacancy = r#"{"kind":"vacancy","schema":1,"left_by":null,"epoch":1,"final_position":null,"designated":null,"cause":"c","nonce":"n"}"#;
    put(store, &keys().leader(), vacancy.as_bytes().to_vec()).await;
    assert!(matches!(remove("backend-3").await, Err(RemoveError::VotesUnled(_))), "its bid may be needed");
    let holder = format!(
        r#"{{"kind":"holder","schema":1,"guid":"{}","boot_id":"b","nonce":"n","epoch":1,"seq":1}}"#,
        records[0].guid
    );
    put(store, &keys().leader(), holder.into_bytes()).await;
    assert!(matches!(remove("backend-3").await, Err(RemoveError::Votes(_))));
    assert!(matches!(remove("backend-2").await, Err(RemoveError::Leads(_))));
    put(store, &keys().voters(), serde_json::to_vec(&VotersRecord::default()).unwrap()).await;
    // Found by its address: which of the two joined first is not ours to say.
    let dead = members.all.iter_mut().find(|member| member.client_url == gone.etcd_client_url);
    dead.unwrap().kill();
    assert_eq!(remove(&gone.address).await.unwrap(), "backend-3");
    assert_eq!(store.members(LIMIT).await.unwrap().len(), 2);
    let left = store.range_prefix(keys().prefix(), LIMIT).await.unwrap();
    assert!(!left.entries.iter().any(|entry| entry.key.contains(&gone.guid.0)), "nothing names it any more");
    assert!(matches!(remove("backend-3").await, Err(RemoveError::Unknown(_))));
}
