//! What the watcher saw, and the judgement over it: never two nodes answering 200, never two machines answering for the VIP.

use crate::{Outcome, While, fail};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Two answers for the VIP from different machines, closer than this in turns, mean that both held it.
const TURN_NS: u64 = 300_000_000;

/// One line of the watch log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A poll of `/leader`.
    Leader(Poll),
    /// A machine answered for the VIP.
    Vip {
        /// CLOCK_BOOTTIME ns.
        at_ns: u64,
        /// Its hardware address.
        address: String,
    },
}

/// A poll of `/leader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Node's name.
    pub node: String,
    /// Before connecting, CLOCK_BOOTTIME ns.
    pub asked_ns: u64,
    /// After the status line, CLOCK_BOOTTIME ns.
    pub answered_ns: u64,
    /// The HTTP status; `None`: no answer in 2 s or refused.
    pub status: Option<u16>,
}

impl Observation {
    /// The line in the log.
    #[must_use]
    pub fn to_line(&self) -> String {
        match self {
            Self::Leader(Poll { node, asked_ns, answered_ns, status }) => {
                format!("L {node} {asked_ns} {answered_ns} {}", status.unwrap_or(0))
            }
            Self::Vip { at_ns, address } => format!("V {at_ns} {address}"),
        }
    }

    /// Reads a line back.
    ///
    /// # Errors
    /// The line is not one that [`Observation::to_line`] wrote.
    pub fn parse(line: &str) -> Outcome<Self> {
        let number = |text: &str| text.parse::<u64>().during(|| format!("watch log, {text:?}"));
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["L", node, asked, answered, status] => Ok(Self::Leader(Poll {
                node: node.into(),
                asked_ns: number(asked)?,
                answered_ns: number(answered)?,
                status: Some(status.parse().during(|| "watch log, status".into())?).filter(|status| *status != 0),
            })),
            ["V", at, address] => Ok(Self::Vip { at_ns: number(at)?, address: address.into() }),
            _ => fail(format!("not a line of the watch log: {line:?}")),
        }
    }
}

/// Every whole line of a watch log.
///
/// # Errors
/// A line in it is damaged.
pub fn parse_log(text: &str) -> Outcome<Vec<Observation>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(Observation::parse).collect()
}

/// What the watcher's log amounts to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Polls of `/leader`.
    pub polls: u64,
    /// Answers for the VIP.
    pub vip_answers: u64,
    /// How many machines answered for the VIP.
    pub vip_holders: u64,
    /// What must not be, one sentence each.
    pub faults: Vec<String>,
    /// The slowest answer of `/leader`, ms; unanswered polls do not count.
    pub slowest_poll_ms: f64,
    /// The longest time in which nobody answered 200, ms.
    pub leaderless_ms: f64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "/leader: {} polls, slowest answer {:.0} ms, longest without a leader {:.0} ms; VIP: {} answers",
            self.polls, self.slowest_poll_ms, self.leaderless_ms, self.vip_answers
        )?;
        for fault in &self.faults {
            writeln!(f, "WRONG: {fault}")?;
        }
        Ok(())
    }
}

/// A stretch in which every poll of a node said 200: it certainly did between these two times.
#[derive(Debug)]
struct Stretch<'a> {
    node: &'a str,
    from_ns: u64,
    to_ns: u64,
}

/// Judges a watch log.
#[must_use]
pub fn judge(observations: &[Observation]) -> Seen {
    let mut seen = Seen::default();
    let mut polls: BTreeMap<&str, Vec<&Poll>> = BTreeMap::new();
    let mut answers: Vec<(u64, &str)> = Vec::new();
    for observation in observations {
        match observation {
            Observation::Leader(poll) => polls.entry(&poll.node).or_default().push(poll),
            Observation::Vip { at_ns, address } => answers.push((*at_ns, address)),
        }
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for (node, polls) in &mut polls {
        polls.sort_by_key(|poll| poll.asked_ns);
        seen.polls += polls.len() as u64;
        stretches.extend(stretches_of(node, polls));
        for poll in polls.iter().filter(|poll| poll.status.is_some()) {
            seen.slowest_poll_ms = seen.slowest_poll_ms.max((poll.answered_ns - poll.asked_ns) as f64 / 1e6);
        }
    }
    stretches.sort_by_key(|stretch| stretch.from_ns);
    two_leaders(&stretches, &mut seen);
    seen.vip_answers = answers.len() as u64;
    seen.vip_holders = answers.iter().map(|(_, address)| *address).collect::<BTreeSet<_>>().len() as u64;
    two_holders(&mut answers, &mut seen);
    seen
}

fn stretches_of<'a>(node: &'a str, polls: &[&Poll]) -> Vec<Stretch<'a>> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut open = false;
    for poll in polls {
        if poll.status != Some(200) {
            open = false;
            continue;
        }
        match stretches.last_mut() {
            Some(last) if open => last.to_ns = poll.asked_ns,
            Some(_) | None => {
                stretches.push(Stretch { node, from_ns: poll.answered_ns, to_ns: poll.answered_ns });
                open = true;
            }
        }
    }
    stretches
}

fn two_leaders(stretches: &[Stretch], seen: &mut Seen) {
    let mut end = stretches.first().map_or(0, |first| first.to_ns);
    for (index, a) in stretches.iter().enumerate() {
        for b in stretches[index + 1..].iter().filter(|b| b.node != a.node && b.from_ns < a.to_ns) {
            let both_ms = (a.to_ns.min(b.to_ns) - b.from_ns) as f64 / 1e6;
            seen.faults.push(format!("{} and {} both answered 200 for at least {both_ms:.0} ms", a.node, b.node));
        }
        seen.leaderless_ms = seen.leaderless_ms.max(a.from_ns.saturating_sub(end) as f64 / 1e6);
        end = end.max(a.to_ns);
    }
}

fn two_holders(answers: &mut [(u64, &str)], seen: &mut Seen) {
    answers.sort_unstable();
    let mut last_of: BTreeMap<&str, u64> = BTreeMap::new();
    let mut previous = "";
    let mut turns = 0;
    let mut example = String::new();
    for (at, address) in answers.iter().copied() {
        let back = last_of.get(address).is_some_and(|last| previous != address && at - last < TURN_NS);
        if back {
            turns += 1;
            example = format!("{previous} and {address} both answered for the VIP at {at}");
        }
        last_of.insert(address, at);
        previous = address;
    }
    if turns > 0 {
        seen.faults.push(format!("{example} ({turns} times in turns)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(node: &str, at_ms: u64, status: u16) -> Observation {
        let (asked_ns, answered_ns) = (at_ms * 1_000_000, (at_ms + 1) * 1_000_000);
        Observation::Leader(Poll { node: node.into(), asked_ns, answered_ns, status: Some(status) })
    }

    fn holder(at_ms: u64, address: &str) -> Observation {
        Observation::Vip { at_ns: at_ms * 1_000_000, address: address.into() }
    }

    #[test]
    fn a_handover_is_not_two_leaders() {
        let seen = judge(&[poll("a", 0, 200), poll("a", 50, 200), poll("a", 100, 503), poll("b", 100, 200)]);
        assert_eq!(seen.faults, Vec::<String>::new());
        assert!((seen.leaderless_ms - 51.0).abs() < 0.001, "{seen:?}");
    }

    #[test]
    fn two_nodes_answering_200_at_one_time_are_reported() {
        let a = (0..5).map(|n| poll("a", n * 50, 200));
        let b = (2..8).map(|n| poll("b", n * 50, 200));
        assert_eq!(judge(&a.chain(b).collect::<Vec<_>>()).faults.len(), 1);
    }

    #[test]
    fn a_vip_that_moves_once_is_fine_and_one_with_two_holders_is_not() {
        let moved = [holder(0, "m1"), holder(50, "m1"), holder(100, "m2"), holder(150, "m2")];
        assert_eq!(judge(&moved).faults, Vec::<String>::new());
        let both = [holder(0, "m1"), holder(50, "m1"), holder(51, "m2"), holder(100, "m1"), holder(101, "m2")];
        assert_eq!(judge(&both).faults.len(), 1);
    }

    #[test]
    fn lines_read_back() {
        for observation in [poll("a", 1, 503), holder(7, "02:42:ac:1e:49:0b")] {
            assert_eq!(Observation::parse(&observation.to_line()).expect("own line"), observation);
        }
    }
}
