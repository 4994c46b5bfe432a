//! What a cluster is to be: names, addresses, settings.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// How many backend nodes.
pub const NODES: usize = 3;

/// A cluster in containers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Value of the label `leaderl.cluster`, and the project's name with `leaderl-` in front.
    pub name: String,
    /// First three numbers of the network.
    pub net: [u8; 3],
    /// First four groups of the IPv6 network, for example `fd73:7331:73:`.
    pub net6: String,
    /// Tag of the node image: which search engine is in it.
    pub image: String,
    /// Whether the engine runs.
    pub search: bool,
    /// `quorum`, `strict` or `async`.
    pub mode: String,
    /// Where logs of this run go.
    pub logs: PathBuf,
}

impl Plan {
    /// The cluster of the tests.
    #[must_use]
    pub fn test(logs: PathBuf, search: bool) -> Self {
        Self {
            name: "test".into(),
            net: [172, 30, 73],
            net6: "fd73:7331:73:".into(),
            image: std::env::var("SEARCH").unwrap_or_else(|_| "6.8.23".into()),
            search,
            mode: "quorum".into(),
            logs,
        }
    }

    /// The cluster of the demo; may run beside the tests' one.
    #[must_use]
    pub fn demo(logs: PathBuf) -> Self {
        let test = Self::test(logs, true);
        Self { name: "demo".into(), net: [172, 30, 74], net6: "fd73:7331:74:".into(), ..test }
    }

    /// The nodes of the checker's own test: PostgreSQL alone in them.
    #[must_use]
    pub fn selftest(logs: PathBuf) -> Self {
        let test = Self::test(logs, false);
        Self { name: "selftest".into(), net: [172, 30, 75], net6: "fd73:7331:75:".into(), ..test }
    }

    /// `backend-1` to `backend-3`, from index 0.
    #[must_use]
    pub fn node_name(index: usize) -> String {
        format!("backend-{}", index + 1)
    }

    /// A node's address.
    ///
    /// # Panics
    /// There is no such node.
    #[must_use]
    pub fn address(&self, index: usize) -> IpAddr {
        assert!(index < NODES, "node {index}");
        self.host(u8::try_from(11 + index).unwrap_or(u8::MAX))
    }

    /// The VIP.
    #[must_use]
    pub fn vip(&self) -> IpAddr {
        self.host(100)
    }

    /// The frontend.
    #[must_use]
    pub fn frontend(&self) -> IpAddr {
        self.host(20)
    }

    fn host(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.net;
        IpAddr::V4(Ipv4Addr::new(a, b, c, last))
    }

    /// The type that the frontends' documents have; OpenSearch 2 knows none.
    #[must_use]
    pub fn document_type(&self) -> Option<&'static str> {
        (self.engine() != "opensearch2").then_some("object")
    }

    fn engine(&self) -> &'static str {
        match self.image.split(['.', '-']).next() {
            Some("7") => "elasticsearch7",
            Some("opensearch") => "opensearch2",
            Some(_) | None => "elasticsearch6",
        }
    }

    /// `leaderl.toml` of a node. Small memory, quick health checks, an engine that starts in half the time (no optimising
    /// compiler), an etcd that a row can fill; all that concerns safety at its default.
    #[must_use]
    pub fn settings(&self, index: usize) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[node]\nname = \"{}\"\npublish_address = \"{}\"\n\n\
             [replication]\nmode = \"{}\"\n\n\
             [postgres]\nshared_buffers = \"64MB\"\nmax_connections = 200\n\n\
             [search]\nmode = \"{}\"\nengine = \"{}\"\nheap_mib = 300\njvm_opts = [\"-XX:TieredStopAtLevel=1\"]\n\n\
             [vip]\naddresses = [\"{}/32\", \"{}:100/128\"]\n\n\
             [etcd]\nquota_bytes = 67108864\n\n\
             [health]\ninterval = \"1s\"\n",
            Self::node_name(index),
            self.address(index),
            self.mode,
            if self.search { "managed" } else { "off" },
            self.engine(),
            self.vip(),
            self.net6,
        );
        text
    }
}
