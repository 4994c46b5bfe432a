//! One run at a time for each cluster name: labels, addresses and images are the machine's, not the checkout's.

use crate::{Failure, Outcome, While};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};

/// Held while containers of this name are used; ends with the process.
pub struct Lock(Flock<File>);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lock({:?})", *self.0)
    }
}

/// Takes the lock of the cluster `name`.
///
/// # Errors
/// Another run has it.
pub fn lock(name: &str) -> Outcome<Lock> {
    let path = std::env::temp_dir().join(format!("leaderl-compose-{name}.lock"));
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.during(|| format!("opening {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map(Lock).map_err(|(_, error)| {
        Failure(format!(
            "another run uses the containers labelled leaderl.cluster={name} ({}: {error})",
            path.display()
        ))
    })
}
