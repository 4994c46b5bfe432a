//! The backend VIP: what must be ordered, removed and announced so that it is here while, and only while, this node serves.
//!
//! Adding an address and keeping it alive is heart's alone ([`VipCommand::Assign`] asks for it). Removing a copy is allowed to
//! anyone at any time, because a missing VIP costs availability and a second one costs data.

use crate::model::{Epoch, Timestamp};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// After an address came up it is announced at these distances, then every [`ANNOUNCE_PERIOD`].
pub const ANNOUNCE_BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Caches that missed the burst learn the address no later than this.
pub const ANNOUNCE_PERIOD: Duration = Duration::from_secs(30);

/// A foreign claim starts a new burst, but not more often than this: two holders must not flood the segment.
pub const CONTEST_PAUSE: Duration = Duration::from_secs(1);

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vip {
    /// The address.
    pub ip: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Name of the interface.
    pub interface: String,
}

/// What the election wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VipWish {
    /// Nothing was said since this actor started: change nothing that anybody keeps.
    #[default]
    Undecided,
    /// Clients are let in here.
    Here {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// Nobody is served here.
    Elsewhere,
}

/// What is known when a plan is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VipFacts {
    /// The settings, with interfaces resolved; an address without a usable interface is missing here.
    pub configured: BTreeSet<Vip>,
    /// Every copy of a configured address that the kernel has, on whatever interface and with whatever prefix.
    pub bound: BTreeSet<Vip>,
    /// What heart says it keeps alive.
    pub guarded: BTreeSet<Vip>,
    /// heart answers, is armed for nothing and keeps no address.
    pub nobody_keeps: bool,
    /// The epoch whose assignment heart has acknowledged to this actor; `None` after a release.
    pub assigned: Option<Epoch>,
    /// heart has acknowledged a release since the wish became `Elsewhere`.
    pub released: bool,
    /// The epoch under which the neighbours were asked for another holder.
    pub probed: Option<Epoch>,
}

/// One step; each is safe to repeat and safe to lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipCommand {
    /// Ask the neighbours who has it; the answer is awaited elsewhere and delays nothing.
    Probe(Vip),
    /// heart: add these and keep their kernel lifetime fresh while armed for `epoch`.
    Assign {
        /// Refused by heart unless it is armed for it.
        epoch: Epoch,
        /// All of them.
        vips: BTreeSet<Vip>,
    },
    /// heart: remove them and stop refreshing.
    Release,
    /// Remove this copy from the kernel.
    Remove(Vip),
}

/// What to do now.
pub fn plan(wish: VipWish, facts: &VipFacts) -> Vec<VipCommand> {
    match wish {
        // Left over from a crash, or put here by hand: it must not wait for a leader, or for etcd, to be known.
        VipWish::Undecided if facts.nobody_keeps => facts.bound.iter().cloned().map(VipCommand::Remove).collect(),
        VipWish::Undecided => Vec::new(),
        VipWish::Here { epoch } => plan_here(epoch, facts),
        VipWish::Elsewhere => plan_elsewhere(facts),
    }
}

fn plan_here(epoch: Epoch, facts: &VipFacts) -> Vec<VipCommand> {
    let mut commands = Vec::new();
    if facts.probed != Some(epoch) {
        commands.extend(facts.configured.iter().cloned().map(VipCommand::Probe));
    }
    let wanted = !facts.configured.is_empty() || !facts.guarded.is_empty();
    let settled =
        facts.assigned == Some(epoch) && facts.guarded == facts.configured && facts.configured.is_subset(&facts.bound);
    if wanted && !settled {
        commands.push(VipCommand::Assign { epoch, vips: facts.configured.clone() });
    }
    // A copy elsewhere on this host has no lifetime that heart bounds.
    commands.extend(facts.bound.difference(&facts.configured).cloned().map(VipCommand::Remove));
    commands
}

fn plan_elsewhere(facts: &VipFacts) -> Vec<VipCommand> {
    let mut commands = Vec::new();
    // heart first: a copy removed before would be back at its next refresh.
    if !facts.released || !facts.guarded.is_empty() {
        commands.push(VipCommand::Release);
    }
    // Also without heart's word: heart may be dead, and its last refresh may still have seconds to live.
    commands.extend(facts.bound.iter().cloned().map(VipCommand::Remove));
    commands
}

/// Which addresses are announced when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcing {
    reachable: BTreeSet<Vip>,
    began: Timestamp,
    sent: u32,
}

impl Announcing {
    /// Takes note of the addresses that are held on a link that is up, and says whether to announce all of them now.
    ///
    /// An address that appears (bound, bound again after it was removed by hand, or its link came up) starts a new burst, and so
    /// does a foreign claim (`contested`).
    #[must_use]
    pub fn step(self, reachable: BTreeSet<Vip>, contested: bool, now: Timestamp) -> (Self, bool) {
        if reachable.is_empty() {
            return (Self::default(), false);
        }
        let appeared = reachable.iter().any(|vip| !self.reachable.contains(vip));
        let again = contested && now.since(self.began) >= CONTEST_PAUSE;
        let mut next =
            if appeared || again { Self { reachable, began: now, sent: 0 } } else { Self { reachable, ..self } };
        let due = next.due_at(next.sent) <= now;
        // Those missed while nobody looked are not made up for.
        while next.due_at(next.sent) <= now {
            next.sent += 1;
        }
        (next, due)
    }

    /// Forgets addresses that are not reachable now, so that their return starts a new burst even if it comes before the next
    /// [`Self::step`].
    pub fn forget_lost(&mut self, reachable: &BTreeSet<Vip>) {
        self.reachable.retain(|vip| reachable.contains(vip));
    }

    /// When the next announcement is due; `None`: nothing is held.
    pub fn next_at(&self) -> Option<Timestamp> {
        (!self.reachable.is_empty()).then(|| self.due_at(self.sent))
    }

    fn due_at(&self, number: u32) -> Timestamp {
        let last = ANNOUNCE_BURST.len() - 1;
        let offset = match ANNOUNCE_BURST.get(number as usize) {
            Some(offset) => *offset,
            None => ANNOUNCE_BURST[last] + ANNOUNCE_PERIOD * (number - last as u32),
        };
        self.began.plus(offset)
    }
}

/// The text is not an address with an optional prefix length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address such as `10.0.0.100/32` or `fd00::100/128`")]
pub struct BadVip(pub String);

/// Reads one entry of `vip.addresses`; without a prefix length it is the single address (32 or 128).
pub fn parse_vip(text: &str) -> Result<(IpAddr, u8), BadVip> {
    let bad = || BadVip(text.to_owned());
    let (ip, prefix) = match text.trim().split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text.trim(), None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| bad())?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| bad()))?;
    let usable = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback();
    if usable && (1..=longest).contains(&prefix) { Ok((ip, prefix)) } else { Err(bad()) }
}

#[cfg(test)]
mod tests;
