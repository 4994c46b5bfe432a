//! Where PostgreSQL's files are, and whose they are.

use super::durable::Owner;
use crate::ports::PostgresError;
use crate::settings::Settings;
use nix::unistd::{Uid, User};
use std::path::{Path, PathBuf};

/// Every path the adapter touches.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// PGDATA.
    pub(super) data: PathBuf,
    /// A copy in the making, later PGDATA.
    pub(super) side: PathBuf,
    /// Exists while `side` is whole.
    pub(super) side_ready: PathBuf,
    /// pg_control as it was before a rewind.
    pub(super) control_copy: PathBuf,
    /// Our configuration; outside PGDATA, where neither pg_rewind nor a base copy reaches it.
    pub(super) conf: PathBuf,
    /// The promise.
    pub(super) promise: PathBuf,
    /// Epochs of timelines.
    pub(super) epochs: PathBuf,
    /// The `unsynced` mark.
    pub(super) unsynced: PathBuf,
    /// The `no-start` mark.
    pub(super) no_start: PathBuf,
    /// Where the server listens for us.
    pub(super) socket_dir: PathBuf,
    /// Where we listen for walreceivers that shall stream from nobody.
    pub(super) sentinel_dir: PathBuf,
    /// What the postmaster and its children write.
    pub(super) server_log: PathBuf,
    /// What the last tool wrote.
    pub(super) tool_log: PathBuf,
    /// PostgreSQL's programs.
    pub(super) bin: PathBuf,
}

impl Layout {
    pub(super) fn new(settings: &Settings) -> Self {
        let node = &settings.node;
        let data = settings.postgres.data_dir.clone();
        let beside = |suffix: &str| {
            let mut name = data.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let parent = data.parent().unwrap_or(Path::new("/")).to_path_buf();
        let logs = node.log_dir.join("postgresql");
        Self {
            side: beside(".new"),
            side_ready: beside(".new.ready"),
            control_copy: parent.join("pg_control.before-rewind"),
            conf: parent.join("conf"),
            promise: node.state_dir.join("promise.json"),
            epochs: node.state_dir.join("epochs.json"),
            unsynced: node.state_dir.join("marks/unsynced.json"),
            no_start: node.state_dir.join("marks/no-start.json"),
            socket_dir: node.runtime_dir.join("pg"),
            sentinel_dir: node.runtime_dir.join("detached"),
            server_log: logs.join("postgresql.log"),
            tool_log: logs.join("tool.log"),
            bin: settings.postgres.bin_dir.clone(),
            data,
        }
    }

    /// Below the configuration directory.
    pub(super) fn conf_file(&self, name: &str) -> PathBuf {
        self.conf.join(name)
    }
}

/// The OS user that PostgreSQL runs as. When we are not root, everything is ours and PostgreSQL runs as us.
pub(super) fn owner(settings: &Settings) -> Result<Owner, PostgresError> {
    if !Uid::effective().is_root() {
        return Ok(Owner { uid: Uid::effective().as_raw(), gid: nix::unistd::getegid().as_raw(), change: false });
    }
    let name = &settings.postgres.os_user;
    let user = User::from_name(name)
        .map_err(|why| PostgresError::Files { what: format!("look up the user `{name}`"), source: why.into() })?
        .ok_or_else(|| PostgresError::Unfit(format!("there is no OS user `{name}`")))?;
    Ok(Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw(), change: true })
}
