//! The explored state: three nodes, etcd, transactions that may still commit, and what has been promised to clients.
//!
//! Everything is small numbers. Revisions and nonces are renamed to the smallest ones after every move ([`super::canon`]), so that
//! a renewal or a restart that changes nothing else leads back to a known state.

pub(crate) use super::machine::{
    Door, Down, Election, Heart, HighWater, Hold, Keeper, Machine, Mark, Phase, Postgres, Process, Stage, Upstream,
};

/// Nodes of the cluster.
pub(crate) const NODES: usize = 3;
/// Epochs that a run may reach, and one for `history/0`.
pub(crate) const EPOCHS: usize = 5;

/// 0..3.
pub(crate) type Node = u8;
/// A mod_revision; 0: absent.
pub(crate) type Rev = u8;
/// A set of nodes.
pub(crate) type Mask = u8;

/// The set of one node.
pub(crate) fn only(node: Node) -> Mask {
    1 << node
}

/// Whether the set has this node.
pub(crate) fn has(mask: Mask, node: Node) -> bool {
    mask & only(node) != 0
}

/// All nodes.
pub(crate) fn nodes() -> impl Iterator<Item = Node> {
    0..NODES as Node
}

/// [`leaderl_decision::model::Position`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pos {
    pub(crate) epoch: u8,
    pub(crate) lsn: u8,
    pub(crate) timeline: u8,
}

/// The value of the leader key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Seat {
    #[default]
    Absent,
    Holder {
        node: Node,
        nonce: u8,
        epoch: u8,
    },
    Vacancy {
        left_by: Option<Node>,
        epoch: u8,
        end: Option<Pos>,
    },
}

/// `history/<epoch>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    pub(crate) timeline: u8,
    pub(crate) parent: u8,
    pub(crate) fork: u8,
    pub(crate) node: Node,
}

/// `bids/<guid>` with its own mod_revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bid {
    pub(crate) for_rev: Rev,
    pub(crate) at: Pos,
    pub(crate) token: Option<Token>,
    pub(crate) ineligible: bool,
    pub(crate) rev: Rev,
}

/// The token inside PGDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) epoch: u8,
    pub(crate) nonce: u8,
}

/// etcd's keys, each with its mod_revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Etcd {
    /// The newest revision.
    pub(crate) newest: Rev,
    pub(crate) leader: Seat,
    pub(crate) leader_rev: Rev,
    pub(crate) epoch: u8,
    pub(crate) epoch_node: Node,
    pub(crate) epoch_nonce: u8,
    /// The token that the copy bore which took the epoch.
    pub(crate) taken_with: Option<Token>,
    pub(crate) epoch_rev: Rev,
    pub(crate) voters: Mask,
    pub(crate) voters_version: u8,
    pub(crate) voters_rev: Rev,
    pub(crate) history: [Option<History>; EPOCHS],
    pub(crate) bids: [Option<Bid>; NODES],
    /// Which nodes posted that they are `unsynced`.
    pub(crate) unsynced: Mask,
    /// The position that the last leader posted (for `async`).
    pub(crate) published: Option<Pos>,
}

/// What a transaction compares: mod_revisions of `leader`, `epoch`, `voters` and the bids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Compares {
    pub(crate) leader: Option<Rev>,
    pub(crate) epoch: Option<Rev>,
    pub(crate) voters: Option<Rev>,
    pub(crate) bids: [Option<Rev>; NODES],
}

/// What a transaction writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Writes {
    Seat(Seat),
    Bid(Bid),
    Voters { voters: Mask, version: u8 },
    Claim { nonce: u8, epoch: u8, taken_with: Option<Token>, history: Option<History>, voters: Mask, version: u8 },
}

/// A transaction on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Txn {
    pub(crate) by: Node,
    /// Its sender hears of it if it commits; otherwise it has been given up.
    pub(crate) awaited: bool,
    pub(crate) compares: Compares,
    pub(crate) writes: Writes,
}

/// Transactions that may be on their way at once.
pub(crate) const LATE: usize = 2;

/// What may still happen: faults are counted down, so that every run is finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) commits: u8,
    /// A machine loses power; it may come back.
    pub(crate) crashes: u8,
    /// A daemon is killed; it may be started again.
    pub(crate) daemon_crashes: u8,
    /// A postmaster is killed.
    pub(crate) postgres_crashes: u8,
    /// A powered-off machine's disk is emptied, the promise with it.
    pub(crate) disk_losses: u8,
    /// A powered-off machine's data directory is replaced by hand with an older copy.
    pub(crate) old_copies: u8,
    /// A transaction whose sender never learns its outcome; it may commit at any later time.
    pub(crate) late: u8,
    /// An order to heart is lost.
    pub(crate) deaf_hearts: u8,
    /// A standby's connection to its upstream is cut; it may heal.
    pub(crate) cuts: u8,
    /// heart's deadline passes.
    pub(crate) fences: u8,
    /// A holder's renewals are unconfirmed for D/2.
    pub(crate) doubts: u8,
    /// A holder is told to hand over.
    pub(crate) stops: u8,
    /// Somebody deletes the leader key.
    pub(crate) deletes: u8,
    /// etcd is restored from a backup (which is taken at any time before).
    pub(crate) restores: u8,
    /// Renewals; only counted where revisions are not renamed.
    pub(crate) renewals: u8,
}

/// What was promised to clients and what has happened, as nobody in the cluster knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    /// Commits made, in order.
    pub(crate) committed: u8,
    /// Commits that a client saw acknowledged, or saw after a promotion.
    pub(crate) acknowledged: Mask,
    /// The epoch each commit was made under.
    pub(crate) epoch_of: [u8; 4],
    /// The newest epoch that was promoted.
    pub(crate) promoted: u8,
    /// The commits that its log had when it was promoted.
    pub(crate) promoted_with: Mask,
    /// Every epoch that was promoted.
    pub(crate) epochs: u8,
    /// Every timeline that was made.
    pub(crate) timelines: u8,
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) etcd: Etcd,
    pub(crate) backup: Option<Etcd>,
    pub(crate) late: [Option<Txn>; LATE],
    pub(crate) machines: [Machine; NODES],
    pub(crate) truth: Truth,
    pub(crate) budget: Budget,
}

impl World {
    pub(crate) fn machine(&self, node: Node) -> &Machine {
        &self.machines[usize::from(node)]
    }

    pub(crate) fn machine_mut(&mut self, node: Node) -> &mut Machine {
        &mut self.machines[usize::from(node)]
    }

    pub(crate) fn postgres(&mut self, node: Node) -> &mut Postgres {
        &mut self.machines[usize::from(node)].postgres
    }
}
