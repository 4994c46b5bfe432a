//! Plants each bug in turn: the simulator must find it.

mod classes;
mod recorded;

use super::child;
use super::run::Order;
use crate::faults::mixes::CLASS;
use classes::{class_of, together_with};
use leaderl_decision::planted::Planted;
use recorded::Recorded;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A bug that so many seeds do not find is not found.
pub(crate) const WITHIN: u64 = 5000;
/// After so long a slice takes no further bug.
const SLICE: Duration = Duration::from_secs(100);
/// How far a slice searches for a bug that its recorded seed does not find any more.
const SLICE_WITHIN: u64 = 60;

struct Found {
    seed: u64,
    seeds: u64,
    invariant: String,
    text: String,
}

/// `all`, or names: searches for each, prints a table.
pub(crate) fn hunt(which: &str, within: u64) -> ExitCode {
    let bugs: Vec<Planted> = match which {
        "all" => Planted::ALL.to_vec(),
        names => names.split(',').filter_map(Planted::named).collect(),
    };
    heading();
    let (mut missed, mut found_all) = (0, Vec::new());
    for bug in bugs {
        if let Some(why) = classes::not_here(bug) {
            println!("{:<30} {:>5}  {:<4} not in the simulator: {why}", bug.name(), "-", "-");
            continue;
        }
        let began = Instant::now();
        let found = find(bug, within);
        row(bug, found.as_ref(), within, began.elapsed());
        missed += u64::from(found.is_none());
        found_all.extend(found.map(|found| (bug, found)));
    }
    println!("not found: {missed}");
    if std::env::var_os("RECORD").is_some() {
        let news = found_all.iter().map(|(bug, found)| (*bug, found.seed, found.invariant.as_str()));
        if let Err(why) = recorded::write(news) {
            eprintln!("the seeds were not recorded: {why}");
            return ExitCode::FAILURE;
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Five bugs chosen by the commit: the recorded seed must break with the bug and hold without it.
pub(crate) fn slice(commit: &str) -> ExitCode {
    let recorded = recorded::read();
    let start = commit.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let step = if recorded.len().is_multiple_of(13) { 11 } else { 13 };
    let chosen = (0..5.min(recorded.len())).filter_map(|number| recorded.get((start + number * step) % recorded.len()));
    let (began, mut good) = (Instant::now(), !recorded.is_empty());
    heading();
    for Recorded { bug, seed, .. } in chosen {
        if began.elapsed() > SLICE {
            println!("{:<30} left out: the slice's time is over", bug.name());
            continue;
        }
        let here = Instant::now();
        let clean = child::run(Order::quiet(*seed));
        if let Some(first) = clean.violations.first() {
            println!("{:<30} seed {seed} breaks {} without the bug: {}", bug.name(), first.invariant, first.text);
            good = false;
            continue;
        }
        let found = look(*bug, *seed).or_else(|| find(*bug, SLICE_WITHIN));
        row(*bug, found.as_ref(), SLICE_WITHIN, here.elapsed());
        good &= found.is_some();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn heading() {
    println!("{:<30} {:>5}  {:<4} {:>14}  what it looked like", "bug", "seeds", "inv.", "seed");
}

fn row(bug: Planted, found: Option<&Found>, within: u64, took: Duration) {
    let with: Vec<_> = together_with(bug).iter().map(|other| other.name()).collect();
    let with = if with.is_empty() { String::new() } else { format!(" [with {}]", with.join(", ")) };
    match found {
        Some(found) => {
            let first = found.text.lines().next().unwrap_or_default();
            println!("{:<30} {:>5}  {:<4} {:>14}  {first}{with}", bug.name(), found.seeds, found.invariant, found.seed);
        }
        None => println!("{:<30} {within:>5}  -    {:>14}  NOT FOUND in {} s{with}", bug.name(), "-", took.as_secs()),
    }
}

fn order(bug: Planted, seed: u64) -> Order {
    let planted = std::iter::once(bug).chain(together_with(bug).iter().copied()).collect();
    Order { planted, ..Order::quiet(seed) }
}

fn look(bug: Planted, seed: u64) -> Option<Found> {
    let first = child::run(order(bug, seed)).violations.into_iter().next()?;
    Some(Found { seed, seeds: 1, invariant: first.invariant, text: first.text })
}

/// The seeds of the bug's class, every fifth one of all classes.
fn find(bug: Planted, within: u64) -> Option<Found> {
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let base = class_of(bug) * CLASS;
    let seed_of = |number: u64| if number % 5 == 4 { number } else { base + number };
    let mut running = Vec::new();
    let (mut next, mut found, mut looked) = (0, None, 0);
    loop {
        while found.is_none() && running.len() < workers && next < within {
            running.extend(child::start(order(bug, seed_of(next))).ok());
            next += 1;
        }
        let Some((seed, ended)) = child::next(&mut running) else { return found };
        looked += 1;
        if let Some(first) = ended.violations.into_iter().next().filter(|_| found.is_none()) {
            found = Some(Found { seed, seeds: looked, invariant: first.invariant, text: first.text });
        }
    }
}
