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

use std::any::Any;
use std::fmt;
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

/// The files of this folder's neighbour `otp`, with every scenario that was recorded for this project.
const RECORDED: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otp/directed.jsonl"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otp/random-public.jsonl"),
];

/// The whole command: runs these files, or the recorded ones if none is named, and says whether everything passed.
pub fn run_files(files: &[String]) -> Report {
    supervisors::install_panic_hook();
    let mut report = Report::default();
    for file in files {
        report.run_file(file);
    }
    if files.is_empty() {
        RECORDED.iter().for_each(|file| report.run_file(file));
    }
    report
}

/// The result of a file, or of several. Shown as the command prints it.
#[derive(Debug, Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<Failure>,
    /// What could not be run at all: a file that cannot be read, a line that is no scenario. Counts as failed.
    pub unusable: Vec<String>,
}

impl Report {
    pub fn run_file(&mut self, path: &str) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.run(path, &text),
            Err(error) => self.unusable.push(format!("{path}: {error}")),
        }
    }

    /// Runs every scenario of a file's text.
    pub fn run(&mut self, file: &str, text: &str) {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mut number_of_lines = 0;
        for (number, line) in lines {
            number_of_lines += 1;
            match run_line(line) {
                Ok(None) => self.passed += 1,
                Ok(Some(failure)) => self.failures.push(failure),
                Err(error) => self.unusable.push(format!("{file}:{}: not a recorded scenario: {error}", number + 1)),
            }
        }
        if number_of_lines == 0 {
            self.unusable.push(format!("{file}: there is no scenario in it"));
        }
    }

    /// 1 if anything failed, could not be read or was no scenario.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.failed() > 0)
    }

    pub fn failed(&self) -> usize {
        self.failures.len() + self.unusable.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "FAILED {}: {}", failure.scenario, failure.rule)?;
            writeln!(f, "  step {}: {}", failure.step, failure.operation)?;
            writeln!(f, "  expected {}", failure.expected)?;
            writeln!(f, "  actual   {}", failure.actual)?;
        }
        for what in &self.unusable {
            writeln!(f, "UNUSABLE {what}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed())
    }
}

fn run_line(line: &str) -> Result<Option<Failure>, serde_json::Error> {
    let scenario: Scenario = serde_json::from_str(line)?;
    // A scenario that the runner cannot carry out has failed, and the others go on.
    let actual = catch_unwind(AssertUnwindSafe(|| run(&scenario)));
    let actual = actual.unwrap_or_else(|panic| vec![Value::String(format!("the runner panicked: {}", text_of(panic)))]);
    let Recording { trace: expected } = serde_json::from_str(line)?;
    let steps = scenario.steps.iter().map(|step| Value::Object(step.clone()).to_string());
    let failed = |step: usize, operation, expected: Value, actual: Value| {
        let (scenario, rule) = (scenario.name.clone(), scenario.rule.clone());
        Ok(Some(Failure { scenario, rule, step, operation, expected, actual }))
    };
    for (step, operation) in steps.enumerate() {
        let expected = expected.get(step).map_or(Value::Null, normal_form::of_entry);
        let actual = actual.get(step).map_or(Value::Null, normal_form::of_entry);
        if expected != actual {
            return failed(step, operation, expected, actual);
        }
    }
    if expected.len() != actual.len() {
        return failed(actual.len(), "the end".to_owned(), expected.len().into(), actual.len().into());
    }
    Ok(None)
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("without a text".to_owned(), |text| (*text).to_owned()),
    }
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
