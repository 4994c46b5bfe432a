//! Progress as a list of steps, each with a tick or a cross; one line per step, so that it reads well without a terminal.

use super::args::Manner;
use super::error::CliError;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The same words are told again after this long: whoever waits wants to know that it is still so.
const AGAIN: Duration = Duration::from_secs(30);

/// What was told lately, so that a wait tells its turns and no more.
#[derive(Debug, Default)]
pub struct Told {
    at: BTreeMap<String, Instant>,
}

impl Told {
    /// Whether these words are worth telling now; then they count as told.
    pub fn is_news(&mut self, words: &str, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < AGAIN;
        if self.at.get(words).is_some_and(is_recent) {
            return false;
        }
        self.at.insert(words.to_owned(), now);
        true
    }
}

/// Prints steps as they end.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    manner: Manner,
}

impl Steps {
    /// As talkative as asked for.
    pub fn new(manner: Manner) -> Self {
        Self { manner }
    }

    /// Does one step; a failed one is crossed and explained.
    pub async fn step<T>(&self, title: &str, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        if self.manner.verbose {
            println!("[ ] {title} ...");
        }
        let result = work.await;
        match &result {
            Ok(_) if self.manner.quiet => {}
            Ok(_) => println!("[✔] {title}"),
            Err(_) => println!("[✘] {title}"),
        }
        result
    }

    /// A sentence on what is waited for.
    pub fn say(&self, words: &str) {
        if !self.manner.quiet {
            println!("    {words}");
        }
    }

    /// The last words of an operation.
    pub fn end(&self, result: Result<String, CliError>) -> Result<(), CliError> {
        match result {
            Ok(words) => {
                if !self.manner.quiet {
                    println!("{words}");
                }
                Ok(())
            }
            Err(error) => {
                let code = error.code;
                let cause = error.to_string().replace('\n', "\n    ");
                Err(CliError::new(format!("An error occurred during this operation:\n    {cause}")).with_code(code))
            }
        }
    }

    /// Asks before something that cannot be undone.
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.manner.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(CliError::new(format!("{question}\nThere is nobody to ask; add -y if you are sure")));
        }
        eprint!("{question} Type yes to go on: ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim().eq_ignore_ascii_case("yes") {
            return Ok(());
        }
        Err(CliError::new("the operation is cancelled; nothing was changed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_take_turns_are_told_once_in_a_while() {
        let mut told = Told::default();
        let began = Instant::now();
        let mut printed = Vec::new();
        for second in 0..60 {
            let words = if second % 2 == 0 { "copying" } else { "the copy failed" };
            if told.is_news(words, began + Duration::from_secs(second)) {
                printed.push(second);
            }
        }
        assert_eq!(printed, [0, 1, 30, 31]);
    }
}
