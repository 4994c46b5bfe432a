//! What the daemon and heart say to each other: one JSON object per SEQPACKET message.

use crate::ports::ArmedLease;
use leaderl_decision::model::{Door, Epoch, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// A request of the daemon; heart answers each with one [`HeartReply`] of the same `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartRequest {
    /// Chosen by the daemon, echoed in the reply.
    pub id: u64,
    /// The order.
    pub order: HeartOrder,
}

/// The daemon's orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum HeartOrder {
    /// First message of a connection. heart kills the daemon attached before (by pidfd) and any running tool, then answers.
    Attach {
        /// leaderl's version.
        version: String,
    },
    /// See `Guardian::arm`.
    Arm {
        /// Absolute deadline and its identity.
        lease: ArmedLease,
    },
    /// See `Guardian::renewed`.
    Renewed {
        /// Absolute deadline and its identity.
        lease: ArmedLease,
    },
    /// See `Guardian::disarm`.
    Disarm {
        /// The epoch that ended.
        epoch: Epoch,
    },
    /// See `Guardian::start_postgres`.
    StartPostgres {
        /// How.
        start: PostgresStart,
    },
    /// See `Guardian::stop_postgres`.
    StopPostgres {
        /// How.
        stop: PostgresStop,
    },
    /// See `Guardian::run_tool`; answered at once, the outcome comes with the state.
    RunTool {
        /// What.
        tool: ToolRequest,
    },
    /// See `Guardian::cancel_tool`.
    CancelTool,
    /// See `Guardian::assign_vips`.
    AssignVips {
        /// Under this epoch only.
        epoch: Epoch,
        /// The addresses.
        vips: Vec<VipAddress>,
    },
    /// See `Guardian::release_vips`.
    ReleaseVips,
    /// See `Guardian::set_door`.
    SetDoor {
        /// Under this epoch only.
        epoch: Epoch,
        /// How far.
        door: Door,
    },
    /// See `Guardian::set_members`.
    SetMembers {
        /// The publish addresses of the other nodes.
        members: Vec<IpAddr>,
    },
}

/// heart's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "say")]
pub enum HeartMessage {
    /// The answer to one request.
    Reply {
        /// The request's id.
        id: u64,
        /// `None`: done (for stops: begun). Otherwise the refusal's reason.
        refused: Option<String>,
    },
    /// The whole state, pushed after every change and after every attach.
    State {
        /// The state.
        state: Box<HeartState>,
    },
}

/// Everything heart knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartState {
    /// heart's pid.
    pub pid: u32,
    /// The armed lease; every fence is armed with it, the port gate too.
    pub armed: Option<ArmedLease>,
    /// Set when the fence of a deadline begins: that epoch is fenced for ever. `postgres` and `vips` say how far it is.
    pub fenced: Option<Epoch>,
    /// PostgreSQL's processes.
    pub postgres: PostgresProcess,
    /// The addresses heart keeps alive.
    pub vips: Vec<VipAddress>,
    /// The port gate.
    pub gate: GateState,
    /// The running tool's id.
    pub tool_running: Option<u64>,
    /// The last finished tool.
    pub tool_finished: Option<ToolOutcome>,
}

/// The port gate as heart keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateState {
    /// Why there is none: switched off, or a kernel that cannot.
    pub off: Option<String>,
    /// Why it is not as it should be. Then this node must not lead.
    pub failure: Option<String>,
    /// The armed epoch, once the kernel lets clients in under it.
    pub open_for: Option<Epoch>,
    /// The newest epoch that it does not open for any more.
    pub closed_for: Option<Epoch>,
    /// The armed epoch, once the kernel has shut clients out on the daemon's word.
    pub shut_for: Option<Epoch>,
    /// The members' addresses heart was told.
    pub members: Vec<IpAddr>,
}

/// PostgreSQL as heart sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum PostgresProcess {
    /// Every descendant is reaped; nothing of PostgreSQL exists.
    #[default]
    Gone,
    /// The postmaster runs.
    Running {
        /// Its pid.
        pid: u32,
        /// Counts starts, so that an old exit is not taken for a new one.
        start: u64,
    },
    /// The postmaster has exited or is being stopped; descendants may live.
    Ending {
        /// How many processes are left.
        left: u32,
    },
}

/// How to start the postmaster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresStart {
    /// Absolute path of `postgres`.
    pub program: PathBuf,
    /// PGDATA; must contain `standby.signal` and be `postgres.data_dir` of heart's own settings. A stale `postmaster.pid`
    /// in it is removed.
    pub data_dir: PathBuf,
    /// Arguments after `-D <data_dir>`, which heart puts first.
    pub args: Vec<String>,
    /// uid and gid to run as.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// Where standard output and error go (appended).
    pub log_file: PathBuf,
}

/// How to stop PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresStop {
    /// Which signal first.
    pub mode: StopMode,
    /// At this instant every descendant left is killed.
    pub kill_at: Timestamp,
}

/// PostgreSQL's shutdown modes that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopMode {
    /// SIGINT: sessions end, shutdown checkpoint.
    Fast,
    /// SIGQUIT: no checkpoint.
    Immediate,
}

/// One of PostgreSQL's tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRequest {
    /// Chosen by the daemon.
    pub id: u64,
    /// Absolute path. Refused while anything of PostgreSQL exists, but for `pg_basebackup`. Runs in `/`.
    pub program: PathBuf,
    /// Arguments; never a secret.
    pub args: Vec<String>,
    /// Environment (PGPASSFILE, ...); nothing is inherited but PATH and LC_ALL=C.
    pub env: Vec<(String, String)>,
    /// uid and gid to run as.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// Where standard output and error go (truncated first).
    pub log_file: PathBuf,
}

/// How a tool ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOutcome {
    /// The request's id.
    pub id: u64,
    /// Exit code; `None` when a signal ended it.
    pub exit_code: Option<i32>,
}

/// An address and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VipAddress {
    /// The address.
    pub ip: IpAddr,
    /// Prefix length; 32 or 128 unless set otherwise.
    pub prefix: u8,
    /// Interface name.
    pub interface: String,
}
