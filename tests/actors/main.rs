//! The real tree of `src/tree.rs` with its real actors over ports in memory, on tokio's paused clock.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod restarting;
mod stopping;
mod world;
