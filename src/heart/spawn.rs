//! Starting the postmaster and PostgreSQL's tools.
#![expect(unsafe_code, reason = "the child must drop privileges and bind its life to heart's between fork and exec")]

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const FIRST_UNNAMED_DESCRIPTOR: u32 = 3;
const LAST_CLASSIC_SIGNAL: libc::c_int = 31;

/// What a child runs.
#[derive(Debug)]
pub struct Child<'a> {
    /// Absolute path.
    pub program: &'a Path,
    /// Arguments.
    pub args: Vec<&'a OsStr>,
    /// Beside PATH and LC_ALL; nothing is inherited.
    pub env: &'a [(String, String)],
    /// Working directory.
    pub directory: &'a Path,
    /// User.
    pub uid: u32,
    /// Group; there are no supplementary ones.
    pub gid: u32,
    /// Standard output and error.
    pub output: File,
    /// What it gets when heart ends, however heart ends.
    pub death_signal: libc::c_int,
}

/// Starts children with the scheduling and OOM score that heart itself was started with.
#[derive(Debug)]
pub struct Launcher {
    heart: i32,
    oom_score: Vec<u8>,
}

impl Launcher {
    /// To be made before heart hardens itself.
    pub fn new() -> Self {
        let oom_score = std::fs::read("/proc/self/oom_score_adj").unwrap_or_else(|_| b"0".to_vec());
        Self { heart: i32::try_from(std::process::id()).unwrap_or(0), oom_score }
    }

    /// Forks and executes; returns the pid, which is also the child's session and group.
    pub fn spawn(&self, child: Child<'_>) -> io::Result<u32> {
        if !child.program.is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the program's path is not absolute"));
        }
        let mut command = Command::new(child.program);
        command.args(child.args).env_clear().env("PATH", PATH).env("LC_ALL", "C");
        command.envs(child.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        let directory = CString::new(child.directory.as_os_str().as_bytes())?;
        command.stderr(child.output.try_clone()?).stdout(child.output);
        let (uid, gid, heart, death_signal) = (child.uid, child.gid, self.heart, child.death_signal);
        let oom_score = self.oom_score.clone();
        // SAFETY: `prepare` makes syscalls only: it neither allocates nor takes locks.
        unsafe { command.pre_exec(move || prepare(uid, gid, &directory, heart, death_signal, &oom_score)) };
        Ok(command.spawn()?.id())
    }
}

impl Default for Launcher {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs in the child before exec. Order: what needs heart's privileges, the user, then the death signal, which a change of
/// the user clears.
fn prepare(
    uid: u32,
    gid: u32,
    directory: &CStr,
    heart: i32,
    death_signal: libc::c_int,
    oom_score: &[u8],
) -> io::Result<()> {
    // SAFETY: syscalls on this process with arguments that live on the stack or in `oom_score`.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, oom_score.as_ptr().cast(), oom_score.len());
            libc::close(file);
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        // Kernels without close_range have only the descriptors that were opened close-on-exec anyway.
        libc::syscall(libc::SYS_close_range, FIRST_UNNAMED_DESCRIPTOR, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        done(libc::setsid())?;
        libc::umask(0o077);
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        if libc::geteuid() == 0 {
            done(libc::setgroups(0, std::ptr::null()))?;
        }
        if libc::getgid() != gid || libc::getegid() != gid {
            done(libc::setgid(gid))?;
        }
        if libc::getuid() != uid || libc::geteuid() != uid {
            done(libc::setuid(uid))?;
        }
        done(libc::chdir(directory.as_ptr()))?;
        done(libc::prctl(libc::PR_SET_PDEATHSIG, death_signal))?;
        // heart may have ended before the line above.
        if libc::getppid() != heart {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // Whatever heart's own starter ignored or heart blocks: the child begins with none of it.
        for signal in 1..=LAST_CLASSIC_SIGNAL {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        done(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()))?;
    }
    Ok(())
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens a log file for a child: a regular file, never through a symbolic link, readable by its owner alone.
pub fn open_log(path: &Path, truncate: bool) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the log file is not a regular file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    if truncate {
        file.set_len(0)?;
    }
    Ok(file)
}
