//! How fast supervision is: `cargo bench -p supervisors`, or beside Erlang `benches/side_by_side.sh`.
//!
//! One line per measurement, `name value unit`, the same lines as `speed.erl` prints. No assertion: the numbers are the
//! machine's.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use supervisors::{
    ChildPolicy, ChildRef, ChildSpec, DynamicSupervisor, ExitReason, Restart, RootHandle, Strategy, SupervisorSpec,
    restarts, start_actor, start_root,
};
use tokio::sync::mpsc;

type AnyError = Box<dyn std::error::Error>;

const LIMIT: Duration = Duration::from_secs(60);
/// A supervisor is replaced after so many restarts, as OTP's bookkeeping of recent restarts grows with their number.
const BATCH: usize = 100;
const BATCHES: usize = 100;
const CHILDREN: usize = 10_000;
const CALLS: u64 = 100_000;
const CASTS: u64 = 1_000_000;

/// When the child that is being restarted ended.
static ENDED: Mutex<Option<Instant>> = Mutex::new(None);

struct Worker;

enum Message {
    Fail,
    Count,
    GetCount(RpcReplyPort<u64>),
    /// Ask the other one so many times, and say how long it took.
    AskAround(ChildRef<Message>, u64, RpcReplyPort<Duration>),
}

impl Actor for Worker {
    type Msg = Message;
    type State = u64;
    type Arguments = Option<mpsc::UnboundedSender<Duration>>;

    async fn pre_start(&self, _: ActorRef<Message>, born: Self::Arguments) -> Result<u64, ActorProcessingErr> {
        let ended = ENDED.lock().map_err(|_| "poisoned")?.take();
        if let (Some(born), Some(ended)) = (born, ended) {
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
        }
        Ok(())
    }
}

async fn tree(
    children: impl IntoIterator<Item = ChildSpec<&'static str>>,
) -> Result<RootHandle<&'static str>, AnyError> {
    let often = restarts(1_000_000).within(Duration::from_secs(1));
    Ok(start_root(SupervisorSpec::new(Strategy::OneForOne).intensity(often).children(children)).await?)
}

async fn restart_latency() -> Result<(), AnyError> {
    let mut latencies = Vec::new();
    for _ in 0..BATCHES {
        let (born, mut births) = mpsc::unbounded_channel();
        let worker = ChildRef::new("worker");
        let root = tree([ChildSpec::worker("worker", worker.starts(move || (Worker, Some(born.clone()))))]).await?;
        for _ in 0..BATCH {
            worker.wait_started(LIMIT).await?;
            worker.cast(Message::Fail)?;
            latencies.extend(births.recv().await);
        }
        root.stop(ExitReason::Shutdown).await;
    }
    latencies.sort();
    for (name, share) in [("restart_p50", 50), ("restart_p99", 99)] {
        println!("{name} {:.1} us", latencies[latencies.len() * share / 100].as_secs_f64() * 1e6);
    }
    Ok(())
}

async fn dynamic_children() -> Result<(), AnyError> {
    let policy = ChildPolicy::worker("worker").restart(Restart::Temporary);
    let workers = DynamicSupervisor::new(policy, |()| start_actor(|| (Worker, None)));
    let root = tree([ChildSpec::supervisor("workers", workers.spec())]).await?;
    let before = resident_bytes()?;
    let began = Instant::now();
    for _ in 0..CHILDREN {
        workers.start_child(()).await?;
    }
    println!("start_10000 {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    println!("memory_per_child {} bytes", resident_bytes()?.saturating_sub(before) / CHILDREN);
    let began = Instant::now();
    root.stop(ExitReason::Shutdown).await;
    println!("stop_10000 {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

async fn calls_and_casts() -> Result<(), AnyError> {
    let (one, other) = (ChildRef::new("one"), ChildRef::new("other"));
    let children = [("one", &one), ("other", &other)];
    let root = tree(children.map(|(id, child)| ChildSpec::worker(id, child.starts(|| (Worker, None))))).await?;
    let asked = other.clone();
    let took = one.call(|reply| Message::AskAround(asked, CALLS, reply), LIMIT).await?;
    println!("calls {:.0} per_s", CALLS as f64 / took.as_secs_f64());
    let began = Instant::now();
    for _ in 0..CASTS {
        other.cast(Message::Count)?;
    }
    let counted = other.call(Message::GetCount, LIMIT).await?;
    println!("casts {:.0} per_s", counted as f64 / began.elapsed().as_secs_f64());
    root.stop(ExitReason::Shutdown).await;
    Ok(())
}

/// Second field of `statm`, in pages of 4 KiB.
fn resident_bytes() -> Result<usize, AnyError> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    Ok(statm.split(' ').nth(1).ok_or("no resident size")?.parse::<usize>()? * 4096)
}

fn main() -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    // As a spawned task: the main thread is no worker of the runtime.
    let work = runtime.spawn(async {
        dynamic_children().await.map_err(|error| error.to_string())?;
        restart_latency().await.map_err(|error| error.to_string())?;
        calls_and_casts().await.map_err(|error| error.to_string())
    });
    Ok(runtime.block_on(work)??)
}
