//! The operator's door: a Unix socket whose callers the kernel names.

use crate::actors::api::admin_protocol::MAX_LINE;
use crate::ports::{AdminAnswers, OpenDoor};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// How long a caller may take for a request, and we for its answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Callers at once.
const CALLERS: usize = 32;

/// The socket and the file that leads to it.
pub(super) struct AdminDoor {
    path: PathBuf,
    file: (u64, u64),
    task: JoinHandle<()>,
}

impl Drop for AdminDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OpenDoor for AdminDoor {
    fn is_open(&self) -> bool {
        !self.task.is_finished() && identity(&self.path).is_ok_and(|file| file == self.file)
    }
}

/// Listens at the path.
pub(super) fn open(path: &Path, answers: AdminAnswers) -> io::Result<AdminDoor> {
    let (socket, file) = bind_private(path)?;
    Ok(AdminDoor { path: path.to_owned(), file, task: tokio::spawn(accept(socket, answers)) })
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = std::fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
}

/// Binds in a directory that only we can enter, closes the mode, and then moves the socket to its name: at no instant can
/// another user connect, and the process-wide umask, which other threads depend on, stays as it is.
fn bind_private(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let private = directory.join(format!(".admin-{}", hex::encode(random)));
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let bound = || -> io::Result<(UnixListener, (u64, u64))> {
        let first = private.join("s");
        let socket = UnixListener::bind(&first)?;
        std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o600))?;
        let file = identity(&first)?;
        std::fs::rename(&first, path)?;
        Ok((socket, file))
    };
    let result = bound();
    let _ = std::fs::remove_dir_all(&private);
    result
}

async fn accept(socket: UnixListener, answers: AdminAnswers) {
    let room = Arc::new(Semaphore::new(CALLERS));
    let mut callers = JoinSet::new();
    loop {
        let Ok((stream, _)) = socket.accept().await else { return };
        while callers.try_join_next().is_some() {}
        // A full house drops the caller, who asks again.
        if let Ok(seat) = room.clone().try_acquire_owned() {
            let answers = answers.clone();
            callers.spawn(async move {
                let _ = converse(stream, &answers).await;
                drop(seat);
            });
        }
    }
}

/// Whether this caller may ask: root, or the user the daemon runs as.
fn may_ask(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

async fn converse(stream: UnixStream, answers: &AdminAnswers) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if !may_ask(uid) {
        tracing::warn!(uid, "a caller of the admin socket is refused");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(MAX_LINE as u64);
        let reading = limited.read_until(b'\n', &mut line);
        let size = tokio::time::timeout(REQUEST_LIMIT, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if size == 0 || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let answering = answers(line, uid);
        let mut text = tokio::time::timeout(REQUEST_LIMIT, answering).await.map_err(|_| io::ErrorKind::TimedOut)?;
        text.push(b'\n');
        tokio::time::timeout(REQUEST_LIMIT, write.write_all(&text)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_daemons_own_user_may_ask() {
        assert!(may_ask(0) && may_ask(nix::unistd::geteuid().as_raw()));
        assert!(!may_ask(nix::unistd::geteuid().as_raw() + 12345));
    }
}
