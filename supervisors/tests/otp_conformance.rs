//! All recorded scenarios of Erlang/OTP's supervisor pass, and the runner would notice if they did not.

#![allow(clippy::unwrap_used)]

mod otp_runner;

use otp_runner::{Report, run_files};

const DIRECTED: &str = include_str!("otp/directed.jsonl");
const RANDOM: &str = include_str!("otp/random-public.jsonl");
const CORNERS: &str = include_str!("otp/corners.jsonl");

fn run(text: &str) -> Report {
    supervisors::install_panic_hook();
    let mut report = Report::default();
    report.run("scenarios", text);
    println!("{report}");
    report
}

#[test]
fn every_directed_scenario_goes_as_in_otp() {
    let report = run(DIRECTED);
    assert_eq!((report.passed, report.failed()), (293, 0));
}

#[test]
fn every_random_scenario_goes_as_in_otp() {
    let report = run(RANDOM);
    assert_eq!((report.passed, report.failed()), (500, 0));
}

#[test]
fn every_corner_scenario_goes_as_in_otp() {
    let report = run(CORNERS);
    assert_eq!((report.passed, report.failed()), (CORNERS.lines().count(), 0));
}

const NAME: &str = "strategy/one_for_all_stop_reverse_start_forward";

/// The directed scenarios with one event changed, in the trace only.
fn corrupted() -> String {
    let (honest, corrupted) =
        (r#"["child_terminating","top/c#1","shutdown"]"#, r#"["child_terminating","top/c#1","boom"]"#);
    let changed = |line: &str| {
        if line.contains(NAME) { line.replacen(honest, corrupted, 1) } else { line.to_owned() }
    };
    let text = DIRECTED.lines().map(changed).collect::<Vec<_>>().join("\n");
    assert_ne!(text, DIRECTED.trim_end());
    text
}

#[test]
fn one_corrupted_event_is_one_failure_told_in_full() {
    let report = run(&corrupted());
    assert_eq!((report.passed, report.failed()), (292, 1));
    assert_eq!(report.failures[0].scenario, NAME);
    let told = report.to_string();
    let told: Vec<&str> = told.lines().collect();
    let rule = "the other children are stopped in reverse start order, then all are started in start order";
    assert_eq!(told[0], format!("FAILED {NAME}: {rule}"));
    assert_eq!(told[1], r#"  step 1: {"op":"exit","path":"top/b","reason":"boom"}"#);
    assert!(told[2].starts_with("  expected {") && told[2].contains(r#"["child_terminating","top/c#1","boom"]"#));
    assert!(told[3].starts_with("  actual   {") && told[3].contains(r#"["child_terminating","top/c#1","shutdown"]"#));
    assert_eq!(told[4..], ["292 passed, 1 failed"]);
}

#[test]
fn a_line_that_is_no_scenario_is_told_and_fails() {
    let good = DIRECTED.lines().next().unwrap();
    let without_trace = good.replace(r#","trace":"#, r#","echo":"#);
    let report = run(&format!("{good}\nnonsense\n\n{without_trace}\n"));
    assert_eq!((report.passed, report.failures.len()), (1, 0));
    assert!(report.unusable[0].starts_with("scenarios:2: not a recorded scenario: expected"), "{report}");
    assert!(report.unusable[1].starts_with("scenarios:4: not a recorded scenario: missing field `trace`"), "{report}");
    assert!(report.to_string().ends_with("\n1 passed, 2 failed"));
    assert_eq!(run("\n").unusable, ["scenarios: there is no scenario in it"]);
}

#[test]
fn a_step_that_the_runner_does_not_know_fails_its_scenario_alone() {
    let good = DIRECTED.lines().next().unwrap();
    let report = run(&format!("{}\n{good}", good.replacen(r#""op":"observe""#, r#""op":"meditate""#, 1)));
    assert_eq!((report.passed, report.failed()), (1, 1));
    assert!(report.failures[0].actual.to_string().contains("unknown operation meditate"), "{report}");
}

#[test]
fn the_command_counts_every_file_and_ends_with_an_honest_exit_code() {
    let file = std::env::temp_dir().join(format!("otp-conformance-{}.jsonl", std::process::id()));
    std::fs::write(&file, corrupted()).unwrap();
    let report = run_files(&[file.to_str().unwrap().to_owned(), "no/such/file.jsonl".to_owned()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!((report.passed, report.failures.len(), report.exit_code()), (292, 1, 1));
    assert!(report.unusable[0].starts_with("no/such/file.jsonl: "), "{report}");
    assert!(report.to_string().ends_with("\n292 passed, 2 failed"), "{report}");

    let all = run_files(&[]);
    assert_eq!((all.to_string().as_str(), all.exit_code()), ("793 passed, 0 failed", 0));
}
