//! HeartLinkActor: keeps this daemon attached to heart and tells the others what heart says.
//!
//! Hears:   changes of heart's state (its port), `Renewed` (EtcdSessionActor).
//! Does:    casts `HeartChanged` to ElectionActor and PgReplicationActor; passes renewals on and reports a missing acknowledgement.
//! Restart: reads heart's last state again and casts it.

use crate::ports::ArmedLease;

/// What HeartLinkActor hears.
#[derive(Debug)]
pub enum HeartLinkMessage {
    /// A renewal was committed; heart's deadline moves. No acknowledgement within D/10: ElectionActor hears `HeartSilent`.
    Renewed(ArmedLease),
    /// Look at heart again.
    Reconcile,
}
