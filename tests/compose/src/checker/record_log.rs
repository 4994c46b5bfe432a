//! The log outside the nodes: an acknowledgement counts only once it is on this disk.

use super::record::{Answer, Attempt};
use crate::{Outcome, While};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Where clients send their attempts; cheap to clone.
#[derive(Clone)]
pub struct RecordSender {
    attempts: Sender<Attempt>,
    durable: Arc<AtomicU64>,
}

/// The thread that owns the file.
pub struct RecordLog {
    thread: JoinHandle<std::io::Result<()>>,
}

impl RecordLog {
    /// Creates the file and starts its thread.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Outcome<(Self, RecordSender)> {
        let file = File::create(path).during(|| format!("creating {}", path.display()))?;
        let (attempts, received) = channel();
        let durable = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&durable);
        let thread = std::thread::spawn(move || keep(file, &received, &counter));
        Ok((Self { thread }, RecordSender { attempts, durable }))
    }

    /// Waits until all is on disk; every sender must be gone.
    ///
    /// # Errors
    /// Something could not be written: the run proves nothing then.
    pub fn finish(self) -> Outcome<()> {
        let written = self.thread.join().map_err(|_| crate::Failure("the row log's thread panicked".into()))?;
        written.during(|| "writing the row log".into())
    }
}

impl RecordSender {
    /// Hands one attempt over.
    pub fn record(&self, attempt: Attempt) {
        // Fails only when the log's thread has ended on an error, which `finish` reports.
        let _ = self.attempts.send(attempt);
    }

    /// How many acknowledgements are on disk.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}

/// Takes whatever has gathered, appends it, and syncs once for all of it.
fn keep(mut file: File, received: &Receiver<Attempt>, durable: &AtomicU64) -> std::io::Result<()> {
    while let Ok(first) = received.recv() {
        let mut lines = String::new();
        let mut acknowledged = 0;
        for attempt in std::iter::once(first).chain(received.try_iter()) {
            acknowledged += u64::from(attempt.answer == Answer::Acknowledged);
            lines.push_str(&attempt.to_line());
        }
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        durable.fetch_add(acknowledged, Ordering::Release);
    }
    Ok(())
}
