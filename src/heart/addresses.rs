//! The VIP in the kernel: added and refreshed with a finite lifetime, so that it goes even when everything is frozen.

use super::protocol::VipAddress;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::net::IpAddr;

/// The kernel answers within the send; this bounds what should not happen.
const ANSWER_LIMIT_MS: i64 = 200;
/// Late answers to earlier requests that one request may skip.
const MAX_STALE: u32 = 64;
const MAX_LABEL_BYTES: usize = 15;
const BUFFER_BYTES: usize = 64 * 1024;

/// What became of an address request.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// There is no such interface.
    #[error("interface {name} does not exist")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// The kernel refused (no NET_ADMIN, bad prefix, ...).
    #[error("the kernel refused {ip}")]
    Refused {
        /// The address.
        ip: IpAddr,
        /// Its word.
        #[source]
        source: io::Error,
    },
    /// The socket failed or stayed silent.
    #[error("netlink failed")]
    Netlink(#[from] io::Error),
}

/// A blocking route socket in the network namespace of the process.
#[derive(Debug)]
pub struct Addresses {
    socket: Socket,
    sequence: u32,
}

impl Addresses {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(ANSWER_LIMIT_MS))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Adds the address, or renews its lifetime if it is there.
    pub fn refresh(&mut self, vip: &VipAddress, valid_s: u32) -> Result<(), AddressError> {
        let message = message(vip, interface_index(vip)?, Some(valid_s));
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let answer = self.ask(RouteNetlinkMessage::NewAddress(message), flags);
        answer.map(drop).map_err(|source| AddressError::Refused { ip: vip.ip, source })
    }

    /// Removes the address; one that is not there is fine.
    pub fn remove(&mut self, vip: &VipAddress) -> Result<(), AddressError> {
        let Ok(index) = interface_index(vip) else { return Ok(()) };
        match self.ask(RouteNetlinkMessage::DelAddress(message(vip, index, None)), NLM_F_REQUEST | NLM_F_ACK) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            Err(source) => Err(AddressError::Refused { ip: vip.ip, source }),
            Ok(_) => Ok(()),
        }
    }

    /// Removes these addresses from every interface where they have a finite lifetime (a permanent one is not heart's).
    pub fn sweep(&mut self, ips: &[IpAddr]) -> Result<usize, AddressError> {
        let everything = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.ask(everything, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut removed = 0;
        for entry in found {
            let Some(ip) = local_ip(&entry).filter(|ip| ips.contains(ip)) else { continue };
            if !lives_for_ever(&entry) {
                self.ask(RouteNetlinkMessage::DelAddress(entry), NLM_F_REQUEST | NLM_F_ACK)
                    .map_err(|source| AddressError::Refused { ip, source })?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Sends and reads until the acknowledgement or the dump's end.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<AddressMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut packet = vec![0; request.buffer_len()];
        request.serialize(&mut packet);
        self.socket.send(&packet, 0)?;
        let mut found = Vec::new();
        for _ in 0..MAX_STALE {
            let mut buffer = Vec::with_capacity(BUFFER_BYTES);
            self.socket.recv(&mut buffer, 0)?;
            if self.read_answer(&buffer, &mut found)? {
                return Ok(found);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "no acknowledgement among the kernel's answers"))
    }

    /// Whether the answer is complete.
    fn read_answer(&self, mut datagram: &[u8], found: &mut Vec<AddressMessage>) -> io::Result<bool> {
        while !datagram.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // Messages are padded to four bytes.
            let length = (answer.header.length as usize).next_multiple_of(4).max(16);
            datagram = datagram.get(length..).unwrap_or_default();
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            match answer.payload {
                NetlinkPayload::Error(error) => return error.code.map_or(Ok(true), |_| Err(error.to_io())),
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(entry)) => found.push(entry),
                NetlinkPayload::InnerMessage(_) | NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
            }
        }
        Ok(false)
    }
}

fn interface_index(vip: &VipAddress) -> Result<u32, AddressError> {
    if_nametoindex(vip.interface.as_str()).map_err(|_| AddressError::NoInterface { name: vip.interface.clone() })
}

fn message(vip: &VipAddress, index: u32, valid_s: Option<u32>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.prefix_len = vip.prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(vip.ip), AddressAttribute::Address(vip.ip)];
    match vip.ip {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            let label = format!("{}:vip", vip.interface);
            if label.len() <= MAX_LABEL_BYTES && valid_s.is_some() {
                message.attributes.push(AddressAttribute::Label(label));
            }
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            // Without Nodad it would be tentative for a second.
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
    }
    if let Some(seconds) = valid_s {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = seconds;
        lifetime.ifa_preferred = seconds;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

/// IPv4 names its own address `Local`; IPv6 has `Address` only.
fn local_ip(entry: &AddressMessage) -> Option<IpAddr> {
    let local = entry.attributes.iter().find_map(|it| match it {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        entry.attributes.iter().find_map(|it| match it {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

fn lives_for_ever(entry: &AddressMessage) -> bool {
    !entry.attributes.iter().any(|it| matches!(it, AddressAttribute::CacheInfo(life) if life.ifa_valid != u32::MAX))
}
