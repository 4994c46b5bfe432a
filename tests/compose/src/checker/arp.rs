//! Asks by ARP who has the VIP, every 50 ms, from the clients' segment, and notes every machine that says it does:
//! answers, and announcements nobody asked for.

use super::clock::boot_ns;
use crate::{Failure, Outcome, While};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(50);

/// Length of an Ethernet frame that carries ARP for IPv4.
const FRAME: usize = 42;

/// The socket and what goes out on it.
pub struct Probe {
    socket: OwnedFd,
    hardware: [u8; 6],
    question: [u8; FRAME],
    vip: Ipv4Addr,
}

impl Probe {
    /// Opens a packet socket on `interface`; needs CAP_NET_RAW.
    ///
    /// # Errors
    /// There is no such interface with an IPv4 address, or the capability is missing.
    pub fn open(interface: &str, vip: Ipv4Addr) -> Outcome<Self> {
        let mut link: Option<LinkAddr> = None;
        let mut own: Option<Ipv4Addr> = None;
        for address in nix::ifaddrs::getifaddrs().during(|| "listing interfaces".into())? {
            let Some(storage) = address.address.filter(|_| address.interface_name == interface) else { continue };
            link = link.or(storage.as_link_addr().copied());
            own = own.or(storage.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip));
        }
        let (Some(link), Some(own)) = (link, own) else {
            return crate::fail(format!("{interface} has no hardware address or no IPv4 address"));
        };
        let hardware = link.addr().ok_or_else(|| Failure(format!("{interface} has no hardware address")))?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )
        .during(|| "opening a packet socket".into())?;
        bind(socket.as_raw_fd(), &link).during(|| format!("binding to {interface}"))?;
        Ok(Self { socket, hardware, question: packet(hardware, own, vip), vip })
    }

    /// Tells everybody each second that this machine has the VIP, for `time`.
    ///
    /// # Errors
    /// The socket fails.
    pub fn claim(&self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let frame = packet(self.hardware, self.vip, self.vip);
            send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()).during(|| "announcing the VIP".into())?;
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// Asks and listens until the process ends; `saw` gets the time and the hardware address of every claim.
    ///
    /// # Errors
    /// The socket fails.
    pub fn run(&self, mut saw: impl FnMut(u64, String)) -> Outcome<()> {
        let mut next = Instant::now();
        let mut frame = [0_u8; 128];
        loop {
            let now = Instant::now();
            if now >= next {
                // A full queue costs one question; the next is 50 ms away.
                let _ = send(self.socket.as_raw_fd(), &self.question, MsgFlags::empty());
                next = now + PACE;
            }
            let wait = PollTimeout::try_from(next.saturating_duration_since(now)).unwrap_or(PollTimeout::ZERO);
            let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, wait).during(|| "waiting for ARP".into())?;
            while let Ok(length) = recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                if let Some(claimant) = claim(&frame[..length], self.vip) {
                    saw(boot_ns(), claimant);
                }
            }
        }
    }
}

/// `Who has VIP? Tell us.` With our own address as the sender: without one it would be the probe of a machine that
/// wants the address, and the product may take it for a conflict. With the VIP itself as the sender: an announcement.
fn packet(hardware: [u8; 6], own: Ipv4Addr, vip: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0_u8; FRAME];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&hardware);
    // ARP; Ethernet, IPv4, lengths 6 and 4, a request.
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&hardware);
    frame[28..32].copy_from_slice(&own.octets());
    frame[38..42].copy_from_slice(&vip.octets());
    frame
}

/// The hardware address that claims the VIP in this frame.
fn claim(frame: &[u8], vip: Ipv4Addr) -> Option<String> {
    if frame.len() < FRAME || frame[12..14] != [8, 6] || frame[28..32] != vip.octets() {
        return None;
    }
    let bytes: Vec<String> = frame[22..28].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(bytes.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_claims_only_its_senders_address() {
        let (own, vip) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 100));
        let frame = packet([2, 0, 0, 0, 0, 1], own, vip);
        assert_eq!(claim(&frame, vip), None);
        assert_eq!(claim(&frame, own).as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(claim(&packet([2, 0, 0, 0, 0, 2], vip, vip), vip).as_deref(), Some("02:00:00:00:00:02"));
    }
}
