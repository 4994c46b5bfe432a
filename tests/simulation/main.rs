//! A cluster in a box: the real supervision trees of several nodes over simulated ports, one seed, one story.
//!
//! See `README.md` in this folder for the contract between its rooms.

#![allow(clippy::unwrap_used, reason = "tests")]

mod clients;
mod etcd;
mod faults;
mod heart;
mod network;
mod oracles;
mod ports;
mod postgres;
mod runner;
mod world;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    runner::main()
}
