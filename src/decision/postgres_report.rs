//! What the local PostgreSQL is, and what it is asked to be: the whole of the talk between election and replication.

use crate::model::{Epoch, Lsn, NodeId, Nonce, Position, Reason, Revision, Timeline};
use crate::records::{HistoryRecord, MemberRecord, Token};
use std::collections::{BTreeMap, BTreeSet};

/// The problem of a voter that can stream only with a copy made anew.
pub(crate) const REMADE_VOTER: &str = "remade-voter";
/// The problem of a voter that can stream only once it is rewound.
pub(crate) const DIVERGED_VOTER: &str = "diverged-voter";

/// What PostgreSQL shall become. Always the whole wish, repeated by its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PostgresOrder {
    /// Nothing is known: change nothing.
    #[default]
    Undecided,
    /// Stop streaming for good and say where the copy ends (rules R4, R5). The promise is fsynced first.
    Detach {
        /// The mod_revision of `leader` that is promised.
        revision: Revision,
        /// This node took the newest epoch: the token in PGDATA is its proof (rule R7) and stays as it is. On any other node
        /// it is renewed, so that the copy can be told from any earlier or later one should it take the next epoch.
        keeps_token: bool,
    },
    /// Stream from the holder of a `leader` revision newer than any promise.
    Follow(FollowOrder),
    /// Be the primary of an epoch that is held and armed.
    Lead(LeadOrder),
    /// Stop, because this node steps down; then stay stopped until told otherwise.
    Stop {
        /// Fast (planned, time left) or immediate.
        fast: bool,
    },
}

/// Whom to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowOrder {
    /// The holder.
    pub leader: NodeId,
    /// Its PostgreSQL's address and port.
    pub address: String,
    /// See `address`.
    pub port: u16,
    /// The newest epoch: the holder's, or (to catch up) the last that was held.
    pub epoch: Epoch,
    /// A mod_revision of `leader` written by that holder; must be newer than the promise.
    pub leader_revision: Revision,
    /// The lineage that ends in the holder's epoch, or in that of the bidder's copy.
    pub lineage: Vec<HistoryRecord>,
    /// Whether `voters` names this node now: then it must not be rewound or rebuilt (rule R7).
    pub named_voter: bool,
    /// Every other member, for slots.
    pub members: BTreeMap<NodeId, MemberRecord>,
    /// Rule R14: the source is a promised bidder, not a holder; allowed although promised.
    pub catch_up: bool,
}

/// How to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadOrder {
    /// The epoch held.
    pub epoch: Epoch,
    /// The acquisition's nonce (for the token in PGDATA).
    pub nonce: Nonce,
    /// The timeline that history recorded for this epoch.
    pub timeline: Timeline,
    /// The highest timeline recorded before this epoch.
    pub highest_timeline: Timeline,
    /// Names for `synchronous_standby_names` before promotion: V' of the acquiring transaction, or, in `strict` after the first
    /// epoch, every other member if that is empty; empty: none.
    pub sync_names: BTreeSet<NodeId>,
    /// q.
    pub sync_quorum: u32,
    /// Every other member, for slots and access.
    pub members: BTreeMap<NodeId, MemberRecord>,
    /// The first leader of a new cluster creates roles here.
    pub first_epoch: bool,
}

/// What the local PostgreSQL is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresReport {
    /// The process and its role.
    pub state: PostgresState,
    /// PGDATA's system identifier, when there is a data directory.
    pub system_identifier: Option<String>,
    /// Newest known position (replayed as standby, flushed as primary, from pg_controldata when down).
    pub position: Option<Position>,
    /// Proven detached at a promised revision, with the position read after the proof.
    pub detached: Option<(Revision, Position)>,
    /// Durable promise.
    pub promised: Revision,
    /// Where a cleanly stopped primary ended; whoever is past it has everything.
    pub final_position: Option<Position>,
    /// The token inside PGDATA.
    pub token: Option<Token>,
    /// The `unsynced` mark.
    pub unsynced: Option<String>,
    /// The `no-start` mark.
    pub no_start: Option<String>,
    /// The work in hand, for people: `base copy`, `rewind`, `start`, ...
    pub busy: Option<String>,
    /// Why the wish is not fulfilled.
    pub problems: Vec<Reason>,
    /// The last order's epoch that was refused as outdated, if any.
    pub refused_epoch: Option<Epoch>,
}

impl PostgresReport {
    /// Whether it is a voter that can stream only with a copy made anew, and waits for that (rule R7).
    pub fn needs_remake(&self) -> bool {
        self.problems.iter().any(|problem| problem.code == REMADE_VOTER || problem.code == DIVERGED_VOTER)
    }
}

/// The process and its role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PostgresState {
    /// Not looked yet.
    #[default]
    Unknown,
    /// No process of PostgreSQL exists (heart has reaped all).
    Down {
        /// Whether a data directory exists.
        initialised: bool,
    },
    /// The postmaster runs but takes no query yet.
    Starting,
    /// In recovery, answers queries.
    Standby {
        /// Whom it streams from, and whether bytes flow.
        streaming_from: Option<NodeId>,
    },
    /// Promotion was asked for and has not ended.
    Promoting {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// Out of recovery.
    Primary(PrimaryReport),
    /// Being stopped, or its processes are being reaped.
    Stopping,
}

/// The primary's own view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrimaryReport {
    /// The epoch it was promoted under (from the token in PGDATA).
    pub epoch: Epoch,
    /// Its timeline, checked against the recorded one.
    pub timeline: Timeline,
    /// Where this timeline began.
    pub promoted_at: Lsn,
    /// A test write succeeded.
    pub writable: bool,
    /// Flushed position.
    pub flushed: Lsn,
    /// `synchronous_standby_names` in force in postmaster, checkpointer and every walsender, proven; `None`: in change.
    pub sync_names: Option<BTreeSet<NodeId>>,
    /// Flushed position read *after* `sync_names` was proven effective: the catch-up target (rules R2, R3).
    pub names_effective_at: Option<Lsn>,
    /// One row per streaming follower.
    pub followers: BTreeMap<NodeId, FollowerReport>,
}

/// One row of pg_stat_replication, by application_name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowerReport {
    /// State is `streaming`.
    pub streaming: bool,
    /// Flushed there.
    pub flushed: Lsn,
    /// sync_priority > 0.
    pub counted: bool,
}
