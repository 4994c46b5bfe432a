//! What VipActor acts through: the kernel's links and addresses, and the packets that tell neighbours where an address is.

use crate::heart::protocol::VipAddress;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// Name, such as `eth0`.
    pub name: String,
    /// Administratively up and with a carrier.
    pub up: bool,
    /// Ethernet address, where there is one.
    pub mac: Option<MacAddress>,
}

/// One address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoundAddress {
    /// The address.
    pub ip: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Name of its interface.
    pub interface: String,
    /// The kernel removes it after this; `None`: never.
    pub valid_for: Option<Duration>,
}

/// Every link and every address at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSnapshot {
    /// Interfaces.
    pub links: Vec<Link>,
    /// Addresses.
    pub addresses: Vec<BoundAddress>,
}

/// Somebody else was heard claiming an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignClaim {
    /// Who.
    pub mac: MacAddress,
    /// How many such packets were heard since the table was opened; grows with each.
    pub heard: u64,
}

/// Why the address table did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddressTableError {
    /// The process may not do that.
    #[error("{operation} needs the capability {capability}, which this process lacks")]
    MissingCapability {
        /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
        capability: &'static str,
        /// What was tried.
        operation: &'static str,
    },
    /// There is no such interface.
    #[error("there is no interface `{interface}`")]
    NoSuchInterface {
        /// Its name.
        interface: String,
    },
    /// The kernel did not answer in time.
    #[error("the kernel did not answer within {limit:?} ({operation})")]
    Silent {
        /// What was tried.
        operation: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The kernel refused.
    #[error("{operation} failed: {detail}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The kernel's words.
        detail: String,
    },
}

/// Observes addresses, removes stale ones and announces those that are held. It cannot add any: that is heart's alone.
#[async_trait]
pub trait AddressTable: Send + Sync {
    /// All links and addresses now.
    async fn snapshot(&self, limit: Duration) -> Result<AddressSnapshot, AddressTableError>;
    /// Grows on every change of a link or an address (a mere refresh of a lifetime is none).
    fn changes(&self) -> watch::Receiver<u64>;
    /// Removes one address; done as well when it is not there.
    async fn remove(&self, address: &BoundAddress, limit: Duration) -> Result<(), AddressTableError>;
    /// Tells the neighbours once that the address is here: gratuitous ARP in both forms, or an unsolicited neighbour advertisement.
    async fn announce(&self, address: &VipAddress, limit: Duration) -> Result<(), AddressTableError>;
    /// Asks the neighbours once who has the address (ARP probe of RFC 5227, neighbour solicitation); answers appear in [`Self::claims`].
    async fn probe(&self, address: &VipAddress, limit: Duration) -> Result<(), AddressTableError>;
    /// From now on [`Self::claims`] is about these addresses; replaces the earlier list.
    fn listen_for(&self, addresses: &[IpAddr]) -> Result<(), AddressTableError>;
    /// The last foreign claim of each address listened for.
    fn claims(&self) -> watch::Receiver<BTreeMap<IpAddr, ForeignClaim>>;
}
