//! The syscalls that make heart a guardian: locked memory, scheduling, signals, child reaping, pidfds.
#![expect(unsafe_code, reason = "pidfds, scheduling and priorities have no safe wrapper among our dependencies")]

use super::log::Log;
use leaderl_decision::model::Timestamp;
use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Pid, Uid, setfsgid, setfsuid};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

const CAP_IPC_LOCK_BIT: u32 = 14;
const HEART_PRIORITY: i32 = 10;
const HEART_NICE: i32 = -20;

/// CLOCK_BOOTTIME, now.
pub fn boottime() -> Result<Timestamp, Errno> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Ok(Timestamp(seconds * 1_000_000_000 + nanos))
}

/// CLOCK_REALTIME as the kernel itself has it since 1970: the port gate's rules are compared with it, whatever clock a preloaded
/// library shows to programs.
pub fn kernel_wall_clock() -> Result<Duration, Errno> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which lives on the stack until it returns.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut time) };
    Errno::result(result)?;
    Ok(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Blocks the signals that heart hears and returns the descriptor they come through.
pub fn listen_to_signals() -> Result<SignalFd, Errno> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        mask.add(signal);
    }
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Orphaned descendants become heart's children. Without it heart cannot know when PostgreSQL is gone.
pub fn become_subreaper() -> Result<(), Errno> {
    prctl::set_child_subreaper(true)
}

/// Locks memory, asks for the scheduler's favour and hides from debuggers; each is best effort and says why it failed.
pub fn harden(log: &mut Log) {
    // Before the process becomes undumpable, or its own files in /proc would be root's.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "-1000") {
        log.info(&format!("oom_score_adj stays as it is: {error}"));
    }
    if may_lock_memory() {
        if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
            log.warn(&format!("memory is not locked: {error}"));
        }
    } else {
        // MCL_FUTURE under a limit would make later allocations fail.
        log.warn("memory is not locked: neither CAP_IPC_LOCK nor an unlimited RLIMIT_MEMLOCK");
    }
    if let Err(error) = real_time() {
        log.info(&format!("no real-time scheduling: {error}"));
        if let Err(error) = renice(HEART_NICE) {
            log.info(&format!("no higher priority: {error}"));
        }
    }
    if let Err(error) = prctl::set_dumpable(false) {
        log.warn(&format!("heart can be traced: {error}"));
    }
}

fn may_lock_memory() -> bool {
    let unlimited = getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    unlimited || effective & (1 << CAP_IPC_LOCK_BIT) != 0
}

/// SCHED_RR for heart alone: what it forks starts with the normal policy.
fn real_time() -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority: HEART_PRIORITY };
    // SAFETY: plain syscall on this process; the parameters live on the stack until it returns.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    Errno::result(result).map(drop)
}

fn renice(nice: i32) -> Result<(), Errno> {
    // SAFETY: plain syscall on this process.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result).map(drop)
}

/// Lets a process that must end by the deadline have the processor before others: ending takes time of its own, much of it
/// for unmapping shared memory. Best effort; it needs SYS_NICE.
pub fn hurry(pid: u32) {
    // SAFETY: plain syscall; a wrong pid is an error, nothing else.
    let _best_effort = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid, HEART_NICE) };
}

/// Reads and removes files with another user's rights while it lives.
///
/// heart has no capability to override file permissions or to look into other users' processes where it runs as the root of
/// a container; with the owner's rights it needs neither, and a link that this user planted leads nowhere new.
#[derive(Debug)]
pub struct WithRightsOf {
    uid: Uid,
    gid: Gid,
}

impl WithRightsOf {
    /// From now on, for file access by this thread.
    pub fn user(uid: u32, gid: u32) -> Self {
        // The group first: without root's identity it could not be changed any more.
        let gid = setfsgid(Gid::from_raw(gid));
        Self { uid: setfsuid(Uid::from_raw(uid)), gid }
    }
}

impl Drop for WithRightsOf {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
    }
}

/// A handle of a process that is alive now; signals through it never reach a later process of the same number.
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Opens it; ESRCH when there is no such process.
    pub fn open(pid: u32) -> Result<Self, Errno> {
        let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
        // SAFETY: pidfd_open takes a pid and flags and returns a new descriptor (always close-on-exec) or an error.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the descriptor was just returned to us and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// From a descriptor that the kernel gave for a socket's peer.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends SIGKILL.
    pub fn kill(&self) -> Result<(), Errno> {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is a valid pidfd for as long as `self` lives; no siginfo is passed.
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, info, 0u32) };
        Errno::result(result).map(drop)
    }

    /// Readable once the process has ended.
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}

/// A reaped child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Its pid.
    pub pid: u32,
    /// `None`: ended by a signal.
    pub exit_code: Option<i32>,
}

/// Reaps every child that has ended; the flag says whether any child is left.
pub fn reap() -> (Vec<Reaped>, bool) {
    let mut reaped = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => reaped.push(Reaped { pid: number(pid), exit_code: Some(code) }),
            Ok(WaitStatus::Signaled(pid, _, _)) => reaped.push(Reaped { pid: number(pid), exit_code: None }),
            Ok(WaitStatus::StillAlive) => return (reaped, true),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return (reaped, false),
        }
    }
}

fn number(pid: Pid) -> u32 {
    u32::try_from(pid.as_raw()).unwrap_or(0)
}
