//! Gratuitous ARP, ARP probes, neighbour advertisements and solicitations, and listening for others' claims.
//!
//! No maintained crate sends these. The sockets are opened once and kept: closing a packet socket takes the kernel 7-15 ms.
#![expect(unsafe_code, reason = "packet sockets have no safe interface in the crates we use")]

use super::Task;
use crate::ports::{AddressTableError, ForeignClaim, Link, MacAddress};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn6, sendmsg};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::IoSlice;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

const ETH_P_ARP: u16 = 0x0806;
const ARP_LEN: usize = 28;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const BROADCAST: MacAddress = MacAddress([0xff; 6]);
const NO_MAC: MacAddress = MacAddress([0; 6]);
const ND_SOLICIT: u8 = 135;
const ND_ADVERT: u8 = 136;
/// Replace what the neighbours' caches say; not an answer to anybody.
const ND_OVERRIDE: u8 = 0x20;
const ND_LEN: usize = 32;
const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The packet sockets, opened at first use.
#[derive(Default)]
pub(super) struct PacketSockets {
    arp: Mutex<Option<Listener>>,
    nd: Mutex<Option<Listener>>,
    shared: Arc<Shared>,
}

struct Listener {
    fd: Arc<AsyncFd<OwnedFd>>,
    _reader: Task,
}

#[derive(Default)]
struct Shared {
    own: Mutex<BTreeSet<MacAddress>>,
    wanted: Mutex<BTreeSet<IpAddr>>,
    claims: watch::Sender<BTreeMap<IpAddr, ForeignClaim>>,
}

impl Shared {
    fn heard(&self, ip: IpAddr, mac: MacAddress) {
        if lock(&self.wanted).contains(&ip) && mac != NO_MAC && !lock(&self.own).contains(&mac) {
            self.claims.send_modify(|claims| {
                let heard = claims.get(&ip).map_or(0, |claim| claim.heard);
                claims.insert(ip, ForeignClaim { mac, heard: heard + 1 });
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PacketSockets {
    pub(super) fn claims(&self) -> watch::Receiver<BTreeMap<IpAddr, ForeignClaim>> {
        self.shared.claims.subscribe()
    }

    pub(super) fn set_own(&self, macs: BTreeSet<MacAddress>) {
        *lock(&self.shared.own) = macs;
    }

    pub(super) fn listen_for(&self, addresses: &[IpAddr]) -> Result<(), AddressTableError> {
        *lock(&self.shared.wanted) = addresses.iter().copied().collect();
        self.shared.claims.send_modify(|claims| claims.retain(|ip, _| addresses.contains(ip)));
        let v4: Vec<Ipv4Addr> = addresses.iter().filter_map(v4).collect();
        if !v4.is_empty() {
            let arp = self.arp()?;
            filter_by_sender(&arp, &v4).map_err(|error| explain("listening for ARP", &error))?;
        }
        if v4.len() < addresses.len() {
            self.nd()?;
        }
        Ok(())
    }

    pub(super) fn announce(&self, ip: IpAddr, link: &Link) -> Result<(), AddressTableError> {
        let mac = link.mac.unwrap_or(NO_MAC);
        match ip {
            IpAddr::V4(ip) => {
                let arp = self.arp()?;
                // Devices differ in which of the two forms they learn from.
                send_arp(&arp, link.index, &arp_packet(ARP_REQUEST, (mac, ip), (NO_MAC, ip)))?;
                send_arp(&arp, link.index, &arp_packet(ARP_REPLY, (mac, ip), (mac, ip)))
            }
            IpAddr::V6(ip) => {
                let packet = nd_packet(ND_ADVERT, ND_OVERRIDE, ip, OPTION_TARGET_MAC, mac);
                send_nd(&*self.nd()?, link.index, &packet, Some(ip), ALL_NODES)
            }
        }
    }

    pub(super) fn probe(&self, ip: IpAddr, link: &Link) -> Result<(), AddressTableError> {
        let mac = link.mac.unwrap_or(NO_MAC);
        match ip {
            IpAddr::V4(ip) => {
                let probe = arp_packet(ARP_REQUEST, (mac, Ipv4Addr::UNSPECIFIED), (NO_MAC, ip));
                send_arp(&*self.arp()?, link.index, &probe)
            }
            IpAddr::V6(ip) => {
                let packet = nd_packet(ND_SOLICIT, 0, ip, OPTION_SOURCE_MAC, mac);
                send_nd(&*self.nd()?, link.index, &packet, None, solicited_node(ip))
            }
        }
    }

    fn arp(&self) -> Result<Arc<AsyncFd<OwnedFd>>, AddressTableError> {
        let family = (libc::AF_PACKET, libc::SOCK_DGRAM, i32::from(ETH_P_ARP.to_be()));
        open_once(&self.arp, &self.shared, family, |fd| filter_by_sender(fd, &[]), arp_claim)
    }

    fn nd(&self) -> Result<Arc<AsyncFd<OwnedFd>>, AddressTableError> {
        let family = (libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6);
        open_once(&self.nd, &self.shared, family, prepare_nd, nd_claim)
    }
}

fn v4(ip: &IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    }
}

/// What a received packet claims: an address and who says that it has it.
type ClaimReader = fn(&[u8]) -> Option<(IpAddr, MacAddress)>;

fn open_once(
    slot: &Mutex<Option<Listener>>,
    shared: &Arc<Shared>,
    (family, kind, protocol): (i32, i32, i32),
    prepare: impl FnOnce(&OwnedFd) -> io::Result<()>,
    claim: ClaimReader,
) -> Result<Arc<AsyncFd<OwnedFd>>, AddressTableError> {
    let mut slot = lock(slot);
    if let Some(listener) = slot.as_ref() {
        return Ok(listener.fd.clone());
    }
    let opened = || -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: no pointers; the descriptor, when it is one, is new and owned by nobody else.
        let fd = unsafe {
            let raw = libc::socket(family, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, protocol);
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(raw)
        };
        prepare(&fd)?;
        // SAFETY: `OwnedFd` keeps the same open descriptor for as long as it lives, inside the `AsyncFd`.
        unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
    };
    let fd = Arc::new(opened().map_err(|error| explain("opening a packet socket", &error))?);
    let reader = Task::spawn(read_claims(fd.clone(), shared.clone(), claim));
    *slot = Some(Listener { fd: fd.clone(), _reader: reader });
    Ok(fd)
}

fn explain(operation: &'static str, error: &io::Error) -> AddressTableError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            AddressTableError::MissingCapability { capability: "CAP_NET_RAW", operation }
        }
        Some(_) | None => AddressTableError::Failed { operation, detail: error.to_string() },
    }
}

async fn read_claims(fd: Arc<AsyncFd<OwnedFd>>, shared: Arc<Shared>, claim: ClaimReader) {
    loop {
        let Ok(mut ready) = fd.readable().await else { return };
        let mut buffer = [0u8; 128];
        match ready.try_io(|fd| receive(fd.get_ref(), &mut buffer)) {
            Ok(Ok(length)) => {
                if let Some((ip, mac)) = buffer.get(..length).and_then(claim) {
                    shared.heard(ip, mac);
                }
            }
            // The link went down or the like; the socket stays usable, and reading took the error away.
            Ok(Err(error)) => tracing::debug!(%error, "reading a neighbour's packet"),
            Err(_not_ready) => {}
        }
    }
}

fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is writable for its whole length.
    let length = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// Lets only ARP packets through whose sender claims one of `addresses`, so that the segment's other chatter wakes nobody.
fn filter_by_sender(fd: &impl AsRawFd, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let instruction = |code: u32, jt: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    const SENDER_ADDRESS: u32 = 14;
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, SENDER_ADDRESS)];
    for (index, address) in addresses.iter().enumerate() {
        // Equal: over the remaining comparisons and the refusal, to the acceptance.
        let over = u8::try_from(addresses.len() - index).unwrap_or(u8::MAX);
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, over, u32::from(*address)));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 128));
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// Only advertisements are received; what is sent stays on the link (hop limit 255) and is not heard by ourselves.
fn prepare_nd(fd: &OwnedFd) -> io::Result<()> {
    const ICMPV6_FILTER: i32 = 1;
    let mut blocked = [u32::MAX; 8];
    blocked[usize::from(ND_ADVERT) / 32] &= !(1 << (ND_ADVERT % 32));
    set_option(fd, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &255i32)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &255i32)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &0i32)
}

fn set_option<T>(fd: &impl AsRawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`, which the kernel only reads (a filter program is copied during the call).
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn arp_packet(operation: u16, sender: (MacAddress, Ipv4Addr), target: (MacAddress, Ipv4Addr)) -> [u8; ARP_LEN] {
    let mut packet = [0; ARP_LEN];
    packet[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    packet[6..8].copy_from_slice(&operation.to_be_bytes());
    packet[8..14].copy_from_slice(&sender.0.0);
    packet[14..18].copy_from_slice(&sender.1.octets());
    packet[18..24].copy_from_slice(&target.0.0);
    packet[24..28].copy_from_slice(&target.1.octets());
    packet
}

fn arp_claim(packet: &[u8]) -> Option<(IpAddr, MacAddress)> {
    let mac = <[u8; 6]>::try_from(packet.get(8..14)?).ok()?;
    let ip = <[u8; 4]>::try_from(packet.get(14..18)?).ok()?;
    Some((IpAddr::from(ip), MacAddress(mac)))
}

fn send_arp(fd: &impl AsRawFd, interface: u32, packet: &[u8; ARP_LEN]) -> Result<(), AddressTableError> {
    let mut to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ETH_P_ARP.to_be(),
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    to.sll_addr[..6].copy_from_slice(&BROADCAST.0);
    // SAFETY: packet and address are readable for the lengths given.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_DONTWAIT,
            std::ptr::from_ref(&to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent >= 0 { Ok(()) } else { Err(explain("sending ARP", &io::Error::last_os_error())) }
}

/// A neighbour message about `target` with one option that carries `mac`; the kernel fills the checksum in.
fn nd_packet(kind: u8, flags: u8, target: Ipv6Addr, option: u8, mac: MacAddress) -> [u8; ND_LEN] {
    let mut packet = [0; ND_LEN];
    packet[0] = kind;
    packet[4] = flags;
    packet[8..24].copy_from_slice(&target.octets());
    packet[24] = option;
    packet[25] = 1;
    packet[26..32].copy_from_slice(&mac.0);
    packet
}

fn nd_claim(packet: &[u8]) -> Option<(IpAddr, MacAddress)> {
    let target = <[u8; 16]>::try_from(packet.get(8..24)?).ok()?;
    let option = packet.get(24..32)?;
    let mac = <[u8; 6]>::try_from(option.get(2..)?).ok()?;
    (packet.first() == Some(&ND_ADVERT) && option.first() == Some(&OPTION_TARGET_MAC))
        .then(|| (IpAddr::from(target), MacAddress(mac)))
}

fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

fn send_nd(
    fd: &impl AsRawFd,
    interface: u32,
    packet: &[u8; ND_LEN],
    from: Option<Ipv6Addr>,
    to: Ipv6Addr,
) -> Result<(), AddressTableError> {
    let source = libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: from.unwrap_or(Ipv6Addr::UNSPECIFIED).octets() },
        ipi6_ifindex: interface,
    };
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, interface));
    let control = [ControlMessage::Ipv6PacketInfo(&source)];
    sendmsg(fd.as_raw_fd(), &[IoSlice::new(packet)], &control, MsgFlags::MSG_DONTWAIT, Some(&to))
        .map(|_| ())
        .map_err(|errno| explain("sending a neighbour message", &errno.into()))
}
