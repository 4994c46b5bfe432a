//! The local etcd member and the cluster's membership, as library functions: how the member is started, how a new cluster
//! is seeded, how nodes join and how they are removed.

pub mod config;
pub mod endpoints;
pub mod join;
pub mod queue;
pub mod remove;
pub mod seed;
