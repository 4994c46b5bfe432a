//! One connection to heart.
#![expect(unsafe_code, reason = "registering a descriptor with the reactor is unsafe in tokio's API")]

use super::patience::Patience;
use super::{Answer, Ask, end_heart, silent};
use crate::heart::protocol::{HeartMessage, HeartRequest, HeartState};
use crate::heart::sockets::MAX_PACKET_BYTES;
use crate::ports::GuardianError;
use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, recv, send, socket,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

/// An open connection.
pub(super) struct Link {
    fd: AsyncFd<OwnedFd>,
    next_id: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    pub(super) state: Option<HeartState>,
    buffer: Vec<u8>,
    /// Who listens on the socket; known also while it says nothing.
    peer: i32,
}

impl Link {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        // A Unix socket connects at once, or says EAGAIN when heart's backlog is full.
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        let peer = getsockopt(&fd, PeerCredentials)?.pid();
        let buffer = vec![0; MAX_PACKET_BYTES];
        // SAFETY: the descriptor is owned by the AsyncFd from here on and never replaced under it.
        let fd = unsafe { AsyncFd::register(fd)? };
        Ok(Self { fd, next_id: 0, waiting: BTreeMap::new(), state: None, buffer, peer })
    }

    /// Until the connection ends, with the reason, or nobody will ask any more (`None`).
    pub(super) async fn serve(
        &mut self,
        patience: &Patience,
        state: &watch::Sender<Option<HeartState>>,
        asked: &mut mpsc::Receiver<Ask>,
    ) -> Option<io::Error> {
        let mut watch = patience.watch();
        loop {
            let left = watch.left(state.borrow().as_ref());
            tokio::select! {
                biased;
                received = self.receive() => match received {
                    Ok(message) => self.take(message),
                    Err(error) => return Some(error),
                },
                ask = asked.recv() => self.send(ask?),
                () = sleep(left.unwrap_or_default()), if left.is_some() => match self.take_what_is_there() {
                    Ok(true) => {}
                    Ok(false) if watch.is_over(state.borrow().as_ref()) => return Some(self.end_silent_peer()),
                    Ok(false) => {}
                    Err(error) => return Some(error),
                },
            }
            // heart sends a state before the answers that speak of it, and one message is taken at a time.
            if let Some(new) = self.state.take() {
                state.send_replace(Some(new));
            }
        }
    }

    pub(super) fn take(&mut self, message: HeartMessage) {
        match message {
            HeartMessage::State { state } => self.state = Some(*state),
            HeartMessage::Reply { id, refused } => {
                if let Some(answer) = self.waiting.remove(&id) {
                    let outcome = refused.map_or(Ok(()), |reason| Err(GuardianError::Refused { reason }));
                    // Whoever asked may have given up; then nobody needs the answer.
                    let _given_up = answer.send(outcome);
                }
            }
        }
    }

    pub(super) fn send(&mut self, ask: Ask) {
        self.waiting.retain(|_, answer| !answer.is_closed());
        self.next_id += 1;
        let request = HeartRequest { id: self.next_id, order: ask.order };
        let sent = serde_json::to_vec(&request).map_err(io::Error::other).and_then(|packet| {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            Ok(send(self.fd.get_ref().as_raw_fd(), &packet, flags)?)
        });
        match sent {
            Ok(_) => drop(self.waiting.insert(self.next_id, ask.answer)),
            Err(error) => {
                let _given_up = ask.answer.send(Err(silent(&format!("it takes no messages: {error}"))));
            }
        }
    }

    /// Reads what the kernel has, whether or not the reactor knows of it yet; `false`: nothing.
    pub(super) fn take_what_is_there(&mut self) -> io::Result<bool> {
        match recv(self.fd.get_ref().as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                let packet = self.buffer.get(..length).unwrap_or_default();
                let message = serde_json::from_slice(packet).map_err(io::Error::other)?;
                self.take(message);
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// heart stands still, and whoever it guards with it.
    pub(super) fn end_silent_peer(&self) -> io::Error {
        match end_heart(self.peer) {
            Ok(()) => io::Error::other(format!(
                "heart (pid {}) said nothing and was killed; PostgreSQL ends with it",
                self.peer
            )),
            Err(why) => io::Error::other(why),
        }
    }

    /// Cancel-safe: a packet is read whole or not at all.
    pub(super) async fn receive(&mut self) -> io::Result<HeartMessage> {
        let buffer = &mut self.buffer;
        loop {
            let mut ready = self.fd.readable().await?;
            let read = ready.try_io(|fd| {
                recv(fd.get_ref().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).map_err(|error| match error {
                    Errno::EINTR => io::ErrorKind::WouldBlock.into(),
                    other => io::Error::from(other),
                })
            });
            match read {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Ok(length)) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    return serde_json::from_slice(packet).map_err(io::Error::other);
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}
