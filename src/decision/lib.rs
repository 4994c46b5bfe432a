//! leaderl's decisions: pure functions over plain values.
//!
//! Nothing here reads a clock, spawns a task or opens a connection; this crate's manifest names no crate that could.
//! Time is an argument ([`model::Timestamp`]), the world is an argument, and what comes back is a list of commands.

pub mod cluster;
pub mod election;
pub mod failover_policy;
pub mod health_counter;
pub mod model;
pub mod planted;
pub mod postgres_report;
pub mod records;
pub mod renewal;
pub mod replication_plan;
pub mod search_plan;
pub mod vip_plan;
pub mod voters;
