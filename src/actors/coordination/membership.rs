//! MembershipActor: this node's entry in `members/`, its posted status in `nodes/`, and etcd's client addresses.
//!
//! Hears:   `PostNow` (anyone whose published facts changed), its own timer.
//! Does:    writes `members/<guid>` and `nodes/<guid>`, gives the store the members' client URLs, promotes caught-up learners.
//! Restart: posts again.

/// What MembershipActor hears.
#[derive(Debug)]
pub enum MembershipMessage {
    /// Post the status soon (coalesced).
    PostNow,
    /// Timer.
    Tick,
}
