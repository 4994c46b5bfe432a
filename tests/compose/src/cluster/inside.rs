//! What a node's files and log say, read from the host as fast as the row needs it: a step of a procedure lasts milliseconds.

use super::Cluster;
use crate::{Outcome, While, fail};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(2);

/// A running node's files. Looking at them costs no command in the node.
#[derive(Clone, Debug)]
pub struct Inside {
    node: String,
    root: PathBuf,
}

impl Cluster {
    /// The files of a node, until it is stopped or killed.
    ///
    /// # Errors
    /// It does not run.
    pub async fn inside(&self, node: &str) -> Outcome<Inside> {
        match self.pid(node).await? {
            0 => fail(format!("{node} does not run")),
            pid => Ok(Inside { node: node.into(), root: PathBuf::from(format!("/proc/{pid}/root")) }),
        }
    }
}

impl Inside {
    /// The path as the host sees it; `path` as the node does.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text; empty when there is none.
    #[must_use]
    pub fn text(&self, path: &str) -> String {
        std::fs::read(self.path(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it exists.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        Path::new(&self.path(path)).exists()
    }

    /// How many bytes of the daemon's log there are now: a mark for [`Inside::logged_since`].
    #[must_use]
    pub fn log_mark(&self) -> usize {
        self.text(LOG).len()
    }

    /// What the daemon has logged since the mark.
    #[must_use]
    pub fn logged_since(&self, mark: usize) -> String {
        let text = self.text(LOG);
        // Rotated in the meantime: then all of it is new.
        text.get(mark..).unwrap_or(&text).to_string()
    }

    /// Looks every two milliseconds until `seen` says so.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub async fn until(&self, what: &str, limit: Duration, seen: impl Fn(&Self) -> bool) -> Outcome<()> {
        let end = Instant::now() + limit;
        while !seen(self) {
            if Instant::now() > end {
                return fail(format!("not seen on {} within {} s: {what}", self.node, limit.as_secs()));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Writes a file in the node.
    ///
    /// # Errors
    /// The node is gone or its disk full.
    pub fn write(&self, path: &str, text: &str) -> Outcome<()> {
        std::fs::write(self.path(path), text).during(|| format!("writing {path} in {}", self.node))
    }
}

const LOG: &str = "/var/log/leaderl/leaderl/current";
