//! The local PostgreSQL as PgReplicationActor uses it: files and sessions. Its processes belong to [`super::Guardian`].

use crate::heart::protocol::{PostgresStart, ToolRequest};
use async_trait::async_trait;
use leaderl_decision::model::{Epoch, Lsn, NodeId, Revision, Timeline};
use leaderl_decision::records::{MemberRecord, Token};
use leaderl_decision::replication_plan::{FilesSeen, ServerSeen, Source, SyncNames, UnsyncedMark};
use std::collections::BTreeMap;
use std::time::Duration;

/// What made a step fail, as its source.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a step with PostgreSQL was not done.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// A file could not be read or written.
    #[error("cannot {what}")]
    Files {
        /// The operation and the path.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No session could be opened.
    #[error("PostgreSQL {whom} does not answer")]
    NoAnswer {
        /// `here`, or an address.
        whom: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A query failed.
    #[error("PostgreSQL refused to {what}")]
    Query {
        /// What was asked.
        what: String,
        /// PostgreSQL's answer.
        #[source]
        source: Cause,
    },
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// Rule R4: the promise forbids to stream from a holder this old.
    #[error("revision {promised} is promised: streaming from the holder of revision {revision} is refused")]
    Promised {
        /// The durable promise.
        promised: Revision,
        /// The order's revision.
        revision: Revision,
    },
    /// Something is not as it must be.
    #[error("{0}")]
    Unfit(String),
}

/// Files and sessions of the local PostgreSQL. Every step may be repeated; each leaves the files as they were or as wished.
#[async_trait]
pub trait PostgresServer: Send + Sync {
    // ------------------------------------------------------------------------------------------ observation

    /// Looks at the files: data directory, marks, promise, configuration.
    async fn files(&self) -> Result<FilesSeen, PostgresError>;
    /// Looks at the server; `None` when it takes no queries (yet).
    async fn server(&self, limit: Duration) -> Result<Option<ServerSeen>, PostgresError>;
    /// Which epoch made which timeline, as kept on disk.
    async fn epochs(&self) -> Result<BTreeMap<Timeline, Epoch>, PostgresError>;
    /// Keeps them.
    async fn remember_epochs(&self, epochs: &BTreeMap<Timeline, Epoch>) -> Result<(), PostgresError>;

    // ------------------------------------------------------------------------------------------ start, configuration

    /// Writes configuration, [`SyncNames::of_nobody`] and `standby.signal`; strips managed keys from postgresql.auto.conf.
    async fn prepare_start(&self) -> Result<(), PostgresError>;
    /// How heart starts the postmaster.
    fn start_request(&self) -> Result<PostgresStart, PostgresError>;
    /// Waits until a query is answered; asks again every few milliseconds.
    async fn await_answer(&self, limit: Duration) -> Result<(), PostgresError>;
    /// Makes every process read its configuration again: through the session, or by SIGHUP when there is none.
    async fn reload(&self, postmaster: Option<u32>, limit: Duration) -> Result<(), PostgresError>;
    /// Writes the access file; `members` are the other nodes.
    async fn write_access(&self, members: &BTreeMap<NodeId, MemberRecord>) -> Result<(), PostgresError>;

    // ------------------------------------------------------------------------------------------ detach and follow

    /// Makes a promise durable; a lower one than there is changes nothing.
    /// With `mark`, that token is written into PGDATA before it, if this revision is not promised yet; without it if that fails.
    async fn promise(&self, revision: Revision, mark: Option<Token>) -> Result<(), PostgresError>;
    /// Writes a conninfo that points to our own listener, under a fresh name.
    async fn point_at_sentinel(&self, revision: Revision) -> Result<(), PostgresError>;
    /// Writes a conninfo that points to `source`; compares with the promise at that moment (rule R4).
    async fn point_at(&self, source: &Source, revision: Revision, catch_up: bool) -> Result<(), PostgresError>;
    /// Ends a pause of replay.
    async fn resume_replay(&self, limit: Duration) -> Result<(), PostgresError>;
    /// Waits until the walreceiver hangs at our listener and nothing is left to replay. Not an error when it does not.
    async fn await_proof(&self, limit: Duration) -> Result<(), PostgresError>;
    /// Waits until the walreceiver streams from `source`. Not an error when it does not.
    async fn await_streaming(&self, source: &Source, limit: Duration) -> Result<(), PostgresError>;
    /// Creates a physical slot that holds WAL at once; one that exists is left alone.
    async fn create_slot(&self, name: &str, limit: Duration) -> Result<(), PostgresError>;
    /// Ends the slot's walsender and drops it; one that is gone is no error.
    async fn drop_slot(&self, name: &str, limit: Duration) -> Result<(), PostgresError>;
    /// Moves all of our slots up to an already replayed position.
    async fn advance_slots(&self, to: Lsn, limit: Duration) -> Result<(), PostgresError>;

    // ------------------------------------------------------------------------------------------ remaking the copy

    /// Writes the `unsynced` mark, or removes it.
    async fn mark_unsynced(&self, mark: Option<&UnsyncedMark>) -> Result<(), PostgresError>;
    /// What the holder on `timeline` has flushed now; an error when it is in recovery or on another timeline.
    async fn ask_holder(&self, source: &Source, timeline: Timeline, limit: Duration) -> Result<Lsn, PostgresError>;
    /// Waits until the source's control file shows `timeline` (`None`: until it answers).
    async fn await_source_checkpoint(
        &self,
        source: &Source,
        timeline: Option<Timeline>,
        limit: Duration,
    ) -> Result<(), PostgresError>;
    /// Keeps pg_control, drops the token, and says how pg_rewind is run.
    async fn begin_rewind(&self, source: &Source) -> Result<ToolRequest, PostgresError>;
    /// After a successful pg_rewind: removes what came from the source and is not ours.
    async fn finish_rewind(&self) -> Result<(), PostgresError>;
    /// Empties the side directory and says how pg_basebackup is run.
    async fn begin_copy(&self, source: &Source) -> Result<ToolRequest, PostgresError>;
    /// After a successful pg_basebackup: drops token and slots from the copy, syncs it, and marks it as ready.
    async fn finish_copy(&self) -> Result<(), PostgresError>;
    /// Renames the side directory into place; what was there is kept under the epoch's name.
    async fn swap_in(&self, epoch: Epoch) -> Result<(), PostgresError>;
    /// The last words of the tool that ran last.
    async fn tool_words(&self) -> String;

    // ------------------------------------------------------------------------------------------ lead

    /// Writes the token into PGDATA.
    async fn write_token(&self, token: &Token) -> Result<(), PostgresError>;
    /// Writes `synchronous_standby_names`.
    async fn write_sync_names(&self, names: &SyncNames) -> Result<(), PostgresError>;
    /// Proves that the names are in force in the postmaster, every walsender and (`checkpoint`) the checkpointer, then reads
    /// the flushed position. Uses connections of its own.
    async fn prove_sync_names(
        &self,
        names: &SyncNames,
        checkpoint: bool,
        limit: Duration,
    ) -> Result<Lsn, PostgresError>;
    /// Puts comment-only history files for the timelines in (after, up_to] into pg_wal.
    async fn place_history(&self, after: Timeline, up_to: Timeline) -> Result<(), PostgresError>;
    /// Asks for promotion and waits until recovery has ended.
    async fn promote(&self, limit: Duration) -> Result<(), PostgresError>;
    /// Ends the sessions of earlier daemons and sees them gone.
    async fn end_predecessors(&self, limit: Duration) -> Result<(), PostgresError>;
    /// Commits something small that waits for nobody.
    async fn test_write(&self, epoch: Epoch, limit: Duration) -> Result<(), PostgresError>;
    /// Creates the replication role and its rights, and sets both passwords; the server never sees them in clear.
    async fn make_roles(&self, limit: Duration) -> Result<(), PostgresError>;
    /// A checkpoint, on a connection of its own.
    async fn checkpoint(&self, limit: Duration) -> Result<(), PostgresError>;
}
