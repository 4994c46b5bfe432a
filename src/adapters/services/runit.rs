//! runit: a directory per service, supervised by `runsv`, spoken to through its fifo and its status file (man runsv).

use super::{KILL_LIMIT, POLL, is_down, make_dir, remove_file, runs, wait_for, write_if_different};
use crate::ports::{
    DAEMON_SERVICE, ETCD_SERVICE, SEARCH_SERVICE, ServiceControl, ServiceDefinition, ServiceError, ServiceState,
};
use async_trait::async_trait;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// TAI64 of the Unix epoch, as runit writes it (2^62 plus ten leap seconds).
const TAI64_EPOCH: u64 = 4_611_686_018_427_387_914;
const STATUS_LEN: usize = 20;
/// svlogd: rotate at 100 MB, keep ten. Source: `log_rotation.file_maxbytes`, `log_rotation.num_to_keep`.
const SVLOGD_CONFIG: &str = "s104857600\nn10\n";

/// runit's service directories.
///
/// `runsvdir` looks for new directories every five seconds, so the first start after an install takes up to as long.
pub struct Runit {
    /// Where services are defined, such as `/etc/sv`.
    sv_dir: PathBuf,
    /// Which of them are supervised: symbolic links, such as in `/etc/service`.
    service_dir: PathBuf,
}

impl Runit {
    /// `service_dir` is what `runsvdir` watches; definitions go to `sv` beside it.
    pub fn new(service_dir: &Path) -> Self {
        let sv_dir = service_dir.parent().unwrap_or(Path::new("/etc")).join("sv");
        Self { sv_dir, service_dir: service_dir.to_path_buf() }
    }

    fn definition(&self, name: &str) -> PathBuf {
        self.sv_dir.join(name)
    }

    fn link(&self, name: &str) -> PathBuf {
        self.service_dir.join(name)
    }

    /// One letter to `runsv`: `u`p, `d`own, `t`erm, `k`ill, e`x`it.
    fn control(&self, name: &str, letter: u8) -> Result<(), ServiceError> {
        let path = self.link(name).join("supervise/control");
        open_fifo(&path)
            .and_then(|mut fifo| fifo.write_all(&[letter]))
            .map_err(|error| not_supervised(name, &path, &error))
    }

    fn read_state(&self, name: &str) -> Result<ServiceState, ServiceError> {
        if !self.definition(name).join("run").exists() && !self.link(name).join("run").exists() {
            return Ok(ServiceState::NotInstalled);
        }
        // Without a reader at this fifo there is no `runsv`, and the status file is a relic.
        let ok = self.link(name).join("supervise/ok");
        open_fifo(&ok).map_err(|error| not_supervised(name, &ok, &error))?;
        let status = self.link(name).join("supervise/status");
        let bytes = std::fs::read(&status).map_err(|source| ServiceError::File { path: status, source })?;
        let bytes: [u8; STATUS_LEN] = bytes.try_into().map_err(|_| ServiceError::NotSupervised {
            name: name.to_owned(),
            detail: "its status file is not complete".to_owned(),
        })?;
        Ok(decode(&bytes, SystemTime::now()))
    }

    async fn wait_or_kill(
        &self,
        name: &str,
        limit: Duration,
        wanted: &'static str,
        reached: impl Fn(ServiceState) -> bool + Send + Sync,
    ) -> Result<(), ServiceError> {
        if wait_for(self, name, limit, &reached).await.is_some() {
            return Ok(());
        }
        tracing::warn!(name, ?limit, "did not end on SIGTERM; killing it");
        self.control(name, b'k')?;
        let ended = wait_for(self, name, KILL_LIMIT, &reached).await;
        ended.map(|_| ()).ok_or(ServiceError::Timeout { name: name.to_owned(), wanted, limit })
    }
}

/// Fails at once when nobody reads from it.
fn open_fifo(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn not_supervised(name: &str, path: &Path, error: &io::Error) -> ServiceError {
    ServiceError::NotSupervised { name: name.to_owned(), detail: format!("{}: {error}", path.display()) }
}

#[async_trait]
impl ServiceControl for Runit {
    async fn install(&self, service: &ServiceDefinition, _limit: Duration) -> Result<bool, ServiceError> {
        let dir = self.definition(&service.name);
        let log_dir = service.log_dir.join(&service.name);
        for needed in [&dir, &dir.join("log"), &log_dir, &self.service_dir] {
            make_dir(needed)?;
        }
        let mut changed = write_if_different(&log_dir.join("config"), SVLOGD_CONFIG, 0o644)?;
        changed |= write_if_different(&dir.join("log/run"), &log_script(service), 0o755)?;
        changed |= set_down(&dir, !service.at_boot)?;
        changed |= write_if_different(&dir.join("run"), &run_script(service), 0o700)?;
        // The link last: `runsvdir` must never see half a service.
        match symlink(&dir, self.link(&service.name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(changed),
            Err(source) => Err(ServiceError::File { path: self.link(&service.name), source }),
        }
    }

    async fn uninstall(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        match self.stop(name, limit).await {
            Ok(()) | Err(ServiceError::NotSupervised { .. }) => {}
            Err(error) => return Err(error),
        }
        // `runsv` ends, and without the link `runsvdir` does not start it again.
        let supervised = self.read_state(name).is_ok_and(|state| state != ServiceState::NotInstalled);
        let definition = std::fs::canonicalize(self.link(name)).unwrap_or_else(|_| self.definition(name));
        remove_file(&self.link(name))?;
        if supervised {
            // Gone already is as good.
            let open = open_fifo(&definition.join("supervise/control"));
            let _ = open.and_then(|mut fifo| fifo.write_all(b"x"));
            let gone = async {
                while open_fifo(&definition.join("supervise/ok")).is_ok() {
                    tokio::time::sleep(POLL).await;
                }
            };
            if tokio::time::timeout(limit, gone).await.is_err() {
                return Err(ServiceError::Timeout { name: name.to_owned(), wanted: "given up by runsv", limit });
            }
        }
        match std::fs::remove_dir_all(self.definition(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ServiceError::File { path: self.definition(name), source: error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn start(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        let began = tokio::time::Instant::now();
        let state = match self.read_state(name) {
            Ok(ServiceState::NotInstalled) => {
                let detail = format!("{} does not exist", self.definition(name).join("run").display());
                return Err(ServiceError::NotSupervised { name: name.to_owned(), detail });
            }
            Ok(state) => Some(state),
            // Just installed: `runsvdir` has not seen it yet.
            Err(_) => wait_for(self, name, limit, |_| true).await,
        };
        if state.is_some_and(runs) {
            return Ok(());
        }
        self.control(name, b'u')?;
        let left = limit.saturating_sub(began.elapsed());
        let started = wait_for(self, name, left, runs).await;
        started.map(|_| ()).ok_or(ServiceError::Timeout { name: name.to_owned(), wanted: "up", limit })
    }

    async fn stop(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        if self.read_state(name)? == ServiceState::NotInstalled {
            return Ok(());
        }
        self.control(name, b'd')?;
        self.wait_or_kill(name, limit, "down", is_down).await
    }

    async fn restart(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        let ServiceState::Run { pid: old, .. } = self.read_state(name)? else {
            return self.start(name, limit).await;
        };
        self.control(name, b'u')?;
        self.control(name, b't')?;
        let another = move |state| match state {
            ServiceState::Run { pid, .. } => pid != old,
            ServiceState::Down { .. } | ServiceState::Changing | ServiceState::NotInstalled => false,
        };
        self.wait_or_kill(name, limit, "restarted", another).await
    }

    async fn status(&self, name: &str, _limit: Duration) -> Result<ServiceState, ServiceError> {
        self.read_state(name)
    }

    async fn enable(&self, name: &str, _limit: Duration) -> Result<(), ServiceError> {
        set_down(&self.definition(name), false).map(|_| ())
    }

    async fn disable(&self, name: &str, _limit: Duration) -> Result<(), ServiceError> {
        set_down(&self.definition(name), true).map(|_| ())
    }
}

/// A file `down` keeps `runsv` from starting the service by itself.
fn set_down(dir: &Path, down: bool) -> Result<bool, ServiceError> {
    if down { write_if_different(&dir.join("down"), "", 0o644) } else { remove_file(&dir.join("down")) }
}

/// runsv's status file: 12 bytes TAI64N of the last change, pid (little endian), paused, wanted, signalled, running.
pub(super) fn decode(bytes: &[u8; STATUS_LEN], now: SystemTime) -> ServiceState {
    let [t0, t1, t2, t3, t4, t5, t6, t7, _, _, _, _, p0, p1, p2, p3, _paused, wanted, _signalled, running] = *bytes;
    let seconds = u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]).saturating_sub(TAI64_EPOCH);
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let lasted = now.duration_since(since).unwrap_or_default();
    let pid = u32::from_le_bytes([p0, p1, p2, p3]);
    match (running, wanted) {
        (1, _) if pid != 0 => ServiceState::Run { pid, up: lasted },
        (0, b'd') => ServiceState::Down { down: lasted },
        _ => ServiceState::Changing,
    }
}

/// What carries the lease goes first, the engine, whose start fills two processors for half a minute, last: on a small
/// machine etcd would otherwise answer too late for a renewal. heart raises itself. The systemd units say the same.
fn niceness(service: &str) -> Option<i8> {
    match service {
        DAEMON_SERVICE | ETCD_SERVICE => Some(-10),
        SEARCH_SERVICE => Some(10),
        _ => None,
    }
}

pub(super) fn run_script(service: &ServiceDefinition) -> String {
    let mut script =
        format!("#!/bin/sh\n# {}: written by leaderl; changes here are overwritten.\nexec 2>&1\n", service.name);
    if let Some(files) = service.open_files {
        // As many as wanted, or as many as this host lets us have.
        let _ = writeln!(script, "ulimit -n {files} 2>/dev/null || ulimit -n \"$(ulimit -H -n)\"");
    }
    for (name, value) in &service.env {
        let _ = writeln!(script, "export {name}={}", quoted(value));
    }
    script.push_str("exec");
    if let Some(nice) = niceness(&service.name) {
        // Without the right to raise it, `nice` says so and goes on.
        let _ = write!(script, " nice -n {nice}");
    }
    if let Some(user) = &service.user {
        let _ = write!(script, " chpst -u {}", quoted(user));
    }
    for word in &service.argv {
        let _ = write!(script, " {}", quoted(word));
    }
    script.push('\n');
    script
}

pub(super) fn log_script(service: &ServiceDefinition) -> String {
    let dir = service.log_dir.join(&service.name);
    format!(
        "#!/bin/sh\n# {}: written by leaderl; changes here are overwritten.\nexec svlogd {}\n",
        service.name,
        quoted(&dir.display().to_string())
    )
}

/// A word of the shell; plain ones stay as they are.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
