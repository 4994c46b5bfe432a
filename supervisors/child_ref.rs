//! A handle that outlives restarts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorRef, Message, MessagingErr, RpcReplyPort};
use tokio::sync::{oneshot, watch};

use crate::spec::ChildId;
use crate::start::StartChild;

/// Reaches the current incarnation of a child, however often it was restarted.
///
/// Made before the tree, it can be given to everyone who talks to the child, also to children that start earlier. Each
/// incarnation is published before its `pre_start` runs, so nobody talks to a dead one while its successor works.
///
/// ```
/// # use std::time::Duration;
/// # use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
/// use supervisors::{ChildRef, ChildSpec, Strategy, SupervisorSpec, start_root};
///
/// struct Counter;
/// enum CounterMessage { Add(u64), GetTotal(RpcReplyPort<u64>) }
///
/// impl Actor for Counter {
///     type Msg = CounterMessage;
///     type State = u64;
///     type Arguments = ();
///     async fn pre_start(&self, _: ActorRef<CounterMessage>, _: ()) -> Result<u64, ActorProcessingErr> { Ok(0) }
///     async fn handle(&self, _: ActorRef<CounterMessage>, message: CounterMessage, total: &mut u64)
///         -> Result<(), ActorProcessingErr> {
///         match message {
///             CounterMessage::Add(n) => *total += n,
///             CounterMessage::GetTotal(reply) => reply.send(*total)?,
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counter = ChildRef::new("counter");
/// let spec = SupervisorSpec::new(Strategy::OneForOne)
///     .child(ChildSpec::worker("counter", counter.starts(|| (Counter, ()))));
/// let root = start_root(spec).await?;
///
/// counter.cast(CounterMessage::Add(2))?;
/// assert_eq!(counter.call(CounterMessage::GetTotal, Duration::from_secs(1)).await?, 2);
/// # root.stop(supervisors::ExitReason::Shutdown).await;
/// # Ok(())
/// # }
/// ```
pub struct ChildRef<M> {
    slot: Arc<Slot<M>>,
}

struct Slot<M> {
    name: String,
    tap: Option<Tap<M>>,
    current: watch::Sender<Incarnation<M>>,
    /// Messages sent through this reference; with those handled it tells the length of the mailbox.
    sent: Arc<AtomicU64>,
}

/// Looks at messages on their way.
type Tap<M> = Box<dyn Fn(&M) + Send + Sync>;

struct Incarnation<M> {
    /// 0 before the first start.
    number: u64,
    actor: Option<ActorRef<M>>,
    /// Whether `pre_start` has succeeded.
    started: bool,
}

/// The child has no incarnation now: not started yet, between two incarnations, or ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor is not running")]
pub struct NotRunning;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The child was not running; the message was not sent.
    #[error("the actor is not running")]
    NotRunning,
    /// No answer within the time. The child may still act on the message.
    #[error("no answer in time")]
    Timeout,
    /// The child ended, or dropped the reply port, before it answered.
    #[error("the actor ended before it answered")]
    Ended,
}

impl From<NotRunning> for CallError {
    fn from(NotRunning: NotRunning) -> Self {
        Self::NotRunning
    }
}

impl<M: Message> ChildRef<M> {
    /// A reference to a child that is not started yet. The name is for errors and logs only: it is registered nowhere.
    pub fn new(name: impl Into<String>) -> Self {
        Self::with_tap(name.into(), None)
    }

    /// As [`new`](Self::new); `tap` is shown every message that is sent through the reference to a child that runs, in the
    /// sender's task and before the child can have it. It must not block.
    pub fn tapped(name: impl Into<String>, tap: impl Fn(&M) + Send + Sync + 'static) -> Self {
        Self::with_tap(name.into(), Some(Box::new(tap)))
    }

    fn with_tap(name: String, tap: Option<Tap<M>>) -> Self {
        let nobody = Incarnation { number: 0, actor: None, started: false };
        Self { slot: Arc::new(Slot { name, tap, current: watch::Sender::new(nobody), sent: Arc::default() }) }
    }

    /// The start function that publishes every incarnation here. The closure makes a fresh actor for each.
    ///
    /// Give one reference to one child only.
    pub fn starts<Id, A, F>(&self, make: F) -> StartChild<Id>
    where
        Id: ChildId,
        A: Actor<Msg = M>,
        F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    {
        let child = self.clone();
        StartChild::new(move |context| {
            let (actor, arguments) = make();
            let child = child.clone();
            async move { context.spawn_published(&child, actor, arguments).await }
        })
    }

    /// Sends a message to the current incarnation. Ok means delivered to its mailbox, not handled.
    pub fn cast(&self, message: M) -> Result<(), NotRunning> {
        let returned = match &self.slot.current.borrow().actor {
            Some(actor) => {
                self.show(&message);
                actor.send_message(message).map_err(Returned::ByActor)
            }
            None => Err(Returned::Unsent(message)),
        };
        // Here the lock is free again: what came back is dropped, and its `Drop` is not ours.
        returned.map_err(|_| NotRunning)?;
        self.slot.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the current incarnation and waits for its answer, at most `limit`.
    pub async fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(RpcReplyPort<T>) -> M,
        limit: Duration,
    ) -> Result<T, CallError> {
        let (reply, answer) = oneshot::channel();
        self.cast(question(RpcReplyPort::from((reply, limit))))?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CallError::Ended),
            Err(_) => Err(CallError::Timeout),
        }
    }

    fn show(&self, message: &M) {
        if let Some(tap) = &self.slot.tap {
            tap(message);
        }
    }

    /// Waits until an incarnation runs whose `pre_start` has succeeded, at most `limit`.
    pub async fn wait_started(&self, limit: Duration) -> Result<(), NotRunning> {
        self.wait_incarnation(0, limit).await
    }

    /// As [`wait_started`](Self::wait_started), for the incarnation of this number or a later one: after a failure the old
    /// one may still be there for a moment.
    pub async fn wait_incarnation(&self, number: u64, limit: Duration) -> Result<(), NotRunning> {
        let mut current = self.slot.current.subscribe();
        let started = current.wait_for(|incarnation| incarnation.started && incarnation.number >= number);
        match tokio::time::timeout(limit, started).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotRunning),
        }
    }

    /// How many times the child was started, the current incarnation included; 0 before the first start.
    pub fn incarnation(&self) -> u64 {
        self.slot.current.borrow().number
    }

    /// The current incarnation's actor. It dies with the next restart: do not keep it.
    pub fn actor(&self) -> Result<ActorRef<M>, NotRunning> {
        self.slot.current.borrow().actor.clone().ok_or(NotRunning)
    }

    /// The current incarnation's cell, if it runs.
    pub fn cell(&self) -> Option<ActorCell> {
        self.slot.current.borrow().actor.as_ref().map(ActorRef::get_cell)
    }

    /// The name given to [`ChildRef::new`].
    pub fn name(&self) -> &str {
        &self.slot.name
    }

    /// Makes `actor` the current incarnation. The start functions of this crate do it; call it yourself only to put a
    /// stand-in behind the reference, in a test.
    pub fn publish(&self, actor: ActorRef<M>) {
        self.slot.current.send_modify(|incarnation| {
            *incarnation = Incarnation { number: incarnation.number + 1, actor: Some(actor), started: false };
        });
    }

    pub(crate) fn sent_counter(&self) -> Arc<AtomicU64> {
        self.slot.sent.clone()
    }

    pub(crate) fn mark_started(&self, id: ActorId) {
        self.slot.current.send_if_modified(|incarnation| {
            let current = incarnation.is(id);
            incarnation.started |= current;
            current
        });
    }

    /// Takes back this incarnation, unless another one has been published meanwhile.
    pub(crate) fn retract(&self, id: ActorId) {
        self.slot.current.send_if_modified(|incarnation| {
            let current = incarnation.is(id);
            if current {
                incarnation.actor = None;
                incarnation.started = false;
            }
            current
        });
    }
}

/// A message that did not reach the child.
enum Returned<M> {
    ByActor(MessagingErr<M>),
    Unsent(M),
}

impl<M> Incarnation<M> {
    fn is(&self, id: ActorId) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.get_id() == id)
    }
}

impl<M> Clone for ChildRef<M> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

impl<M> fmt::Debug for ChildRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildRef").field("name", &self.slot.name).finish_non_exhaustive()
    }
}
