//! Runs files of recorded scenarios against the crate: `cargo run -p supervisors --example otp_conformance -- FILE...`;
//! without a file those of `tests/otp`.
//!
//! Prints each failing scenario and, last, `N passed, M failed`; ends with 1 if any failed.

#[path = "../tests/otp_runner/mod.rs"]
mod otp_runner;

use std::process::ExitCode;

const RECORDED: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otp/directed.jsonl"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otp/random-public.jsonl"),
];

fn main() -> ExitCode {
    supervisors::install_panic_hook();
    let mut report = otp_runner::Report::default();
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        files = RECORDED.map(str::to_owned).to_vec();
    }
    for file in files {
        match std::fs::read_to_string(&file) {
            Ok(text) => report.run(&text),
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    report.print();
    if report.failures.is_empty() && report.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
