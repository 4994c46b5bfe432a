//! The port gate in the kernel: an nftables table of our own on PostgreSQL's port, over netlink, without forking anything.
//!
//! [`super::guard`] says what it must be ([`GatePlan`]); this makes it so in one transaction. Every transaction names the
//! generation of the rule set that our last one left: if anybody else has changed a rule since, of whatever table, the
//! kernel refuses, and our whole table is put in place anew. So a flushed table is back at the next refresh.

mod batch;
mod ruleset;
mod sessions;
#[cfg(test)]
mod tests;

pub use ruleset::TABLE;

use super::guard::{GatePlan, Passage, Sessions};
use super::system;
use crate::stop_points::{StopPoint, reach};
use batch::{Batch, generation_question, nf_tables};
use leaderl_decision::model::Timestamp;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use ruleset::{Frame, Limit, Way};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// The kernel answers within the send; this bounds what should not happen.
const ANSWER_LIMIT_MS: i64 = 200;
/// Somebody else changed the rule set in the middle of ours so often: then ours goes in whatever the generation.
const TRIES: u32 = 4;
/// Late answers to earlier requests that one request may skip.
const MAX_STALE: u32 = 64;
const BUFFER_BYTES: usize = 64 * 1024;
/// An element with a lifetime ends at a tick of the kernel, at most 10 ms late: it is given so much less.
const LIFETIME_MARGIN: Duration = Duration::from_millis(20);
const ERROR_MESSAGE: u16 = 2;
const HEADER_BYTES: usize = 16;

/// Why the gate is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// This kernel or these capabilities cannot keep a gate.
    #[error("the kernel cannot {what} (nf_tables, INET_DIAG_DESTROY and CAP_NET_ADMIN are needed)")]
    Unsupported {
        /// The step.
        what: &'static str,
        /// Its word.
        #[source]
        source: io::Error,
    },
    /// Refused, or no answer.
    #[error("the kernel did not {what}")]
    Refused {
        /// The step.
        what: &'static str,
        /// Its word.
        #[source]
        source: io::Error,
    },
}

impl GateError {
    /// Missing features have errno values of their own.
    fn of(what: &'static str, source: io::Error) -> Self {
        let missing = [
            Errno::EPERM,
            Errno::EACCES,
            Errno::ENOENT,
            Errno::EOPNOTSUPP,
            Errno::EPROTONOSUPPORT,
            Errno::EAFNOSUPPORT,
        ];
        if source.raw_os_error().is_some_and(|code| missing.contains(&Errno::from_raw(code))) {
            Self::Unsupported { what, source }
        } else {
            Self::Refused { what, source }
        }
    }

    /// Whether no later try can succeed on this kernel with these capabilities.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }
}

/// The gate of this network namespace.
#[derive(Debug)]
pub struct Gate {
    socket: Socket,
    frame: Frame,
    batch: Batch,
    buffer: Vec<u8>,
    sequence: u32,
    /// What the rule set's generation is if nobody but us has changed it.
    generation: Option<u32>,
    /// Whose addresses the installed table has.
    members: Vec<IpAddr>,
    /// The ways as last set.
    ways: Option<(Way, Way)>,
}

impl Gate {
    /// Opens the sockets; changes nothing yet.
    pub fn open(port: u16, own: Option<IpAddr>) -> Result<Self, GateError> {
        let cannot = |source| GateError::of("open a netfilter socket", source);
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(cannot)?;
        socket.bind_auto().map_err(cannot)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(cannot)?;
        let limit = TimeVal::milliseconds(ANSWER_LIMIT_MS);
        setsockopt(&socket, ReceiveTimeout, &limit).map_err(|errno| cannot(errno.into()))?;
        Ok(Self {
            socket,
            frame: Frame { port, own, resets: true },
            batch: Batch::default(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            sequence: 0,
            generation: None,
            members: Vec::new(),
            ways: None,
        })
    }

    /// Shuts the gate, and finds out whether this kernel has all that a gate needs.
    pub fn shut_first(&mut self) -> Result<(), GateError> {
        sessions::check_support().map_err(|source| GateError::of("destroy sockets", source))?;
        let first = self.assert(&GatePlan::default());
        if first.as_ref().is_err_and(GateError::is_final) {
            // Perhaps only the reset is missing: without it new connections wait instead of being refused.
            self.frame.resets = false;
            return self.assert(&GatePlan::default());
        }
        first
    }

    /// Makes the gate what the plan says, now; a table that somebody changed is put in place anew.
    pub fn assert(&mut self, plan: &GatePlan) -> Result<(), GateError> {
        let members = plan.members.as_slice();
        if let Some(generation) = self.generation
            && self.members == members
        {
            let ways = resolve(plan)?;
            let unlimited = |way: Way| matches!(way, Way::Shut | Way::Free);
            if self.ways == Some(ways) && unlimited(ways.0) && unlimited(ways.1) {
                if self.read_generation()? == generation {
                    return Ok(());
                }
            } else if self.commit(Some(generation), |batch| ruleset::refresh(batch, ways.0, ways.1)).is_ok() {
                self.generation = Some(next(generation));
                self.ways = Some(ways);
                return Ok(());
            }
        }
        self.install(plan)
    }

    /// Ends sessions with PostgreSQL that are older than this moment: whatever still waits in their sockets never leaves.
    /// The gate must be shut to them.
    pub fn end_sessions(&mut self, whose: Sessions, members: &[IpAddr]) -> Result<usize, GateError> {
        let kept = match whose {
            Sessions::Everybodys => &[],
            Sessions::Clients => members,
        };
        sessions::destroy(self.frame.port, self.frame.own, kept)
            .map_err(|source| GateError::of("destroy the sockets of older sessions", source))
    }

    /// Takes the table away.
    pub fn remove(&mut self) -> Result<(), GateError> {
        self.generation = None;
        self.commit(None, ruleset::remove).map_err(|source| GateError::of("remove the gate's table", source))
    }

    fn install(&mut self, plan: &GatePlan) -> Result<(), GateError> {
        let refused = |source| GateError::of("put the gate's table in place", source);
        self.generation = None;
        self.ways = None;
        let (frame, members) = (self.frame.clone(), plan.members.clone());
        for _ in 0..TRIES {
            let generation = self.read_generation()?;
            let ways = resolve(plan)?;
            match self.commit(Some(generation), |batch| ruleset::install(batch, &frame, &members, ways.0, ways.1)) {
                Ok(()) => {
                    self.generation = Some(next(generation));
                    self.members = members;
                    self.ways = Some(ways);
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::ERESTART) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        let ways = resolve(plan)?;
        self.commit(None, |batch| ruleset::install(batch, &frame, &members, ways.0, ways.1)).map_err(refused)
    }

    fn read_generation(&mut self) -> Result<u32, GateError> {
        let cannot = |source| GateError::of("tell the rule set's generation", source);
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.socket.send(&generation_question(sequence), 0).map_err(cannot)?;
        let answer = |kind: u16, body: &[u8]| {
            // After nfgenmsg the only attribute that always comes first: the generation.
            let told = (kind == nf_tables(libc::NFT_MSG_NEWGEN)).then(|| body.get(8..12)).flatten();
            told.map(|bytes| u32::from_be_bytes(<[u8; 4]>::try_from(bytes).unwrap_or_default()))
        };
        let silent = || io::Error::new(io::ErrorKind::InvalidData, "an answer without a generation");
        self.hear(sequence, sequence, answer).and_then(|told| told.ok_or_else(silent)).map_err(cannot)
    }

    /// Sends one batch and reads until its last message is acknowledged or any is refused.
    fn commit(&mut self, generation: Option<u32>, write: impl FnOnce(&mut Batch)) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        self.batch.begin(first, generation);
        write(&mut self.batch);
        let (bytes, last) = self.batch.end();
        self.sequence = last.wrapping_add(1);
        self.socket.send(bytes, 0)?;
        self.hear(first, last, |_, _| None::<()>).map(drop)
    }

    /// Reads answers to the messages `first..=last` until one is refused, `wanted` finds something, or `last` is acknowledged.
    fn hear<T>(&mut self, first: u32, last: u32, wanted: impl Fn(u16, &[u8]) -> Option<T>) -> io::Result<Option<T>> {
        for _ in 0..MAX_STALE {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for (kind, sequence, body) in messages(&self.buffer) {
                if sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                if kind == ERROR_MESSAGE {
                    refusal(body)?;
                    if sequence == last {
                        return Ok(None);
                    }
                } else if let Some(found) = wanted(kind, body) {
                    return Ok(Some(found));
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "no acknowledgement among the kernel's answers"))
    }
}

/// Type, sequence number and body of each message in a datagram.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER_BYTES)?;
        let long = |at: usize| <[u8; 4]>::try_from(&header[at..at + 4]).map(u32::from_ne_bytes).ok();
        let length = usize::try_from(long(0)?).ok()?.max(HEADER_BYTES);
        let body = rest.get(HEADER_BYTES..length.min(rest.len()))?;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = long(8)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

/// An error message's errno; zero is an acknowledgement.
fn refusal(body: &[u8]) -> io::Result<()> {
    match body.get(..4).and_then(|code| <[u8; 4]>::try_from(code).ok()).map_or(0, i32::from_ne_bytes) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// What the kernel's generation is after one more transaction.
fn next(generation: u32) -> u32 {
    generation.wrapping_add(1).max(1)
}

/// The plan's instants, as both of the kernel's clocks must be told them: members, clients.
fn resolve(plan: &GatePlan) -> Result<(Way, Way), GateError> {
    let cannot = |errno: Errno| GateError::of("tell the time", errno.into());
    // The wall clock first: if this thread is stopped between the two, the wall deadline comes out too early, not too late.
    let wall = system::kernel_wall_clock().map_err(cannot)?;
    let now = system::boottime().map_err(cannot)?;
    let ways = (way(plan.member_passage, wall, now), way(plan.client_passage, wall, now));
    if matches!(ways.0, Way::Until(_)) {
        reach(StopPoint::GateRefresh);
    }
    Ok(ways)
}

fn way(passage: Passage, wall: Duration, now: Timestamp) -> Way {
    let limit = |deadline: Timestamp| {
        let left = deadline.since(now);
        let lifetime_ms = left.saturating_sub(LIFETIME_MARGIN).as_millis();
        let wall_ns = u64::try_from((wall + left).as_nanos()).ok()?;
        let lifetime_ms = u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0)?;
        Some(Limit { wall_ns, lifetime_ms })
    };
    match passage {
        Passage::Shut => Way::Shut,
        Passage::Free => Way::Free,
        Passage::Ending(deadline) => limit(deadline).map_or(Way::Shut, Way::Ending),
        Passage::Until(deadline) => limit(deadline).map_or(Way::Shut, Way::Until),
    }
}
