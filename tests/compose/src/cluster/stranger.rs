//! Addresses put where they do not belong, and a machine on the clients' segment that is nobody's node.

use super::plan::Plan;
use super::{Cluster, LONG, SHORT, command};
use crate::{Outcome, fail};

/// The label of the machine that is nobody's node.
const STRANGER: &str = "stranger";

impl Cluster {
    /// Starts a machine on the segment that claims the VIP; its hardware address. Removed with the cluster, or by
    /// [`Cluster::send_stranger_away`].
    ///
    /// # Errors
    /// Docker cannot.
    pub async fn stranger_claims_vip(&self) -> Outcome<String> {
        self.send_stranger_away().await?;
        let network = self.network().await?;
        let vip = self.plan.vip().to_string();
        let cluster = format!("leaderl.cluster={}", self.plan.name);
        let node = format!("leaderl.node={STRANGER}");
        let words = ["docker", "run", "-d", "--cap-add", "NET_RAW", "--network", &network, "--label", &cluster];
        // As every machine does that has an address: it tells its neighbours.
        let rest = ["--label", &node, "leaderl-frontend", "checker", "announce", "--vip", &vip];
        let words: Vec<&str> = words.into_iter().chain(rest).collect();
        command::must(&words, LONG).await?;
        let hardware = self.hardware_address(STRANGER).await?;
        self.add_vip(STRANGER).await?;
        Ok(hardware)
    }

    /// Ends it; nothing to do when there is none.
    ///
    /// # Errors
    /// Docker cannot.
    pub async fn send_stranger_away(&self) -> Outcome<()> {
        let cluster = format!("label=leaderl.cluster={}", self.plan.name);
        let node = format!("label=leaderl.node={STRANGER}");
        let list = ["docker", "container", "ls", "-a", "-q", "--filter", &cluster, "--filter", &node];
        for id in command::must(&list, SHORT).await?.lines() {
            command::must(&["docker", "container", "rm", "-f", id], LONG).await?;
        }
        Ok(())
    }

    async fn network(&self) -> Outcome<String> {
        let cluster = format!("label=leaderl.cluster={}", self.plan.name);
        let found = command::must(&["docker", "network", "ls", "-q", "--filter", &cluster], SHORT).await?;
        match found.lines().collect::<Vec<_>>()[..] {
            [id] => Ok(id.to_string()),
            _ => fail(format!("not exactly one network of {}: {found:?}", self.plan.name)),
        }
    }

    /// Puts the VIP on a machine by hand, for ever.
    ///
    /// # Errors
    /// It does not run, or has it already.
    pub async fn add_vip(&self, node: &str) -> Outcome<()> {
        let vip = format!("{}/32", self.plan.vip());
        self.in_network(node, &["ip", "address", "add", &vip, "dev", "eth0"]).await.map(drop)
    }

    /// Takes the VIP off a machine by hand.
    ///
    /// # Errors
    /// It does not run, or does not have it.
    pub async fn remove_vip(&self, node: &str) -> Outcome<()> {
        let vip = format!("{}/32", self.plan.vip());
        self.in_network(node, &["ip", "address", "del", &vip, "dev", "eth0"]).await.map(drop)
    }

    /// The hardware address of a machine on the segment.
    ///
    /// # Errors
    /// It does not run.
    pub async fn hardware_address(&self, node: &str) -> Outcome<String> {
        let shown = self.in_network(node, &["ip", "-o", "link", "show", "dev", "eth0"]).await?;
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
        match words.next() {
            Some(address) => Ok(address.to_string()),
            None => fail(format!("no hardware address of {node} in {shown:?}")),
        }
    }

    /// Unplugs a node from the network, and plugs it in again under the same addresses: a new interface.
    ///
    /// # Errors
    /// Docker cannot.
    pub async fn plug(&self, node: &str, plugged: bool) -> Outcome<()> {
        let (id, network) = (self.container(node).await?, self.network().await?);
        if !plugged {
            return command::must(&["docker", "network", "disconnect", "-f", &network, &id], LONG).await.map(drop);
        }
        let Some(index) = (0..Self::names().len()).find(|index| Plan::node_name(*index) == node) else {
            return fail(format!("there is no node {node}"));
        };
        let four = self.plan.address(index).to_string();
        let six = format!("{}:{}", self.plan.net6, 11 + index);
        let words = ["docker", "network", "connect", "--ip", &four, "--ip6", &six, &network, &id];
        command::must(&words, LONG).await.map(drop)
    }
}
