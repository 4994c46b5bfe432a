//! What must stay within reach of every state: rules whose absence loses nothing, but stands still.

use super::begins;
use super::bounds::Bounds;
use super::explore::{explore, reaches};
use super::first;
use super::properties::Goal;
use super::story;
use leaderl_decision::model::ReplicationMode;
use leaderl_decision::planted::Planted;

/// Bounds within which the goal stays within reach, and does not with the bug.
pub(crate) struct Live {
    pub(crate) bug: Option<Planted>,
    pub(crate) bounds: Bounds,
    pub(crate) goal: Goal,
}

impl Live {
    /// What is seen, as lines for people. Ends the test if it is not as it should be.
    pub(crate) fn told(&self) -> String {
        let first = first::world(&self.bounds);
        let name = self.bounds.name;
        let states = reaches(&self.bounds, self.goal).unwrap_or_else(|steps| {
            panic!("{name}: {:?} is out of reach after\n{}", self.goal, story::tell(&first, &steps))
        });
        let mut text = format!("{name:<34} {states:>10} states, all of them: {} stays within reach", self.goal.words());
        if let Some(bug) = self.bug {
            let planted = bug.plant();
            let stuck = reaches(&self.bounds, self.goal);
            drop(planted);
            let steps = stuck.expect_err(bug.name());
            text.push_str(&format!("\nwith {} it is out of reach after\n{}", bug.name(), story::tell(&first, &steps)));
        }
        text
    }
}

/// Nobody suspects a leader that holds.
fn calm(name: &'static str) -> Bounds {
    Bounds::quiet(name).and(|b| b.calm = true)
}

fn strict(name: &'static str) -> Bounds {
    calm(name).and(|b| b.mode = ReplicationMode::Strict)
}

/// What stands still without the rule loses nothing: a leader that takes a rebuilt copy for a complete one too soon.
#[test]
fn r7_votes_loses_nothing() {
    let _planted = Planted::R7UnsyncedVotes.plant();
    let lost = |name| Bounds::quiet(name).with(|b| (b.crashes, b.disk_losses) = (2, 1));
    let copied = |mode| {
        lost("copy cut").with(|b| b.daemon_crashes = 1).and(|b| {
            (b.mode, b.voters, b.cuts_in_passes, b.begins) = (mode, 0b100, true, begins::COPY_CUT);
        })
    };
    for bounds in [lost("disk lost"), copied(ReplicationMode::Quorum), copied(ReplicationMode::Strict)] {
        let report = explore(&Bounds { most_states: 60_000, ..bounds });
        println!("{report}");
        assert!(report.broken.is_none(), "{report}");
    }
}

macro_rules! live {
    ($($test:ident: $bug:expr, $goal:ident, $bounds:expr;)+) => {
        pub(crate) fn all() -> Vec<Live> {
            vec![$(Live { bug: $bug, bounds: $bounds, goal: Goal::$goal }),+]
        }

        $(#[test]
        fn $test() {
            println!("{}", Live { bug: $bug, bounds: $bounds, goal: Goal::$goal }.told());
        })+
    };
}

live! {
    r7_votes: Some(Planted::R7UnsyncedVotes), Led,
        calm("one rebuilt, leader lost").with(|b| (b.commits, b.crashes, b.disk_losses, b.daemon_crashes) = (0, 2, 1, 1)).and(|b| {
            b.cuts_in_passes = true;
            (b.voters, b.mortal, b.returns, b.begins) = (0b100, 0b011, 0b010, begins::COPY_CUT);
        });
    r12: Some(Planted::R12LastLeaderNoBid), Led,
        strict("strict, handover of two").with(|b| (b.stops, b.commits) = (1, 0)).and(|b| b.absent = 0b100);
    r14: Some(Planted::R14NoCatchUp), Led,
        strict("strict, leader lost, one ineligible").with(|b| b.crashes = 1).and(|b| {
            (b.switched_off, b.mortal, b.returns) = (0b010, 1, 0);
        });
    r15: Some(Planted::R15LostVoterStays), VotersAlive, calm("a voter is off").and(|b| b.absent = 0b100);
    old_epoch: Some(Planted::FollowsOldEpoch), Whole,
        calm("leader lost and back").with(|b| (b.commits, b.crashes) = (0, 1)).and(|b| (b.voters, b.mortal) = (0b010, 1));
    crash: None, Whole, calm("any node lost and back").with(|b| b.crashes = 1);
    disk: None, Whole, strict("strict, any disk lost").with(|b| (b.crashes, b.disk_losses) = (1, 1));
    left: None, Led,
        calm("resigned, its disk lost").with(|b| (b.stops, b.crashes, b.disk_losses) = (1, 1, 1)).and(|b| {
            (b.mortal, b.returns, b.begins) = (0b001, 0, begins::RESIGNED_AND_LOST);
        });
    bid_and_lost: None, Led,
        strict("strict, bid, its disk lost").with(|b| (b.stops, b.crashes, b.disk_losses) = (1, 1, 1)).and(|b| {
            (b.mortal, b.returns, b.begins) = (0b001, 0, begins::BID_AND_LOST);
        });
    alone: None, Led,
        calm("alone, falls as it takes an epoch").with(|b| (b.commits, b.late, b.crashes) = (0, 1, 2)).and(|b| {
            (b.absent, b.voters, b.epochs) = (0b110, 0b010, 4);
        });
}
