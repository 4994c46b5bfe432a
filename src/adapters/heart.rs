//! The daemon's end of heart's socket.
//!
//! One background task owns the connection: it attaches, hands requests over, publishes the pushed state, and starts again
//! with a bounded back-off when heart goes away. Nothing in here decides anything.
#![expect(unsafe_code, reason = "registering a descriptor with the reactor is unsafe in tokio's API")]

use crate::heart::protocol::{
    HeartMessage, HeartOrder, HeartRequest, HeartState, PostgresStart, PostgresStop, ToolOutcome, ToolRequest,
    VipAddress,
};
use crate::heart::sockets::MAX_PACKET_BYTES;
use crate::ports::{ArmedLease, Guardian, GuardianError};
use async_trait::async_trait;
use leaderl_decision::model::{Door, Epoch};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, recv, send, socket,
};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The least time for the answer to an attach: heart kills the daemon before us and its tool first.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
const FIRST_BACK_OFF: Duration = Duration::from_millis(20);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);
/// How long a tool that overran its time may take to die.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
const QUEUE: usize = 64;

type Answer = Result<(), GuardianError>;

struct Ask {
    order: HeartOrder,
    answer: oneshot::Sender<Answer>,
}

/// heart, over its socket. Dropping it detaches; heart's deadline runs on.
#[derive(Debug)]
pub struct HeartLink {
    state: watch::Receiver<Option<HeartState>>,
    asks: mpsc::Sender<Ask>,
    task: JoinHandle<()>,
}

impl HeartLink {
    /// Starts connecting to `socket` in the background, for ever; returns at once.
    ///
    /// Attaching makes heart kill any other daemon that was attached: take the daemon's own lock first.
    ///
    /// A heart that takes the connection and says nothing for 3D/5 (at least 2 s) of `ttl` is killed, and PostgreSQL ends with
    /// it: it stands still, so nothing else would ever end what it was left to guard.
    pub fn start(socket: PathBuf, ttl: Duration) -> Arc<Self> {
        let (state_out, state) = watch::channel(None);
        let (asks, asked) = mpsc::channel(QUEUE);
        let patience = (ttl * 3 / 5).max(LEAST_PATIENCE);
        let task = tokio::spawn(keep_attached(socket, patience, state_out, asked));
        Arc::new(Self { state, asks, task })
    }

    async fn ask(&self, order: HeartOrder, limit: Duration) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.asks.send(Ask { order, answer }).await.map_err(|_| silent("the link has ended"))?;
            answered.await.map_err(|_| silent("the connection was lost"))?
        };
        timeout(limit, asking).await.unwrap_or_else(|_| Err(silent(&format!("no answer within {limit:?}"))))
    }

    /// Waits until heart's state shows the tool's outcome.
    async fn outcome(&self, id: u64) -> Result<ToolOutcome, GuardianError> {
        let mut states = self.state.clone();
        loop {
            match states.borrow_and_update().as_ref() {
                None => return Err(silent("the connection was lost while the tool ran")),
                Some(state) => match &state.tool_finished {
                    Some(outcome) if outcome.id == id => return Ok(outcome.clone()),
                    _ if state.tool_running != Some(id) => {
                        return Err(GuardianError::Refused { reason: "the tool is not known any more".to_owned() });
                    }
                    Some(_) | None => {}
                },
            }
            states.changed().await.map_err(|_| silent("the link has ended"))?;
        }
    }
}

impl Drop for HeartLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Guardian for HeartLink {
    fn state(&self) -> watch::Receiver<Option<HeartState>> {
        self.state.clone()
    }

    async fn arm(&self, lease: ArmedLease, limit: Duration) -> Answer {
        self.ask(HeartOrder::Arm { lease }, limit).await
    }

    async fn renewed(&self, lease: ArmedLease, limit: Duration) -> Answer {
        self.ask(HeartOrder::Renewed { lease }, limit).await
    }

    async fn disarm(&self, epoch: Epoch, limit: Duration) -> Answer {
        self.ask(HeartOrder::Disarm { epoch }, limit).await
    }

    async fn start_postgres(&self, start: PostgresStart, limit: Duration) -> Answer {
        self.ask(HeartOrder::StartPostgres { start }, limit).await
    }

    async fn stop_postgres(&self, stop: PostgresStop, limit: Duration) -> Answer {
        self.ask(HeartOrder::StopPostgres { stop }, limit).await
    }

    async fn run_tool(&self, tool: ToolRequest, limit: Duration) -> Result<ToolOutcome, GuardianError> {
        let id = tool.id;
        let deadline = Instant::now() + limit;
        self.ask(HeartOrder::RunTool { tool }, limit).await?;
        match timeout_at(deadline, self.outcome(id)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.cancel_tool(CANCEL_LIMIT).await?;
                Err(GuardianError::Refused { reason: format!("the tool did not end within {limit:?} and was killed") })
            }
        }
    }

    async fn cancel_tool(&self, limit: Duration) -> Answer {
        self.ask(HeartOrder::CancelTool, limit).await
    }

    async fn assign_vips(&self, epoch: Epoch, vips: Vec<VipAddress>, limit: Duration) -> Answer {
        self.ask(HeartOrder::AssignVips { epoch, vips }, limit).await
    }

    async fn kill(&self) -> Answer {
        let pid = self.state.borrow().as_ref().map(|state| state.pid);
        let pid = pid.ok_or_else(|| silent("not attached, so its process is not known"))?;
        end_heart(i32::try_from(pid).map_err(|_| silent("its pid is out of range"))?)
    }

    async fn release_vips(&self, limit: Duration) -> Answer {
        self.ask(HeartOrder::ReleaseVips, limit).await
    }

    async fn set_door(&self, epoch: Epoch, door: Door, limit: Duration) -> Answer {
        self.ask(HeartOrder::SetDoor { epoch, door }, limit).await
    }

    async fn set_members(&self, members: Vec<IpAddr>, limit: Duration) -> Answer {
        self.ask(HeartOrder::SetMembers { members }, limit).await
    }
}

/// A pid can be reused: only a process that still is heart is killed.
fn end_heart(pid: i32) -> Answer {
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if !command_line.split(|byte| *byte == 0).any(|word| word == b"heart") {
        return Err(silent("its process is gone already"));
    }
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|errno| silent(&format!("it could not be killed: {errno}")))
}

fn silent(detail: &str) -> GuardianError {
    GuardianError::Silent { detail: detail.to_owned() }
}

async fn keep_attached(
    path: PathBuf,
    patience: Duration,
    state: watch::Sender<Option<HeartState>>,
    mut asked: mpsc::Receiver<Ask>,
) {
    let mut back_off = FIRST_BACK_OFF;
    let mut reported = String::new();
    loop {
        let ended = match attach(&path, patience, &state, &mut asked).await {
            Ok(mut link) => {
                tracing::info!("attached to heart");
                (back_off, reported) = (FIRST_BACK_OFF, String::new());
                let ended = link.serve(&state, &mut asked).await;
                state.send_replace(None);
                ended
            }
            Err(error) => error,
        };
        let Some(ended) = ended else { return };
        let ended = ended.to_string();
        if ended != reported {
            tracing::warn!(reason = %ended, "not attached to heart");
            reported = ended;
        }
        if refuse_for(back_off, &mut asked, &reported).await.is_none() {
            return;
        }
        back_off = (back_off * 2).min(LONGEST_BACK_OFF);
    }
}

/// Answers everything asked meanwhile; `None` when nobody will ask any more.
async fn refuse_for(pause: Duration, asked: &mut mpsc::Receiver<Ask>, reason: &str) -> Option<()> {
    let pause = sleep(pause);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            biased;
            () = &mut pause => return Some(()),
            ask = asked.recv() => refuse(ask?, reason),
        }
    }
}

fn refuse(ask: Ask, reason: &str) {
    // Whoever asked may have given up; then nobody needs the answer.
    let _given_up = ask.answer.send(Err(silent(reason)));
}

/// Connects and attaches. `Err(None)`: nobody will ask any more.
async fn attach(
    path: &Path,
    patience: Duration,
    state: &watch::Sender<Option<HeartState>>,
    asked: &mut mpsc::Receiver<Ask>,
) -> Result<Link, Option<io::Error>> {
    let mut link = Link::connect(path).map_err(Some)?;
    let order = HeartOrder::Attach { version: env!("CARGO_PKG_VERSION").to_owned() };
    let (answer, mut answered) = oneshot::channel();
    link.send(Ask { order, answer });
    let mut deadline = Instant::now() + patience;
    loop {
        match answered.try_recv() {
            Ok(Ok(())) => break,
            Ok(Err(error)) => return Err(Some(io::Error::other(error))),
            Err(oneshot::error::TryRecvError::Closed) => return Err(Some(io::ErrorKind::ConnectionReset.into())),
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
        tokio::select! {
            biased;
            received = timeout_at(deadline, link.receive()) => {
                match received {
                    Ok(message) => link.take(message.map_err(Some)?),
                    // This process may have stood still itself: then the answer is there, and only has not been read.
                    Err(_late) if link.take_what_is_there().map_err(Some)? => deadline = Instant::now() + patience,
                    Err(_late) => return Err(Some(link.end_silent_peer())),
                }
            }
            ask = asked.recv() => refuse(ask.ok_or(None)?, "attaching"),
        }
    }
    state.send_replace(link.state.take());
    Ok(link)
}

/// An open connection.
struct Link {
    fd: AsyncFd<OwnedFd>,
    next_id: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    state: Option<HeartState>,
    buffer: Vec<u8>,
    /// Who listens on the socket; known also while it says nothing.
    peer: i32,
}

impl Link {
    fn connect(path: &Path) -> io::Result<Self> {
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
    async fn serve(
        &mut self,
        state: &watch::Sender<Option<HeartState>>,
        asked: &mut mpsc::Receiver<Ask>,
    ) -> Option<io::Error> {
        loop {
            tokio::select! {
                biased;
                received = self.receive() => match received {
                    Ok(message) => self.take(message),
                    Err(error) => return Some(error),
                },
                ask = asked.recv() => self.send(ask?),
            }
            // heart sends a state before the answers that speak of it, and one message is taken at a time.
            if let Some(new) = self.state.take() {
                state.send_replace(Some(new));
            }
        }
    }

    fn take(&mut self, message: HeartMessage) {
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

    fn send(&mut self, ask: Ask) {
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
    fn take_what_is_there(&mut self) -> io::Result<bool> {
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
    fn end_silent_peer(&self) -> io::Error {
        match end_heart(self.peer) {
            Ok(()) => io::Error::other(format!(
                "heart (pid {}) said nothing and was killed; PostgreSQL ends with it",
                self.peer
            )),
            Err(why) => io::Error::other(why),
        }
    }

    /// Cancel-safe: a packet is read whole or not at all.
    async fn receive(&mut self) -> io::Result<HeartMessage> {
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
