//! The coordination room against real etcd members on loopback. Skipped, with the reason printed, where etcd is not installed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod joining;
mod members;
mod renewals;
mod store;
