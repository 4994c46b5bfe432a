//! What HealthActor acts through: disks and a test connection to PostgreSQL.

use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a disk is not usable.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operation failed.
    #[error("{operation} at {}: {source}", path.display())]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: std::io::Error,
    },
    /// The operation has not come back; its thread is left behind and no other is started for this path until it returns.
    #[error("{operation} at {} has not come back for {waited:?}", path.display())]
    Hung {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// How long it has been waited for.
        waited: Duration,
    },
}

impl DiskError {
    /// Whether the disk itself says that it cannot be written (EIO, EROFS, ENOSPC, EDQUOT): waiting for another check is of no use.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Failed { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::EIO | libc::EROFS | libc::ENOSPC | libc::EDQUOT))
            }
            Self::Hung { .. } => false,
        }
    }
}

/// The node's disks. A hung disk costs its caller `limit` and one parked thread per path, never more.
#[async_trait]
pub trait Disks: Send + Sync {
    /// Bytes that an ordinary process may still write on the file system of `path` (or of its nearest existing ancestor).
    async fn free_bytes(&self, path: &Path, limit: Duration) -> Result<u64, DiskError>;
    /// Writes 4 KiB into a new file in `dir`, makes it durable (fdatasync) and removes it; says how long that took.
    async fn write_probe(&self, dir: &Path, limit: Duration) -> Result<Duration, DiskError>;
}

/// What a test connection to PostgreSQL saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresAnswer {
    /// A query was answered.
    Answers,
    /// SQLSTATE 57P03: the server runs and takes no query yet.
    Starting,
    /// SQLSTATE 53300: the server answers, its connections are used up.
    Full,
}

/// The test connection failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresProbeError {
    /// Nothing came back in time.
    #[error("PostgreSQL did not answer within {limit:?}")]
    Silent {
        /// The limit.
        limit: Duration,
    },
    /// The connection or the query failed.
    #[error("PostgreSQL does not take a query: {detail}")]
    Failed {
        /// The chain of causes.
        detail: String,
    },
}

/// A fresh connection and one query, as a client would do it.
#[async_trait]
pub trait PostgresProbe: Send + Sync {
    /// Connects over the local socket, runs `SELECT 1`, disconnects.
    async fn check(&self, limit: Duration) -> Result<PostgresAnswer, PostgresProbeError>;
}
