//! Services through runit or systemd, chosen in the settings. The daemon never is their parent: its end ends none of them.

mod runit;
mod systemd;

use crate::ports::{
    DAEMON_SERVICE, ETCD_SERVICE, HEART_SERVICE, SEARCH_SERVICE, ServiceControl, ServiceDefinition, ServiceError,
    ServiceState,
};
use crate::settings::{RunMode, ServiceManager, Settings};
use async_trait::async_trait;
pub use runit::Runit;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
pub use systemd::Systemd;

/// How often a service's state is read while something is waited for.
const POLL: Duration = Duration::from_millis(20);
/// After SIGKILL a process is gone at once, unless it hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// The service manager of these settings.
pub fn service_control(settings: &Settings) -> Arc<dyn ServiceControl> {
    let external = external_services(settings);
    match settings.node.service_manager {
        ServiceManager::Runit => Arc::new(Managed { manager: Runit::new(&settings.node.runit_dir), external }),
        ServiceManager::Systemd => Arc::new(Managed { manager: Systemd::default(), external }),
    }
}

fn external_services(settings: &Settings) -> BTreeSet<&'static str> {
    let modes = [(ETCD_SERVICE, settings.etcd.mode), (SEARCH_SERVICE, settings.search.mode)];
    modes.into_iter().filter(|(_, mode)| *mode == RunMode::External).map(|(name, _)| name).collect()
}

/// The daemon's own service: `leaderl run`. `at_boot` is off until the node is created or joined (the original's `start_down`).
pub fn daemon_service(settings: &Settings, at_boot: bool) -> io::Result<ServiceDefinition> {
    let node = &settings.node;
    let mut write_paths = vec![node.state_dir.clone(), node.runtime_dir.clone(), node.log_dir.clone()];
    write_paths.extend(settings.postgres.data_dir.parent().map(PathBuf::from));
    Ok(ServiceDefinition { at_boot, write_paths, ..own_service(settings, DAEMON_SERVICE, "run")? })
}

/// The guardian's service: `leaderl heart`. It starts with the machine and holds nothing until a daemon attaches.
pub fn heart_service(settings: &Settings) -> io::Result<ServiceDefinition> {
    let definition = daemon_service(settings, true)?;
    Ok(ServiceDefinition { write_paths: definition.write_paths, ..own_service(settings, HEART_SERVICE, "heart")? })
}

fn own_service(settings: &Settings, name: &str, verb: &str) -> io::Result<ServiceDefinition> {
    Ok(ServiceDefinition {
        name: name.to_owned(),
        argv: vec![own_program()?.display().to_string(), verb.to_owned()],
        log_dir: settings.node.log_dir.clone(),
        at_boot: true,
        ..ServiceDefinition::default()
    })
}

/// The path this program was started from, also when the file has been replaced since (an upgrade).
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// A service manager that leaves what is `external` to whoever runs it.
struct Managed<M> {
    manager: M,
    external: BTreeSet<&'static str>,
}

impl<M> Managed<M> {
    fn ours(&self, name: &str) -> Result<(), ServiceError> {
        if self.external.contains(name) { Err(ServiceError::External { name: name.to_owned() }) } else { Ok(()) }
    }
}

#[async_trait]
impl<M: ServiceControl> ServiceControl for Managed<M> {
    async fn install(&self, service: &ServiceDefinition, limit: Duration) -> Result<bool, ServiceError> {
        self.ours(&service.name)?;
        self.manager.install(service, limit).await
    }
    async fn uninstall(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.ours(name)?;
        self.manager.uninstall(name, limit).await
    }
    async fn start(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.ours(name)?;
        self.manager.start(name, limit).await
    }
    async fn stop(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.ours(name)?;
        self.manager.stop(name, limit).await
    }
    async fn restart(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.ours(name)?;
        self.manager.restart(name, limit).await
    }
    async fn status(&self, name: &str, limit: Duration) -> Result<ServiceState, ServiceError> {
        self.manager.status(name, limit).await
    }
    async fn enable(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.ours(name)?;
        self.manager.enable(name, limit).await
    }
    async fn disable(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.ours(name)?;
        self.manager.disable(name, limit).await
    }
}

/// Writes the file when its content or mode differs, by a new file and a rename; true when it did.
fn write_if_different(path: &Path, content: &str, mode: u32) -> Result<bool, ServiceError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| ServiceError::File { path: path.to_path_buf(), source };
    let same_mode = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o7777 == mode);
    if same_mode && std::fs::read_to_string(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    std::fs::write(&fresh, content).map_err(failed)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)?;
    Ok(true)
}

fn make_dir(path: &Path) -> Result<(), ServiceError> {
    std::fs::create_dir_all(path).map_err(|source| ServiceError::File { path: path.to_path_buf(), source })
}

/// Removes a file or an empty name; nothing to do when it is not there.
fn remove_file(path: &Path) -> Result<bool, ServiceError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ServiceError::File { path: path.to_path_buf(), source }),
    }
}

/// Asks again and again until the state is as wanted; `None`: not within `limit`. What cannot be read counts as not yet.
async fn wait_for(
    manager: &impl ServiceControl,
    name: &str,
    limit: Duration,
    wanted: impl Fn(ServiceState) -> bool + Send,
) -> Option<ServiceState> {
    let asking = async {
        loop {
            match manager.status(name, limit).await {
                Ok(state) if wanted(state) => return state,
                Ok(_) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    };
    tokio::time::timeout(limit, asking).await.ok()
}

fn runs(state: ServiceState) -> bool {
    match state {
        ServiceState::Run { .. } => true,
        ServiceState::Down { .. } | ServiceState::Changing | ServiceState::NotInstalled => false,
    }
}

fn is_down(state: ServiceState) -> bool {
    match state {
        ServiceState::Down { .. } | ServiceState::NotInstalled => true,
        ServiceState::Run { .. } | ServiceState::Changing => false,
    }
}

#[cfg(test)]
mod tests;
