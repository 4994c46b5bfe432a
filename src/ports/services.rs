//! How services are installed, started and stopped: through runit or systemd, never as children of the daemon.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The daemon's service.
pub const DAEMON_SERVICE: &str = "leaderl";
/// The guardian's service.
pub const HEART_SERVICE: &str = "leaderl-heart";
/// The local etcd member's service.
pub const ETCD_SERVICE: &str = "leaderl-etcd";
/// The search engine's service.
pub const SEARCH_SERVICE: &str = "leaderl-search";

/// What a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceDefinition {
    /// Such as `leaderl-etcd`.
    pub name: String,
    /// Program (absolute path) and arguments; never a secret.
    pub argv: Vec<String>,
    /// Added to the environment; never a secret.
    pub env: BTreeMap<String, String>,
    /// OS user; `None`: root.
    pub user: Option<String>,
    /// Logs go to `<log_dir>/<name>/` under runit (svlogd), to the journal under systemd.
    pub log_dir: PathBuf,
    /// Started when the machine (or the container) starts. Otherwise only on `start`.
    pub at_boot: bool,
    /// `RLIMIT_NOFILE`; `None`: the service manager's.
    pub open_files: Option<u64>,
    /// Directories the service writes, for systemd's `ReadWritePaths=`.
    pub write_paths: Vec<PathBuf>,
}

/// What the service manager says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// The process runs.
    Run {
        /// Its pid.
        pid: u32,
        /// For how long.
        up: Duration,
    },
    /// No process, and none is wanted.
    Down {
        /// For how long; zero when unknown.
        down: Duration,
    },
    /// No process, but the manager is about to start one (or the present one is ending).
    Changing,
    /// The manager does not know it.
    NotInstalled,
}

/// Why the service manager did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Somebody else runs this service.
    #[error(
        "{name} is `external` in the settings: leaderl does not start or stop it; do that where it is managed, or set its mode to `managed`"
    )]
    External {
        /// The service.
        name: String,
    },
    /// Not installed, or its supervisor does not run.
    #[error("{name} is not supervised ({detail}); is the service manager running and the service installed?")]
    NotSupervised {
        /// The service.
        name: String,
        /// What was looked for.
        detail: String,
    },
    /// It did not become what was asked for in time.
    #[error("{name} was not {wanted} within {limit:?}")]
    Timeout {
        /// The service.
        name: String,
        /// `up`, `down`, `restarted`, ...
        wanted: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The service manager's command failed.
    #[error("`{command}` failed: {detail}")]
    Manager {
        /// The command.
        command: String,
        /// Its words.
        detail: String,
    },
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: std::io::Error,
    },
}

/// runit or systemd. Every wait is bounded by the caller's limit.
#[async_trait]
pub trait ServiceControl: Send + Sync {
    /// Writes the service's files; changes nothing that runs. True when something was different before.
    async fn install(&self, service: &ServiceDefinition, limit: Duration) -> Result<bool, ServiceError>;
    /// Stops the service and removes its files; its logs stay.
    async fn uninstall(&self, name: &str, limit: Duration) -> Result<(), ServiceError>;
    /// Starts it and waits until its process runs. Nothing to do when it runs.
    async fn start(&self, name: &str, limit: Duration) -> Result<(), ServiceError>;
    /// SIGTERM, and after `limit` SIGKILL; returns when the process is gone. Nothing to do when it is down.
    async fn stop(&self, name: &str, limit: Duration) -> Result<(), ServiceError>;
    /// SIGTERM and start again; starts it when it is down. The manager does both, so a service may restart itself.
    async fn restart(&self, name: &str, limit: Duration) -> Result<(), ServiceError>;
    /// What it is now.
    async fn status(&self, name: &str, limit: Duration) -> Result<ServiceState, ServiceError>;
    /// From now on it starts with the machine.
    async fn enable(&self, name: &str, limit: Duration) -> Result<(), ServiceError>;
    /// From now on it does not start with the machine.
    async fn disable(&self, name: &str, limit: Duration) -> Result<(), ServiceError>;
}
