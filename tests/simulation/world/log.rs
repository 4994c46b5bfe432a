//! The event log: one line per event, the same bytes for the same seed.

use super::{MS, Time};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// How much of a long run is kept for the story: the last minute.
const KEPT: Time = 60_000 * MS;

/// Lines, and a running hash over all of them.
#[derive(Debug)]
pub(crate) struct Log {
    lines: VecDeque<(Time, String)>,
    hash: u64,
    /// Keep everything.
    whole: bool,
    /// Print while running.
    loud: bool,
}

impl Log {
    pub(crate) fn new(whole: bool, loud: bool) -> Self {
        Self { lines: VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325, whole, loud }
    }

    pub(crate) fn line(&mut self, at: Time, text: std::fmt::Arguments<'_>) {
        let mut line = String::with_capacity(80);
        // Writing to a String cannot fail.
        let _written = write!(line, "{:>9.3} {text}", at as f64 / 1e9);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.loud {
            println!("{line}");
        }
        self.lines.push_back((at, line));
        while !self.whole && self.lines.front().is_some_and(|(then, _)| at.saturating_sub(*then) > KEPT) {
            self.lines.pop_front();
        }
    }

    /// Over every line since the start.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (_, line) in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}
