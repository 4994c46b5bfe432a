//! What the shell tells the guard, and what the guard tells the shell.

use super::super::protocol::{HeartRequest, PostgresStart, StopMode, ToolRequest, VipAddress};
use super::gate::{GatePlan, Sessions};

/// A connection of the socket; never used twice.
pub type ConnectionId = u64;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The connection.
    pub connection: ConnectionId,
    /// The request's id.
    pub id: u64,
}

/// What the shell has seen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request came in. A `StartPostgres` is preceded by a `Census`.
    Request {
        /// From here.
        connection: ConnectionId,
        /// The peer's pid by the kernel's word.
        pid: u32,
        /// The request.
        request: HeartRequest,
    },
    /// The connection is closed.
    Disconnected {
        /// Which.
        connection: ConnectionId,
    },
    /// The attached daemon's process has ended (its pidfd says so).
    DaemonEnded,
    /// The process table was read.
    Census {
        /// Processes of PostgreSQL, the postmaster included.
        postgres: u32,
        /// Processes of the tool.
        tool: u32,
    },
    /// A child was reaped.
    Reaped {
        /// Its pid.
        pid: u32,
        /// `None`: ended by a signal.
        exit_code: Option<i32>,
    },
    /// Outcome of [`Effect::StartPostmaster`].
    PostmasterStarted {
        /// Who asked.
        asked: Asker,
        /// The pid, or why not.
        result: Result<u32, String>,
    },
    /// Outcome of [`Effect::StartTool`].
    ToolStarted {
        /// Who asked.
        asked: Asker,
        /// The tool's id.
        tool: u64,
        /// The pid, or why not.
        result: Result<u32, String>,
    },
    /// Outcome of [`Effect::RefreshVips`]; the step's time was read after the kernel's answer.
    VipsRefreshed {
        /// Who asked; `None` for the timer.
        asked: Option<Asker>,
        /// The lifetime that was given, in seconds.
        valid_s: u32,
        /// The first failure.
        failed: Option<String>,
    },
    /// Outcome of [`Effect::CloseGate`] or [`Effect::SetGate`]; the step's time was read after the kernel's answer.
    GateSet {
        /// What it is now, unless it failed.
        plan: GatePlan,
        /// Whose older sessions are ended.
        ends: Option<Sessions>,
        /// Who asked; `None` for the timer.
        asked: Option<Asker>,
        /// Why not.
        failed: Option<String>,
    },
    /// SIGTERM.
    Terminate,
    /// Time has passed.
    Tick,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The deadline: shut PostgreSQL's port to everything that does not stay inside the node.
    CloseGate,
    /// Make the port gate this, or renew it.
    SetGate {
        /// What it must be.
        plan: GatePlan,
        /// Whose sessions must be ended first, with the gate shut to them.
        ends: Option<Sessions>,
        /// Who waits for it.
        asked: Option<Asker>,
    },
    /// Take the addresses from the kernel.
    RemoveVips(Vec<VipAddress>),
    /// Add or replace the addresses with this lifetime.
    RefreshVips {
        /// The addresses.
        vips: Vec<VipAddress>,
        /// Kernel lifetime in whole seconds, at least 1.
        valid_s: u32,
        /// Who waits for it.
        asked: Option<Asker>,
    },
    /// SIGINT (fast) or SIGQUIT (immediate) to the postmaster.
    SignalPostmaster {
        /// The postmaster.
        pid: u32,
        /// Which signal.
        mode: StopMode,
    },
    /// SIGKILL to every process of PostgreSQL, the postmaster first.
    KillPostgres,
    /// SIGKILL to every process of the tool.
    KillTool,
    /// SIGKILL to the attached daemon, by pidfd.
    KillDaemon,
    /// From now on the process behind this connection is the attached daemon.
    Adopt(ConnectionId),
    /// Close it.
    CloseConnection(ConnectionId),
    /// Start the postmaster; answered by [`Event::PostmasterStarted`].
    StartPostmaster {
        /// How.
        start: PostgresStart,
        /// Who asked.
        asked: Asker,
    },
    /// Start the tool; answered by [`Event::ToolStarted`].
    StartTool {
        /// What.
        tool: ToolRequest,
        /// Who asked.
        asked: Asker,
    },
    /// Send the state to the attached daemon.
    Push,
    /// Answer.
    Reply {
        /// To whom.
        to: Asker,
        /// See `HeartMessage::Reply`.
        refused: Option<String>,
    },
    /// End the process with success.
    Exit,
}
