//! How fast supervision is, one thing at a time: `cargo bench -p supervisors --bench supervision`.
//!
//! Beside Erlang/OTP: `side_by_side.sh`.

mod common;

use std::time::Duration;

use common::{AnyError, Flock, Pair, Restarting, runtime};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use supervisors::ExitReason;

/// Runs a measurement as a task of the runtime: the main thread is no worker of it.
fn measured(work: impl Future<Output = Result<Duration, AnyError>> + Send + 'static) -> Duration {
    let runtime = runtime().expect("a runtime");
    let task = runtime.spawn(work);
    runtime.block_on(task).expect("no panic").expect("a measurement")
}

/// From a child's exit until its successor's init is done.
fn restart(criterion: &mut Criterion) {
    criterion.bench_function("restart of one child", |bencher| {
        bencher.iter_custom(|times| {
            measured(async move {
                let mut restarting = Restarting::start().await?;
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    took += restarting.latency().await?;
                }
                restarting.root.stop(ExitReason::Shutdown).await;
                Ok(took)
            })
        });
    });
}

/// All children one after the other, and their stop together.
fn dynamic_children(criterion: &mut Criterion) {
    const CHILDREN: usize = 10_000;
    let mut group = criterion.benchmark_group("10,000 dynamic children");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(CHILDREN as u64));
    group.bench_function("start", |bencher| {
        bencher.iter_custom(|times| {
            measured(async move {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let flock = Flock::start().await?;
                    took += flock.grow(CHILDREN).await?;
                    flock.stop().await;
                }
                Ok(took)
            })
        });
    });
    group.bench_function("stop", |bencher| {
        bencher.iter_custom(|times| {
            measured(async move {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let flock = Flock::start().await?;
                    flock.grow(CHILDREN).await?;
                    took += flock.stop().await;
                }
                Ok(took)
            })
        });
    });
    group.finish();
}

/// From one actor to another through its `ChildRef`.
fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("between two actors");
    group.throughput(Throughput::Elements(1));
    group.bench_function("call", |bencher| {
        bencher.iter_custom(|times| {
            measured(async move {
                let pair = Pair::start().await?;
                let took = pair.calls(times).await?;
                pair.root.stop(ExitReason::Shutdown).await;
                Ok(took)
            })
        });
    });
    group.bench_function("cast", |bencher| {
        bencher.iter_custom(|times| {
            measured(async move {
                let pair = Pair::start().await?;
                let took = pair.casts(times).await?;
                pair.root.stop(ExitReason::Shutdown).await;
                Ok(took)
            })
        });
    });
    group.finish();
}

criterion_group!(benches, restart, dynamic_children, messages);
criterion_main!(benches);
