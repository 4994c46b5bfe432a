//! The half of `side_by_side.sh` that is this crate: `cargo bench -p supervisors --bench side_by_side`.
//!
//! One line per measurement, `name value unit`, the same lines as `side_by_side.erl` prints. No assertion: the numbers
//! are the machine's.

mod common;

use common::{AnyError, Flock, Pair, Restarting, runtime};
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
    let pair = Pair::start().await?;
    println!("calls {:.0} per_s", CALLS as f64 / pair.calls(CALLS).await?.as_secs_f64());
    println!("casts {:.0} per_s", CASTS as f64 / pair.casts(CASTS).await?.as_secs_f64());
    pair.root.stop(ExitReason::Shutdown).await;
    Ok(())
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
        dynamic_children().await?;
        restart_latency().await?;
        calls_and_casts().await
    });
    runtime.block_on(work)?
}
