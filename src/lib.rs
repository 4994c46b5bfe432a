//! leaderl keeps one writable PostgreSQL among three nodes: it elects the leader through etcd, fences what must not write,
//! binds the VIP where the leader is, and makes every other copy follow.
//!
//! Rooms: [`actors`] (the supervision tree's processes), [`ports`] (what they act through), [`adapters`] (the real systems),
//! [`heart`] (the guardian process), [`settings`], [`cli`]. Decisions live in the crate `leaderl_decision`.

pub mod actors;
pub mod adapters;
pub mod blackbox;
pub mod board;
pub mod cli;
pub mod context;
pub mod daemon;
pub mod heart;
pub mod ports;
pub mod settings;
pub mod tree;
