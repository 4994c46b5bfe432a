//! Progress as a list of steps, each with a tick or a cross; one line per step, so that it reads well without a terminal.

use super::args::Manner;
use super::error::CliError;
use std::future::Future;
use std::io::IsTerminal;

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
