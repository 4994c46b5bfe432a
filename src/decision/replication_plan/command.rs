//! What a plan asks for. Every command may be the last one carried out: the next plan starts from what is observed then.

use super::observed::{Source, SyncNames, UnsyncedMark};
use crate::model::{Epoch, Lsn, NodeId, Revision, Timeline};
use crate::records::{MemberRecord, Token};
use std::collections::BTreeMap;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write the managed configuration and `standby.signal`, and strip managed keys from postgresql.auto.conf.
    PrepareStart,
    /// Start the postmaster (as a standby) through heart.
    StartStandby,
    /// Wait, for a bounded time, until the server answers queries.
    AwaitAnswer,
    /// Stop PostgreSQL through heart and wait until every process is reaped.
    StopPostgres {
        /// Fast, otherwise immediate.
        fast: bool,
    },
    /// Make the promise durable; it only grows.
    Promise {
        /// The mod_revision of `leader`.
        revision: Revision,
        /// Before it a token of no epoch is written into PGDATA, unlike any other: should this copy take an epoch and fall before
        /// it is promoted, it can prove to be that very copy (rule R7). One that cannot be marked (a full disk) promises all the same.
        marks: bool,
    },
    /// Write a conninfo that points to our own listener, under a fresh name.
    PointAtSentinel(Revision),
    /// Write a conninfo that points to another node; refused by the writer when the promise forbids it (rule R4).
    PointAt {
        /// Whom to stream from.
        source: Source,
        /// A revision of `leader` newer than the promise ...
        revision: Revision,
        /// ... unless this is a catch-up among promised nodes (rule R14).
        catch_up: bool,
    },
    /// Make every process read its configuration again.
    Reload,
    /// End a pause of replay.
    ResumeReplay,
    /// Wait, for a bounded time, until our listener and the startup process prove that nothing streams and nothing is left to replay.
    AwaitProof,
    /// Wait, for a bounded time, until the walreceiver streams from there.
    AwaitStreaming(Source),
    /// Write the access file for these members.
    WriteAccess(BTreeMap<NodeId, MemberRecord>),
    /// Create a physical slot that holds WAL from now on.
    CreateSlot(String),
    /// Drop a slot, ending its walsender first.
    DropSlot(String),
    /// Standby: let our copies of the members' slots follow our own replay.
    AdvanceSlots {
        /// Up to here, never beyond what is replayed.
        to: Lsn,
    },
    /// Write the `unsynced` mark.
    MarkUnsynced(UnsyncedMark),
    /// Read the holder's flushed position and put it into the mark.
    AskTarget {
        /// The holder.
        source: Source,
        /// The timeline it must be on.
        timeline: Timeline,
    },
    /// Remove the mark.
    ClearUnsynced,
    /// Wait, for a bounded time, until the source's control file shows this timeline; pg_rewind would see no difference before.
    AwaitSourceCheckpoint {
        /// The source.
        source: Source,
        /// Its timeline; `None` when it is still in recovery (rule R14).
        timeline: Option<Timeline>,
    },
    /// Keep pg_control, drop the token and slots, run pg_rewind.
    Rewind(Source),
    /// Base copy into the side directory, without token and slots, synced, marked as ready.
    CopyBase(Source),
    /// Rename the side directory into place, keeping what was there.
    SwapIn {
        /// Names the old copy that is kept.
        epoch: Epoch,
    },
    /// Write the token into PGDATA.
    WriteToken(Token),
    /// Write `synchronous_standby_names`; effective only after a reload, and proven only by `ProveSyncNames`.
    WriteSyncNames(SyncNames),
    /// Beside everything else: prove the names effective, then read the flushed position. Completes a checkpoint when asked.
    ProveSyncNames {
        /// The names on disk.
        names: SyncNames,
        /// The checkpointer must have taken them over: a checkpoint is completed first.
        checkpoint: bool,
    },
    /// Put comment-only history files for the timelines in (after, up_to] into pg_wal, so that promotion takes the next one.
    PlaceHistory {
        /// Own timeline.
        after: Timeline,
        /// The highest one recorded.
        up_to: Timeline,
    },
    /// Ask for promotion under this epoch and wait, for a bounded time, until recovery has ended.
    Promote {
        /// Checked against heart once more right before.
        epoch: Epoch,
    },
    /// End all sessions of an earlier daemon and see them gone.
    EndPredecessors(Epoch),
    /// Commit something small that waits for nobody.
    TestWrite(Epoch),
    /// Create the replication role, its rights, and set the superuser's password.
    MakeRoles(Epoch),
}

impl Command {
    /// What the step is called for people, and as a failure's code.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PrepareStart => "prepare-start",
            Self::StartStandby => "start",
            Self::AwaitAnswer => "await-answer",
            Self::StopPostgres { .. } => "stop",
            Self::Promise { .. } => "promise",
            Self::PointAtSentinel(_) => "point-at-sentinel",
            Self::PointAt { .. } => "point-at-node",
            Self::Reload => "reload",
            Self::ResumeReplay => "resume-replay",
            Self::AwaitProof => "await-proof",
            Self::AwaitStreaming(_) => "await-streaming",
            Self::WriteAccess(_) => "write-access",
            Self::CreateSlot(_) => "create-slot",
            Self::DropSlot(_) => "drop-slot",
            Self::AdvanceSlots { .. } => "advance-slots",
            Self::MarkUnsynced(_) => "mark-unsynced",
            Self::AskTarget { .. } => "ask-target",
            Self::ClearUnsynced => "clear-unsynced",
            Self::AwaitSourceCheckpoint { .. } => "await-source-checkpoint",
            Self::Rewind(_) => "rewind",
            Self::CopyBase(_) => "base-copy",
            Self::SwapIn { .. } => "swap-in",
            Self::WriteToken(_) => "write-token",
            Self::WriteSyncNames(_) => "write-sync-names",
            Self::ProveSyncNames { .. } => "prove-sync-names",
            Self::PlaceHistory { .. } => "place-history",
            Self::Promote { .. } => "promote",
            Self::EndPredecessors(_) => "end-predecessors",
            Self::TestWrite(_) => "test-write",
            Self::MakeRoles(_) => "make-roles",
        }
    }
}
