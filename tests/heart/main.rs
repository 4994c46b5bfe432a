//! heart as a real process: a fake postmaster under it, a fake daemon before it. Needs neither root nor Docker.
//!
//! This binary is its own harness: called with `heart DIR` it *is* heart, otherwise it runs the checks one after another.
//! The address checks need root and a network namespace of their own; elsewhere they say why they are skipped.

mod addresses;
mod daemon;
mod fences;
mod gate;
mod network;
mod node;
mod tools;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("postgres_is_gone_only_when_every_descendant_is_reaped", fences::gone_only_when_all_are_reaped),
    ("backends_die_with_their_postmaster", fences::backends_die_with_their_postmaster),
    ("a_killed_heart_ends_the_postmaster", fences::a_killed_heart_ends_the_postmaster),
    ("a_frozen_daemon_is_fenced_by_the_deadline", fences::a_frozen_daemon_is_fenced),
    ("a_frozen_heart_fences_when_it_thaws", fences::a_frozen_heart_fences_when_it_thaws),
    ("told_to_end_heart_stops_postgres_first", fences::told_to_end),
    ("a_fresh_heart_sweeps_what_the_last_one_left", fences::a_fresh_heart_sweeps),
    ("postgres_is_refused_without_standby_signal", tools::refused_without_standby_signal),
    ("a_tool_runs_to_its_end_with_its_descendants", tools::a_tool_runs_to_its_end),
    ("a_cancelled_tool_leaves_nothing", tools::a_cancelled_tool_leaves_nothing),
    ("children_inherit_nothing", tools::children_inherit_nothing),
    ("a_second_daemon_kills_the_first", daemon::a_second_daemon_kills_the_first),
    ("malformed_packets_are_refused_not_fatal", daemon::malformed_packets_are_refused),
    ("the_link_attaches_again_after_heart_was_restarted", daemon::the_link_attaches_again),
    ("a_heart_that_never_answers_is_ended_by_the_next_daemon", daemon::a_heart_that_never_answers_is_ended),
    ("a_heart_that_sleeps_through_its_deadline_is_ended", daemon::a_heart_that_sleeps_through_its_deadline_is_ended),
    ("there_is_one_heart_on_a_node", daemon::one_heart_on_a_node),
    ("the_vip_lives_as_long_as_the_lease", addresses::the_vip_lives_as_long_as_the_lease),
    ("the_port_gate", gate::the_port_gate),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["heart", directory] => return node::be_heart(Path::new(directory)),
        ["daemon", socket] => return daemon::be_daemon(Path::new(socket)),
        ["inside", "addresses"] => return network::only_inside(addresses::in_a_namespace),
        ["inside", "gate"] => return network::only_inside(gate::in_a_namespace),
        _ => {}
    }
    let wanted = args.iter().find(|arg| !arg.starts_with('-'));
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if args.iter().any(|arg| arg == "--list") {
            println!("{name}: test");
        } else if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            let passed = catch_unwind(AssertUnwindSafe(check)).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            failed.extend((!passed).then_some(*name));
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
