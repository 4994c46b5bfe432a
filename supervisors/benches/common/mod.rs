//! The actor and the trees that are measured.
#![allow(dead_code)] // Each benchmark uses its part.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use supervisors::{
    ChildPolicy, ChildRef, ChildSpec, DynamicSupervisor, ExitReason, Restart, RootHandle, Strategy, SupervisorSpec,
    restarts, start_actor, start_root,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// More than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// When the child that is being restarted ended.
static ENDED: Mutex<Option<Instant>> = Mutex::new(None);

pub(crate) struct Worker;

pub(crate) enum Message {
    Fail,
    Count,
    GetCount(RpcReplyPort<u64>),
    /// Ask the other one so many times, and say how long it took.
    AskAround(ChildRef<Message>, u64, RpcReplyPort<Duration>),
    /// Send the other one so many messages, and say how long it took until it had handled them.
    Pelt(ChildRef<Message>, u64, RpcReplyPort<Duration>),
}

impl Actor for Worker {
    type Msg = Message;
    type State = u64;
    type Arguments = Option<mpsc::UnboundedSender<Duration>>;

    async fn pre_start(&self, _: ActorRef<Message>, born: Self::Arguments) -> Result<u64, ActorProcessingErr> {
        if let Some(born) = born
            && let Some(ended) = ENDED.lock().map_err(|_| "poisoned")?.take()
        {
            born.send(ended.elapsed())?;
        }
        Ok(0)
    }

    async fn handle(&self, _: ActorRef<Message>, message: Message, count: &mut u64) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Fail => {
                *ENDED.lock().map_err(|_| "poisoned")? = Some(Instant::now());
                return Err(ExitReason::Failed("as told".to_owned()).into());
            }
            Message::Count => *count += 1,
            Message::GetCount(reply) => reply.send(*count)?,
            Message::AskAround(other, times, reply) => {
                let began = Instant::now();
                for _ in 0..times {
                    other.call(Message::GetCount, LIMIT).await?;
                }
                reply.send(began.elapsed())?;
            }
            Message::Pelt(other, times, reply) => {
                let began = Instant::now();
                for _ in 0..times {
                    other.cast(Message::Count)?;
                    // What Erlang does by itself: a process that sends and sends lets others run now and then.
                    tokio::task::consume_budget().await;
                }
                other.call(Message::GetCount, LIMIT).await?;
                reply.send(began.elapsed())?;
            }
        }
        Ok(())
    }
}

/// As Erlang is started for the comparison: two threads.
pub(crate) fn runtime() -> Result<Runtime, AnyError> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?)
}

pub(crate) async fn tree(
    strategy: Strategy,
    children: impl IntoIterator<Item = ChildSpec<&'static str>>,
) -> Result<RootHandle<&'static str>, AnyError> {
    let often = restarts(1_000_000).within(Duration::from_secs(1));
    Ok(start_root(SupervisorSpec::new(strategy).intensity(often).children(children)).await?)
}

/// One worker that tells how long each of its restarts took.
pub(crate) struct Restarting {
    pub(crate) root: RootHandle<&'static str>,
    worker: ChildRef<Message>,
    births: mpsc::UnboundedReceiver<Duration>,
}

impl Restarting {
    pub(crate) async fn start() -> Result<Self, AnyError> {
        let (born, births) = mpsc::unbounded_channel();
        let worker = ChildRef::new("worker");
        let spec = ChildSpec::worker("worker", worker.starts(move || (Worker, Some(born.clone()))));
        Ok(Self { root: tree(Strategy::OneForOne, [spec]).await?, worker, births })
    }

    /// From the worker's exit until its successor's init is done.
    pub(crate) async fn latency(&mut self) -> Result<Duration, AnyError> {
        self.worker.wait_started(LIMIT).await?;
        self.worker.cast(Message::Fail)?;
        Ok(self.births.recv().await.ok_or("no birth")?)
    }
}

/// A dynamic supervisor of temporary workers.
pub(crate) struct Flock {
    pub(crate) root: RootHandle<&'static str>,
    workers: DynamicSupervisor<&'static str, ()>,
}

impl Flock {
    pub(crate) async fn start() -> Result<Self, AnyError> {
        let policy = ChildPolicy::worker("worker").restart(Restart::Temporary);
        let workers = DynamicSupervisor::new(policy, |()| start_actor(|| (Worker, None)));
        let root = tree(Strategy::OneForOne, [ChildSpec::supervisor("workers", workers.spec())]).await?;
        Ok(Self { root, workers })
    }

    pub(crate) async fn grow(&self, by: usize) -> Result<Duration, AnyError> {
        let began = Instant::now();
        for _ in 0..by {
            self.workers.start_child(()).await?;
        }
        Ok(began.elapsed())
    }

    pub(crate) async fn stop(self) -> Duration {
        let began = Instant::now();
        self.root.stop(ExitReason::Shutdown).await;
        began.elapsed()
    }
}

/// Two workers, one of which talks to the other.
pub(crate) struct Pair {
    pub(crate) root: RootHandle<&'static str>,
    one: ChildRef<Message>,
    other: ChildRef<Message>,
}

impl Pair {
    pub(crate) async fn start() -> Result<Self, AnyError> {
        let (one, other) = (ChildRef::new("one"), ChildRef::new("other"));
        let children = [("one", &one), ("other", &other)];
        let specs = children.map(|(id, child)| ChildSpec::worker(id, child.starts(|| (Worker, None))));
        Ok(Self { root: tree(Strategy::OneForOne, specs).await?, one, other })
    }

    pub(crate) async fn calls(&self, times: u64) -> Result<Duration, AnyError> {
        let other = self.other.clone();
        Ok(self.one.call(|reply| Message::AskAround(other, times, reply), LIMIT).await?)
    }

    pub(crate) async fn casts(&self, times: u64) -> Result<Duration, AnyError> {
        let other = self.other.clone();
        Ok(self.one.call(|reply| Message::Pelt(other, times, reply), LIMIT).await?)
    }
}
