//! EtcdSessionActor: one session with etcd: watches everything of this cluster, and renews the leader key while ordered to.
//!
//! Hears:   `Hold`, `StopRenewing` (ElectionActor), `Relist` (anyone who knows that the view is behind).
//! Does:    publishes the `ClusterView` on the board and casts it to ElectionActor; renews each D/10 by a hedged transaction.
//! Restart: begins with a fresh list; renews nothing until ordered again.

use leaderl_decision::model::{Nonce, Revision, Timestamp};
use leaderl_decision::records::Holder;

/// What EtcdSessionActor hears.
#[derive(Debug)]
pub enum EtcdSessionMessage {
    /// Renew this hold until told otherwise; repeated by the election's tick (same nonce: no effect).
    Hold {
        /// The holder as last committed (its `seq` is the last one known to be committed).
        holder: Holder,
        /// The leader key's mod_revision after that commit.
        revision: Revision,
        /// t0 of that seq.
        t0: Timestamp,
    },
    /// Send no further renewal of this nonce. Answered after the last one in flight was given up or answered.
    StopRenewing {
        /// The hold's nonce.
        nonce: Nonce,
        /// Told the mod_revision of the leader key as last known to be ours.
        reply: ractor::RpcReplyPort<Revision>,
    },
    /// Read everything again.
    Relist,
}
