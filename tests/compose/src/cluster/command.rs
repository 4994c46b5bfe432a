//! Commands of the host, each with a limit.

use crate::{Failure, Outcome, While};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Exit code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Output and error text in one, for a message.
    #[must_use]
    pub fn said(&self) -> String {
        let (out, err) = (self.stdout.trim(), self.stderr.trim());
        format!(
            "exit {:?}: {}",
            self.code,
            [err, out].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" | ")
        )
    }
}

/// Runs a command whatever its exit code.
///
/// # Errors
/// It cannot be started or takes longer than `limit`; it is killed then.
pub async fn run(words: &[&str], input: Option<&str>, limit: Duration) -> Outcome<Ended> {
    let Some((program, arguments)) = words.split_first() else { return crate::fail("an empty command") };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().during(|| format!("starting {program}"))?;
    let given = input.map(str::to_owned);
    let stdin = child.stdin.take();
    let feed = async move {
        if let (Some(mut stdin), Some(text)) = (stdin, given) {
            // A command that ends before it has read everything reports that by its exit code.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let both = async { futures::future::join(feed, child.wait_with_output()).await.1 };
    let output = timeout(limit, both)
        .await
        .map_err(|_| Failure(format!("`{}` did not end within {limit:?}", words.join(" "))))?
        .during(|| format!("running {program}"))?;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command that must succeed; its standard output without the last line end.
///
/// # Errors
/// As [`run`], and a non-zero exit.
pub async fn must(words: &[&str], limit: Duration) -> Outcome<String> {
    let ended = run(words, None, limit).await?;
    if ended.succeeded() {
        return Ok(ended.stdout.trim_end().to_string());
    }
    crate::fail(format!("`{}`: {}", words.join(" "), ended.said()))
}
