//! Every rule switched off yields the run that breaks without it.

use super::begins;
use super::bounds::Bounds;
use super::explore::{Report, explore};
use super::first;
use super::script::Go;
use super::story;
use leaderl_decision::model::ReplicationMode;
use leaderl_decision::planted::Planted;

/// A bug, the bounds within which it breaks something, and a word of what it breaks.
pub(crate) struct Rule {
    pub(crate) bug: Planted,
    pub(crate) bounds: Bounds,
    pub(crate) by: &'static str,
    /// A beginning that leads towards it: `make test` has less time than `make model`, which begins at the beginning.
    pub(crate) quick: &'static [Go],
}

impl Rule {
    /// What happens within the bounds while the rule is off.
    fn without(&self, bounds: &Bounds) -> Report {
        let _planted = self.bug.plant();
        explore(bounds)
    }

    /// And as shipped, through so many states, from the first one.
    pub(crate) fn shipped(&self, most_states: usize) -> Report {
        explore(&Bounds { most_states, begins: &[], ..self.bounds.clone() })
    }

    /// The counterexample as a transcript, and how it was found.
    pub(crate) fn told(&self, quick: bool) -> (String, usize) {
        let mut bounds = self.bounds.clone();
        if quick && !self.quick.is_empty() {
            bounds.begins = self.quick;
        }
        let report = self.without(&bounds);
        let begun = bounds.begins.len();
        let (what, steps) = report.broken.as_ref().unwrap_or_else(|| panic!("no counterexample: {report}"));
        assert!(what.contains(self.by), "{report}");
        let text = story::tell(&first::world(&bounds), steps);
        let directed = if begun == 0 { String::new() } else { format!(" (the first {begun} moves are given)") };
        let door = if bounds.doorless { ", heart's door taken away" } else { "" };
        (format!("{report}, {} moves{directed}{door}\n{text}", steps.len()), report.states)
    }
}

fn quiet() -> Bounds {
    Bounds { most_states: 300_000, ..Bounds::quiet("") }
}

fn rule(bug: Planted, by: &'static str, bounds: Bounds, quick: &[&'static [Go]]) -> Rule {
    Rule { bug, bounds: Bounds { name: bug.name(), ..bounds }, by, quick: quick.first().copied().unwrap_or_default() }
}

/// A test for each, which also sees that with the rule nothing breaks in as many states.
macro_rules! rules {
    ($all:ident: $($test:ident: $bug:ident, $by:literal, $bounds:expr $(, $quick:ident)?;)+) => {
        pub(crate) fn $all() -> Vec<Rule> {
            vec![$(rule(Planted::$bug, $by, $bounds, &[$(begins::$quick)?])),+]
        }

        $(#[test]
        fn $test() {
            let rule = rule(Planted::$bug, $by, $bounds, &[$(begins::$quick)?]);
            let (text, states) = rule.told(true);
            println!("{text}");
            let shipped = rule.shipped(states);
            assert!(shipped.broken.is_none(), "shipped, and broken: {shipped}");
        })+
    };
}

rules! {
    all:
    r1: R1LastLeaderNoVoter, "without acknowledged commit", quiet();
    r2: R2NoOwnPut, "none of the voters", quiet().pair().with(|b| (b.cuts, b.late) = (2, 1));
    r3_sessions: R3PredecessorsLive, "none of the voters",
        quiet().pair().with(|b| (b.cuts, b.daemon_crashes) = (1, 1)).and(|b| b.sessions_outlive = true);
    r3_names: R3NamesUnproven, "none of the voters", quiet().with(|b| b.cuts = 1).and(|b| b.reloads_lag = true);
    r4: R4PromiseForgotten, "without acknowledged commit", quiet();
    r5: R5DetachedOnSight, "without acknowledged commit",
        quiet().with(|b| b.cuts = 1).and(|b| b.reloads_lag = true);
    r6_clients: R6ClientsLetInEarly, "none of the voters", quiet().with(|b| b.crashes = 1);
    r6_place: R6RestartedInPlace, "promoted before", quiet().with(|b| b.postgres_crashes = 1);
    r7_bids: R7UnsyncedBids, "not in sync", quiet().timed().with(|b| (b.crashes, b.disk_losses) = (2, 1)), DIVERGED;
    r7_forgotten: R7BidForgotten, "without acknowledged commit",
        quiet().with(|b| (b.crashes, b.disk_losses) = (1, 1)), PROMISE_LOST;
    r7_token: R7TokenIgnored, "without acknowledged commit",
        quiet().with(|b| (b.crashes, b.old_copies) = (1, 1));
    r8: R8BidsOnAbsentKey, "without acknowledged commit",
        quiet().with(|b| b.deletes = 2).and(|b| (b.forget_void_bids, b.begins) = (false, begins::DELETED_ONCE));
    r9: R9TimelineTwice, "made before", quiet().with(|b| b.crashes = 1);
    r10: R10BidsWhileHolding, "without acknowledged commit", quiet(), TAKEN_OVER;
    r11_hold: R11HoldAfterVacancy, "at once",
        quiet().timed().pair().with(|b| (b.commits, b.late, b.stops) = (0, 1, 1)).and(|b| {
            (b.just_won, b.doorless, b.begins) = (true, true, begins::RESIGNS_LATE);
        });
    r11_adopt: R11AdoptsWithoutRenewal, "at once",
        quiet().timed().pair().and(|b| (b.just_won, b.doorless) = (true, true)).with(|b| {
            (b.commits, b.late, b.daemon_crashes, b.deaf_hearts, b.postgres_crashes) = (0, 1, 1, 2, 1);
        });
    r13: R13LsnAlone, "without acknowledged commit", quiet().with(|b| b.commits = 2), UNREPLICATED;
    bid_without_promise: BidWithoutPromise, "without acknowledged commit", quiet();
    older_bid: OlderBidCounts, "without acknowledged commit", quiet().and(|b| b.forget_void_bids = false);
    lesser: LesserBidCampaigns, "without acknowledged commit", quiet();
    replay: PositionBeforeReplay, "without acknowledged commit", quiet().and(|b| b.replay_lags = true);
    sync_set: SyncSetNotChecked, "without acknowledged commit", quiet();
    one_bid: OneBidIsEnough, "without acknowledged commit", quiet();
    claim_voters: ClaimIgnoresVoters, "without acknowledged commit", quiet().with(|b| (b.late, b.cuts) = (1, 1)), CLAIM_ON_ITS_WAY;
    claim_bids: ClaimIgnoresBids, "without acknowledged commit",
        quiet().and(super::sets::restored).with(|b| (b.late, b.cuts) = (2, 1)).and(|b| {
            (b.unnoticed, b.begins) = (true, begins::CLAIM_OUTLIVES_THE_STORE);
        });
    absent_vacancy: AbsentKeyIsVacancy, "at once", quiet().timed().with(|b| b.deletes = 1);
    before_history: PromoteBeforeHistory, "history", quiet();
    went_back: WentBackIgnored, "promoted before", quiet().and(super::sets::restored), BEFORE_THE_BACKUP;
    switch_off: SwitchOffIgnored, "switched off", quiet().and(|b| b.switched_off = 0b010);
    lag: LagIgnored, "behind what was published",
        quiet().timed().with(|b| b.crashes = 1).and(|b| b.mode = ReplicationMode::Async);
    create_revision: CreateRevisionAsToken, "at once", quiet().timed().with(|b| (b.late, b.fences) = (1, 1)), FENCED;
    ignores_voters: VoterChangeIgnoresVoters, "none of the voters", quiet().with(|b| (b.late, b.cuts) = (1, 2)), REMOVED_LATE;
    revives: LateRenewalRevives, "promoted before",
        quiet().timed().with(|b| (b.late, b.stops) = (1, 1));
    unarmed: PromoteUnarmed, "at once", quiet().timed().with(|b| (b.fences, b.doubts, b.crashes) = (1, 1, 1)), LEADS_AGAIN;
    names_after: NamesAfterPromotion, "none of the voters", quiet();
    vip_early: VipBeforeWritable, "VIP", quiet().timed().with(|b| b.crashes = 1);
    reaped: ResignBeforeReaped, "at once", quiet().timed().with(|b| b.stops = 1);
    removed: RemovedInEtcdFirst, "none of the voters", quiet().with(|b| b.cuts = 1);
    added: AddedInPostgresFirst, "none of the voters", quiet().and(|b| b.voters = 0b010);
    degraded: DegradedInPostgresFirst, "none of the voters", quiet().pair().with(|b| b.cuts = 1);
    returned: ReturnedInEtcdFirst, "none of the voters", quiet().pair().with(|b| b.cuts = 1);
    catch_up: CatchUpNotAwaited, "without acknowledged commit", quiet().with(|b| b.cuts = 2);
}
