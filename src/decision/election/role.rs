//! What a state is called outside, and who holds the seat.

use super::{Facts, Stage, State, observe};
use crate::model::NodeId;

/// The role word of `cluster-status`.
pub fn role(state: &State, facts: &Facts<'_>) -> &'static str {
    match state {
        State::Undecided => "initializing",
        State::Observing(_) => {
            let leader = facts.cluster.and_then(|view| view.leader.as_ref());
            match observe::seat(leader, facts) {
                observe::Seat::Taken { by, .. } if by != *facts.me => "follower",
                observe::Seat::Taken { .. } | observe::Seat::Absent | observe::Seat::Bidding { .. } => {
                    "waiting_for_leader"
                }
            }
        }
        State::Claiming(_) => "promoting",
        State::Holding(hold) if hold.stage == Stage::Promoting => "promoting",
        State::Holding(_) => "leader",
        State::SteppingDown(_) => "deposed_leader",
    }
}

/// Who holds the seat, as seen from here.
pub fn holder(facts: &Facts<'_>) -> Option<NodeId> {
    match observe::seat(facts.cluster.and_then(|view| view.leader.as_ref()), facts) {
        observe::Seat::Taken { by, .. } => Some(by),
        observe::Seat::Absent | observe::Seat::Bidding { .. } => None,
    }
}
