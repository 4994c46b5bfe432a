//! Destroying sockets (`SOCK_DESTROY`): what a client has not been sent yet is thrown away, the client gets a reset.
//!
//! A session that ends with its process does not take its unsent answer along: the kernel goes on sending it for minutes. So
//! before the gate opens, sockets that are older than the opening are destroyed.

use super::{ANSWER_LIMIT_MS, ERROR_MESSAGE, messages, refusal};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ASK: u16 = 20;
const DESTROY: u16 = 21;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const DONE: u16 = 3;
const TCP: u8 = 6;
/// Every state in which something may wait to be sent: not LISTEN (10), which is the server's own, nor CLOSE (7) and
/// TIME_WAIT (6), which hold nothing.
const STATES: u32 = 0b1_1011_0011_1110;
const REQUEST_BYTES: usize = 56;
const IDENTITY_BYTES: usize = 48;
/// Where the identity stands in the kernel's answer.
const IDENTITY_AT: usize = 4;
const BUFFER_BYTES: usize = 64 * 1024;
/// Destroying may meet sockets that are just changing their state.
const ROUNDS: u32 = 3;

/// What names a socket for ever: ports, addresses, interface and the kernel's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    family: u8,
    raw: [u8; IDENTITY_BYTES],
}

impl Identity {
    fn local_port(&self) -> u16 {
        u16::from_be_bytes([self.raw[0], self.raw[1]])
    }

    fn local(&self) -> IpAddr {
        self.address(4)
    }

    fn remote(&self) -> IpAddr {
        self.address(20)
    }

    fn address(&self, at: usize) -> IpAddr {
        let octets = <[u8; 16]>::try_from(&self.raw[at..at + 16]).unwrap_or_default();
        if i32::from(self.family) == libc::AF_INET {
            Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()
        } else {
            Ipv6Addr::from(octets).to_canonical()
        }
    }

    /// Another process of this node, as far as the addresses tell.
    fn is_local(&self) -> bool {
        self.remote().is_loopback() || self.remote() == self.local()
    }
}

/// Destroys every session on the port but those inside the node and, to and from `own`, those of `kept`; how many.
pub(super) fn destroy(port: u16, own: Option<IpAddr>, kept: &[IpAddr]) -> io::Result<usize> {
    let mut diagnosis = Diagnosis::open()?;
    let mut destroyed = 0;
    for _ in 0..ROUNDS {
        let stays = |it: &Identity| it.is_local() || (Some(it.local()) == own && kept.contains(&it.remote()));
        let mut found = diagnosis.sessions(port)?;
        found.retain(|identity| !stays(identity));
        if found.is_empty() {
            return Ok(destroyed);
        }
        for identity in found {
            destroyed += usize::from(diagnosis.destroy(&identity)?);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "some sockets survive their destruction"))
}

/// Fails with EOPNOTSUPP where the kernel was built without it.
pub(super) fn check_support() -> io::Result<()> {
    // No such socket: the cookie is nobody's, the addresses are never routed.
    let mut raw = [0; IDENTITY_BYTES];
    raw[..4].copy_from_slice(&[0, 1, 0, 1]);
    raw[4..8].copy_from_slice(&Ipv4Addr::new(127, 255, 255, 254).octets());
    raw[20..24].copy_from_slice(&Ipv4Addr::new(127, 255, 255, 253).octets());
    raw[40..].fill(1);
    let family = u8::try_from(libc::AF_INET).unwrap_or(0);
    Diagnosis::open()?.destroy(&Identity { family, raw }).map(drop)
}

struct Diagnosis {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Diagnosis {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(ANSWER_LIMIT_MS))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Every session with this local port.
    fn sessions(&mut self, port: u16) -> io::Result<Vec<Identity>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let family = u8::try_from(family).unwrap_or(0);
            let mut raw = [0; IDENTITY_BYTES];
            raw[..2].copy_from_slice(&port.to_be_bytes());
            self.send(ASK, DUMP, &Identity { family, raw })?;
            self.read_all(family, &mut found)?;
        }
        // The kernel filters by port where it can; a listener or a client's side of a session must never be among them.
        found.retain(|identity| identity.local_port() == port);
        Ok(found)
    }

    fn read_all(&mut self, family: u8, found: &mut Vec<Identity>) -> io::Result<()> {
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for (kind, sequence, body) in messages(&self.buffer) {
                match kind {
                    _ if sequence != self.sequence => {}
                    DONE => return Ok(()),
                    ERROR_MESSAGE => return refusal(body),
                    ASK => {
                        let raw = body.get(IDENTITY_AT..IDENTITY_AT + IDENTITY_BYTES);
                        found.extend(raw.and_then(|raw| Some(Identity { family, raw: raw.try_into().ok()? })));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether it was there.
    fn destroy(&mut self, identity: &Identity) -> io::Result<bool> {
        self.send(DESTROY, ACK, identity)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for (kind, sequence, body) in messages(&self.buffer) {
                if sequence == self.sequence && kind == ERROR_MESSAGE {
                    return match refusal(body) {
                        Ok(()) => Ok(true),
                        // Gone in the meantime, or another one with these addresses.
                        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => Ok(false),
                        Err(error) => Err(error),
                    };
                }
            }
        }
    }

    fn send(&mut self, kind: u16, flags: u16, identity: &Identity) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = Vec::with_capacity(16 + REQUEST_BYTES);
        let length = u32::try_from(16 + REQUEST_BYTES).unwrap_or(0);
        packet.extend(length.to_ne_bytes());
        packet.extend(kind.to_ne_bytes());
        packet.extend((REQUEST | flags).to_ne_bytes());
        packet.extend(self.sequence.to_ne_bytes());
        packet.extend([0; 4]);
        packet.extend([identity.family, TCP, 0, 0]);
        packet.extend(STATES.to_ne_bytes());
        packet.extend(identity.raw);
        self.socket.send(&packet, 0).map(drop)
    }
}
