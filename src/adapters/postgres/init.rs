//! The first data directory of a new cluster, made while no daemon runs.

use super::durable::{self, Owner};
use super::files::Files;
use super::{control_file, layout};
use crate::ports::PostgresError;
use crate::settings::Settings;
use crate::settings::secrets::Secrets;
use leaderl_decision::model::NodeId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// initdb writes and syncs some 40 MB.
const INITDB_LIMIT: Duration = Duration::from_secs(300);

/// Why no data directory was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{0} is not empty; it is left as it is")]
    NotEmpty(PathBuf),
    /// initdb could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// initdb failed or took too long.
    #[error("initdb failed: {0}")]
    Failed(String),
    /// A file could not be written.
    #[error(transparent)]
    Files(#[from] PostgresError),
    /// What initdb left is not a data directory.
    #[error("the new data directory has no usable pg_control: {0}")]
    Unusable(String),
}

/// Makes the first data directory of a new cluster: superuser with its password, checksums, UTF-8, our configuration and
/// `standby.signal` (it becomes a primary by promotion only, like every other). Returns its system identifier.
///
/// Runs initdb as PostgreSQL's OS user, directly: heart does not run yet. Refuses a directory that is not empty.
pub async fn init_database(settings: &Settings, secrets: &Secrets) -> Result<String, InitError> {
    let owner = layout::owner(settings)?;
    let guid = NodeId(String::new());
    let mut files = Files::new(settings.clone(), owner, guid, secrets.replication_password.clone());
    let data = files.layout.data.clone();
    if std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(InitError::NotEmpty(data));
    }
    files.prepare_conf()?;
    durable::make_dir(&data, Some(owner)).map_err(durable::cannot(format!("create {}", data.display())))?;
    let password = files.layout.conf_file("initial-password");
    durable::replace(&password, format!("{}\n", secrets.superuser_password.0).as_bytes(), Some(owner))?;
    let outcome = initdb(settings, &files, owner, &password).await;
    durable::remove(&password)?;
    outcome?;
    files.prepare_start()?;
    let control = control_file::read(&data).map_err(|why| InitError::Unusable(why.to_string()))?;
    Ok(control.system_identifier)
}

async fn initdb(settings: &Settings, files: &Files, owner: Owner, password: &std::path::Path) -> Result<(), InitError> {
    let program = files.layout.bin.join("initdb");
    let mut command = Command::new(&program);
    command
        .arg("--pgdata")
        .arg(&files.layout.data)
        .args(["--username", &settings.postgres.superuser])
        .arg(format!("--pwfile={}", password.display()))
        .args(["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--data-checksums"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if owner.change {
        command.uid(owner.uid).gid(owner.gid);
    }
    let output = tokio::time::timeout(INITDB_LIMIT, command.output())
        .await
        .map_err(|_| InitError::Failed(format!("it took longer than {INITDB_LIMIT:?}")))?
        .map_err(|source| InitError::Run { program, source })?;
    if !output.status.success() {
        return Err(InitError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(())
}

/// SIGHUP to the postmaster, for a server that takes no sessions; only to a process that is PostgreSQL.
pub(super) fn signal_reload(postmaster: u32) -> Result<(), PostgresError> {
    let comm = std::fs::read_to_string(format!("/proc/{postmaster}/comm")).unwrap_or_default();
    if comm.trim() != "postgres" {
        return Err(PostgresError::Unfit(format!("process {postmaster} is not PostgreSQL")));
    }
    let pid = i32::try_from(postmaster).map_err(|_| PostgresError::Unfit(format!("{postmaster} is no process id")))?;
    kill(Pid::from_raw(pid), Signal::SIGHUP)
        .map_err(|why| PostgresError::Files { what: format!("signal process {postmaster}"), source: why.into() })
}
