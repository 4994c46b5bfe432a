//! What a run explores: mode, timing, faults.

use super::script::Go;
use super::world::{Budget, Mask};
use leaderl_decision::model::ReplicationMode;

/// One feature set.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) name: &'static str,
    pub(crate) mode: ReplicationMode,
    /// An expiry takeover finds every earlier holder fenced, as clocks and fences promise; otherwise old primaries live on.
    pub(crate) timed: bool,
    pub(crate) budget: Budget,
    /// Claims beyond this epoch are not followed.
    pub(crate) epochs: u8,
    /// PostgreSQL's processes obey a reload in their own time, and names take effect one process at a time.
    pub(crate) reloads_lag: bool,
    /// What is received is replayed later.
    pub(crate) replay_lags: bool,
    /// A daemon may be killed between two effects of its pass (counts as a daemon's crash).
    pub(crate) cuts_in_passes: bool,
    /// A session of a killed daemon may still write names.
    pub(crate) sessions_outlive: bool,
    /// Machines that lost power come back, daemons that were killed are started again: on these nodes.
    pub(crate) returns: Mask,
    /// heart keeps no door: whoever is armed lets clients in, and what the door refuses is refused by nothing else. For rules
    /// whose faults the door catches as well.
    pub(crate) doorless: bool,
    /// Nodes whose failover switch is off.
    pub(crate) switched_off: Mask,
    /// `async`: the most a copy may be behind.
    pub(crate) max_lag: u64,
    /// Revisions and nonces are renamed to the smallest ones. Not where a restored etcd hands out old revisions again.
    pub(crate) rename: bool,
    /// Where they are not renamed: what would lead to a later revision is not followed.
    pub(crate) revisions: u8,
    /// A restored etcd is noticed only by who has seen a later state with its own eyes, and what was sent before may arrive after:
    /// a daemon stood still just before it sent it. Beyond what is promised; it shows what a claim's compare of the bids is for.
    pub(crate) unnoticed: bool,
    /// Bids for another revision than the present one are forgotten. Not where a planted bug counts them.
    pub(crate) forget_void_bids: bool,
    /// Initial voters (beside node 0, which leads).
    pub(crate) voters: Mask,
    /// Nodes that are off from the beginning, and stay off.
    pub(crate) absent: Mask,
    /// Only these lose power.
    pub(crate) mortal: Mask,
    /// Nobody suspects a leader that holds and is powered.
    pub(crate) calm: bool,
    /// Node 1 has just won epoch 1 and is not promoted yet.
    pub(crate) just_won: bool,
    /// Legal moves that every run begins with: what lies deeper than an exploration reaches begins there.
    pub(crate) begins: &'static [Go],
    /// Stop after so many states; 0: explore everything.
    pub(crate) most_states: usize,
}

impl Bounds {
    /// Three nodes, node 1 leads, the other two vote; no faults.
    pub(crate) fn quiet(name: &'static str) -> Self {
        Self {
            name,
            mode: ReplicationMode::Quorum,
            timed: false,
            budget: Budget { commits: 1, ..Budget::default() },
            epochs: 3,
            reloads_lag: false,
            replay_lags: false,
            cuts_in_passes: false,
            sessions_outlive: false,
            returns: 0b111,
            doorless: false,
            switched_off: 0,
            max_lag: 0,
            rename: true,
            revisions: u8::MAX,
            unnoticed: false,
            forget_void_bids: true,
            voters: 0b110,
            absent: 0,
            mortal: 0b111,
            calm: false,
            just_won: false,
            begins: &[],
            most_states: 0,
        }
    }

    pub(crate) fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    /// Only nodes 1 and 2, of which 2 votes.
    pub(crate) fn pair(mut self) -> Self {
        (self.voters, self.absent) = (0b010, 0b100);
        self
    }

    /// In another way too.
    pub(crate) fn and(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Budget)) -> Self {
        change(&mut self.budget);
        self
    }
}
