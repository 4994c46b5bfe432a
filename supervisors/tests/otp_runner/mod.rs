//! Drives the crate through recorded scenarios of Erlang/OTP's supervisor.
//!
//! Every process of a scenario is a real ractor actor under the shipped supervisor, on virtual time. The format and the
//! rules of the drive are in `tests/otp/README.md`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Shared by the example and the tests.

mod driver;
mod normal_form;
mod requests;
mod terms;
mod trees;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

/// What is run. The recorded trace is no part of it.
#[derive(Deserialize)]
pub struct Scenario {
    pub name: String,
    #[serde(default)]
    pub rule: String,
    sup: Value,
    #[serde(default)]
    plan: Map<String, Value>,
    steps: Vec<Map<String, Value>>,
}

/// What OTP did; read after the run.
#[derive(Deserialize)]
struct Recording {
    trace: Vec<Value>,
}

/// The first step of a scenario that went otherwise than in OTP.
#[derive(Debug)]
pub struct Failure {
    pub scenario: String,
    pub rule: String,
    pub step: usize,
    pub operation: String,
    pub expected: Value,
    pub actual: Value,
}

/// The result of a file, or of several.
#[derive(Debug, Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<Failure>,
}

impl Report {
    /// Runs every scenario of a file's text.
    pub fn run(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match run_line(line) {
                Ok(()) => self.passed += 1,
                Err(failure) => self.failures.push(*failure),
            }
        }
    }

    /// Every failure and the count, as the command prints them.
    pub fn print(&self) {
        for failure in &self.failures {
            println!("FAILED {}: {}", failure.scenario, failure.rule);
            println!("  step {}: {}", failure.step, failure.operation);
            println!("  expected {}", failure.expected);
            println!("  actual   {}", failure.actual);
        }
        println!("{} passed, {} failed", self.passed, self.failures.len());
    }
}

fn run_line(line: &str) -> Result<(), Box<Failure>> {
    let scenario: Scenario = serde_json::from_str(line).unwrap();
    // A scenario that the runner cannot carry out has failed, and the others go on.
    let actual = catch_unwind(AssertUnwindSafe(|| run(&scenario)));
    let actual = actual.unwrap_or_else(|_| vec![Value::String("the runner panicked".to_owned())]);
    let Recording { trace: expected } = serde_json::from_str(line).unwrap();
    let steps = scenario.steps.iter().map(|step| Value::Object(step.clone()).to_string());
    let failed = |step: usize, operation, expected: Value, actual: Value| {
        let (scenario, rule) = (scenario.name.clone(), scenario.rule.clone());
        Box::new(Failure { scenario, rule, step, operation, expected, actual })
    };
    for (step, operation) in steps.enumerate() {
        let expected = expected.get(step).map_or(Value::Null, normal_form::of_entry);
        let actual = actual.get(step).map_or(Value::Null, normal_form::of_entry);
        if expected != actual {
            return Err(failed(step, operation, expected, actual));
        }
    }
    if expected.len() != actual.len() {
        return Err(failed(actual.len(), "the end".to_owned(), expected.len().into(), actual.len().into()));
    }
    Ok(())
}

/// One scenario in a runtime of its own. A scenario that hangs ends when virtual time has run for a day.
fn run(scenario: &Scenario) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut driver = driver::Driver::new(scenario).await;
        let mut trace = Vec::new();
        for step in &scenario.steps {
            match tokio::time::timeout(Duration::from_secs(86_400), driver.step(step)).await {
                Ok(entry) => trace.push(entry),
                Err(_) => {
                    trace.push(Value::String("the step does not end".to_owned()));
                    break;
                }
            }
        }
        trace
    })
}
