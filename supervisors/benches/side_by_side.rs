//! The half of `side_by_side.sh` that is this crate: `cargo bench -p supervisors --bench side_by_side`.
//!
//! One line per measurement, `name value unit`, the same lines as `side_by_side.erl` prints, and two about ractor alone. No
//! assertion: the numbers are the machine's.

mod common;

use std::time::Instant;

use common::{AnyError, Counter, CounterMessage, Flock, LIMIT, Pair, Restarting, runtime};
use ractor::{Actor, ActorRef};
use supervisors::ExitReason;

/// A supervisor is replaced after so many restarts, as OTP's bookkeeping of recent restarts grows with their number.
const BATCH: usize = 100;
const BATCHES: usize = 100;
const CHILDREN: usize = 10_000;
const CALLS: u64 = 100_000;
const CASTS: u64 = 1_000_000;

async fn dynamic_children() -> Result<(), AnyError> {
    let flock = Flock::start().await?;
    let before = resident_bytes()?;
    let took = flock.grow(CHILDREN).await?;
    println!("start_10000 {:.1} ms", took.as_secs_f64() * 1e3);
    println!("memory_per_child {} bytes", resident_bytes()?.saturating_sub(before) / CHILDREN);
    println!("stop_10000 {:.1} ms", flock.stop().await.as_secs_f64() * 1e3);
    Ok(())
}

async fn restart_latency() -> Result<(), AnyError> {
    let mut latencies = Vec::new();
    for _ in 0..BATCHES {
        let mut restarting = Restarting::start().await?;
        for _ in 0..BATCH {
            latencies.push(restarting.latency().await?);
        }
        restarting.root.stop(ExitReason::Shutdown).await;
    }
    latencies.sort();
    for (name, share) in [("restart_p50", 50), ("restart_p99", 99)] {
        println!("{name} {:.1} us", latencies[latencies.len() * share / 100].as_secs_f64() * 1e6);
    }
    Ok(())
}

async fn calls_and_casts() -> Result<(), AnyError> {
    let pair = Pair::start(None).await?;
    println!("calls {:.0} per_s", CALLS as f64 / pair.calls(CALLS).await?.as_secs_f64());
    println!("casts {:.0} per_s", CASTS as f64 / pair.casts(CASTS).await?.as_secs_f64());
    pair.root.stop(ExitReason::Shutdown).await;
    Ok(())
}

/// The same without a supervisor: what is ractor's own.
async fn bare_casts() -> Result<(), AnyError> {
    let (counter, task) = Actor::spawn(None, Counter, ()).await?;
    let began = Instant::now();
    for _ in 0..CASTS {
        counter.cast(CounterMessage::Count)?;
    }
    counter.call(CounterMessage::GetCount, Some(LIMIT)).await?;
    println!("casts_bare_ractor {:.0} per_s", CASTS as f64 / began.elapsed().as_secs_f64());
    counter.stop(None);
    Ok(task.await?)
}

/// As many actors as there are dynamic children, without a supervisor.
async fn bare_actors() -> Result<Vec<ActorRef<CounterMessage>>, AnyError> {
    let before = resident_bytes()?;
    let mut actors = Vec::with_capacity(CHILDREN);
    for _ in 0..CHILDREN {
        actors.push(Actor::spawn(None, Counter, ()).await?.0);
    }
    println!("memory_per_bare_ractor {} bytes", resident_bytes()?.saturating_sub(before) / CHILDREN);
    Ok(actors)
}

/// Second field of `statm`, in pages of 4 KiB.
fn resident_bytes() -> Result<usize, AnyError> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    Ok(statm.split(' ').nth(1).ok_or("no resident size")?.parse::<usize>()? * 4096)
}

fn main() -> Result<(), AnyError> {
    let runtime = runtime()?;
    // As a spawned task: the main thread is no worker of the runtime.
    let work = runtime.spawn(async {
        // Kept to the end: what they give back would be taken by the next ones and not be seen.
        let actors = bare_actors().await?;
        dynamic_children().await?;
        restart_latency().await?;
        calls_and_casts().await?;
        bare_casts().await?;
        drop(actors);
        Ok(())
    });
    runtime.block_on(work)?
}
