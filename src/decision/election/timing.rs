//! The lease's timetable.

use crate::model::{Epoch, Timestamp};
use std::time::Duration;

/// The lease's timetable, all of it derived from D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// D: how long observers wait after the last renewal they have seen.
    pub ttl: Duration,
}

impl Timing {
    /// A holder begins to step down when its last confirmed renewal is this old: D/2.
    pub fn step_down_after(self) -> Duration {
        self.ttl / 2
    }

    /// Every fence has acted by then, and voters begin to bid: 2D/3.
    pub fn fence_after(self) -> Duration {
        self.ttl * 2 / 3
    }

    /// How long heart may say nothing of a deadline that has passed: D/30. With clocks that differ by 1.4 others count D as
    /// 0.714 D of this node's, and what does not fence itself must be ended before.
    pub fn heart_grace(self) -> Duration {
        self.ttl / 30
    }

    /// When a heart that was armed for this epoch until `fence_at` is overdue to say that it has fenced it; `None`: it has said so.
    pub fn overdue_at(self, epoch: Epoch, fence_at: Timestamp, fenced: Option<Epoch>) -> Option<Timestamp> {
        fenced.is_none_or(|fenced| fenced < epoch).then(|| fence_at.plus(self.heart_grace()))
    }

    /// Renewals are sent this often: D/10.
    pub fn renewal_period(self) -> Duration {
        self.ttl / 10
    }

    /// Others hold back for a designated successor this long: D/2.
    pub fn designation_window(self) -> Duration {
        self.ttl / 2
    }

    /// Whoever has written more than was acknowledged goes first for this long: D.
    pub fn surplus_window(self) -> Duration {
        self.ttl
    }

    /// In `async` mode bids are collected this long: D/3.
    pub fn bid_window(self) -> Duration {
        self.ttl / 3
    }
}
