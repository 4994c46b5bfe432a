//! Coordination: the session with etcd, the link to heart, membership, the election and the voter record.

pub mod election;
mod election_effects;
pub mod etcd_session;
pub mod heart_link;
mod leader_key;
pub mod membership;
mod orders_to_heart;
pub mod voters;
