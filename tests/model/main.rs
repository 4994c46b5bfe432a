//! The shipped decisions, explored: every order of events within bounds, on three nodes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod big;
mod bounds;
mod canon;
mod choices;
mod explore;
mod faults;
mod first;
mod hasher;
mod heart;
mod keeper;
mod lens;
mod log;
mod look;
mod machine;
mod moves;
mod nature;
mod pass;
mod properties;
mod relations;
mod rules;
mod sending;
mod store;
mod story;
mod world;

use bounds::Bounds;
use explore::explore;

#[test]
fn try_it() {
    let wanted = std::env::var("MODEL_TRY").unwrap_or_default();
    for bounds in tries() {
        if !wanted.is_empty() && !bounds.name.contains(&wanted) {
            continue;
        }
        let first = first::world(&bounds);
        let report = explore(&bounds, first);
        println!("{report} looks {}", report.different_looks);
        if let Some((_, steps)) = &report.broken {
            println!("{}", story::tell(&first, steps));
        }
    }
}

fn tries() -> Vec<Bounds> {
    let most: usize = std::env::var("MODEL_MOST").ok().and_then(|n| n.parse().ok()).unwrap_or(300_000);
    let mut all = big::sets();
    for b in &mut all {
        b.most_states = most;
    }
    all
}
