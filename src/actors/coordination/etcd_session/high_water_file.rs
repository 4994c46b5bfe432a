//! `high_water.json`: what this node has seen of etcd, kept for ever.

use crate::settings::private_file;
use leaderl_decision::cluster::high_water::{HighWater, Urgency};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// A mark that rose only in its revision is written at most this often.
const SOON: Duration = Duration::from_secs(3);

/// Where the file is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("high_water.json")
}

/// Reads the file; absent means a node that has seen nothing.
pub fn load(path: &Path) -> io::Result<HighWater> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HighWater::default()),
        Err(error) => Err(error),
    }
}

/// Removes the file: for a node that begins a new cluster.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(path(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The newest mark for the writing task.
pub(super) type Mark = (HighWater, Urgency);

/// Writes the marks that arrive, so that a slow disk delays nobody else; ends when the sender is dropped.
pub(super) async fn keep(path: PathBuf, mut marks: watch::Receiver<Mark>) {
    while marks.changed().await.is_ok() {
        if marks.borrow_and_update().1 != Urgency::Now {
            let urgent = marks.wait_for(|mark| mark.1 == Urgency::Now);
            // Too late or closed: what is there now is written.
            let _ = tokio::time::timeout(SOON, urgent).await;
        }
        let mark = marks.borrow_and_update().0.clone();
        let target = path.clone();
        let written = tokio::task::spawn_blocking(move || {
            private_file::replace(&target, serde_json::json!(mark).to_string().as_bytes(), 0o600)
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, path = %path.display(), "what was seen of etcd could not be kept"),
            Err(error) => tracing::warn!(%error, "what was seen of etcd could not be kept"),
        }
    }
}
