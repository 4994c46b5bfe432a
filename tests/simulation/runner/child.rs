//! Each run in a process of its own: tokio and ractor count runtimes and actors per process, and those numbers decide in which
//! order equal things happen. A forked child of a parent that has run nothing always begins with the same ones.
#![expect(unsafe_code, reason = "fork")]

use super::run::{Ended, Order, run_on_a_thread};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe, read};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A run takes a second or so of processor time, however long a busy machine needs for it; one that takes this much spins.
const SPINS_S: u64 = 60;
/// One that takes so long waits for something that never comes.
const HUNG: Duration = Duration::from_secs(1800);

/// A run under way.
pub(crate) struct Child {
    pub(crate) seed: u64,
    pid: Pid,
    words: OwnedFd,
    heard: Vec<u8>,
    began: Instant,
}

/// Starts a run; the caller must have no threads but its own.
pub(crate) fn start(order: Order) -> std::io::Result<Child> {
    let (words, say) = pipe()?;
    let seed = order.seed;
    // SAFETY: this process has one thread, so no lock is held by another that the child would not have.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Child { seed, pid: child, words, heard: Vec::new(), began: Instant::now() }),
        ForkResult::Child => {
            drop(words);
            // Without the limit a run that spins ends all the same, later.
            let _limited = setrlimit(Resource::RLIMIT_CPU, SPINS_S, SPINS_S);
            let ended = run_on_a_thread(order);
            let said = serde_json::to_vec(&ended).unwrap_or_default();
            let _parent_gone = std::fs::File::from(say).write_all(&said);
            std::process::exit(0)
        }
    }
}

/// Waits until one of the children has ended, and takes it out.
pub(crate) fn next(children: &mut Vec<Child>) -> Option<(u64, Ended)> {
    loop {
        let ready = {
            let mut fds: Vec<PollFd<'_>> =
                children.iter().map(|child| PollFd::new(child.words.as_fd(), PollFlags::POLLIN)).collect();
            if fds.is_empty() {
                return None;
            }
            let _woken = poll(&mut fds, PollTimeout::from(500_u16));
            fds.iter().position(|fd| fd.any().unwrap_or(false))
        };
        if let Some(hung) = children.iter().position(|child| child.began.elapsed() > HUNG) {
            let child = children.swap_remove(hung);
            let _gone = kill(child.pid, Signal::SIGKILL);
            let _reaped = waitpid(child.pid, None);
            return Some((
                child.seed,
                Ended::broken("I7", "the run does not end: it waits for something outside its world"),
            ));
        }
        let Some(child) = ready.and_then(|number| children.get_mut(number)) else { continue };
        let mut buffer = [0_u8; 65_536];
        match read(&child.words, &mut buffer) {
            Ok(0) | Err(_) => {
                let child = children.swap_remove(ready.unwrap_or(0));
                let _reaped = waitpid(child.pid, None);
                let ended = serde_json::from_slice(&child.heard);
                return Some((
                    child.seed,
                    ended.unwrap_or_else(|_| {
                        Ended::broken("I7", "the run's process died, or something spins while time stands still")
                    }),
                ));
            }
            Ok(count) => child.heard.extend_from_slice(&buffer[..count]),
        }
    }
}

/// One run, waited for.
pub(crate) fn run(order: Order) -> Ended {
    let failed = |_| Ended::broken("I7", "no process could be forked");
    start(order).map_or_else(failed, |child| {
        next(&mut vec![child]).map_or_else(|| Ended::broken("I7", "no child"), |(_, ended)| ended)
    })
}
