//! What is run: one seed with its story, or many with a report.
//!
//! `SEED=n` replays one. `SEEDS=a..b` runs many. `SLICE_OF=commit` runs a thousand and every saved one, after the proof
//! below.
//! `MUTANTS=all` plants every bug in turn; `MUTANTS=a,b` these; `WITHIN=n` seeds for each; `RECORD=1` keeps the first seeds.
//! `MUTANTS_OF=commit` replays the kept seeds of five bugs. `PLANT=a,b` plants bugs for a replay.
//! Without any of them (plain `cargo test`): a handful, and the proof that a seed always tells the same story.

mod child;
mod mutants;
mod report;
mod run;
mod shrink;

use crate::world::counts::Counts;
use crate::world::profile::Profile;
use leaderl_decision::planted::Planted;
use run::{Ended, Order};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Every seed that ever failed.
const SAVED: &str = include_str!("../seeds.txt");
/// Seeds that fail, understood but not mended yet. The slice of `make test` leaves them out and says so; `SEEDS` runs them.
const OPEN: &str = include_str!("../open.txt");
/// Seeds in a slice.
const SLICE: u64 = 1000;
/// Slices to choose from, from 0 on: seeds that held when a long run was last made, or were mended after it. Others would now and
/// then fail a change that has nothing to do with it; they are for `make simulate`. To be raised with each longer run.
const SLICES: u64 = 20;
/// Run without any argument.
const HANDFUL: u64 = 3;

pub(crate) fn main() -> ExitCode {
    quiet_panics();
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    if let Some(seed) = variable("SEED") {
        return replay(&seed, variable("ONLY"));
    }
    if let Some(text) = variable("SEEDS") {
        let Some(seeds) = range(&text) else { return ExitCode::FAILURE };
        return many("simulate", seeds.collect(), true);
    }
    if let Some(which) = variable("MUTANTS") {
        return mutants::hunt(&which, variable("WITHIN").and_then(|text| text.parse().ok()).unwrap_or(mutants::WITHIN));
    }
    if let Some(commit) = variable("MUTANTS_OF") {
        return mutants::slice(&commit);
    }
    if !same_seed_same_story(1) {
        return ExitCode::FAILURE;
    }
    let Some(commit) = variable("SLICE_OF") else {
        return many("simulation", (1..=HANDFUL).collect(), false);
    };
    let seeds = slice_of(&commit);
    println!("seeds {seeds:?} and every saved one");
    let chosen: BTreeSet<u64> = saved().chain(seeds).collect();
    let open: BTreeSet<u64> = numbers(OPEN).filter(|seed| chosen.contains(seed)).collect();
    for line in OPEN.lines().filter(|line| numbers(line).any(|seed| open.contains(&seed))) {
        println!("left out, for it still fails: {line}");
    }
    many("simulation", chosen.difference(&open).copied().collect(), true)
}

/// By the commit.
fn slice_of(commit: &str) -> std::ops::Range<u64> {
    let number = commit.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % SLICES;
    number * SLICE..(number + 1) * SLICE
}

fn range(text: &str) -> Option<std::ops::Range<u64>> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    if parsed.is_none() {
        eprintln!("a range of seeds looks like 0..20000, not like `{text}`");
    }
    parsed
}

/// One number in a line; the rest is for people.
fn saved() -> impl Iterator<Item = u64> {
    numbers(SAVED)
}

fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// So many in this process, and so in this run: each has a process of its own.
fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// A panic in a daemon's task is caught by ractor; its place is worth a line, its backtrace is not.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("panic on {}: {info}", std::thread::current().name().unwrap_or("?"));
    }));
}

fn replay(seed: &str, only: Option<String>) -> ExitCode {
    let Ok(seed) = seed.parse() else {
        eprintln!("SEED is a number, not `{seed}`");
        return ExitCode::FAILURE;
    };
    let only = only.map(|text| text.split(',').filter_map(|part| part.trim().parse().ok()).collect());
    let began = Instant::now();
    let planted = std::env::var("PLANT").unwrap_or_default().split(',').filter_map(Planted::named).collect();
    let order = Order { seed, loud: true, whole: true, only, planted };
    let ended = run::run_on_a_thread(order.clone());
    println!("{:?}", Profile::of(seed));
    for (number, fault) in run::faults_of(&Order { only: None, ..order }).iter().enumerate() {
        println!("fault {number}: {fault:?}");
    }
    println!("{} events, hash {:016x}, {:?}", ended.counts.events, ended.hash, began.elapsed());
    for violation in &ended.violations {
        println!("{} at {:.3}: {}", violation.invariant, violation.at as f64 / 1e9, violation.text);
    }
    if ended.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed twice and compares every line.
fn same_seed_same_story(seed: u64) -> bool {
    let order = Order { whole: true, ..Order::quiet(seed) };
    let (one, other) = (child::run(order.clone()), child::run(order));
    let same = one.story == other.story && one.hash == other.hash && !one.story.is_empty();
    if same {
        println!("seed {seed} told the same {} lines twice", one.story.lines().count());
    } else {
        let differs = one.story.lines().zip(other.story.lines()).find(|(a, b)| a != b);
        println!("seed {seed} told two stories: {differs:?}");
    }
    same
}

fn many(title: &str, seeds: Vec<u64>, demanding: bool) -> ExitCode {
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut total = Counts::default();
    let mut broken: Vec<(u64, Ended)> = Vec::new();
    let mut left = seeds.iter().copied();
    let mut running = Vec::new();
    loop {
        while running.len() < workers
            && let Some(seed) = left.next()
        {
            match child::start(Order::quiet(seed)) {
                Ok(started) => running.push(started),
                Err(why) => broken.push((seed, Ended::broken("I7", &format!("no process could be forked: {why}")))),
            }
        }
        let Some((seed, ended)) = child::next(&mut running) else { break };
        total.add(&ended.counts);
        if let Some(first) = ended.violations.first() {
            println!("seed {seed}: {} at {:.3}: {}", first.invariant, first.at as f64 / 1e9, first.text);
            broken.push((seed, ended));
        }
    }
    broken.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, ended)) = broken.first()
        && std::env::var_os("NO_SHRINK").is_none()
    {
        shrink::explain(*seed, ended);
    }
    let good = report::print(title, &total, seeds.len() as u64, &broken, began.elapsed(), demanding);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
