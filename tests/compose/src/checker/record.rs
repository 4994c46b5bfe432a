//! One line per attempt to write a row, as the clients saw it.

use crate::{Outcome, While, fail};

/// What a client knows about its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server said it is committed. From here on the row must exist.
    Acknowledged,
    /// The server refused it before doing anything (read-only node).
    Refused,
    /// No answer, an error after sending, or a commit whose wait for the followers was cancelled. May go either way.
    Unknown,
}

/// An attempt to write row (client, seq).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How it ended.
    pub answer: Answer,
    /// Which client.
    pub client: u32,
    /// The client's route: `vip`, `haproxy`, a node's name, `sticky:<route>`.
    pub route: String,
    /// Number of the row, counted by the client, never used twice.
    pub seq: u64,
    /// Before the statement was sent, CLOCK_BOOTTIME ns.
    pub sent_ns: u64,
    /// After the answer was read, CLOCK_BOOTTIME ns.
    pub answered_ns: u64,
    /// The server's host name, also on sessions through the VIP.
    pub node: String,
    /// The server's timeline. One epoch is one timeline. 0 where it did not answer.
    pub timeline: u32,
}

impl Attempt {
    /// The line in the log.
    #[must_use]
    pub fn to_line(&self) -> String {
        let letter = match self.answer {
            Answer::Acknowledged => 'A',
            Answer::Refused => 'R',
            Answer::Unknown => 'U',
        };
        let node = if self.node.is_empty() { "-" } else { &self.node };
        format!(
            "{letter} {} {} {} {} {} {node} {}\n",
            self.client, self.route, self.seq, self.sent_ns, self.answered_ns, self.timeline
        )
    }

    /// Reads a line back.
    ///
    /// # Errors
    /// The line is not one that [`Attempt::to_line`] wrote.
    pub fn parse(line: &str) -> Outcome<Self> {
        let fields: Vec<&str> = line.split(' ').collect();
        let [letter, client, route, seq, sent, answered, node, timeline] = fields[..] else {
            return fail(format!("not a line of the row log: {line:?}"));
        };
        let answer = match letter {
            "A" => Answer::Acknowledged,
            "R" => Answer::Refused,
            "U" => Answer::Unknown,
            other => return fail(format!("unknown kind of line {other:?} in the row log")),
        };
        let number = |text: &str| text.parse::<u64>().during(|| format!("row log, {text:?}"));
        Ok(Self {
            answer,
            client: u32::try_from(number(client)?).during(|| "row log, client".into())?,
            route: route.into(),
            seq: number(seq)?,
            sent_ns: number(sent)?,
            answered_ns: number(answered)?,
            node: if node == "-" { String::new() } else { node.into() },
            timeline: u32::try_from(number(timeline)?).during(|| "row log, timeline".into())?,
        })
    }
}

/// Every whole line of a row log; an unfinished last line (the writer was killed) does not count.
///
/// # Errors
/// A line in it is damaged.
pub fn parse_log(text: &str) -> Outcome<Vec<Attempt>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(Attempt::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let attempt = Attempt {
            answer: Answer::Unknown,
            client: 3,
            route: "vip".into(),
            seq: 9,
            sent_ns: 1,
            answered_ns: 2,
            node: String::new(),
            timeline: 0,
        };
        let text = format!("{}A 1 vip 3", attempt.to_line());
        assert_eq!(parse_log(&text).expect("a log with an unfinished last line"), [attempt]);
    }
}
