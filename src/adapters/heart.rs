//! The daemon's end of heart's socket.
//!
//! One background task owns the connection: it attaches, hands requests over, publishes the pushed state, and starts again
//! with a bounded back-off when heart goes away. Nothing in here decides anything.

mod connection;
mod patience;

use crate::heart::protocol::{
    HeartOrder, HeartState, PostgresStart, PostgresStop, ToolOutcome, ToolRequest, VipAddress,
};
use crate::ports::{ArmedLease, Clock, Guardian, GuardianError};
use async_trait::async_trait;
use connection::Link;
use leaderl_decision::model::{Door, Epoch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use patience::Patience;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

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
    /// it: it stands still, so nothing else would ever end what it was left to guard. So is one that says nothing of a deadline
    /// that passed D/30 ago, also while the actors above, which would order that, are just being restarted or stopped.
    pub fn start(socket: PathBuf, ttl: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (state_out, state) = watch::channel(None);
        let (asks, asked) = mpsc::channel(QUEUE);
        let patience = Patience::new(ttl, clock);
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
    patience: Patience,
    state: watch::Sender<Option<HeartState>>,
    mut asked: mpsc::Receiver<Ask>,
) {
    let mut back_off = FIRST_BACK_OFF;
    let mut reported = String::new();
    loop {
        let ended = match attach(&path, patience.attach, &state, &mut asked).await {
            Ok(mut link) => {
                tracing::info!("attached to heart");
                (back_off, reported) = (FIRST_BACK_OFF, String::new());
                let ended = link.serve(&patience, &state, &mut asked).await;
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
