//! Runs files of recorded scenarios against the crate: `cargo run -p supervisors --example otp_conformance -- FILE...`;
//! without a file those of `tests/otp`.
//!
//! Prints each failing scenario and, last, `N passed, M failed`. Ends with 1 if any failed, could not be read or was no
//! scenario.

#[path = "../tests/otp_runner/mod.rs"]
mod otp_runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let report = otp_runner::run_files(&files);
    println!("{report}");
    ExitCode::from(report.exit_code())
}
