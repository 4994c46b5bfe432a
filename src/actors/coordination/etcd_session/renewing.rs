//! The renewing task of one hold: carries out what [`Renewal`] decides.

use crate::ports::{Clock, Compare, CoordinationStore, RangeAnswer, StoreError, Txn, TxnAnswer, Write};
use crate::stop_points::{StopPoint, reach};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use leaderl_decision::model::Revision;
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::renewal::{Attempt, Confirmed, Outcome, Renewal, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What the task tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A newer renewal is committed.
    Confirmed(Confirmed),
    /// Nothing is sent any more.
    Ended {
        /// The leader key's mod_revision as last known to be ours.
        revision: Revision,
        /// A read proved that the key is not ours.
        lost: bool,
    },
}

/// Where the news goes; must not block.
pub type Report = Box<dyn Fn(News) + Send + Sync>;
/// Told the leader key's last own revision when nothing is in flight any more.
pub type StopReply = Box<dyn FnOnce(Revision) + Send>;

/// How long a read of the leader key may take before a new one is begun.
const READ_LIMIT: Duration = Duration::from_millis(500);
/// More unanswered sendings than this are not started; each ends by its own limit.
const MOST_IN_FLIGHT: usize = 4;

/// Everything one renewing task needs.
pub struct Renewing {
    /// etcd.
    pub store: Arc<dyn CoordinationStore>,
    /// CLOCK_BOOTTIME.
    pub clock: Arc<dyn Clock>,
    /// The key that is renewed.
    pub leader_key: String,
    /// The bookkeeping.
    pub renewal: Renewal,
    /// Where the news goes.
    pub report: Report,
    /// Orders to stop; also a closed channel stops.
    pub stops: mpsc::UnboundedReceiver<StopReply>,
}

enum Landed {
    Attempt { seq: u64, result: Result<TxnAnswer, StoreError> },
    Read(Result<RangeAnswer, StoreError>),
}

#[derive(Default)]
struct Flights {
    all: FuturesUnordered<BoxFuture<'static, Landed>>,
    attempts: usize,
    reading: bool,
    read_wanted: bool,
}

impl Renewing {
    /// Renews until the hold is lost or an order to stop came and nothing is in flight any more.
    pub async fn run(mut self) {
        let mut flights = Flights::default();
        let mut replies: Vec<StopReply> = Vec::new();
        let mut stopping = false;
        let lost = loop {
            if stopping && flights.attempts == 0 {
                break self.settle().await;
            }
            let pause = self.renewal.due_at().since(self.clock.now());
            let may_send = !stopping && flights.attempts < MOST_IN_FLIGHT;
            tokio::select! {
                biased;
                order = self.stops.recv(), if !(stopping && self.stops.is_closed()) => {
                    stopping = true;
                    replies.extend(order);
                }
                Some(landed) = flights.all.next() => {
                    if self.landed(landed, &mut flights) {
                        break true;
                    }
                }
                () = tokio::time::sleep(pause), if may_send => self.send(&mut flights),
            }
        };
        let revision = self.renewal.confirmed().revision;
        (self.report)(News::Ended { revision, lost });
        self.stops.close();
        while let Ok(reply) = self.stops.try_recv() {
            replies.push(reply);
        }
        replies.into_iter().for_each(|reply| reply(revision));
    }

    fn send(&mut self, flights: &mut Flights) {
        // t0: before anything of this sending leaves the node.
        let now = self.clock.now();
        let Some(attempt) = self.renewal.send(now) else { return };
        reach(StopPoint::KeyRenewal);
        flights.attempts += 1;
        flights.all.push(self.attempt(attempt));
    }

    fn attempt(&self, attempt: Attempt) -> BoxFuture<'static, Landed> {
        let Attempt { seq, compare, value } = attempt;
        let key = self.leader_key.clone();
        let mine = Compare { key: key.clone(), mod_revision: compare };
        let txn = Txn {
            // create_revision never changes on a key that is never deleted, so comparing it compares nothing.
            compares: Vec::from_iter((!planted(Planted::CreateRevisionAsToken)).then_some(mine)),
            writes: vec![Write::Put { key, value }],
            else_reads: Vec::new(),
        };
        let (store, limit) = (self.store.clone(), self.renewal.attempt_limit());
        Box::pin(async move {
            let result = bounded(limit, store.txn_hedged(txn, limit)).await;
            Landed::Attempt { seq, result }
        })
    }

    fn read(&self) -> BoxFuture<'static, Landed> {
        let (store, key) = (self.store.clone(), self.leader_key.clone());
        Box::pin(async move { Landed::Read(bounded(READ_LIMIT, store.get(&key, READ_LIMIT)).await) })
    }

    /// Takes an answer in; `true` when the hold is lost.
    fn landed(&mut self, landed: Landed, flights: &mut Flights) -> bool {
        let verdict = match landed {
            Landed::Attempt { seq, result } => {
                flights.attempts -= 1;
                self.renewal.answered(seq, outcome(result))
            }
            Landed::Read(result) => {
                flights.reading = false;
                match result {
                    Ok(answer) => self.renewal.read(&self.recognise(&answer)),
                    // The next sending will ask for the next read.
                    Err(_) => Verdict::Wait,
                }
            }
        };
        match verdict {
            Verdict::Wait => {}
            Verdict::Read => flights.read_wanted = true,
            Verdict::Confirmed(mut confirmed) => {
                flights.read_wanted = false;
                if planted(Planted::DeadlineFromReply) {
                    confirmed.t0 = self.clock.now();
                }
                (self.report)(News::Confirmed(confirmed));
            }
            Verdict::Lost => return true,
        }
        if flights.read_wanted && !flights.reading {
            flights.read_wanted = false;
            flights.reading = true;
            flights.all.push(self.read());
        }
        false
    }

    fn recognise(&self, answer: &RangeAnswer) -> leaderl_decision::renewal::KeyHolds {
        let entry = answer.entries.iter().find(|entry| entry.key == self.leader_key);
        self.renewal.recognise(entry.map(|entry| (entry.value.as_slice(), entry.mod_revision)))
    }

    /// After the last sending: if its fate is unknown, one more read, so that the revision told is the newest; `true` = lost.
    async fn settle(&mut self) -> bool {
        if !self.renewal.is_pending() {
            return false;
        }
        let Ok(answer) = bounded(READ_LIMIT, self.store.get(&self.leader_key, READ_LIMIT)).await else { return false };
        match self.renewal.read(&self.recognise(&answer)) {
            Verdict::Confirmed(confirmed) => {
                (self.report)(News::Confirmed(confirmed));
                false
            }
            Verdict::Lost => true,
            Verdict::Wait | Verdict::Read => false,
        }
    }
}

/// A store that forgets its limit must not hold the renewals up.
async fn bounded<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::Unknown { detail: "the store did not keep its time limit".to_owned() });
    tokio::time::timeout(limit * 2, work).await.unwrap_or_else(late)
}

fn outcome(result: Result<TxnAnswer, StoreError>) -> Outcome {
    match result {
        Ok(TxnAnswer::Committed { revision }) => Outcome::Committed(revision),
        Err(StoreError::Unreachable { .. }) => Outcome::NotSent,
        Ok(TxnAnswer::Refused { .. }) | Err(StoreError::Unknown { .. } | StoreError::Refused { .. }) => {
            Outcome::Unclear
        }
    }
}
