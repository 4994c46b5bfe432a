//! What answers are made of: a node's published facts, read from memory.

use crate::board::Board;
use crate::context::NodeContext;
use crate::ports::Clock;
use crate::settings::Settings;
use leaderl_decision::model::{NodeId, Timestamp};

/// A node's memory. Everything here answers at once.
pub trait Facts: Send + Sync {
    /// This node.
    fn guid(&self) -> &NodeId;
    /// Published facts.
    fn board(&self) -> &Board;
    /// Settings.
    fn settings(&self) -> &Settings;
    /// CLOCK_BOOTTIME.
    fn now(&self) -> Timestamp;
}

impl Facts for NodeContext {
    fn guid(&self) -> &NodeId {
        &self.guid
    }

    fn board(&self) -> &Board {
        &self.board
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn now(&self) -> Timestamp {
        Clock::now(self.clock.as_ref())
    }
}
