//! The store's operations and the watching task.

use crate::members::{BootClock, LIMIT, Members};
use crate::renewals::put;
use leaderl::actors::coordination::etcd_session::{high_water_file, watching};
use leaderl::adapters::etcd::EtcdStore;
use leaderl::adapters::state_files::StateDir;
use leaderl::ports::{CoordinationStore, HIGH_WATER_FILE, StoreError, Txn, WatchMessage, Write};
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::Revision;
use leaderl_decision::records::Keys;
use nix::sys::signal::Signal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[tokio::test]
async fn errors_say_what_they_prove() {
    let Some(mut members) = Members::start(1, &[]).await else { return };
    let store = members.store(0);
    let large = Txn { writes: vec![Write::Put { key: "k".into(), value: vec![0; 3 << 20] }], ..Txn::default() };
    assert!(matches!(store.txn(large, LIMIT).await, Err(StoreError::Refused { .. })));
    members.all[0].signal(Signal::SIGSTOP);
    let write = Txn { writes: vec![Write::Put { key: "k".into(), value: b"v".to_vec() }], ..Txn::default() };
    let frozen = store.txn(write.clone(), Duration::from_millis(300)).await;
    assert!(matches!(frozen, Err(StoreError::Unknown { .. })), "{frozen:?}");
    members.all[0].signal(Signal::SIGCONT);
    members.all[0].kill();
    let fresh = members.store(0);
    let gone = fresh.txn(write.clone(), LIMIT).await;
    assert!(
        matches!(gone, Err(StoreError::Unreachable { .. })),
        "no connection proves that nothing was sent: {gone:?}"
    );
    members.all[0].restart();
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = store.txn(write.clone(), LIMIT).await {
        assert!(Instant::now() < until, "the same client never came back: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// etcd ends the connection of a client that pings more often than it is told to allow.
#[tokio::test]
async fn an_idle_connection_is_pinged_and_kept() {
    let Some(members) = Members::start(1, &[]).await else { return };
    let store = members.store(0);
    store.get("k", LIMIT).await.unwrap();
    let before = members.all[0].connections();
    assert!(!before.is_empty());
    // Not waiting for anything: ten pings, and nothing else.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = members.all[0].connections();
    assert!(before.iter().all(|port| after.contains(port)), "connections from {before:?} became {after:?}");
    store.get("k", LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_dead_local_member_costs_only_the_first_request_and_is_taken_back() {
    let Some(members) = Members::start(3, &[]).await else { return };
    let victim = (members.leader().await + 1) % 3;
    let store = members.store(victim);
    store.get("k", LIMIT).await.unwrap();
    members.all[victim].signal(Signal::SIGSTOP);
    let timed = async |store: &EtcdStore| {
        let began = Instant::now();
        store.get("k", LIMIT).await.unwrap();
        began.elapsed()
    };
    let first = timed(&store).await;
    let mut later = Duration::ZERO;
    for _ in 0..20 {
        later = later.max(timed(&store).await);
    }
    println!("local member frozen: first read {first:?}, worst of the next twenty {later:?}");
    assert!(first >= Duration::from_millis(190), "the first one waited for the hedge");
    assert_eq!(store.troubles().len(), 1);
    members.all[victim].signal(Signal::SIGCONT);
    let until = Instant::now() + Duration::from_secs(10);
    while !store.troubles().is_empty() {
        assert!(Instant::now() < until, "the local member was never taken back: {:?}", store.troubles());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_watch_shows_changes_and_lives_by_progress_and_ends_on_compaction() {
    let Some(members) = Members::start(1, &[]).await else { return };
    let store = members.store(0);
    let first = put(&*store, "/p/a", b"1".to_vec()).await;
    let mut watch = store.watch("/p/", first, LIMIT).await.unwrap();
    let WatchMessage::Changes { revision, changes } = watch.next(LIMIT).await.unwrap() else { panic!("no change") };
    assert_eq!((revision, changes[0].0.as_str()), (first, "/p/a"));
    assert!(matches!(watch.next(LIMIT).await.unwrap(), WatchMessage::Progress { .. }), "requested after half a second");
    let delete = Txn { writes: vec![Write::Delete { key: "/p/a".into() }], ..Txn::default() };
    store.txn(delete, LIMIT).await.unwrap();
    let gone = loop {
        match watch.next(LIMIT).await.unwrap() {
            WatchMessage::Changes { changes, .. } => break changes,
            WatchMessage::Progress { .. } => {}
        }
    };
    assert_eq!(gone, [("/p/a".to_owned(), None)]);
    let newest = put(&*store, "/p/b", b"1".to_vec()).await;
    store.compact(newest, LIMIT).await.unwrap();
    store.compact(newest, LIMIT).await.expect("compacted already is no error");
    // etcd opens it and then cancels it; either way it does not live.
    let compacted = match store.watch("/p/", first, LIMIT).await {
        Ok(mut watch) => watch.next(LIMIT).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(compacted.is_err(), "history before the compaction is gone");
    store.compact_and_defragment(newest, LIMIT).await.unwrap();
    let status = store.local_status(LIMIT).await.unwrap();
    assert!(status.has_leader && !status.no_space && status.db_bytes > 0, "{status:?}");
}

#[tokio::test]
async fn a_full_database_refuses_writes_until_it_is_freed() {
    let Some(members) = Members::start(1, &["--quota-backend-bytes=20000000"]).await else { return };
    let store = members.store(0);
    let write = || Txn { writes: vec![Write::Put { key: "big".into(), value: vec![7; 1 << 20] }], ..Txn::default() };
    let until = Instant::now() + Duration::from_secs(30);
    let refused = loop {
        assert!(Instant::now() < until, "the quota never bit");
        if let Err(error) = store.txn_hedged(write(), LIMIT).await {
            break error;
        }
    };
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    assert!(store.local_status(LIMIT).await.unwrap().no_space);
    let newest = store.get("big", LIMIT).await.unwrap().revision;
    store.compact_and_defragment(newest, LIMIT).await.unwrap();
    store.disarm_no_space(LIMIT).await.unwrap();
    assert!(!store.local_status(LIMIT).await.unwrap().no_space);
    store.txn(write(), LIMIT).await.unwrap();
}

struct Watched {
    handle: watching::Handle,
    views: mpsc::UnboundedReceiver<Arc<ClusterView>>,
    task: tokio::task::JoinHandle<()>,
}

fn watch(store: Arc<EtcdStore>, keys: &Keys, folder: &Path) -> Watched {
    let (tell, views) = mpsc::unbounded_channel();
    let parts = watching::Parts {
        store,
        clock: Arc::new(BootClock),
        keys: keys.clone(),
        ttl: Duration::from_secs(5),
        files: Arc::new(StateDir::new(folder)),
        known: Arc::default(),
    };
    let (handle, watching) = watching::Watching::new(parts, Box::new(move |view| drop(tell.send(view))));
    Watched { handle, views, task: tokio::spawn(watching.run()) }
}

impl Watched {
    async fn until(&mut self, what: &str, wanted: impl Fn(&ClusterView) -> bool) -> Arc<ClusterView> {
        let seen = async {
            loop {
                let view = self.views.recv().await.expect("the task lives");
                if wanted(&view) {
                    return view;
                }
            }
        };
        tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("not seen in time: {what}"))
    }
}

fn epoch(number: u64) -> Vec<u8> {
    format!(r#"{{"schema":1,"epoch":{number},"guid":"{}","nonce":"n"}}"#, "a".repeat(32)).into_bytes()
}

#[tokio::test]
async fn the_view_follows_through_relists_and_the_death_of_the_watched_member() {
    let Some(mut members) = Members::start(3, &[]).await else { return };
    let keys = Keys::new(&"c".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    let victim = (members.leader().await + 1) % 3;
    let store = members.store(victim);
    put(&*store, &keys.epoch(), epoch(1)).await;
    let mut watched = watch(store.clone(), &keys, folder.path());
    let first = watched.until("the list", |view| view.newest_epoch().0 == 1).await;
    put(&*store, &keys.epoch(), epoch(2)).await;
    let second = watched.until("a change", |view| view.newest_epoch().0 == 2).await;
    assert!(second.revision > first.revision);
    watched.handle.relist();
    let relisted = watched.until("a relist", |view| view.heard_at > second.heard_at).await;
    assert_eq!(relisted.epoch.as_ref().unwrap().at, second.epoch.as_ref().unwrap().at, "no new receipt");
    // History goes while nobody watches it: the next list begins after it.
    store.compact(relisted.revision, LIMIT).await.unwrap();
    watched.handle.relist();
    members.all[victim].kill();
    let began = Instant::now();
    let other = members.store((victim + 1) % 3);
    put(&*other, &keys.epoch(), epoch(3)).await;
    watched.until("a change through another member", |view| view.newest_epoch().0 == 3).await;
    println!("watched member killed: the next change was seen after {:?}", began.elapsed());
    let until = Instant::now() + LIMIT;
    while high_water_file::load(&StateDir::new(folder.path())).unwrap().epoch.0 < 3 {
        assert!(Instant::now() < until, "a new epoch is on disk at once");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_store_that_went_back_is_not_believed_until_the_operator_confirms() {
    let Some(members) = Members::start(1, &[]).await else { return };
    let keys = Keys::new(&"c".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    let store = members.store(0);
    put(&*store, &keys.epoch(), epoch(1)).await;
    let water = format!(r#"{{"store_id":0,"revision":{},"epoch":1,"voters_version":0}}"#, 1000);
    std::fs::write(folder.path().join(HIGH_WATER_FILE), water).unwrap();
    let mut watched = watch(store.clone(), &keys, folder.path());
    let view = watched.until("the verdict", |view| view.went_back.is_some()).await;
    assert!(view.went_back.as_ref().unwrap().text.contains("revision 1000 was seen before"));
    watched.task.abort();
    let until = Instant::now() + LIMIT;
    while high_water_file::load(&StateDir::new(folder.path())).unwrap().went_back.is_none() {
        assert!(Instant::now() < until, "the verdict is kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Also after a restart, and with a revision that has grown.
    let mut watched = watch(store, &keys, folder.path());
    watched.until("the verdict again", |view| view.went_back.is_some() && view.revision > Revision(0)).await;
    watched.handle.accept();
    watched.until("the confirmation", |view| view.went_back.is_none()).await;
}
