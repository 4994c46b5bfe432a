//! The report of many seeds.

use super::run::Ended;
use crate::world::SEC;
use crate::world::counts::Counts;
use std::time::Duration;

/// Prints what was exercised; `true` when nothing is missing and nothing broke.
pub(crate) fn print(
    title: &str,
    counts: &Counts,
    seeds: u64,
    broken: &[(u64, Ended)],
    took: Duration,
    demanding: bool,
) -> bool {
    let mut counts = counts.clone();
    let hours = counts.simulated_ns as f64 / SEC as f64 / 3600.0;
    let speed = seeds as f64 / took.as_secs_f64().max(0.001);
    println!(
        "{title}: {seeds} seeds, {hours:.1} simulated hours in {:.0} s ({speed:.1} seeds per second)",
        took.as_secs_f64()
    );
    let mut kinds: Vec<_> = counts.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    kinds.sort();
    let faults: u64 = counts.faults.values().sum();
    println!("faults: {faults} of {} kinds: {}", counts.faults.len(), kinds.join(", "));
    println!("pairs of kinds within 8 s of each other: {}", counts.pairs.len());
    let mut complete = true;
    for (name, number) in counts.numbers_mut() {
        if name != "simulated_ns" {
            println!("{name}: {number}");
            complete &= *number > 0;
        }
    }
    println!("violations: {}", broken.len());
    if !complete && demanding {
        println!("something above is zero: this run has not exercised what it should");
    }
    broken.is_empty() && (complete || !demanding)
}
