//! Whether the machine itself stood still during a row: all nodes share its disk and processors, and a disk that syncs
//! nothing for a second stops every etcd member at once. Such a row proves nothing about leaderl.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(50);
/// The catalogue's limit: half the health interval (1 s in these clusters), without a cause that the row injected.
pub(super) const STALLED: Duration = Duration::from_millis(500);
/// The same where a silence of 250 ms is a failure: the stall of one write alone must leave room for the rest of its way.
pub(super) const STALLED_UNNOTICED: Duration = Duration::from_millis(100);

/// A thread that writes and syncs a few bytes every 50 ms beside the row, and remembers the longest it took.
pub(super) struct Gauge {
    longest_ms: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Gauge {
    /// Starts; the file goes into `directory`. Without a file only the processors are observed.
    pub(super) fn start(directory: &Path) -> Self {
        let gauge = Self { longest_ms: Arc::default(), over: Arc::default() };
        let (longest_ms, over) = (Arc::clone(&gauge.longest_ms), Arc::clone(&gauge.over));
        let mut file = File::create(directory.join("gauge")).ok();
        std::thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                let began = Instant::now();
                if let Some(file) = &mut file {
                    // A failed write is a stall of no length; the row itself will tell of a broken disk.
                    let _ =
                        file.rewind().and_then(|()| file.write_all(b"still here\n")).and_then(|()| file.sync_data());
                }
                std::thread::sleep(PACE);
                let late = began.elapsed().saturating_sub(PACE);
                longest_ms.fetch_max(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
            }
        });
        gauge
    }

    /// The longest stall so far, ms, when it was longer than `limit`.
    pub(super) fn stalled_ms(&self, limit: Duration) -> Option<u64> {
        let longest = self.longest_ms.load(Ordering::Acquire);
        (u128::from(longest) > limit.as_millis()).then_some(longest)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}
