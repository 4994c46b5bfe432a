//! One file per outside system; each implements a trait of `ports`.

pub mod clock;
pub mod disk;
pub mod durable_file;
pub mod etcd;
pub mod heart;
pub mod netlink;
pub mod postgres;
pub mod search;
