//! The actor and the trees that are measured.
#![allow(dead_code)] // Each benchmark uses its part.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use supervisors::{
    ChildPolicy, ChildRef, ChildSpec, DynamicSupervisor, ExitReason, Restart, RootHandle, Strategy, SupervisorSpec,
    Telemetry, restarts, start_actor, start_root_with,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// More than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// When the child that is being restarted ended.
static ENDED: Mutex<Option<Instant>> = Mutex::new(None);

/// Fails when it is told to, and tells how long its restart took.
pub(crate) struct Worker;

pub(crate) struct Fail;

impl Actor for Worker {
    type Msg = Fail;
    type State = ();
    type Arguments = Option<mpsc::UnboundedSender<Duration>>;

    async fn pre_start(&self, _: ActorRef<Fail>, born: Self::Arguments) -> Result<(), ActorProcessingErr> {
        if let Some(born) = born
            && let Some(ended) = ENDED.lock().map_err(|_| "poisoned")?.take()
        {
            born.send(ended.elapsed())?;
        }
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Fail>, Fail: Fail, (): &mut ()) -> Result<(), ActorProcessingErr> {
        *ENDED.lock().map_err(|_| "poisoned")? = Some(Instant::now());
        Err(ExitReason::Failed("as told".to_owned()).into())
    }
}

/// Counts what it is sent.
pub(crate) struct Counter;

pub(crate) enum CounterMessage {
    Count,
    GetCount(RpcReplyPort<u64>),
}

impl Actor for Counter {
    type Msg = CounterMessage;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<CounterMessage>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<CounterMessage>,
        message: CounterMessage,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CounterMessage::Count => *count += 1,
            CounterMessage::GetCount(reply) => reply.send(*count)?,
        }
        Ok(())
    }
}

/// Talks to the counter.
pub(crate) struct Talker(ChildRef<CounterMessage>);

pub(crate) enum TalkerMessage {
    /// Ask it so many times, and say how long it took.
    Ask(u64, RpcReplyPort<Duration>),
    /// Send it so many messages, and say how long it took until it had handled them.
    Pelt(u64, RpcReplyPort<Duration>),
}

impl Actor for Talker {
    type Msg = TalkerMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<TalkerMessage>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<TalkerMessage>,
        message: TalkerMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let Self(counter) = self;
        let began = Instant::now();
        match message {
            TalkerMessage::Ask(times, reply) => {
                for _ in 0..times {
                    counter.call(CounterMessage::GetCount, LIMIT).await?;
                }
                reply.send(began.elapsed())?;
            }
            TalkerMessage::Pelt(times, reply) => {
                for _ in 0..times {
                    counter.cast(CounterMessage::Count)?;
                }
                counter.call(CounterMessage::GetCount, LIMIT).await?;
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

/// A tree that never gives up.
pub(crate) async fn tree(
    children: impl IntoIterator<Item = ChildSpec<&'static str>>,
    telemetry: Listener,
) -> Result<RootHandle<&'static str>, AnyError> {
    let often = restarts(1_000_000).within(Duration::from_secs(1));
    let spec = SupervisorSpec::new(Strategy::OneForOne).intensity(often).children(children);
    Ok(start_root_with(spec.starts(), telemetry).await?.ok_or("no root")?)
}

/// Whoever is to hear of a tree, if anybody.
pub(crate) type Listener = Option<Arc<dyn Telemetry<&'static str>>>;

/// Hears everything and does nothing.
pub(crate) struct Deaf;

impl Telemetry<&'static str> for Deaf {}

/// One worker that tells how long each of its restarts took.
pub(crate) struct Restarting {
    pub(crate) root: RootHandle<&'static str>,
    worker: ChildRef<Fail>,
    births: mpsc::UnboundedReceiver<Duration>,
}

impl Restarting {
    pub(crate) async fn start() -> Result<Self, AnyError> {
        let (born, births) = mpsc::unbounded_channel();
        let worker = ChildRef::new("worker");
        let spec = ChildSpec::worker("worker", worker.starts(move || (Worker, Some(born.clone()))));
        Ok(Self { root: tree([spec], None).await?, worker, births })
    }

    /// From the worker's exit until its successor's init is done.
    pub(crate) async fn latency(&mut self) -> Result<Duration, AnyError> {
        self.worker.wait_started(LIMIT).await?;
        self.worker.cast(Fail)?;
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
        let root = tree([ChildSpec::supervisor("workers", workers.spec())], None).await?;
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

/// Two actors, one of which talks to the other.
pub(crate) struct Pair {
    pub(crate) root: RootHandle<&'static str>,
    talker: ChildRef<TalkerMessage>,
}

impl Pair {
    pub(crate) async fn start(telemetry: Listener) -> Result<Self, AnyError> {
        let (counter, talker) = (ChildRef::new("counter"), ChildRef::new("talker"));
        let known = counter.clone();
        let specs = [
            ChildSpec::worker("counter", counter.starts(|| (Counter, ()))),
            ChildSpec::worker("talker", talker.starts(move || (Talker(known.clone()), ()))),
        ];
        Ok(Self { root: tree(specs, telemetry).await?, talker })
    }

    pub(crate) async fn calls(&self, times: u64) -> Result<Duration, AnyError> {
        Ok(self.talker.call(|reply| TalkerMessage::Ask(times, reply), LIMIT).await?)
    }

    pub(crate) async fn casts(&self, times: u64) -> Result<Duration, AnyError> {
        Ok(self.talker.call(|reply| TalkerMessage::Pelt(times, reply), LIMIT).await?)
    }
}
