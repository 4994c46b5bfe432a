//! VotersActor: while this node leads, keeps the voter record and PostgreSQL's synchronous names in their safe order.

use leaderl_decision::model::{Epoch, Nonce};

/// What VotersActor hears.
#[derive(Debug)]
pub enum VotersMessage {
    /// Keep the record under this epoch (ElectionActor; repeated).
    Keep {
        /// The epoch held.
        epoch: Epoch,
        /// The acquisition's nonce.
        nonce: Nonce,
    },
    /// This node does not lead (ElectionActor).
    Rest,
    /// Timer.
    Tick,
}
