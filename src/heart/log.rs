//! heart's log: one line at a time to standard error, and never a wait for it.
//!
//! heart does not use the daemon's subscriber: a log reader that is frozen with a full pipe would stop the process that
//! must act at the deadline. A line that finds no room is dropped and counted; the next one that is written says so.

use crate::settings::LogFormat;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// A pipe that is writable takes at least this much at once (PIPE_BUF).
const MAX_LINE_BYTES: usize = 4096;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A transition.
    Info,
    /// Something that heart could not do, or was forced to do.
    Warn,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    format: LogFormat,
    dropped: u64,
}

impl Log {
    /// A log in this format.
    pub fn new(format: LogFormat) -> Self {
        Self { format, dropped: 0 }
    }

    /// A transition.
    pub fn info(&mut self, text: &str) {
        self.line(Level::Info, text);
    }

    /// Something wrong or forced.
    pub fn warn(&mut self, text: &str) {
        self.line(Level::Warn, text);
    }

    fn line(&mut self, level: Level, text: &str) {
        let stderr = std::io::stderr();
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let writable = matches!(poll(&mut fds, PollTimeout::ZERO), Ok(ready) if ready > 0)
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT));
        if !writable {
            self.dropped += 1;
            return;
        }
        let mut line = format_line(self.format, level, text, self.dropped);
        while line.len() >= MAX_LINE_BYTES {
            line.pop();
        }
        line.push('\n');
        if stderr.lock().write_all(line.as_bytes()).is_ok() {
            self.dropped = 0;
        }
    }
}

fn format_line(format: LogFormat, level: Level, text: &str, dropped: u64) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = format!("{}.{:03}", at.as_secs(), at.subsec_millis());
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
    };
    let lost = if dropped > 0 { format!(" ({dropped} earlier lines had no room)") } else { String::new() };
    match format {
        LogFormat::Text => format!("{at} {level} heart: {text}{lost}"),
        LogFormat::Json => {
            let message = format!("{text}{lost}");
            serde_json::json!({"time": at, "level": level, "target": "heart", "message": message}).to_string()
        }
    }
}
