//! PgReplicationActor, its adapter and heart on real PostgreSQL servers: three nodes on one machine, without etcd.
//!
//! This binary is its own harness: called with `heart DIR` it *is* heart. Needs root (PostgreSQL refuses to run as root, so it
//! is run as its own user) and PostgreSQL 15; elsewhere it says why it is skipped. Prints what the steps took.

mod node;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, directory] = args.as_slice()
        && word == "heart"
    {
        return node::be_heart(Path::new(directory));
    }
    if args.iter().any(|arg| arg == "--list") {
        println!("three_copies_take_turns: test");
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = node::reason_to_skip() {
        println!("test three_copies_take_turns ... skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    if let Ok(filter) = std::env::var("LEADERL_TEST_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).init();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let told = runtime.block_on(async {
        let story = tokio::spawn(tokio::time::timeout(Duration::from_secs(240), story::three_copies_take_turns()));
        story.await
    });
    let passed = matches!(told, Ok(Ok(())));
    println!("test three_copies_take_turns ... {}", if passed { "ok" } else { "FAILED" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
