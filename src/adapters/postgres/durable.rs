//! Small files that must survive a power cut: written beside, synced, renamed, the directory synced.

use crate::ports::PostgresError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;

/// Whom written files belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether files have to be given away; only root can.
    pub(super) change: bool,
}

/// Turns an io error into one that names the operation.
pub(super) fn cannot(what: impl Into<String>) -> impl FnOnce(io::Error) -> PostgresError {
    let what = what.into();
    move |source| PostgresError::Files { what, source }
}

/// Replaces a file durably. Mode 0600; `owner`: given to that user, else it stays ours.
pub(super) fn replace(path: &Path, content: &[u8], owner: Option<Owner>) -> Result<(), PostgresError> {
    let attempt = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        make_dir(parent, None)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        if let Some(owner) = owner.filter(|owner| owner.change) {
            chown(&beside, Some(owner.uid), Some(owner.gid))?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_dir(parent)
    };
    attempt().map_err(cannot(format!("write {}", path.display())))
}

/// Removes a file durably; one that is gone is no error.
pub(super) fn remove(path: &Path) -> Result<(), PostgresError> {
    let attempt = || match fs::remove_file(path) {
        Ok(()) => sync_dir(path.parent().unwrap_or(Path::new("."))),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(why),
    };
    attempt().map_err(cannot(format!("remove {}", path.display())))
}

/// Reads a whole text file; `None` when there is none.
pub(super) fn text(path: &Path) -> Result<Option<String>, PostgresError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(cannot(format!("read {}", path.display()))(why)),
    }
}

/// Reads a JSON file; `None` when there is none. Garbage is an error: these files are only ours.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PostgresError> {
    let Some(text) = text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|why| cannot(format!("understand {}", path.display()))(why.into()))
}

/// Writes a JSON file durably.
pub(super) fn put_json<T: Serialize>(path: &Path, value: &T, owner: Option<Owner>) -> Result<(), PostgresError> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|why| cannot(format!("write {}", path.display()))(why.into()))?;
    replace(path, &text, owner)
}

/// Creates a directory with its parents, mode 0755; with an owner 0700 and given to that user.
pub(super) fn make_dir(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if let Some(owner) = owner {
        if owner.change {
            chown(path, Some(owner.uid), Some(owner.gid))?;
        }
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes renames and removals in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
