//! The kernel's links and addresses over rtnetlink, and (in `announce`) the packets that tell neighbours about them.
//!
//! Nothing here adds an address: that is heart's alone. Each question opens its own netlink socket: two a second cost nothing,
//! and there is no connection whose death would have to be noticed.

use crate::heart::protocol::VipAddress;
use crate::ports::{AddressSnapshot, AddressTable, AddressTableError, BoundAddress, ForeignClaim, Link, MacAddress};
use announce::PacketSockets;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod announce;

/// How long to wait before the event socket is opened again after it was lost (an overrun closes it).
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// "The address is for ever", as the kernel writes a lifetime.
const FOR_EVER: u32 = u32::MAX;

/// The real address table of the network namespace whose thread opened it.
pub struct NetlinkAddresses {
    changes: watch::Sender<u64>,
    sockets: PacketSockets,
    /// As of the last snapshot: announcements need an interface's number and Ethernet address.
    links: Mutex<Vec<Link>>,
    _events: Task,
}

/// A task that ends with its owner.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl NetlinkAddresses {
    /// Begins to listen for changes. Must be called inside the runtime; needs no capability yet.
    pub fn open() -> Self {
        let changes = watch::Sender::new(0);
        let events = Task::spawn(watch_events(changes.clone()));
        Self { changes, sockets: PacketSockets::default(), links: Mutex::default(), _events: events }
    }

    fn known_links(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn link(&self, name: &str, limit: Duration) -> Result<Link, AddressTableError> {
        let known = self.known_links().iter().find(|link| link.name == name).cloned();
        let found = match known {
            Some(link) => Some(link),
            None => self.snapshot(limit).await?.links.into_iter().find(|link| link.name == name),
        };
        found.ok_or_else(|| AddressTableError::NoSuchInterface { interface: name.to_owned() })
    }
}

#[async_trait]
impl AddressTable for NetlinkAddresses {
    async fn snapshot(&self, limit: Duration) -> Result<AddressSnapshot, AddressTableError> {
        let snapshot = bounded("listing addresses", limit, read_snapshot()).await?;
        *self.known_links() = snapshot.links.clone();
        self.sockets.set_own(snapshot.links.iter().filter_map(|link| link.mac).collect());
        Ok(snapshot)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn remove(&self, address: &BoundAddress, limit: Duration) -> Result<(), AddressTableError> {
        bounded("removing an address", limit, delete_address(address)).await
    }

    async fn announce(&self, address: &VipAddress, limit: Duration) -> Result<(), AddressTableError> {
        let link = self.link(&address.interface, limit).await?;
        self.sockets.announce(address.ip, &link)
    }

    async fn probe(&self, address: &VipAddress, limit: Duration) -> Result<(), AddressTableError> {
        let link = self.link(&address.interface, limit).await?;
        self.sockets.probe(address.ip, &link)
    }

    fn listen_for(&self, addresses: &[IpAddr]) -> Result<(), AddressTableError> {
        self.sockets.listen_for(addresses)
    }

    fn claims(&self) -> watch::Receiver<BTreeMap<IpAddr, ForeignClaim>> {
        self.sockets.claims()
    }
}

async fn bounded<T>(
    operation: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, AddressTableError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(explain(operation, &error)),
        Err(_) => Err(AddressTableError::Silent { operation, limit }),
    }
}

fn explain(operation: &'static str, error: &rtnetlink::Error) -> AddressTableError {
    match errno(error) {
        Some(libc::EPERM | libc::EACCES) => {
            AddressTableError::MissingCapability { capability: "CAP_NET_ADMIN", operation }
        }
        Some(code) => {
            AddressTableError::Failed { operation, detail: std::io::Error::from_raw_os_error(code).to_string() }
        }
        None => AddressTableError::Failed { operation, detail: error.to_string() },
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

/// A netlink connection for one question; the task ends when the answer was read.
fn connect() -> Result<(Handle, Task), rtnetlink::Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|_| rtnetlink::Error::RequestFailed)?;
    Ok((handle, Task::spawn(connection)))
}

async fn read_snapshot() -> Result<AddressSnapshot, rtnetlink::Error> {
    let (handle, _task) = connect()?;
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    let links: Vec<Link> = links.iter().map(read_link).collect();
    let messages: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let names: BTreeMap<u32, &str> = links.iter().map(|link| (link.index, link.name.as_str())).collect();
    let addresses = messages.iter().filter_map(|message| read_address(message, &names)).collect();
    Ok(AddressSnapshot { addresses, links })
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mac: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddress),
            _ => {}
        }
    }
    link
}

/// The address itself: `IFA_LOCAL` where there is one (on point-to-point links `IFA_ADDRESS` is the peer's).
fn ip_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

fn read_address(message: &AddressMessage, names: &BTreeMap<u32, &str>) -> Option<BoundAddress> {
    let valid = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::CacheInfo(info) if info.ifa_valid != FOR_EVER => Some(info.ifa_valid),
        _ => None,
    });
    Some(BoundAddress {
        ip: ip_of(message)?,
        prefix: message.header.prefix_len,
        interface: (*names.get(&message.header.index)?).to_owned(),
        valid_for: valid.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

async fn delete_address(address: &BoundAddress) -> Result<(), rtnetlink::Error> {
    // No such interface: then the address is gone with it.
    let Ok(index) = nix::net::if_::if_nametoindex(address.interface.as_str()) else { return Ok(()) };
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix;
    message.header.family = if address.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(AddressAttribute::Local(address.ip));
    message.attributes.push(AddressAttribute::Address(address.ip));
    let (handle, _task) = connect()?;
    match handle.address().del(message).execute().await {
        Err(error) if matches!(errno(&error), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
        done => done,
    }
}

/// Counts real changes. heart's refresh of a lifetime arrives five times a second as "new address" and must wake nobody.
async fn watch_events(changes: watch::Sender<u64>) {
    const GROUPS: [MulticastGroup; 3] = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    loop {
        match rtnetlink::new_multicast_connection(&GROUPS) {
            Ok((connection, _handle, mut messages)) => {
                let _task = Task::spawn(connection);
                let mut known = Known::default();
                // Whatever happened while nobody listened.
                changes.send_modify(|count| *count += 1);
                while let Some((message, _)) = messages.next().await {
                    if known.changes(&message.payload) {
                        changes.send_modify(|count| *count += 1);
                    }
                }
                tracing::warn!("lost the kernel's address events; listening anew");
            }
            Err(error) => tracing::warn!(%error, "cannot listen for the kernel's address events"),
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

#[derive(Default)]
struct Known {
    addresses: BTreeSet<(u32, u8, IpAddr)>,
    links: BTreeMap<u32, Link>,
}

impl Known {
    fn changes(&mut self, payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
        let NetlinkPayload::InnerMessage(message) = payload else {
            // An overrun: something was missed.
            return matches!(payload, NetlinkPayload::Overrun(_));
        };
        match message {
            RouteNetlinkMessage::NewAddress(address) => key_of(address).is_none_or(|key| self.addresses.insert(key)),
            RouteNetlinkMessage::DelAddress(address) => {
                if let Some(key) = key_of(address) {
                    self.addresses.remove(&key);
                }
                true
            }
            RouteNetlinkMessage::NewLink(link) => {
                let link = read_link(link);
                let before = self.links.insert(link.index, link.clone());
                before.is_none_or(|before| before != link)
            }
            RouteNetlinkMessage::DelLink(link) => {
                self.links.remove(&link.header.index);
                self.addresses.retain(|(index, ..)| *index != link.header.index);
                true
            }
            _ => false,
        }
    }
}

fn key_of(message: &AddressMessage) -> Option<(u32, u8, IpAddr)> {
    Some((message.header.index, message.header.prefix_len, ip_of(message)?))
}

#[cfg(test)]
pub(crate) mod tests;
