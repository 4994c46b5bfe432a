//! One node: its daemon's election, its heart, its PostgreSQL.

use super::log::Log;
use super::world::{Mask, Node, Rev, Token};

/// The daemon's election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Election {
    /// No daemon runs.
    #[default]
    Off,
    Undecided,
    Observing,
    /// The acquiring or adopting transaction is under way.
    Claiming {
        hold: Hold,
        adopts: bool,
    },
    Holding(Hold),
    SteppingDown(Down),
}

/// [`leaderl_decision::election::Hold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hold {
    pub(crate) epoch: u8,
    pub(crate) nonce: u8,
    pub(crate) acquired_with: u8,
    pub(crate) rev: Rev,
    pub(crate) stage: Stage,
    /// The last confirmed renewal is older than D/2; set when somebody else's clock has reached D.
    pub(crate) old: bool,
}

/// [`leaderl_decision::election::Stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Promoting,
    AwaitingVoters,
    Serving,
}

/// [`leaderl_decision::election::SteppingDown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Down {
    pub(crate) hold: Hold,
    pub(crate) planned: bool,
    pub(crate) phase: Phase,
    pub(crate) was_writable: bool,
}

/// [`leaderl_decision::election::DownPhase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Checkpointing,
    Stopping,
    Releasing,
    Vacating,
}

/// VotersActor while it keeps a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keeper {
    pub(crate) epoch: u8,
    pub(crate) own_put: bool,
}

/// How far heart lets clients in, under an epoch; one way within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Door {
    Open,
    Ending,
    Shut,
}

/// heart's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Heart {
    pub(crate) armed: Option<Token>,
    /// Armed without a committed renewal behind its deadline: nothing follows from anybody's clock.
    pub(crate) unbacked: bool,
    pub(crate) fenced: u8,
    pub(crate) highest: u8,
    pub(crate) vip: bool,
    /// The daemon's last word about the port gate, and for which epoch.
    pub(crate) door: Option<(u8, Door)>,
}

/// PostgreSQL's processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    #[default]
    Gone,
    Standby,
    /// A standby that was asked to become a primary.
    Promoting,
    Primary,
    /// A primary in a fast stop.
    Stopping,
}

/// Where a conninfo points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    #[default]
    Unset,
    /// Our own listener, under the name of this revision.
    Sentinel(Rev),
    Node(Node),
}

/// The `unsynced` mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    #[default]
    None,
    RewindBegun,
    CopyNeeded,
    /// Timeline and LSN that must be flushed, once asked for.
    CatchUp(Option<(u8, u8)>),
}

/// One node's PostgreSQL: files and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Postgres {
    pub(crate) process: Process,
    /// There is a data directory.
    pub(crate) data: bool,
    pub(crate) log: Log,
    /// How many records of the log are replayed.
    pub(crate) replayed: u8,
    pub(crate) promised: Rev,
    pub(crate) token: Option<Token>,
    pub(crate) mark: Mark,
    /// The last stop was orderly.
    pub(crate) clean: bool,
    /// `primary_conninfo` on disk.
    pub(crate) upstream: Upstream,
    /// What the startup process has read.
    pub(crate) read: Upstream,
    /// A reload was asked for that the processes have not yet obeyed.
    pub(crate) reloading: bool,
    /// `synchronous_standby_names` on disk.
    pub(crate) names: Mask,
    /// A bit for every set of names that some process still goes by.
    pub(crate) names_in_force: u8,
    /// The daemon has proven the names on disk effective, and read this LSN afterwards.
    pub(crate) proven_at: Option<u8>,
    pub(crate) in_proof: bool,
    /// Where the present timeline began.
    pub(crate) promoted_at: u8,
    /// History files in pg_wal go up to this timeline.
    pub(crate) placed: u8,
    /// Clients were let in.
    pub(crate) open: bool,
    /// This daemon has ended its predecessors' sessions and written a test row.
    pub(crate) looked_after: bool,
    /// This daemon has seen where the server stood.
    pub(crate) stood: bool,
    /// The last pass found that this epoch can never be led from this copy.
    pub(crate) hopeless: bool,
    /// Names that a session of an earlier daemon may still write.
    pub(crate) late_names: Option<Mask>,
}

/// One node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) powered: bool,
    pub(crate) election: Election,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) heart: Heart,
    pub(crate) postgres: Postgres,
    /// Replication does not get through from here to its upstream.
    pub(crate) cut: bool,
    /// The daemon was told to hand over.
    pub(crate) told_to_stop: bool,
    /// `high_water.json`: store, revision, epoch, version of the voter record, whether the state went back.
    pub(crate) high_water: HighWater,
}

/// [`leaderl_decision::cluster::high_water::HighWater`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HighWater {
    pub(crate) revision: Rev,
    pub(crate) epoch: u8,
    pub(crate) version: u8,
    pub(crate) went_back: bool,
}

impl Election {
    /// The hold, also one that is being acquired.
    pub(crate) fn hold_mut(&mut self) -> Option<&mut Hold> {
        match self {
            Self::Claiming { hold, .. } | Self::Holding(hold) => Some(hold),
            Self::SteppingDown(down) => Some(&mut down.hold),
            Self::Off | Self::Undecided | Self::Observing => None,
        }
    }
}
