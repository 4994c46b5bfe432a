//! One file per outside system; each implements a trait of `ports`.

pub mod clock;
pub mod disk;
pub mod doors;
pub mod etcd;
pub mod etcd_service;
pub mod heart;
mod journal_file;
pub mod netlink;
pub mod postgres;
pub mod postgres_check;
pub mod search;
pub mod services;
pub mod state_files;
