//! The row checker: what was acknowledged must be there, once, and only one node may acknowledge at a time.

pub mod analysis;
pub mod arp;
pub mod clock;
pub mod observations;
pub mod orders;
pub mod read_back;
pub mod record;
pub mod record_log;
pub mod report;
pub mod watch;
pub mod writer;
