//! A failing seed with as few of its faults as still break the same invariant.

use super::child;
use super::run::{Ended, Order, faults_of};

/// Attempts at most; each is a whole run.
const TRIES: usize = 60;

/// Shrinks, then prints the last minute of the smallest run that still fails.
pub(crate) fn explain(seed: u64, ended: &Ended) {
    let Some(broken) = ended.violations.first() else { return };
    let faults = faults_of(&Order::quiet(seed));
    let mut kept: Vec<usize> =
        (0..faults.len()).filter(|number| faults.get(*number).is_some_and(|fault| fault.at <= broken.at)).collect();
    let mut tries = 0;
    let fails = |only: &[usize]| {
        let order = Order { seed, loud: false, whole: false, only: Some(only.to_vec()), planted: Vec::new() };
        let again = child::run(order);
        again.violations.iter().any(|violation| violation.invariant == broken.invariant).then_some(again)
    };
    let mut smallest = fails(&kept);
    let mut at = 0;
    while at < kept.len() && tries < TRIES && smallest.is_some() {
        tries += 1;
        let mut fewer = kept.clone();
        fewer.remove(at);
        match fails(&fewer) {
            Some(again) => {
                kept = fewer;
                smallest = Some(again);
            }
            None => at += 1,
        }
    }
    let only: Vec<String> = kept.iter().map(ToString::to_string).collect();
    let shown = smallest.as_ref().unwrap_or(ended);
    println!("--- seed {seed} breaks {}; {} of its {} faults are enough", broken.invariant, kept.len(), faults.len());
    println!("--- replay: make simulate SEED={seed} ONLY={}", only.join(","));
    println!("{}", shown.story);
}
