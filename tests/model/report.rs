//! The whole report (`make model`), and where each planted bug is accounted for.

use super::bounds::Bounds;
use super::explore::explore;
use super::first;
use super::properties::CHECKED;
use super::{live, rules, sets, story};
use leaderl_decision::planted::Planted;
use std::collections::BTreeMap;

/// Rules whose absence breaks nothing within these bounds, and why.
fn not_refuted() -> Vec<(Planted, Bounds, &'static str)> {
    let quiet = |bug: Planted| Bounds::quiet(bug.name());
    let epoch = Planted::VoterChangeIgnoresEpoch;
    let rebuilt = Planted::R7VoterRebuilt;
    let [after, adopts] = [Planted::R11HoldAfterVacancy, Planted::R11AdoptsWithoutRenewal];
    let door = "heart's door, which opens once for an epoch, refuses what this rule refuses; without the door it is refuted above";
    let just_won = |bug| quiet(bug).timed().pair().and(|b| b.just_won = true);
    vec![
        (
            epoch,
            quiet(epoch).with(|b| (b.late, b.cuts) = (1, 1)),
            "every claim writes `voters`, so that the compare of `voters` refuses what that of `epoch` would: a second net",
        ),
        (
            rebuilt,
            quiet(rebuilt).with(|b| (b.crashes, b.disk_losses) = (1, 1)),
            "a copy is made in one step here, from the holder of that moment; the mark and the promise cover the rest",
        ),
        (after, just_won(after).with(|b| (b.commits, b.late, b.stops) = (0, 1, 1)), door),
        (
            adopts,
            just_won(adopts).with(|b| {
                (b.commits, b.late, b.daemon_crashes, b.deaf_hearts, b.postgres_crashes) = (0, 1, 1, 2, 1);
            }),
            door,
        ),
    ]
}

/// Bugs that stand where this model has nothing to switch; the simulator plants them (`make mutants`).
const OUTSIDE: &[(Planted, &str)] = &[
    (Planted::ClaimIgnoresSwitches, "failover switches do not change in a run"),
    (Planted::DeadlineFromReply, CLOCKS),
    (Planted::T0OfLaterAttempt, CLOCKS),
    (Planted::RenewalTakenOnFaith, CLOCKS),
    (Planted::TakeoverByHoldersClock, CLOCKS),
    (Planted::RelativeDeadline, CLOCKS),
    (Planted::VipRefreshUnchecked, CLOCKS),
    (Planted::EpochIgnored, ACTORS),
    (Planted::FenceLeavesBackends, ACTORS),
    (Planted::TwoDaemons, ACTORS),
    (Planted::PanicSkipsFence, ACTORS),
    (Planted::VipKept, ACTORS),
    (Planted::StaleLeaderAnswer, ACTORS),
    (Planted::RewindWithoutMark, "a rewind is one step here, never half done"),
    (Planted::OldCopyDeleted, "a copy replaces the old one in one step here"),
];
const CLOCKS: &str = "clocks: the timed mode takes for granted what the lease promises";
const ACTORS: &str = "in an actor or in heart, not in a decision";

#[test]
fn every_planted_bug_is_accounted_for() {
    let mut places: BTreeMap<Planted, Vec<&str>> = BTreeMap::new();
    let mut put = |bug, place| places.entry(bug).or_default().push(place);
    rules::all().iter().for_each(|rule| put(rule.bug, "refuted"));
    live::all().iter().filter_map(|live| live.bug).for_each(|bug| put(bug, "stuck"));
    let only_by_the_door: Vec<Planted> = rules::all().iter().filter(|r| r.bounds.doorless).map(|r| r.bug).collect();
    not_refuted().iter().filter(|(bug, ..)| !only_by_the_door.contains(bug)).for_each(|(bug, ..)| put(*bug, "not"));
    OUTSIDE.iter().for_each(|(bug, _)| put(*bug, "outside"));
    for bug in Planted::ALL {
        let found = places.get(bug).map_or(0, Vec::len);
        assert_eq!(found, 1, "{}: a rule in rules.rs or live.rs, or a reason in report.rs: {places:?}", bug.name());
    }
}

/// States that `make model` explores of each set before it is cut off.
fn most_states() -> usize {
    std::env::var("MOST").ok().and_then(|most| most.parse().ok()).unwrap_or(500_000)
}

#[test]
#[ignore = "takes long: `make model` runs it"]
fn report() {
    println!("Checked in every state or at the move that it is about:");
    CHECKED.iter().for_each(|property| println!("- {property}"));
    let broken = shipped();
    println!("\nWithout a rule: the shortest run that breaks a property\n");
    for rule in rules::all() {
        let (text, states) = rule.told(false);
        println!("{text}");
        let report = rule.shipped(most_states().min(states * 4));
        println!("with the rule:\n{report}\n");
        assert!(report.broken.is_none(), "{report}");
    }
    println!("\nWhat stays within reach of every state, and without which rule it does not\n");
    live::all().iter().for_each(|live| println!("{}\n", live.told()));
    println!("\nNot refuted within bounds\n");
    for (bug, bounds, why) in not_refuted() {
        let planted = bug.plant();
        let report = explore(&Bounds { most_states: most_states(), ..bounds });
        drop(planted);
        println!("{report}\n  {why}");
        assert!(report.broken.is_none(), "{} is refuted: move it to rules.rs", bug.name());
    }
    println!("\nNot in this model (see `make mutants`)\n");
    OUTSIDE.iter().for_each(|(bug, why)| println!("{:<34} {why}", bug.name()));
    assert!(broken.is_empty(), "broken as shipped: {broken:?}");
}

/// Explores every set with the shipped decisions; returns those that break something.
fn shipped() -> Vec<&'static str> {
    println!("\nThe shipped decisions\n");
    let (mut broken, mut complete, mut states, mut moves, mut of) = (Vec::new(), 0, 0, 0, 0);
    let wanted = std::env::var("SETS").unwrap_or_default();
    for bounds in sets::large().into_iter().filter(|bounds| bounds.name.contains(&wanted)) {
        let bounds = Bounds { most_states: most_states(), ..bounds };
        let report = explore(&bounds);
        println!("{report}");
        if let Some((_, steps)) = &report.broken {
            println!("{}", story::tell(&first::world(&bounds), steps));
            broken.push(bounds.name);
        }
        of += 1;
        complete += usize::from(report.complete && report.broken.is_none());
        states += report.states;
        moves += report.moves;
    }
    println!("{of} sets, {complete} of them complete; {states} states, {moves} moves; {} broken", broken.len());
    broken
}

/// What `make test` explores: one fault at a time and two epochs, every set to its end.
#[test]
fn the_shipped_decisions_hold() {
    for bounds in sets::small() {
        let report = explore(&bounds);
        println!("{report}");
        if let Some((what, steps)) = &report.broken {
            panic!("{}: {what}\n{}", bounds.name, story::tell(&first::world(&bounds), steps));
        }
        assert!(report.complete, "{report}");
    }
}
