//! `high_water.json`: what this node has seen of etcd, kept for ever.

use crate::ports::{HIGH_WATER_FILE, StateFiles};
use leaderl_decision::cluster::high_water::{HighWater, Urgency};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A mark that rose only in its revision is written at most this often.
const SOON: Duration = Duration::from_secs(3);

/// Reads the file; absent means a node that has seen nothing.
pub fn load(files: &dyn StateFiles) -> io::Result<HighWater> {
    match files.read(HIGH_WATER_FILE)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        None => Ok(HighWater::default()),
    }
}

/// Removes the file: for a node that begins a new cluster.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(state_dir.join(HIGH_WATER_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The newest mark for the writing task.
pub(super) type Mark = (HighWater, Urgency);

/// Writes the marks that arrive, so that a slow disk delays nobody else; ends when the sender is dropped.
pub(super) async fn keep(files: Arc<dyn StateFiles>, mut marks: watch::Receiver<Mark>) {
    while marks.changed().await.is_ok() {
        if marks.borrow_and_update().1 != Urgency::Now {
            let urgent = marks.wait_for(|mark| mark.1 == Urgency::Now);
            // Too late or closed: what is there now is written.
            let _ = tokio::time::timeout(SOON, urgent).await;
        }
        let mark = marks.borrow_and_update().0.clone();
        if let Err(error) = files.replace(HIGH_WATER_FILE, serde_json::json!(mark).to_string().into_bytes()).await {
            let path = files.path(HIGH_WATER_FILE);
            tracing::warn!(%error, path = %path.display(), "what was seen of etcd could not be kept");
        }
    }
}
