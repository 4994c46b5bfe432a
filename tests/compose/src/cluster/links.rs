//! Cutting links: packet rules put into a node's network namespace from the host.

use super::{Cluster, SHORT, command};
use crate::{Outcome, fail};

/// Our own table: nothing of the product is in it.
const TABLE: &str = "row_checker_cut";

impl Cluster {
    async fn nft(&self, node: &str, rules: &str) -> Outcome<()> {
        let pid = self.pid(node).await?.to_string();
        let words = ["nsenter", "-t", &pid, "-n", "nft", "-f", "-"];
        let ended = command::run(&words, Some(rules), SHORT).await?;
        if ended.succeeded() { Ok(()) } else { fail(format!("packet rules in {node}: {}", ended.said())) }
    }

    /// Drops everything between `node` and `peers`, both ways, without a word to either. Replaces an earlier cut.
    ///
    /// # Errors
    /// The node does not run, or the kernel refuses the rules.
    pub async fn cut(&self, node: &str, peers: &[String]) -> Outcome<()> {
        let mut last = Vec::new();
        for peer in peers {
            let index = Self::names().iter().position(|name| name == peer);
            let Some(index) = index else { return fail(format!("there is no node {peer}")) };
            last.push(index);
        }
        let four = last.iter().map(|i| self.plan.address(*i).to_string()).collect::<Vec<_>>().join(", ");
        let six = last.iter().map(|i| format!("{}:{}", self.plan.net6, 11 + i)).collect::<Vec<_>>().join(", ");
        self.nft(
            node,
            &format!(
                "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\
                 chain in {{ type filter hook input priority -300; ip saddr {{ {four} }} drop; ip6 saddr {{ {six} }} drop; }}\n\
                 chain out {{ type filter hook output priority -300; ip daddr {{ {four} }} drop; ip6 daddr {{ {six} }} drop; }}\n}}\n"
            ),
        )
        .await
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
