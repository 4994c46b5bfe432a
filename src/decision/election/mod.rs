//! Who holds the leader key, when to promote, when to step down (design 3.1-3.5, rules R1-R15).
//!
//! [`step`] is level-triggered: every call sees the whole world ([`Facts`]) and one [`Event`], and returns the next state and
//! what to do. Commands may be lost or repeated: the next look asks for them again. A restarted election begins
//! [`State::Undecided`] and changes nothing until it has seen etcd, heart and PostgreSQL.

mod adopt;
mod bid;
mod claim;
mod completeness;
mod heart_facts;
mod hold;
mod names;
mod observe;
mod orders;
mod requests;
mod role;
mod step_down;
#[cfg(test)]
mod tests;
mod timing;

pub use claim::ClaimTxn;
pub use completeness::{Completeness, completeness, last_leader};
pub use heart_facts::{GateFacts, HeartFacts};
pub use orders::lineage_of;
pub use role::{holder, role};
pub use timing::Timing;

use crate::cluster::ClusterView;
use crate::failover_policy::{self, OwnFaults};
use crate::model::{
    ByteLag, Door, Epoch, NodeId, Nonce, Position, Reason, ReplicationMode, Revision, ServiceName, Timestamp,
};
use crate::postgres_report::{PostgresOrder, PostgresReport};
use crate::records::{BidRecord, Holder, RequestState, Vacancy};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything one step may look at.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// CLOCK_BOOTTIME.
    pub now: Timestamp,
    /// This node.
    pub me: &'a NodeId,
    /// This kernel's boot id.
    pub boot_id: &'a str,
    /// D and what follows from it.
    pub timing: Timing,
    /// The replication mode in force.
    pub mode: ReplicationMode,
    /// Higher goes first among equal copies.
    pub priority: u32,
    /// `async`: a copy further behind does not lead.
    pub max_lag: ByteLag,
    /// How long a slow promotion may keep the key.
    pub promote_deadline: Duration,
    /// etcd's records; `None` until the first list.
    pub cluster: Option<&'a ClusterView>,
    /// heart; `None` while not attached.
    pub heart: Option<&'a HeartFacts>,
    /// The local PostgreSQL.
    pub postgres: &'a PostgresReport,
    /// Services that failed more often in a row than allowed, with the last failure.
    pub tripped: &'a BTreeMap<ServiceName, String>,
    /// This node's own leaderships that ended by a fault.
    pub faults: OwnFaults<'a>,
    /// Random text for an acquisition, adoption or vacancy that begins in this step.
    pub fresh_nonce: &'a Nonce,
}

impl Facts<'_> {
    /// Why this node may not lead, whatever the others say.
    pub fn ineligible(&self) -> Vec<Reason> {
        failover_policy::ineligible(self)
    }
}

/// What a step may be told besides the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A fact changed, or the timer ticked.
    Look,
    /// A linearizable read of `leader` answered with this mod_revision (0: absent).
    LeaderRead(Revision),
    /// A read, bid or vacancy-creation ended, whatever its outcome.
    EffectEnded,
    /// The acquiring (or adopting) transaction with this nonce committed at this revision.
    ClaimWon {
        /// The claim's nonce.
        nonce: Nonce,
        /// The leader key's mod_revision.
        revision: Revision,
    },
    /// The acquiring (or adopting) transaction surely did not commit.
    ClaimLost {
        /// The claim's nonce.
        nonce: Nonce,
    },
    /// A renewal committed.
    Renewed {
        /// The hold.
        nonce: Nonce,
        /// Its newest committed seq.
        seq: u64,
        /// Read before that seq's first sending.
        t0: Timestamp,
        /// The leader key's mod_revision.
        revision: Revision,
    },
    /// The key is surely not ours any more.
    HoldLost {
        /// The hold.
        nonce: Nonce,
    },
    /// heart did not acknowledge in time.
    HeartSilent,
    /// The checkpoint before a planned stop ended, or its time is up.
    CheckpointEnded,
    /// The VIP is surely not on this node.
    VipGone,
    /// The vacancy was sent; its outcome does not matter (rule R11).
    VacancySent,
    /// The daemon shall stop for good: hand over first.
    StopForGood,
}

/// What a step may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read `leader` linearizably; answered by [`Event::LeaderRead`].
    ReadLeader,
    /// On an absent key: put this vacancy if the key is still absent (rule R8).
    CreateVacancy(Vacancy),
    /// Put this bid if `leader` still has the bid's revision.
    PutBid(BidRecord),
    /// The acquiring transaction (rules R1, R9, R11).
    Claim(Box<ClaimTxn>),
    /// The renewal by which a restarted daemon adopts its own hold.
    Adopt {
        /// With a fresh nonce.
        holder: Holder,
        /// The leader key's mod_revision it must still have.
        revision: Revision,
    },
    /// Arm heart (an acquisition or adoption).
    Arm {
        /// The hold.
        hold: Hold,
    },
    /// Let the session renew this hold.
    Renew {
        /// The hold.
        hold: Hold,
    },
    /// Tell PostgreSQL what to be.
    OrderPostgres(PostgresOrder),
    /// Ask for a checkpoint before a planned stop; answered by [`Event::CheckpointEnded`].
    Checkpoint,
    /// Bind the VIP under this epoch.
    AssignVip {
        /// The epoch.
        epoch: Epoch,
    },
    /// Take the VIP away; answered by [`Event::VipGone`].
    ReleaseVip,
    /// Open the port gate under this epoch, or narrow it.
    SetDoor {
        /// The epoch.
        epoch: Epoch,
        /// How far.
        door: Door,
    },
    /// Keep the voter record.
    KeepVoters {
        /// The epoch.
        epoch: Epoch,
        /// The acquisition's nonce.
        nonce: Nonce,
    },
    /// Stop keeping the voter record.
    RestVoters,
    /// Stop renewing, then put the vacancy in place of the hold's last value; answered by [`Event::VacancySent`].
    SendVacancy {
        /// The hold that ends.
        hold: Hold,
        /// What is put.
        vacancy: Vacancy,
    },
    /// Send no further renewal: an emergency must not keep the seat while something cannot be ended.
    StopRenewing {
        /// The hold's nonce.
        nonce: Nonce,
    },
    /// heart does not answer: kill it, and PostgreSQL dies with it; its service starts a new one, which sweeps the rest.
    KillHeart,
    /// Disarm heart, PostgreSQL and VIP being gone.
    Disarm {
        /// The epoch that ended.
        epoch: Epoch,
    },
    /// Write down how far an operator's request is.
    UpdateRequest {
        /// The request.
        id: String,
        /// Its new state.
        state: RequestState,
        /// For people.
        detail: String,
    },
    /// One line of the journal.
    Record {
        /// Stable code.
        code: &'static str,
        /// The epoch.
        epoch: Epoch,
        /// Cause and evidence.
        text: String,
    },
}

/// A hold of the leader key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The acquisition's epoch.
    pub epoch: Epoch,
    /// Fresh for this acquisition or adoption.
    pub nonce: Nonce,
    /// The acquisition's own nonce (it stays when a daemon adopts): what PGDATA's token carries.
    pub acquired_with: Nonce,
    /// The newest committed seq.
    pub seq: u64,
    /// Read before that seq's first sending.
    pub t0: Timestamp,
    /// The leader key's mod_revision.
    pub revision: Revision,
    /// When this daemon began to hold.
    pub since: Timestamp,
    /// How far the hold is.
    pub stage: Stage,
}

/// How far a hold is; the three facts of design 3.5 in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Holds the key; PostgreSQL is not yet writable under this epoch.
    Promoting,
    /// PostgreSQL is writable; voters have not yet flushed past the promotion point (rule R6).
    AwaitingVoters,
    /// Clients are let in.
    Serving,
}

/// Watching the seat, and perhaps bidding for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observing {
    /// The mod_revision of `leader` that a linearizable read has confirmed.
    pub confirmed: Option<Revision>,
    /// A read, bid or vacancy-creation is under way since then.
    pub busy_since: Option<Timestamp>,
    /// Since when a complete set of bids for this revision is there.
    pub complete_since: Option<(Revision, Timestamp)>,
    /// Since when such a set is there although somebody has written more than it needs.
    pub surplus_since: Option<(Revision, Timestamp)>,
    /// The last bid that was sent.
    pub bid_sent: Option<(Revision, Position)>,
}

/// A claim whose transaction is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claiming {
    /// The hold it becomes when won (`revision` still that of the seat).
    pub hold: Hold,
    /// Whether it renews an own hold (adoption) or takes a new epoch.
    pub adopts: bool,
    /// When it was sent.
    pub since: Timestamp,
}

/// Giving the seat up. One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteppingDown {
    /// The hold that ends.
    pub hold: Hold,
    /// Why.
    pub cause: Reason,
    /// Time is left: sessions may end in order.
    pub planned: bool,
    /// The successor the operator named.
    pub designated: Option<NodeId>,
    /// Since when.
    pub since: Timestamp,
    /// Where it is.
    pub phase: DownPhase,
    /// The operator's request this serves.
    pub request: Option<String>,
    /// PostgreSQL was writable under this hold.
    pub was_writable: bool,
}

impl SteppingDown {
    /// Whether neither an operator nor an orderly stop asked for it.
    pub fn by_fault(&self) -> bool {
        self.request.is_none() && self.cause.code != step_down::STOPPED
    }
}

/// The order of a demotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownPhase {
    /// Planned only: a checkpoint while clients are still served, so that the stop is short.
    Checkpointing,
    /// PostgreSQL is being stopped and reaped.
    Stopping,
    /// PostgreSQL is gone; the VIP goes.
    Releasing,
    /// Both are gone; the vacancy is under way. Nothing of this hold exists any more (rule R11).
    Vacating,
}

/// The election's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Undecided,
    /// Somebody else leads, or nobody does.
    Observing(Observing),
    /// The acquiring or adopting transaction is under way.
    Claiming(Claiming),
    /// This node holds the key.
    Holding(Hold),
    /// This node gives it up.
    SteppingDown(SteppingDown),
}

impl State {
    /// The state's name in logs, status and diagrams.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Observing(_) => "observing",
            Self::Claiming(claim) if claim.adopts => "adopting",
            Self::Claiming(_) => "claiming",
            Self::Holding(hold) => match hold.stage {
                Stage::Promoting => "promoting",
                Stage::AwaitingVoters => "awaiting-voters",
                Stage::Serving => "leading",
            },
            Self::SteppingDown(_) => "stepping-down",
        }
    }

    /// The hold, while there is one that may have writers.
    pub fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Holding(hold) => Some(hold),
            Self::SteppingDown(down) => match down.phase {
                DownPhase::Checkpointing | DownPhase::Stopping | DownPhase::Releasing => Some(&down.hold),
                DownPhase::Vacating => None,
            },
            Self::Undecided | Self::Observing(_) | Self::Claiming(_) => None,
        }
    }
}

/// One step: what was and what is seen become what is and what to do.
pub fn step(state: State, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    match state {
        State::Undecided => adopt::begin(facts),
        State::Observing(observing) => observe::step(observing, event, facts),
        State::Claiming(claiming) => claim::step(claiming, event, facts),
        State::Holding(hold) => hold::step(hold, event, facts),
        State::SteppingDown(down) => step_down::step(down, event, facts),
    }
}

/// Why this node does not lead (or does not serve yet), each with a stable code. Empty while it serves.
pub fn reasons(state: &State, facts: &Facts<'_>) -> Vec<Reason> {
    match state {
        State::Undecided if facts.cluster.is_none() => vec![Reason::new("etcd-unseen", "etcd has not answered yet")],
        State::Undecided if facts.heart.is_none() => {
            vec![Reason::new("heart-unseen", "leaderl-heart has not answered yet; is its service running?")]
        }
        State::Undecided => vec![Reason::new("postgres-unseen", "PostgreSQL has not been looked at yet")],
        State::Observing(observing) => observe::reasons(observing, facts),
        State::Claiming(_) => vec![Reason::new("claiming", "the acquiring transaction is under way")],
        State::Holding(hold) => hold::reasons(hold, facts),
        State::SteppingDown(down) => step_down::reasons(down),
    }
}

pub(crate) fn record(code: &'static str, epoch: Epoch, text: impl Into<String>) -> Command {
    Command::Record { code, epoch, text: text.into() }
}
