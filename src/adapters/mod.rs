//! One file per outside system; each implements a trait of `ports`.

pub mod durable_file;
pub mod etcd;
pub mod disk;
pub mod netlink;
pub mod search;
