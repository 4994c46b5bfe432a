//! Asking several members: the next one when the last is slow or has failed.

use super::answer::CallError;
use crate::ports::{StoreError, TxnAnswer};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One member, as far as asking in turn needs to know it.
pub trait Endpoint: Send + Sync + 'static {
    /// For people.
    fn name(&self) -> &str;
    /// It failed or was slow: it is asked last until it is found well again.
    fn failed(self: &Arc<Self>, why: &str);
}

/// How long one member may be silent before another is asked too.
pub const HEDGE_AFTER: Duration = Duration::from_millis(200);
/// The pause before a member is asked again after all have failed a read.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

struct Finished<M, T> {
    member: Arc<M>,
    result: Result<T, CallError>,
}

/// Requests under way and members not asked yet.
struct Race<'a, M, T, Ask, Fut>
where
    M: Endpoint,
    Ask: Fn(Arc<M>, Duration) -> Fut,
    Fut: Future<Output = Result<T, CallError>> + Send + 'a,
    T: Send + 'a,
{
    ask: Ask,
    deadline: Instant,
    waiting: VecDeque<Arc<M>>,
    next_at: Instant,
    running: FuturesUnordered<futures::future::BoxFuture<'a, Finished<M, T>>>,
    asked: Vec<(Arc<M>, Instant)>,
    failures: Vec<String>,
}

enum Event<M, T> {
    Finished(Finished<M, T>),
    Deadline,
    /// Nothing runs and nobody is left to be asked.
    Exhausted,
}

impl<'a, M, T, Ask, Fut> Race<'a, M, T, Ask, Fut>
where
    M: Endpoint,
    Ask: Fn(Arc<M>, Duration) -> Fut,
    Fut: Future<Output = Result<T, CallError>> + Send + 'a,
    T: Send + 'a,
{
    fn new(members: Vec<Arc<M>>, limit: Duration, ask: Ask) -> Self {
        let now = Instant::now();
        Self {
            ask,
            deadline: now + limit,
            waiting: members.into(),
            next_at: now,
            running: FuturesUnordered::new(),
            asked: Vec::new(),
            failures: Vec::new(),
        }
    }

    async fn next(&mut self) -> Event<M, T> {
        loop {
            if self.running.is_empty() && self.waiting.is_empty() {
                return Event::Exhausted;
            }
            tokio::select! {
                biased;
                Some(finished) = self.running.next() => return Event::Finished(self.note(finished)),
                () = tokio::time::sleep_until(self.deadline) => {
                    self.blame_the_silent(Duration::ZERO);
                    return Event::Deadline;
                }
                () = tokio::time::sleep_until(self.next_at), if !self.waiting.is_empty() => self.start(),
            }
        }
    }

    fn start(&mut self) {
        let Some(member) = self.waiting.pop_front() else { return };
        let now = Instant::now();
        self.next_at = now + HEDGE_AFTER;
        self.asked.push((member.clone(), now));
        let request = (self.ask)(member.clone(), self.deadline.saturating_duration_since(now));
        self.running.push(Box::pin(async move { Finished { member, result: request.await } }));
    }

    /// Remembers who answered how, so that the next request begins with a member that works.
    fn note(&mut self, finished: Finished<M, T>) -> Finished<M, T> {
        self.asked.retain(|(member, _)| !Arc::ptr_eq(member, &finished.member));
        match &finished.result {
            Ok(_) | Err(CallError::Refused(_)) => self.blame_the_silent(HEDGE_AFTER),
            Err(error @ (CallError::NotSent(_) | CallError::Unclear(_))) => {
                finished.member.failed(error.detail());
                self.failures.push(format!("{}: {}", finished.member.name(), error.detail()));
                self.next_at = Instant::now();
            }
        }
        finished
    }

    /// Members asked at least `silence` ago that have not answered.
    fn blame_the_silent(&self, silence: Duration) {
        for (member, since) in self.asked.iter().filter(|(_, since)| since.elapsed() >= silence) {
            member.failed(&format!("no answer for {} ms", since.elapsed().as_millis()));
        }
    }

    fn again(&mut self, member: Arc<M>) {
        if self.waiting.is_empty() {
            self.next_at = Instant::now() + ROUND_PAUSE;
        }
        self.waiting.push_back(member);
    }

    fn detail(&self) -> String {
        match self.failures.len() {
            0 => "no answer in time".to_owned(),
            many => self.failures[many.saturating_sub(3)..].join("; "),
        }
    }
}

/// A read: the first answer counts, and members are asked again until the limit, since a new etcd leader ends pending reads
/// with an error.
pub async fn read<'a, M, T, Ask, Fut>(members: Vec<Arc<M>>, limit: Duration, ask: Ask) -> Result<T, StoreError>
where
    M: Endpoint,
    Ask: Fn(Arc<M>, Duration) -> Fut,
    Fut: Future<Output = Result<T, CallError>> + Send + 'a,
    T: Send + 'a,
{
    let mut race = Race::new(members, limit, ask);
    loop {
        match race.next().await {
            Event::Finished(Finished { member, result }) => match result {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(detail)) => return Err(StoreError::Refused { detail }),
                Err(CallError::NotSent(_) | CallError::Unclear(_)) => race.again(member),
            },
            Event::Deadline | Event::Exhausted => return Err(StoreError::Unreachable { detail: race.detail() }),
        }
    }
}

/// A transaction that may be sent twice: the first `Committed` wins, a `Refused` waits for the copies still under way.
pub async fn txn<'a, M, Ask, Fut>(members: Vec<Arc<M>>, limit: Duration, ask: Ask) -> Result<TxnAnswer, StoreError>
where
    M: Endpoint,
    Ask: Fn(Arc<M>, Duration) -> Fut,
    Fut: Future<Output = Result<TxnAnswer, CallError>> + Send + 'a,
{
    let mut race = Race::new(members, limit, ask);
    let mut compared_false = None;
    let mut unclear = false;
    let mut refused = None;
    loop {
        match race.next().await {
            Event::Finished(Finished { result, .. }) => match result {
                Ok(answer @ TxnAnswer::Committed { .. }) => return Ok(answer),
                Ok(answer @ TxnAnswer::Refused { .. }) => {
                    compared_false = Some(answer);
                    race.waiting.clear();
                }
                Err(CallError::Refused(detail)) => {
                    refused = Some(detail);
                    race.waiting.clear();
                }
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Unclear(_)) => unclear = true,
            },
            Event::Deadline => {
                unclear = unclear || !race.running.is_empty();
                return settle(compared_false, unclear, refused, race.detail());
            }
            Event::Exhausted => return settle(compared_false, unclear, refused, race.detail()),
        }
    }
}

fn settle(
    compared_false: Option<TxnAnswer>,
    unclear: bool,
    refused: Option<String>,
    detail: String,
) -> Result<TxnAnswer, StoreError> {
    match (compared_false, refused) {
        (Some(answer), _) => Ok(answer),
        (None, _) if unclear => Err(StoreError::Unknown { detail }),
        (None, Some(detail)) => Err(StoreError::Refused { detail }),
        (None, None) => Err(StoreError::Unreachable { detail }),
    }
}

/// A write that must not be sent twice: the next member only when the last surely got nothing.
pub async fn once<'a, M, T, Ask, Fut>(members: Vec<Arc<M>>, limit: Duration, ask: Ask) -> Result<T, StoreError>
where
    M: Endpoint,
    Ask: Fn(Arc<M>, Duration) -> Fut,
    Fut: Future<Output = Result<T, CallError>> + Send + 'a,
{
    let deadline = Instant::now() + limit;
    let mut failures = Vec::new();
    for member in members {
        match ask(member.clone(), deadline.saturating_duration_since(Instant::now())).await {
            Ok(answer) => return Ok(answer),
            Err(CallError::Refused(detail)) => return Err(StoreError::Refused { detail }),
            Err(CallError::Unclear(detail)) => {
                member.failed(&detail);
                return Err(StoreError::Unknown { detail: format!("{}: {detail}", member.name()) });
            }
            Err(CallError::NotSent(detail)) => {
                member.failed(&detail);
                failures.push(format!("{}: {detail}", member.name()));
            }
        }
    }
    Err(StoreError::Unreachable { detail: failures.join("; ") })
}
