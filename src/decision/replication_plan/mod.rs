//! What PostgreSQL must do next to become what is wished: detach, follow, rewind, copy, lead, stop.
//!
//! [`plan`] looks at an observation and returns commands; [`describe`] turns the same observation into the report that the
//! election reads. Cut the commands after any of them, observe, plan again: the end is the same.

mod command;
mod describe;
mod follow;
mod lead;
mod lineage;
mod observed;
mod plan;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use describe::{describe, proven_detached};
pub use lineage::{Relation, relate};
pub use observed::{
    Control, DataSeen, FilesSeen, Memory, Observed, Process, RemakeWork, SenderSeen, ServerSeen, SlotSeen, Source,
    SyncNames, UnsyncedMark, Upstream, UpstreamRefusal,
};
pub use plan::{NamesWish, Plan, plan, slot_name};
