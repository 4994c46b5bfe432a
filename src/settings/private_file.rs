//! Small files that must be there whole or not at all, and must not be read or planted by others.

use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a private file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// There is none.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// There is one already; it is never overwritten.
    #[error("{} is there already and is not overwritten", .0.display())]
    Present(PathBuf),
    /// It is not a plain file, or others may read it.
    #[error("{} is refused: {what}; {next}", file.display())]
    Unsafe {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        next: String,
    },
    /// The operating system said no.
    #[error("{} cannot be {action}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// `read`, `written`, ...
        action: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn io(file: &Path, action: &'static str) -> impl Fn(std::io::Error) -> PrivateFileError {
    move |source| PrivateFileError::Io { file: file.to_owned(), action, source }
}

fn refused(file: &Path, what: impl Into<String>, next: impl Into<String>) -> PrivateFileError {
    PrivateFileError::Unsafe { file: file.to_owned(), what: what.into(), next: next.into() }
}

/// Reads a plain file of at most `most` bytes that belongs to root or to this user and is closed to others
/// (mode `& 0o077 == 0`), following no link and opening no pipe.
pub fn read(file: &Path, most: u64) -> Result<Vec<u8>, PrivateFileError> {
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(file);
    let opened = opened.map_err(|why| match why.raw_os_error() {
        Some(libc::ENOENT) => PrivateFileError::Missing(file.to_owned()),
        Some(libc::ELOOP) => refused(file, "it is a symbolic link", "put the file itself there"),
        Some(_) | None => io(file, "opened")(why),
    })?;
    let about = opened.metadata().map_err(io(file, "examined"))?;
    if !about.is_file() {
        return Err(refused(file, "it is not a plain file", "remove it"));
    }
    if about.mode() & 0o077 != 0 {
        let what = format!("its mode is {:04o}, so others may read it", about.mode() & 0o7777);
        return Err(refused(file, what, format!("chmod 0600 {}", file.display())));
    }
    let own = nix::unistd::geteuid().as_raw();
    if about.uid() != 0 && about.uid() != own {
        return Err(refused(
            file,
            format!("it belongs to user {}", about.uid()),
            format!("chown root {}", file.display()),
        ));
    }
    if about.nlink() != 1 {
        return Err(refused(file, "it has a second hard link", "copy it to a file of its own"));
    }
    let mut bytes = Vec::new();
    opened.take(most + 1).read_to_end(&mut bytes).map_err(io(file, "read"))?;
    if bytes.len() as u64 > most {
        return Err(refused(file, format!("it is larger than {most} bytes"), "put the right file there"));
    }
    Ok(bytes)
}

/// Writes a new file of mode 0600, durable when this returns; never replaces one.
pub fn create(file: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let temporary = write_beside(file, bytes, 0o600)?;
    // A hard link fails when the name is taken, which a rename would not.
    let linked = std::fs::hard_link(&temporary, file);
    let _ = std::fs::remove_file(&temporary);
    linked.map_err(|why| match why.raw_os_error() {
        Some(libc::EEXIST) => PrivateFileError::Present(file.to_owned()),
        Some(_) | None => io(file, "created")(why),
    })?;
    sync_directory(file)
}

/// Replaces (or creates) a file in one step, durable when this returns.
pub fn replace(file: &Path, bytes: &[u8], mode: u32) -> Result<(), PrivateFileError> {
    let temporary = write_beside(file, bytes, mode)?;
    std::fs::rename(&temporary, file).map_err(io(file, "replaced"))?;
    sync_directory(file)
}

fn write_beside(file: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, PrivateFileError> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(io(directory, "created"))?;
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|why| io(file, "named")(std::io::Error::other(why.to_string())))?;
    let temporary = directory.join(format!(".leaderl-{}", hex::encode(random)));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&temporary)
        .and_then(|mut out| out.write_all(bytes).and_then(|()| out.sync_all()));
    if let Err(why) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(io(file, "written")(why));
    }
    Ok(temporary)
}

fn sync_directory(file: &Path) -> Result<(), PrivateFileError> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(io(directory, "synced"))
}
