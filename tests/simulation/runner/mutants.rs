//! Plants each bug in turn: the simulator must find it.

use super::child;
use super::run::Order;
use leaderl_decision::planted::Planted;
use std::process::ExitCode;

/// A bug that so many seeds do not find is not found.
pub(crate) const WITHIN: u64 = 5000;

struct Found {
    seeds: u64,
    invariant: String,
    text: String,
}

/// `all`, `rotating:<commit>` (five, chosen by it), or names; prints a table.
pub(crate) fn hunt(which: &str, within: u64) -> ExitCode {
    let bugs: Vec<Planted> = match which.strip_prefix("rotating:") {
        Some(commit) => rotating(commit),
        None if which == "all" => Planted::ALL.to_vec(),
        None => which.split(',').filter_map(Planted::named).collect(),
    };
    println!("{:<32} {:>6}  {:<4} what it looked like", "bug", "seeds", "inv.");
    let mut missed = 0;
    for bug in bugs {
        match find(bug, within) {
            Some(found) => {
                let first = found.text.lines().next().unwrap_or_default();
                println!("{:<32} {:>6}  {:<4} {first}", bug.name(), found.seeds, found.invariant);
            }
            None => {
                missed += 1;
                println!("{:<32} {:>6}  {:<4} not found", bug.name(), within, "-");
            }
        }
    }
    println!("not found: {missed}");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rotating(commit: &str) -> Vec<Planted> {
    let start = commit.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    (0..5).filter_map(|number| Planted::ALL.get((start + number * 13) % Planted::ALL.len()).copied()).collect()
}

fn find(bug: Planted, within: u64) -> Option<Found> {
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut running = Vec::new();
    let (mut next, mut found, mut looked) = (0, None, 0);
    loop {
        while found.is_none() && running.len() < workers && next < within {
            running.extend(child::start(Order { planted: Some(bug), ..Order::quiet(next) }).ok());
            next += 1;
        }
        let Some((_, ended)) = child::next(&mut running) else { return found };
        looked += 1;
        if let Some(first) = ended.violations.into_iter().next().filter(|_| found.is_none()) {
            found = Some(Found { seeds: looked, invariant: first.invariant, text: first.text });
        }
    }
}
