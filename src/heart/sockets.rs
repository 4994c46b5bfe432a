//! heart's socket: SEQPACKET, 0600, peers of root or heart's own user only; nothing here ever blocks.
#![expect(unsafe_code, reason = "accept4 hands out raw descriptors")]

use super::protocol::{HeartMessage, HeartRequest, HeartState};
use super::system::ProcessHandle;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, accept4, bind, getsockopt, listen, recv,
    send, shutdown, socket,
};
use nix::unistd::geteuid;
use std::collections::VecDeque;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The longest packet either side sends.
pub const MAX_PACKET_BYTES: usize = 64 * 1024;
/// Answers that may wait for a daemon that does not read; more, and the connection is closed.
const MAX_WAITING: usize = 256;
const BACKLOG: i32 = 8;

/// The listening socket.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Binds `path`, replacing a dead heart's socket; the caller holds the lock that proves it dead.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        // Nobody can connect before `listen`.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listen(&fd, Backlog::new(BACKLOG)?)?;
        Ok(Self(fd))
    }

    /// The next waiting peer that is allowed; `None` when nobody waits.
    pub fn accept(&self) -> Result<Option<Connection>, Errno> {
        loop {
            let fd = match accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
                // SAFETY: the kernel just returned this descriptor and nobody else owns it.
                Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(error) => return Err(error),
            };
            let peer = getsockopt(&fd, PeerCredentials)?;
            let pid = u32::try_from(peer.pid()).unwrap_or(0);
            if (peer.uid() != 0 && peer.uid() != geteuid().as_raw()) || pid == 0 {
                continue;
            }
            // The socket's own handle cannot name a later process; older kernels have only the number.
            let handle = match getsockopt(&fd, PeerPidfd) {
                Ok(handle) => ProcessHandle::from_fd(handle),
                Err(_) => match ProcessHandle::open(pid) {
                    Ok(handle) => handle,
                    Err(_) => continue,
                },
            };
            return Ok(Some(Connection { fd, pid, handle: Some(handle), waiting: VecDeque::new() }));
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[derive(Debug)]
enum Waiting {
    /// Made when it is sent, so that a slow reader gets the latest.
    State,
    Reply(HeartMessage),
}

/// One peer.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
    /// The peer's pid by the kernel's word.
    pub pid: u32,
    /// The peer's process; taken when it is adopted as the daemon.
    pub handle: Option<ProcessHandle>,
    waiting: VecDeque<Waiting>,
}

/// What a read gave.
#[derive(Debug)]
pub enum Received {
    /// A request.
    Request(HeartRequest),
    /// Something else; refuse it under this id.
    Malformed {
        /// The packet's id, 0 when it has none.
        id: u64,
        /// What is wrong.
        reason: String,
    },
    /// Nothing now.
    Nothing,
    /// The peer is gone.
    Closed,
}

impl Connection {
    /// One packet.
    pub fn receive(&self, buffer: &mut [u8]) -> Received {
        match recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
            Ok(0) => Received::Closed,
            Ok(length) => match buffer.get(..length) {
                Some(packet) => parse(packet),
                None => Received::Malformed { id: 0, reason: format!("a packet of {length} bytes is too long") },
            },
            Err(Errno::EAGAIN | Errno::EINTR) => Received::Nothing,
            Err(_) => Received::Closed,
        }
    }

    /// Queues the state; one that still waits is enough.
    pub fn push_state(&mut self) {
        if !self.waiting.iter().any(|it| matches!(it, Waiting::State)) {
            self.waiting.push_back(Waiting::State);
        }
    }

    /// Queues an answer.
    pub fn reply(&mut self, id: u64, refused: Option<String>) {
        self.waiting.push_back(Waiting::Reply(HeartMessage::Reply { id, refused }));
    }

    /// Whether something waits for room.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Ends it; the next read says so.
    pub fn shut(&mut self) {
        self.waiting.clear();
        // Already disconnected is what is wanted.
        let _already = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }

    /// Sends what there is room for; false: the peer is gone or reads nothing any more.
    pub fn flush(&mut self, state: &HeartState) -> bool {
        while let Some(next) = self.waiting.front() {
            let packet = match next {
                Waiting::State => serde_json::to_vec(&HeartMessage::State { state: Box::new(state.clone()) }),
                Waiting::Reply(reply) => serde_json::to_vec(reply),
            };
            let Ok(packet) = packet else { return false };
            match send(self.fd.as_raw_fd(), &packet, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => {
                    self.waiting.pop_front();
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return self.waiting.len() <= MAX_WAITING,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn parse(packet: &[u8]) -> Received {
    match serde_json::from_slice(packet) {
        Ok(request) => Received::Request(request),
        Err(error) => {
            let id = serde_json::from_slice::<serde_json::Value>(packet).ok().and_then(|it| it.get("id")?.as_u64());
            Received::Malformed { id: id.unwrap_or(0), reason: format!("not understood: {error}") }
        }
    }
}
