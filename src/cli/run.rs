//! `run` and `heart`: what the services start; and `show-config`.

use super::args::Format;
use super::error::CliError;
use super::output::machine;
use crate::settings::identity::NodeIdentity;
use crate::settings::secrets::Secrets;
use crate::settings::{LogFormat, LogSettings, Settings, host};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use tracing_subscriber::EnvFilter;

/// Held while the daemon runs; one per node.
pub const LOCK_NAME: &str = "daemon.lock";

/// Refuses what must not start, then runs the daemon until it is told to stop.
pub fn daemon(settings: Settings) -> Result<(), CliError> {
    start_logging(&settings.log);
    NodeIdentity::read(&settings)?;
    Secrets::read(&settings.node.secrets_file)?;
    let problems = [host::check_host(&settings), host::check_capabilities(&settings)].concat();
    if !problems.is_empty() {
        return Err(CliError::new(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    }
    let _lock = lock(&settings)?;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    crate::daemon::run(settings).map_err(|error| CliError::from_chain(&error))
}

/// Runs the guardian.
pub fn heart(settings: &Settings) -> Result<(), CliError> {
    crate::heart::run(settings).map_err(|error| CliError::from_chain(&error))
}

/// The lock goes with the process, however it ends.
fn lock(settings: &Settings) -> Result<Flock<File>, CliError> {
    let path = settings.node.runtime_dir.join(LOCK_NAME);
    std::fs::create_dir_all(&settings.node.runtime_dir)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(&path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        CliError::new(format!(
            "another leaderl daemon runs on this node (it holds {}); stop it first, or use its service",
            path.display()
        ))
    })
}

/// Log lines go to standard error, where the service's log catches them.
fn start_logging(log: &LogSettings) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second subscriber in one process is a test's affair.
    let _ = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Prints the settings as the daemon would use them.
pub fn show_config(settings: &Settings, format: Format) -> Result<(), CliError> {
    match machine(settings, format)? {
        Some(text) => print!("{text}"),
        None => print!("{}", toml::to_string_pretty(settings).map_err(|why| CliError::new(why.to_string()))?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_refused_and_the_lock_ends_with_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.node.runtime_dir = directory.path().join("run");
        let first = lock(&settings).unwrap();
        let said = lock(&settings).unwrap_err().to_string();
        assert!(said.contains("another leaderl daemon runs"), "{said}");
        drop(first);
        lock(&settings).unwrap();
    }
}
