//! ElectionActor: decides whether this node leads.

use crate::heart::protocol::HeartState;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Nonce, Revision, ServiceName, Timestamp};
use leaderl_decision::postgres_report::PostgresReport;
use std::sync::Arc;

/// What ElectionActor hears. Every message carries a whole value and is repeated by its sender's timer.
#[derive(Debug)]
pub enum ElectionMessage {
    /// The cluster's records changed (EtcdSessionActor).
    ClusterSeen(Arc<ClusterView>),
    /// A renewal of our hold was committed (EtcdSessionActor).
    Renewed {
        /// The hold.
        nonce: Nonce,
        /// Its newest committed seq.
        seq: u64,
        /// Read before that seq's first sending.
        t0: Timestamp,
        /// The leader key's mod_revision.
        revision: Revision,
    },
    /// The leader key is surely not ours any more (EtcdSessionActor, after a linearizable read).
    HoldLost {
        /// The hold.
        nonce: Nonce,
    },
    /// heart's state changed, or heart went away (`None`) (HeartLinkActor).
    HeartChanged(Option<HeartState>),
    /// heart did not acknowledge a renewal in time (HeartLinkActor).
    HeartSilent,
    /// PostgreSQL's report (PgReplicationActor).
    Postgres(Box<PostgresReport>),
    /// A service tripped or recovered (HealthActor).
    Health {
        /// The service.
        service: ServiceName,
        /// Failed more often in a row than allowed.
        tripped: bool,
        /// The last failure.
        detail: String,
    },
    /// The daemon stops for good (SIGTERM): step down and hand over, then answer.
    StepDownAndStop(ractor::RpcReplyPort<()>),
    /// Timer.
    Tick,
}
