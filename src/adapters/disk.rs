//! Disks: free space, and a durable write that may hang without hanging its caller.

use crate::ports::{DiskError, Disks};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const PROBE_FILE: &str = ".leaderl-write-probe";
const PROBE_BYTES: usize = 4096;

/// An operation and its path.
type Running = (&'static str, PathBuf);

/// The real disks.
///
/// Every operation runs on a thread of its own, because a system call on a dead disk can block for ever and nothing ends it. One
/// that hangs is left behind; until it returns no second one is started for the same operation and path.
#[derive(Default)]
pub struct RealDisks {
    running: Arc<Mutex<BTreeMap<Running, Instant>>>,
}

#[async_trait]
impl Disks for RealDisks {
    async fn free_bytes(&self, path: &Path, limit: Duration) -> Result<u64, DiskError> {
        self.detached("free space", path, limit, free_bytes).await
    }

    async fn write_probe(&self, dir: &Path, limit: Duration) -> Result<Duration, DiskError> {
        self.detached("a durable write", dir, limit, write_probe).await
    }
}

impl RealDisks {
    async fn detached<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        limit: Duration,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, DiskError> {
        let key = (operation, path.to_path_buf());
        let failed = |source| DiskError::Failed { operation, path: path.to_path_buf(), source };
        let began = Instant::now();
        if let Some(waited) = claim(&mut lock(&self.running), &key, began) {
            return Err(DiskError::Hung { operation, path: path.to_path_buf(), waited });
        }
        let (answer, answered) = oneshot::channel();
        let running = self.running.clone();
        let thread = std::thread::Builder::new().name("disk-check".to_owned()).spawn({
            let key = key.clone();
            move || {
                let done = work(&key.1);
                lock(&running).remove(&key);
                // Nobody waits any more when the limit has passed.
                let _ = answer.send(done);
            }
        });
        if let Err(error) = thread {
            lock(&self.running).remove(&key);
            return Err(failed(error));
        }
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(done)) => done.map_err(failed),
            Ok(Err(_)) => Err(failed(io::Error::other("the checking thread ended"))),
            Err(_) => Err(DiskError::Hung { operation, path: path.to_path_buf(), waited: began.elapsed() }),
        }
    }
}

/// Notes that this operation runs; `Some`: it runs already, for so long.
fn claim(running: &mut BTreeMap<Running, Instant>, key: &Running, now: Instant) -> Option<Duration> {
    match running.get(key) {
        Some(since) => Some(since.elapsed()),
        None => {
            running.insert(key.clone(), now);
            None
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an unprivileged process may still write. A directory that does not exist yet will be on its ancestor's file system.
fn free_bytes(path: &Path) -> io::Result<u64> {
    let mut path = path;
    loop {
        match nix::sys::statvfs::statvfs(path) {
            Ok(found) => return Ok(found.blocks_available().saturating_mul(found.fragment_size())),
            Err(nix::errno::Errno::ENOENT) => path = path.parent().ok_or(nix::errno::Errno::ENOENT)?,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A new file each time: overwriting one would not notice a full disk.
fn write_probe(dir: &Path) -> io::Result<Duration> {
    let began = Instant::now();
    let path = dir.join(PROBE_FILE);
    remove_if_there(&path)?;
    let written = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| write_durably(&file));
    // Also after a failure: a full disk must not keep our half-written file.
    remove_if_there(&path)?;
    written.map(|()| began.elapsed())
}

fn write_durably(mut file: &File) -> io::Result<()> {
    file.write_all(&[0x5a; PROBE_BYTES])?;
    file.sync_data()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_sound_disk_has_space_and_takes_a_durable_write_without_leaving_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let disks = RealDisks::default();
        assert!(disks.free_bytes(dir.path(), LIMIT).await.unwrap() > 0);
        assert!(disks.free_bytes(&dir.path().join("not/there/yet"), LIMIT).await.unwrap() > 0);
        disks.write_probe(dir.path(), LIMIT).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_missing_directory_is_a_failure_but_not_a_final_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = RealDisks::default().write_probe(&dir.path().join("gone"), LIMIT).await.unwrap_err();
        assert!(!error.is_final(), "{error}");
    }

    #[test]
    fn an_error_of_the_disk_itself_is_final() {
        for code in [libc::EIO, libc::EROFS, libc::ENOSPC] {
            let source = io::Error::from_raw_os_error(code);
            assert!(DiskError::Failed { operation: "a durable write", path: "/".into(), source }.is_final());
        }
    }

    #[tokio::test]
    async fn a_hung_disk_costs_one_thread_and_never_the_caller() {
        let disks = RealDisks::default();
        let (release, released) = mpsc::channel::<()>();
        let hang = move |_: &Path| {
            let _ = released.recv();
            Ok(())
        };
        let short = Duration::from_millis(20);
        let first = disks.detached("a durable write", Path::new("/x"), short, hang).await;
        assert!(matches!(first, Err(DiskError::Hung { .. })), "{first:?}");
        let second = disks.detached("a durable write", Path::new("/x"), LIMIT, |_| Ok(())).await;
        assert!(matches!(second, Err(DiskError::Hung { .. })), "no second thread while the first hangs");
        drop(release);
        let recovered = async {
            while disks.detached("a durable write", Path::new("/x"), LIMIT, |_| Ok(())).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, recovered).await.unwrap();
    }
}
