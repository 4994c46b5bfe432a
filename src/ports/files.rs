//! The daemon's own small files in the state directory, and the journal.

use async_trait::async_trait;
use std::io;
use std::path::PathBuf;

/// What one node has seen of etcd, kept for ever.
pub const HIGH_WATER_FILE: &str = "high_water.json";
/// The other members' client URLs.
pub const ENDPOINTS_FILE: &str = "etcd-endpoints.json";
/// The journal.
pub const JOURNAL_FILE: &str = "journal.jsonl";

/// Files of the state directory, by name.
#[async_trait]
pub trait StateFiles: Send + Sync {
    /// The whole file; `None` when there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces (or creates) a file in one step, durable when this returns. A hung disk delays only the caller.
    async fn replace(&self, name: &str, bytes: Vec<u8>) -> io::Result<()>;
    /// Hands a line to the end of a log that is written beside; never waits. `false`: the disk is too slow, the line is dropped.
    fn append(&self, name: &str, line: String) -> bool;
    /// The last complete lines of such a log, oldest first.
    fn last_lines(&self, name: &str) -> Vec<String>;
    /// Where a file is, for people.
    fn path(&self, name: &str) -> PathBuf;
}
