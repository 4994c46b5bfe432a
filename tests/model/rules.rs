//! Every rule switched off yields the run that breaks without it.

use super::bounds::Bounds;
use super::explore::{explore, reaches};
use super::first;
use super::properties::Goal;
use super::story;
use leaderl_decision::model::ReplicationMode;
use leaderl_decision::planted::Planted;

/// With the bug the bounds hold a counterexample of this kind, and without it none.
fn caught(bug: Planted, bounds: Bounds, by: &str) {
    let first = first::world(&bounds);
    if std::env::var_os("MODEL_SHIPPED").is_some() {
        let report = explore(&bounds, first);
        println!("SHIPPED under {}: {report}", bug.name());
        if let Some((_, steps)) = &report.broken {
            println!("{}", story::tell(&first, steps));
        }
        assert!(report.broken.is_none());
        return;
    }
    let planted = bug.plant();
    let report = explore(&bounds, first);
    drop(planted);
    println!("{} {report}", bug.name());
    let (what, steps) =
        report.broken.unwrap_or_else(|| panic!("{}: no counterexample in {} states", bug.name(), report.states));
    println!("{}", story::tell(&first, &steps));
    assert!(what.contains(by), "{}: {what}", bug.name());
}

fn quiet() -> Bounds {
    Bounds { most_states: 300_000, ..Bounds::quiet("") }
}

macro_rules! rules {
    ($($test:ident: $bug:ident, $bounds:expr, $by:literal;)+) => {
        $(#[test] fn $test() { caught(Planted::$bug, $bounds, $by); })+
    };
}

rules! {
    r1: R1LastLeaderNoVoter, quiet(), "without";
    r2: R2NoOwnPut, quiet().pair().with(|b| { b.cuts = 2; b.late = 1; }), "none of the voters";
    r3_sessions: R3PredecessorsLive, quiet().pair().with(|b| { b.cuts = 1; b.daemon_crashes = 1; }).and(|b| b.sessions_outlive = true), "none of the voters";
    r3_names: R3NamesUnproven, quiet().with(|b| b.cuts = 1).and(|b| b.reloads_lag = true), "none of the voters";
    r4: R4PromiseForgotten, quiet(), "without";
    r5: R5DetachedOnSight, quiet().with(|b| b.cuts = 1).and(|b| b.reloads_lag = true), "without";
    r6_clients: R6ClientsLetInEarly, quiet().with(|b| b.crashes = 1), "";
    r6_place: R6RestartedInPlace, quiet().with(|b| b.postgres_crashes = 1), "promoted before";
    r7_voter: R7VoterRebuilt, quiet().with(|b| { b.crashes = 1; b.disk_losses = 1; }), "";
    r7_bids: R7UnsyncedBids, quiet().timed().with(|b| { b.crashes = 2; b.disk_losses = 1; }), "";
    r7_forgotten: R7BidForgotten, quiet().with(|b| { b.crashes = 1; b.disk_losses = 1; }), "";
    r7_forgotten_late: R7BidForgotten, quiet().with(|b| { b.crashes = 1; b.disk_losses = 1; b.late = 1; }), "";
    r7_votes: R7UnsyncedVotes, quiet().with(|b| { b.crashes = 1; b.disk_losses = 1; }), "";
    r7_token: R7TokenIgnored, quiet().with(|b| { b.crashes = 1; b.old_copies = 1; }), "";
    r8: R8BidsOnAbsentKey, quiet().with(|b| { b.deletes = 2; }).and(|b| b.forget_void_bids = false), "";
    r9: R9TimelineTwice, quiet().with(|b| { b.crashes = 1; }), "";
    r10: R10BidsWhileHolding, quiet(), "";
    r11_hold: R11HoldAfterVacancy, quiet().timed().with(|b| { b.late = 1; b.postgres_crashes = 1; }), "";
    r11_adopt: R11AdoptsWithoutRenewal, quiet().timed().pair().with(|b| { b.commits = 0; b.late = 1; b.daemon_crashes = 1; b.deaf_hearts = 2; b.postgres_crashes = 1; }).and(|b| b.just_won = true), "";
    r13: R13LsnAlone, quiet().with(|b| { b.commits = 2; }), "";
    bid_without_promise: BidWithoutPromise, quiet(), "";
    older_bid: OlderBidCounts, quiet().and(|b| b.forget_void_bids = false), "";
    lesser: LesserBidCampaigns, quiet(), "";
    replay: PositionBeforeReplay, quiet().and(|b| b.replay_lags = true), "";
    sync_set: SyncSetNotChecked, quiet(), "";
    one_bid: OneBidIsEnough, quiet(), "";
    claim_voters: ClaimIgnoresVoters, quiet().with(|b| { b.late = 1; b.cuts = 1; }), "";
    claim_bids: ClaimIgnoresBids, quiet().with(|b| { b.late = 1; }), "";
    absent_vacancy: AbsentKeyIsVacancy, quiet().timed().with(|b| { b.deletes = 1; }), "";
    before_history: PromoteBeforeHistory, quiet(), "history";
    ignores_epoch: VoterChangeIgnoresEpoch, quiet().with(|b| { b.late = 1; b.cuts = 1; }), "";
    ignores_voters: VoterChangeIgnoresVoters, quiet().with(|b| { b.late = 1; b.cuts = 2; }), "";
    create_revision: CreateRevisionAsToken, quiet().timed().with(|b| { b.late = 1; b.fences = 1; }), "";
    revives: LateRenewalRevives, quiet().timed().with(|b| { b.late = 1; b.fences = 1; }), "";
    unarmed: PromoteUnarmed, quiet().timed().with(|b| { b.fences = 1; b.doubts = 1; b.crashes = 1; }), "";
    names_after: NamesAfterPromotion, quiet(), "";
    vip_early: VipBeforeWritable, quiet().timed().with(|b| b.crashes = 1), "VIP";
    reaped: ResignBeforeReaped, quiet().timed().with(|b| b.stops = 1), "";
    removed: RemovedInEtcdFirst, quiet().with(|b| b.cuts = 1), "";
    added: AddedInPostgresFirst, quiet().and(|b| b.voters = 0b010), "";
    degraded: DegradedInPostgresFirst, quiet().pair().with(|b| b.cuts = 1), "";
    returned: ReturnedInEtcdFirst, quiet().pair().with(|b| b.cuts = 1), "";
    catch_up: CatchUpNotAwaited, quiet().with(|b| b.cuts = 2), "";
    old_epoch: FollowsOldEpoch, quiet(), "";
    lag: LagIgnored, quiet().timed().with(|b| { b.crashes = 1; }).and(|b| b.mode = ReplicationMode::Async), "";
}

fn out_of_reach(bug: Option<Planted>, bounds: Bounds, goal: Goal) {
    let first = first::world(&bounds);
    let shipped = reaches(&bounds, first, goal);
    match &shipped {
        Ok(states) => println!("{goal:?} within reach of {states} states"),
        Err(steps) => println!("SHIPPED stuck {goal:?}:\n{}", story::tell(&first, steps)),
    }
    if let Some(bug) = bug {
        let planted = bug.plant();
        let stuck = reaches(&bounds, first, goal);
        drop(planted);
        match stuck {
            Ok(states) => panic!("{}: nothing stuck in {states}", bug.name()),
            Err(steps) => println!("{} stuck {goal:?}:\n{}", bug.name(), story::tell(&first, &steps)),
        }
    }
    assert!(shipped.is_ok());
}

#[test]
fn live_r12() {
    out_of_reach(
        Some(Planted::R12LastLeaderNoBid),
        Bounds::quiet("")
            .and(|b| {
                b.absent = 0b100;
                b.calm = true;
                b.mode = ReplicationMode::Strict;
            })
            .with(|b| {
                b.stops = 1;
                b.commits = 0;
            }),
        Goal::Led,
    );
}
#[test]
fn live_r14() {
    out_of_reach(
        Some(Planted::R14NoCatchUp),
        Bounds::quiet("")
            .and(|b| {
                b.switched_off = 0b010;
                b.mortal = 1;
                b.nobody_returns = true;
                b.calm = true;
                b.mode = ReplicationMode::Strict;
            })
            .with(|b| {
                b.crashes = 1;
                b.commits = 1;
            }),
        Goal::Led,
    );
}
#[test]
fn live_r15() {
    out_of_reach(
        Some(Planted::R15LostVoterStays),
        Bounds::quiet("").and(|b| {
            b.absent = 0b100;
            b.calm = true;
        }),
        Goal::VotersAlive,
    );
}
#[test]
fn live_old() {
    out_of_reach(
        Some(Planted::FollowsOldEpoch),
        Bounds::quiet("")
            .and(|b| {
                b.voters = 0b010;
                b.calm = true;
                b.mortal = 1;
            })
            .with(|b| {
                b.commits = 0;
                b.crashes = 1;
            }),
        Goal::Whole,
    );
}
#[test]
fn live_crash() {
    out_of_reach(
        None,
        Bounds::quiet("")
            .and(|b| {
                b.calm = true;
            })
            .with(|b| {
                b.commits = 1;
                b.crashes = 1;
            }),
        Goal::Whole,
    );
}
#[test]
fn live_disk() {
    out_of_reach(
        None,
        Bounds::quiet("")
            .and(|b| {
                b.calm = true;
                b.mode = ReplicationMode::Strict;
            })
            .with(|b| {
                b.commits = 1;
                b.crashes = 1;
                b.disk_losses = 1;
            }),
        Goal::Whole,
    );
}
