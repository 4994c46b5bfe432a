//! heart, the guardian process: parent of the postmaster, owner of the deadline, of the VIP's lifetime and of the
//! port gate.
//!
//! One thread, no runtime, memory locked. [`guard`] decides, [`shell`] makes the syscalls; see `docs/architecture.md`.
//! If heart ends, in whatever way, the kernel sends SIGQUIT to the postmaster.

pub mod addresses;
pub mod gate;
pub mod guard;
pub mod log;
pub mod processes;
pub mod protocol;
mod shell;
pub mod sockets;
pub mod spawn;
pub mod system;

use crate::settings::Settings;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "heart.sock";
const LOCK_NAME: &str = "heart.lock";

/// Why heart could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum HeartError {
    /// The runtime directory cannot be made or used.
    #[error("cannot use {path}")]
    RuntimeDir {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There may be only one on a node.
    #[error("another leaderl heart runs (it holds {path})")]
    AlreadyRunning {
        /// The lock file.
        path: PathBuf,
    },
    /// The kernel does not give what a guardian cannot do without.
    #[error("cannot {what}")]
    Kernel {
        /// The step.
        what: &'static str,
        /// Why.
        #[source]
        source: nix::errno::Errno,
    },
}

/// Runs the guardian until SIGTERM (`Ok`, PostgreSQL stopped and the VIP gone) or an error that leaves it unable to guard.
///
/// Reads from the settings: `node.runtime_dir`, `postgres.data_dir` (the only directory it starts PostgreSQL in),
/// `vip.addresses` (stale ones are removed at the start), `postgres.port`, `node.publish_address` and `fencing.port_gate`
/// (the port gate), and `log.format`.
pub fn run(settings: &Settings) -> Result<(), HeartError> {
    let runtime_dir = &settings.node.runtime_dir;
    let _held_until_the_end = lock(runtime_dir)?;
    shell::Shell::start(settings, &runtime_dir.join(SOCKET_NAME))?.run()
}

fn lock(runtime_dir: &Path) -> Result<File, HeartError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| HeartError::RuntimeDir { path, source }
    };
    // PostgreSQL's user must reach its own socket directory inside.
    DirBuilder::new().recursive(true).mode(0o755).create(runtime_dir).map_err(unusable(runtime_dir))?;
    let path = runtime_dir.join(LOCK_NAME);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HeartError::AlreadyRunning { path }),
        Err(TryLockError::Error(source)) => Err(HeartError::RuntimeDir { path, source }),
    }
}
