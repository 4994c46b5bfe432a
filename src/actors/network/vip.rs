//! VipActor: keeps the backend VIP on this node while, and only while, it is the leader.

use leaderl_decision::model::Epoch;

/// What VipActor hears.
#[derive(Debug)]
pub enum VipMessage {
    /// Clients are let in here under this epoch (ElectionActor; repeated).
    Assign {
        /// Older epochs are refused.
        epoch: Epoch,
    },
    /// Nobody is served here; answered when the kernel shows no VIP.
    Release {
        /// Told when the addresses are gone; `None` for the repeated order.
        gone: Option<ractor::RpcReplyPort<()>>,
    },
    /// Observe, plan, apply.
    Reconcile,
}
