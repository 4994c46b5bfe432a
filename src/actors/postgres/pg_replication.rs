//! PgReplicationActor: makes PostgreSQL lead or follow.

use crate::heart::protocol::HeartState;
use leaderl_decision::model::{Epoch, NodeId};
use leaderl_decision::postgres_report::PostgresOrder;
use std::collections::BTreeSet;

/// What PgReplicationActor hears.
#[derive(Debug)]
pub enum PgReplicationMessage {
    /// The whole wish (ElectionActor; repeated).
    Become(PostgresOrder),
    /// `synchronous_standby_names` = ANY `quorum` (names) under this epoch (VotersActor, already ordered safely); repeated.
    SetSyncNames {
        /// Refused when older than the epoch led.
        epoch: Epoch,
        /// Empty: acknowledge alone (degraded).
        names: BTreeSet<NodeId>,
        /// q.
        quorum: u32,
    },
    /// Checkpoint now, so that the stop that follows is short; answered when done.
    CheckpointNow {
        /// Told when it is done (or failed).
        reply: ractor::RpcReplyPort<()>,
    },
    /// heart's state changed (HeartLinkActor).
    HeartChanged(Option<HeartState>),
    /// Timer.
    Tick,
}
