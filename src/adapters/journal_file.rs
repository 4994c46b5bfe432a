//! The journal on disk: lines appended by a thread of its own, so that a stalled disk stalls no actor.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A file larger than this is set aside as `journal.jsonl.1`, in bytes.
const ROTATE_AT: u64 = 4 * 1024 * 1024;

/// Lines that may wait for the disk; more are counted and dropped.
const WAITING: usize = 1024;

/// How much of an old file is read back at a start, in bytes.
const READ_BACK: u64 = 512 * 1024;

/// Hands lines to the writing thread, which ends when this is dropped.
pub(super) struct JournalFile {
    lines: SyncSender<String>,
}

impl JournalFile {
    /// Starts the thread. A directory that cannot be written to only costs the lines (they are logged as well).
    pub(super) fn open(path: PathBuf) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("journal".into()).spawn(move || write_all(&path, &waiting))?;
        Ok(Self { lines })
    }

    /// Never waits; `false` when the disk is too slow for the line.
    pub(super) fn append(&self, line: String) -> bool {
        self.lines.try_send(line).is_ok()
    }
}

fn write_all(path: &Path, lines: &Receiver<String>) {
    let mut file: Option<(File, u64)> = None;
    while let Ok(line) = lines.recv() {
        if file.as_ref().is_some_and(|(_, size)| *size >= ROTATE_AT) {
            file = None;
            let _ = std::fs::rename(path, path.with_extension("jsonl.1"));
        }
        if file.is_none() {
            file = open(path)
                .map_err(|why| tracing::warn!(path = %path.display(), %why, "the journal cannot be opened"))
                .ok();
        }
        if let Some((out, size)) = &mut file {
            let bytes = line.as_bytes();
            match out.write_all(bytes) {
                Ok(()) => *size += bytes.len() as u64,
                Err(why) => {
                    tracing::warn!(path = %path.display(), %why, "the journal cannot be written");
                    file = None;
                }
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<(File, u64)> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// The last complete lines of an old file, oldest first.
pub(super) fn read_back(path: &Path) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(READ_BACK)))?;
        let mut bytes = Vec::new();
        file.take(READ_BACK).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}
