//! Coordination: the session with etcd, the link to heart, membership, the election and the voter record.

pub mod election;
pub mod etcd_session;
pub mod heart_link;
pub mod membership;
pub mod voters;
