//! Renewing over a store in memory, in paused time.

use super::*;
use crate::ports::*;
use async_trait::async_trait;
use leaderl_decision::model::{Epoch, NodeId};
use leaderl_decision::records::SCHEMA;
use ractor::{Actor, ActorProcessingErr};
use std::sync::Mutex;
use tokio::time::Instant;

const D: Duration = Duration::from_secs(5);

/// What becomes of the next transaction.
#[derive(Clone, Copy)]
enum Fate {
    /// Committed, but the answer never comes; the caller waits to its limit.
    AnswerLost,
    /// Never arrives; the caller waits to its limit.
    Hangs,
}

struct Store {
    began: Instant,
    key: Mutex<(Vec<u8>, i64)>,
    fates: Mutex<Vec<Fate>>,
    /// When each transaction arrived, in milliseconds.
    sent: Mutex<Vec<u64>>,
}

impl Clock for Store {
    fn now(&self) -> Timestamp {
        Timestamp(0).plus(self.began.elapsed())
    }
}

impl Store {
    fn new() -> Arc<Self> {
        let key = Mutex::new((b"{}".to_vec(), 100));
        Arc::new(Self { began: Instant::now(), key, fates: Mutex::default(), sent: Mutex::default() })
    }

    fn overwrite(&self) {
        *self.key.lock().unwrap() = (b"somebody else".to_vec(), 900);
    }

    fn revision(&self) -> Revision {
        Revision(self.key.lock().unwrap().1)
    }

    fn answer(&self) -> RangeAnswer {
        let (value, revision) = self.key.lock().unwrap().clone();
        let entry = KeyValue { key: "leader".into(), value, mod_revision: Revision(revision) };
        RangeAnswer { store_id: 1, revision: Revision(revision), entries: vec![entry] }
    }

    fn apply(&self, txn: &Txn) -> TxnAnswer {
        let mut key = self.key.lock().unwrap();
        if txn.compares[0].mod_revision != Revision(key.1) {
            return TxnAnswer::Refused { revision: Revision(key.1), reads: Vec::new() };
        }
        let Write::Put { value, .. } = &txn.writes[0] else { panic!("a renewal puts") };
        *key = (value.clone(), key.1 + 1);
        TxnAnswer::Committed { revision: Revision(key.1) }
    }
}

fn unknown() -> StoreError {
    StoreError::Unknown { detail: "lost".into() }
}

#[async_trait]
impl CoordinationStore for Store {
    async fn get(&self, _key: &str, _limit: Duration) -> Result<RangeAnswer, StoreError> {
        Ok(self.answer())
    }
    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        self.sent.lock().unwrap().push(u64::try_from(self.began.elapsed().as_millis()).unwrap());
        let fate = self.fates.lock().unwrap().pop();
        match fate {
            None => Ok(self.apply(&txn)),
            Some(Fate::AnswerLost) => {
                self.apply(&txn);
                tokio::time::sleep(limit).await;
                Err(unknown())
            }
            Some(Fate::Hangs) => {
                tokio::time::sleep(limit).await;
                Err(unknown())
            }
        }
    }
    async fn txn(&self, _txn: Txn, _limit: Duration) -> Result<TxnAnswer, StoreError> {
        panic!("renewals are hedged")
    }
    async fn range_prefix(&self, _prefix: &str, _limit: Duration) -> Result<RangeAnswer, StoreError> {
        Ok(self.answer())
    }
    async fn watch(&self, _: &str, _: Revision, _: Duration) -> Result<Box<dyn WatchStream>, StoreError> {
        Err(unknown())
    }
    async fn members(&self, _limit: Duration) -> Result<Vec<StoreMember>, StoreError> {
        Err(unknown())
    }
    async fn add_learner(&self, _peer_url: &str, _limit: Duration) -> Result<StoreMember, StoreError> {
        Err(unknown())
    }
    async fn promote_learner(&self, _id: u64, _limit: Duration) -> Result<(), StoreError> {
        Err(unknown())
    }
    async fn remove_member(&self, _id: u64, _limit: Duration) -> Result<(), StoreError> {
        Err(unknown())
    }
    fn set_endpoints(&self, _local: &str, _others: &[String]) {}
    async fn compact_and_defragment(&self, _revision: Revision, _limit: Duration) -> Result<(), StoreError> {
        Err(unknown())
    }
    async fn local_status(&self, _limit: Duration) -> Result<LocalStoreStatus, StoreError> {
        Err(unknown())
    }
    async fn disarm_no_space(&self, _limit: Duration) -> Result<(), StoreError> {
        Err(unknown())
    }
}

/// An actor that passes on what it hears.
struct Ear<M>(std::marker::PhantomData<fn(M)>);

impl<M: Send + 'static> Actor for Ear<M> {
    type Msg = M;
    type State = mpsc::UnboundedSender<M>;
    type Arguments = mpsc::UnboundedSender<M>;

    async fn pre_start(&self, _me: ActorRef<M>, tell: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(tell)
    }
    async fn handle(&self, _me: ActorRef<M>, message: M, tell: &mut Self::State) -> Result<(), ActorProcessingErr> {
        let _ = tell.send(message);
        Ok(())
    }
}

async fn ear<M: Send + 'static>() -> (ActorRef<M>, mpsc::UnboundedReceiver<M>) {
    let (tell, heard) = mpsc::unbounded_channel();
    let (actor, _) = Actor::spawn(None, Ear(std::marker::PhantomData), tell).await.unwrap();
    (actor, heard)
}

struct Fixture {
    store: Arc<Store>,
    holds: Holds,
    me: ActorRef<EtcdSessionMessage>,
    own: mpsc::UnboundedReceiver<EtcdSessionMessage>,
    election: mpsc::UnboundedReceiver<ElectionMessage>,
    heart: mpsc::UnboundedReceiver<HeartLinkMessage>,
}

async fn fixture() -> Fixture {
    let store = Store::new();
    let (me, own) = ear().await;
    let (election_actor, election) = ear().await;
    let (heart_actor, heart) = ear().await;
    let parts = Parts {
        store: store.clone(),
        clock: store.clone(),
        leader_key: "leader".into(),
        ttl: D,
        election: ChildRef::new("election"),
        heart_link: ChildRef::new("heart-link"),
    };
    parts.election.publish(election_actor);
    parts.heart_link.publish(heart_actor);
    Fixture { store, holds: Holds::new(parts), me, own, election, heart }
}

fn holder() -> Holder {
    Holder {
        schema: SCHEMA,
        guid: NodeId("a".repeat(32)),
        boot_id: "boot".into(),
        nonce: Nonce("n1".into()),
        epoch: Epoch(3),
        seq: 1,
    }
}

impl Fixture {
    fn order(&mut self) {
        self.holds.begin(&self.me.clone(), holder(), Revision(100), Timestamp(0));
    }

    /// The next renewal the election hears of: seq and t0 in milliseconds.
    async fn renewed(&mut self) -> (u64, u64) {
        match self.election.recv().await.unwrap() {
            ElectionMessage::Renewed { seq, t0, .. } => (seq, t0.0 / 1_000_000),
            other => panic!("{other:?}"),
        }
    }

    async fn stop(&mut self) -> Revision {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.holds.stop(&holder().nonce, reply.into());
        answer.await.unwrap()
    }

    /// Hands the task's own report to the holds, as the actor does.
    async fn ended(&mut self) -> bool {
        match self.own.recv().await.unwrap() {
            EtcdSessionMessage::RenewingEnded { nonce, revision, lost } => {
                self.holds.ended(nonce, revision, lost);
                lost
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_order_changes_nothing_and_heart_hears_every_renewal() {
    let mut it = fixture().await;
    it.order();
    for n in 1..=4 {
        it.order();
        assert_eq!(it.renewed().await, (n + 1, n * 500), "each D/10, t0 = its own sending");
        let Some(HeartLinkMessage::Renewed(lease)) = it.heart.recv().await else { panic!("heart heard nothing") };
        assert_eq!((lease.epoch, lease.seq), (Epoch(3), n + 1));
        assert_eq!(lease.fence_at, lease.t0.plus(D * 2 / 3));
    }
    assert_eq!(*it.store.sent.lock().unwrap(), [500, 1000, 1500, 2000]);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_hanging_members_never_make_t0_later_than_the_first_sending() {
    let mut it = fixture().await;
    // Popped from the end: the first hangs, the second commits without an answer.
    *it.store.fates.lock().unwrap() = vec![Fate::AnswerLost, Fate::Hangs];
    it.order();
    assert_eq!(it.renewed().await, (2, 500), "committed by the second sending, found by the third, t0 of the first");
    assert_eq!(it.renewed().await, (3, 1500), "D/10 after the last sending");
    assert_eq!(it.store.sent.lock().unwrap()[..4], [500, 750, 1000, 1500]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_hold_is_told_again_at_every_order_and_never_renewed_again() {
    let mut it = fixture().await;
    it.order();
    it.renewed().await;
    it.store.overwrite();
    assert!(matches!(it.election.recv().await, Some(ElectionMessage::HoldLost { .. })));
    assert!(it.ended().await);
    let sent = it.store.sent.lock().unwrap().len();
    it.order();
    assert!(matches!(it.election.recv().await, Some(ElectionMessage::HoldLost { .. })), "level-triggered");
    tokio::time::sleep(D).await;
    assert_eq!(it.store.sent.lock().unwrap().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_in_flight_and_is_final() {
    let mut it = fixture().await;
    *it.store.fates.lock().unwrap() = vec![Fate::AnswerLost];
    it.order();
    // Stopped in the middle of a renewal whose answer is lost: the revision told includes it.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let told = it.stop().await;
    assert_eq!((told, it.store.revision()), (Revision(101), Revision(101)));
    assert!(!it.ended().await);
    it.order();
    tokio::time::sleep(D).await;
    assert_eq!(it.store.revision(), Revision(101), "an order that was still under way does not begin it again");
    assert_eq!(it.stop().await, Revision(101), "asked again");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_comes_before_the_order_counts_too() {
    let mut it = fixture().await;
    assert_eq!(it.stop().await, Revision(0));
    it.order();
    tokio::time::sleep(D).await;
    assert!(it.store.sent.lock().unwrap().is_empty());
}
