//! Renewals at D = 5 s while members die and freeze: the longest silence, measured and printed.

use crate::members::{BootClock, LIMIT, Members};
use leaderl::actors::coordination::etcd_session::renewing::{News, Renewing, StopReply};
use leaderl::ports::{Clock, Compare, CoordinationStore, Txn, TxnAnswer, Write};
use leaderl_decision::model::{Epoch, NodeId, Nonce, Revision, Timestamp};
use leaderl_decision::records::{Holder, LeaderValue, SCHEMA};
use leaderl_decision::renewal::{Confirmed, Renewal};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

const D: Duration = Duration::from_secs(5);
const KEY: &str = "/leaderl/test/leader";

fn holder(nonce: &str) -> Holder {
    Holder {
        schema: SCHEMA,
        guid: NodeId("a".repeat(32)),
        boot_id: "boot".into(),
        nonce: Nonce(nonce.into()),
        epoch: Epoch(1),
        seq: 1,
    }
}

pub(crate) async fn put(store: &dyn CoordinationStore, key: &str, value: Vec<u8>) -> Revision {
    let txn = Txn { writes: vec![Write::Put { key: key.into(), value }], ..Txn::default() };
    match store.txn_hedged(txn, LIMIT).await.unwrap() {
        TxnAnswer::Committed { revision } => revision,
        TxnAnswer::Refused { .. } => unreachable!("nothing was compared"),
    }
}

struct Running {
    newest: Option<(Timestamp, Confirmed)>,
    news: mpsc::UnboundedReceiver<(Timestamp, News)>,
    stops: mpsc::UnboundedSender<StopReply>,
}

async fn acquire(store: Arc<dyn CoordinationStore>, nonce: &str) -> Running {
    let t0 = BootClock.now();
    let value = serde_json::to_vec(&LeaderValue::Holder(holder(nonce))).unwrap();
    let revision = put(&*store, KEY, value).await;
    let (tell, news) = mpsc::unbounded_channel();
    let (stops, orders) = mpsc::unbounded_channel();
    let task = Renewing {
        store,
        clock: Arc::new(BootClock),
        leader_key: KEY.into(),
        renewal: Renewal::new(holder(nonce), revision, t0, format!("task of {nonce}"), D),
        report: Box::new(move |news| {
            let _ = tell.send((BootClock.now(), news));
        }),
        stops: orders,
    };
    tokio::spawn(task.run());
    Running { newest: None, news, stops }
}

/// What was seen while `for_long` passed.
struct Measured {
    renewals: usize,
    longest_gap: Duration,
    /// The oldest that the newest confirmed t0 became; D/2 of it is the budget.
    oldest_t0: Duration,
}

async fn measure(running: &mut Running, for_long: Duration) -> Measured {
    let until = tokio::time::Instant::now() + for_long;
    // Begins with the newest of the time before: the gap around the fault is the one that counts.
    let mut seen: Vec<(Timestamp, Confirmed)> = running.newest.into_iter().collect();
    while let Ok(Some((at, news))) = tokio::time::timeout_at(until, running.news.recv()).await {
        match news {
            News::Confirmed(confirmed) => seen.push((at, confirmed)),
            News::Ended { .. } => panic!("the hold ended: {news:?}"),
        }
    }
    running.newest = seen.last().copied();
    let pairs = || seen.iter().zip(seen.iter().skip(1));
    Measured {
        renewals: pairs().count(),
        longest_gap: pairs().map(|(a, b)| b.0.since(a.0)).max().unwrap_or(for_long),
        oldest_t0: pairs().map(|(a, b)| b.0.since(a.1.t0)).max().unwrap_or(for_long),
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Freeze,
    Kill,
}

async fn scenario(members: &mut Members, name: &str, local: usize, victim: usize, fault: Fault, busy: bool) {
    let mut running = acquire(members.store(local), name).await;
    let calm = measure(&mut running, Duration::from_millis(1800)).await;
    assert!(calm.renewals >= 1, "{name}: renewals at D/10 before the fault");
    let stop_burning = Arc::new(AtomicBool::new(false));
    if busy {
        for _ in 0..4 {
            let stop = stop_burning.clone();
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
    }
    match fault {
        Fault::Freeze => members.all[victim].signal(Signal::SIGSTOP),
        Fault::Kill => members.all[victim].kill(),
    }
    let hurt = measure(&mut running, Duration::from_secs(5)).await;
    stop_burning.store(true, Ordering::Relaxed);
    match fault {
        Fault::Freeze => members.all[victim].signal(Signal::SIGCONT),
        Fault::Kill => members.all[victim].restart(),
    }
    let after = measure(&mut running, Duration::from_secs(2)).await;
    println!(
        "{name:55} {:3} renewals in 5 s, longest gap {:5} ms, oldest t0 {:5} ms; afterwards {:4} ms",
        hurt.renewals,
        hurt.longest_gap.as_millis(),
        hurt.oldest_t0.as_millis(),
        after.longest_gap.as_millis(),
    );
    let (reply, told) = oneshot::channel();
    let reply: StopReply = Box::new(move |revision| {
        let _ = reply.send(revision);
    });
    running.stops.send(reply).map_err(drop).unwrap();
    let revision = tokio::time::timeout(LIMIT, told).await.unwrap().unwrap();
    let now = members.store(local).get(KEY, LIMIT).await.unwrap();
    assert_eq!(now.entries[0].mod_revision, revision, "{name}: the revision told at the end is the key's");
    assert!(hurt.oldest_t0 < D / 2, "{name}: the step-down budget of D/2 was exceeded");
}

#[ignore = "needs the machine for itself: `make test-all` runs it alone; the container rows cover the same faults"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_go_on_while_members_die_and_freeze() {
    let Some(mut members) = Members::start(3, &[]).await else { return };
    // (name, is the local member the victim, does the victim lead etcd, fault, both cores busy)
    let table = [
        ("another follower member frozen", false, false, Fault::Freeze, false),
        ("local member (follower) frozen", true, false, Fault::Freeze, false),
        ("local member (follower) killed", true, false, Fault::Kill, false),
        ("etcd leader elsewhere killed", false, true, Fault::Kill, false),
        ("etcd leader elsewhere frozen", false, true, Fault::Freeze, false),
        ("etcd leader is local, killed", true, true, Fault::Kill, false),
        ("etcd leader is local, frozen", true, true, Fault::Freeze, false),
        ("etcd leader elsewhere killed, all cores busy", false, true, Fault::Kill, true),
    ];
    for (name, local_is_victim, victim_leads, fault, busy) in table {
        let leader = members.leader().await;
        let victim = if victim_leads { leader } else { (leader + 1) % 3 };
        let local = if local_is_victim { victim } else { (victim + 1) % 3 };
        // Never the etcd leader as the local one where "elsewhere" is meant.
        let local = if !local_is_victim && local == leader { (victim + 2) % 3 } else { local };
        scenario(&mut members, name, local, victim, fault, busy).await;
    }
}

#[tokio::test]
async fn a_hold_that_somebody_took_is_lost_and_never_renewed_again() {
    let Some(members) = Members::start(1, &[]).await else { return };
    let store = members.store(0);
    let mut running = acquire(store.clone(), "n1").await;
    measure(&mut running, Duration::from_millis(700)).await;
    let taken = put(&*store, KEY, serde_json::to_vec(&LeaderValue::Holder(holder("n2"))).unwrap()).await;
    let ended = loop {
        let (_, news) = tokio::time::timeout(LIMIT, running.news.recv()).await.unwrap().unwrap();
        if let News::Ended { lost, .. } = news {
            break lost;
        }
    };
    assert!(ended, "the task says that the hold is lost");
    assert_eq!(store.get(KEY, LIMIT).await.unwrap().entries[0].mod_revision, taken, "nothing was written afterwards");
}

/// A renewal that commits although its answer was lost is recognised by nonce, seq and sender.
#[tokio::test]
async fn a_commit_without_an_answer_is_found_by_reading() {
    let Some(members) = Members::start(1, &[]).await else { return };
    let store = members.store(0);
    let value = serde_json::to_vec(&LeaderValue::Holder(holder("n1"))).unwrap();
    let revision = put(&*store, KEY, value).await;
    let mut renewal = Renewal::new(holder("n1"), revision, Timestamp(1), "me".into(), D);
    let attempt = renewal.send(Timestamp(10)).unwrap();
    let txn = Txn {
        compares: vec![Compare { key: KEY.into(), mod_revision: attempt.compare }],
        writes: vec![Write::Put { key: KEY.into(), value: attempt.value }],
        else_reads: vec![KEY.into()],
    };
    let first = store.txn(txn.clone(), LIMIT).await.unwrap();
    let TxnAnswer::Committed { revision } = first else { panic!("{first:?}") };
    // The second copy is refused, and what it reads is our own first copy.
    let TxnAnswer::Refused { reads, .. } = store.txn(txn, LIMIT).await.unwrap() else { panic!("sent twice") };
    let seen = renewal.recognise(Some((&reads[0].value, reads[0].mod_revision)));
    let expected = Confirmed { seq: 2, revision, t0: Timestamp(10) };
    assert_eq!(renewal.read(&seen), leaderl_decision::renewal::Verdict::Confirmed(expected));
}
