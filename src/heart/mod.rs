//! heart, the guardian process: parent of the postmaster, owner of the deadline and of the VIP's lifetime.
//!
//! One thread, no runtime, memory locked. See `docs/architecture.md`.

pub mod protocol;
