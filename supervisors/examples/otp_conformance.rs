//! Runs files of recorded scenarios against the crate: `cargo run -p supervisors --example otp_conformance -- FILE...`
//!
//! Prints each failing scenario and, last, `N passed, M failed`; ends with 1 if any failed.

#[path = "../tests/otp_runner/mod.rs"]
mod otp_runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    supervisors::install_panic_hook();
    let mut report = otp_runner::Report::default();
    for file in std::env::args().skip(1) {
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
