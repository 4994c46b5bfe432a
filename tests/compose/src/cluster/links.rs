//! Cutting links: packet rules put into a node's network namespace from the host.

use super::{Cluster, SHORT, command};
use crate::{Outcome, fail};
use std::collections::BTreeSet;

/// Our own table: nothing of the product is in it.
const TABLE: &str = "row_checker_cut";
/// The clients' machine, among the peers of a cut.
pub const FRONTEND: &str = "frontend";

/// Which packets of a node vanish.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// Nodes, or [`FRONTEND`]; empty: everybody, the node itself too.
    pub peers: &'a [String],
    /// In which direction.
    pub way: Way,
    /// Which of them.
    pub ports: Ports<'a>,
}

/// A direction, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// What others send.
    In,
    /// What it sends.
    Out,
}

/// Packets by their ports.
#[derive(Clone, Copy, Debug)]
pub enum Ports<'a> {
    /// All packets.
    Any,
    /// From or to these.
    Of(&'a [u16]),
    /// From these only: the answers of a service.
    From(&'a [u16]),
}

fn rules(targets: &[String], ports: Ports<'_>) -> Vec<String> {
    let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let ends: Vec<String> = match ports {
        Ports::Any => vec![String::new()],
        Ports::Of(ports) => ["sport", "dport"].iter().map(|end| format!("tcp {end} {{ {} }} ", list(ports))).collect(),
        Ports::From(ports) => vec![format!("tcp sport {{ {} }} ", list(ports))],
    };
    targets.iter().flat_map(|target| ends.iter().map(move |end| format!("{target}{end}drop"))).collect()
}

/// The ports of both ends in a line of `ss`: own, then the other.
fn ends(line: &str) -> Option<(u16, u16)> {
    let mut ports = line.split_whitespace().rev().filter_map(|word| word.rsplit_once(':')?.1.parse::<u16>().ok());
    let (other, own) = (ports.next()?, ports.next()?);
    Some((own, other))
}

fn touches((own, other): (u16, u16), ports: &[u16]) -> bool {
    ports.contains(&own) || ports.contains(&other)
}

impl Cluster {
    async fn nft(&self, node: &str, rules: &str) -> Outcome<()> {
        let pid = self.pid(node).await?.to_string();
        let words = ["nsenter", "-t", &pid, "-n", "nft", "-f", "-"];
        let ended = command::run(&words, Some(rules), SHORT).await?;
        if ended.succeeded() { Ok(()) } else { fail(format!("packet rules in {node}: {}", ended.said())) }
    }

    /// Drops packets between `node` and others without a word to either. Replaces an earlier cut.
    ///
    /// # Errors
    /// The node does not run, a peer is unknown, or the kernel refuses the rules.
    pub async fn cut(&self, node: &str, cut: &Cut<'_>) -> Outcome<()> {
        let mut sides = [Vec::new(), Vec::new()];
        for (side, word) in [(Way::In, "saddr"), (Way::Out, "daddr")] {
            if cut.way == Way::Both || cut.way == side {
                sides[usize::from(side == Way::Out)] = rules(&self.targets(cut.peers, word)?, cut.ports);
            }
        }
        let [input, output] = sides;
        self.drop_packets(node, &input, &output).await
    }

    /// Silences every TCP connection of the node that is up now and has one of these ports at one of its ends: both sides
    /// believe in it, and nothing arrives any more. New connections are not touched. How many.
    ///
    /// # Errors
    /// As [`Cluster::cut`].
    pub async fn silence_connections(&self, node: &str, ports: &[u16]) -> Outcome<usize> {
        let shown = self.in_network(node, &["ss", "-Htn", "state", "established"]).await?;
        let found: BTreeSet<(u16, u16)> = shown.lines().filter_map(ends).filter(|ends| touches(*ends, ports)).collect();
        if found.is_empty() {
            return fail(format!("{node} has no connection with a port in {ports:?}"));
        }
        // Seen from here: what leaves us comes from our end; what reaches us goes to it.
        let pairs = |swap: bool| {
            let pair = |(own, other): &(u16, u16)| if swap { (*other, *own) } else { (*own, *other) };
            let words: Vec<String> = found.iter().map(pair).map(|(from, to)| format!("{from} . {to}")).collect();
            vec![format!("tcp sport . tcp dport {{ {} }} drop", words.join(", "))]
        };
        self.drop_packets(node, &pairs(true), &pairs(false)).await?;
        Ok(found.len())
    }

    async fn drop_packets(&self, node: &str, input: &[String], output: &[String]) -> Outcome<()> {
        let lines = |rules: &[String]| rules.iter().map(|rule| format!("{rule};")).collect::<Vec<_>>().join(" ");
        self.nft(
            node,
            &format!(
                "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\
                 chain in {{ type filter hook input priority -300; {} }}\n\
                 chain out {{ type filter hook output priority -300; {} }}\n}}\n",
                lines(input),
                lines(output)
            ),
        )
        .await
    }

    /// The beginnings of rules that match packets of these peers, `word` being `saddr` or `daddr`; of everybody when empty.
    fn targets(&self, peers: &[String], word: &str) -> Outcome<Vec<String>> {
        if peers.is_empty() {
            return Ok(vec![String::new()]);
        }
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for peer in peers {
            match Self::names().iter().position(|name| name == peer) {
                Some(index) => {
                    four.push(self.plan.address(index).to_string());
                    six.push(format!("{}:{}", self.plan.net6, 11 + index));
                }
                None if peer == FRONTEND => four.push(self.plan.frontend().to_string()),
                None => return fail(format!("there is no node {peer}")),
            }
        }
        let mut targets = vec![format!("ip {word} {{ {} }} ", four.join(", "))];
        if !six.is_empty() {
            targets.push(format!("ip6 {word} {{ {} }} ", six.join(", ")));
        }
        Ok(targets)
    }

    /// Removes a cut; nothing to do when there is none.
    ///
    /// # Errors
    /// The node does not run.
    pub async fn mend(&self, node: &str) -> Outcome<()> {
        self.nft(node, &format!("table inet {TABLE}\ndelete table inet {TABLE}\n")).await
    }

    /// Runs a command in the node's network namespace, from the host.
    ///
    /// # Errors
    /// The node does not run or the command fails.
    pub async fn in_network(&self, node: &str, words: &[&str]) -> Outcome<String> {
        let pid = self.pid(node).await?.to_string();
        let all: Vec<&str> = ["nsenter", "-t", &pid, "-n"].into_iter().chain(words.iter().copied()).collect();
        command::must(&all, SHORT).await
    }

    /// Whether the node has the VIP.
    ///
    /// # Errors
    /// The node does not run.
    pub async fn has_vip(&self, node: &str) -> Outcome<bool> {
        let shown = self.in_network(node, &["ip", "-o", "-4", "address", "show"]).await?;
        Ok(shown.contains(&format!(" {}/", self.plan.vip())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_peers_and_ends() {
        let targets = ["ip saddr { 10.0.0.2 } ".to_string()];
        assert_eq!(rules(&targets, Ports::Any), ["ip saddr { 10.0.0.2 } drop"]);
        assert_eq!(rules(&[String::new()], Ports::From(&[2379])), ["tcp sport { 2379 } drop"]);
        assert_eq!(rules(&targets, Ports::Of(&[1, 2])).len(), 2);
    }

    #[test]
    fn connections_are_read_from_ss() {
        let line = "0      0      172.30.73.11:5432  172.30.73.12:40112";
        assert_eq!(ends(line), Some((5432, 40112)));
        assert_eq!(ends("0 0 [::ffff:172.30.73.11]:2379 [::ffff:127.0.0.1]:55112 "), Some((2379, 55112)));
        assert!(touches((5432, 1), &[5432]) && touches((1, 5432), &[5432]) && !touches((1, 2), &[5432]));
    }
}
