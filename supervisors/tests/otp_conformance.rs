//! All recorded scenarios of Erlang/OTP's supervisor pass, and the runner would notice if they did not.

#![allow(clippy::unwrap_used)]

mod otp_runner;

use otp_runner::Report;

const DIRECTED: &str = include_str!("otp/directed.jsonl");
const RANDOM: &str = include_str!("otp/random-public.jsonl");

fn run(text: &str) -> Report {
    supervisors::install_panic_hook();
    let mut report = Report::default();
    report.run(text);
    report.print();
    report
}

#[test]
fn every_directed_scenario_goes_as_in_otp() {
    let report = run(DIRECTED);
    assert_eq!((report.passed, report.failures.len()), (293, 0));
}

#[test]
fn every_random_scenario_goes_as_in_otp() {
    let report = run(RANDOM);
    assert_eq!((report.passed, report.failures.len()), (500, 0));
}

#[test]
fn one_corrupted_event_is_one_failure() {
    let name = r#""name":"strategy/one_for_all_stop_reverse_start_forward""#;
    let (honest, corrupted) =
        (r#"["child_terminating","top/c#1","shutdown"]"#, r#"["child_terminating","top/c#1","boom"]"#);
    let lines = DIRECTED
        .lines()
        .map(|line| if line.contains(name) { line.replacen(honest, corrupted, 1) } else { line.to_owned() });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_ne!(text, DIRECTED.trim_end());
    let report = run(&text);
    assert_eq!((report.passed, report.failures.len()), (292, 1));
    assert_eq!(report.failures[0].scenario, "strategy/one_for_all_stop_reverse_start_forward");
}
