//! The state directory: small files replaced whole, and the journal appended by a thread of its own.

use super::journal_file::{JournalFile, read_back};
use crate::ports::StateFiles;
use crate::settings::private_file;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// [`StateFiles`] in a directory.
pub struct StateDir {
    directory: PathBuf,
    logs: Mutex<BTreeMap<String, JournalFile>>,
}

impl StateDir {
    /// The files of this directory, which need not exist yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), logs: Mutex::default() }
    }
}

#[async_trait]
impl StateFiles for StateDir {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn replace(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let path = self.path(name);
        let written = tokio::task::spawn_blocking(move || private_file::replace(&path, &bytes, 0o600));
        written.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    fn append(&self, name: &str, line: String) -> bool {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = match logs.get_mut(name) {
            Some(log) => log,
            None => match JournalFile::open(self.path(name)) {
                Ok(log) => logs.entry(name.to_owned()).or_insert(log),
                Err(_) => return false,
            },
        };
        log.append(line)
    }

    fn last_lines(&self, name: &str) -> Vec<String> {
        read_back(&self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
