//! Planted bugs: each turns one rule off, so that tests can show that the rule is needed and that they would notice.
//!
//! `let _planted = Planted::R4PromiseForgotten.plant();` switches it on for this thread until the guard is dropped. The branch
//! stands where the rule lives: `if planted(Planted::R4PromiseForgotten)`. Without debug assertions there is no switch:
//! [`planted`] is a constant `false`, and the branches are compiled away.

/// Declares the bugs with their names, so that a bug cannot be left out of [`Planted::ALL`].
macro_rules! planted_bugs {
    ($($(#[$doc:meta])+ $bug:ident = $name:literal,)+) => {
        /// A bug that can be planted. What a variant says is what goes wrong; "in" names the room where its branch stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted {
            $($(#[$doc])+ $bug,)+
        }

        impl Planted {
            /// All of them.
            pub const ALL: &[Planted] = &[$(Planted::$bug),+];

            /// Its name for reports and command lines.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Planted::$bug => $name,)+
                }
            }
        }
    };
}

planted_bugs! {
    // The safety rules. One variant for each rule, more where a rule has independent halves.
    /// R1: a takeover does not make the last leader a voter. In `election::claim`.
    R1LastLeaderNoVoter = "r1-last-leader-no-voter",
    /// R2: names change without an own put of the record first. In `voters`.
    R2NoOwnPut = "r2-no-own-put",
    /// R3: the sessions of a daemon's predecessor are not ended. In `actors::postgres::carry_out`.
    R3PredecessorsLive = "r3-predecessors-live",
    /// R3: names that were only written count as effective. In `replication_plan::describe`.
    R3NamesUnproven = "r3-names-unproven",
    /// R4: a promise does not keep the node from streaming again. In `replication_plan::follow`; the writer of the conninfo
    /// (`PostgresServer::point_at`) has its own check.
    R4PromiseForgotten = "r4-promise-forgotten",
    /// R5: a node without a walreceiver counts as detached, whatever its startup process has read. In
    /// `replication_plan::describe`.
    R5DetachedOnSight = "r5-detached-on-sight",
    /// R6: clients are let in before any voter has flushed past the promotion point. In `election::hold`.
    R6ClientsLetInEarly = "r6-clients-let-in-early",
    /// R6: a primary goes on, or is started again, under an epoch that has been promoted. In `election::hold`, `replication_plan::lead`.
    R6RestartedInPlace = "r6-restarted-in-place",
    /// R7: a node that `voters` names is rewound or cloned. In `election::orders`.
    R7VoterRebuilt = "r7-voter-rebuilt",
    /// R7: a node that lost its promise with its disk follows at once, whatever it had bid for. In `election::observe`.
    R7BidForgotten = "r7-bid-forgotten",
    /// R7: an `unsynced` copy bids and leads. In `election::observe`, `failover_policy`, `replication_plan`.
    R7UnsyncedBids = "r7-unsynced-bids",
    /// R7: an `unsynced` copy becomes a voter. In `voters`.
    R7UnsyncedVotes = "r7-unsynced-votes",
    /// R7: the last leader counts as complete without the token inside its PGDATA. In `election::completeness`.
    R7TokenIgnored = "r7-token-ignored",
    /// R8: nodes bid for an absent key, at revision 0. In `election::observe`, `election::completeness`.
    R8BidsOnAbsentKey = "r8-bids-on-absent-key",
    /// R9: the new timeline only exceeds the copy's own. In `election::claim`, `replication_plan::lead`.
    R9TimelineTwice = "r9-timeline-twice",
    /// R10: a holder that has not promoted yet bids at its own revision. In `election::hold`.
    R10BidsWhileHolding = "r10-bids-while-holding",
    /// R11: a hold goes on after its vacancy was sent. In `election::step_down`.
    R11HoldAfterVacancy = "r11-hold-after-vacancy",
    /// R11: a restarted daemon goes on with its hold without a renewal of its own. In `election::adopt`.
    R11AdoptsWithoutRenewal = "r11-adopts-without-renewal",
    /// R12: neither the last leader's bid nor the vacancy's final position proves anything. In `election::completeness`.
    R12LastLeaderNoBid = "r12-last-leader-no-bid",
    /// R13: positions order by LSN alone. In `election::completeness`, `election::observe`.
    R13LsnAlone = "r13-lsn-alone",
    /// R14: nobody fetches WAL from a bidder that may not lead. In `election::observe`.
    R14NoCatchUp = "r14-no-catch-up",
    /// R15: a voter that does not stream any more stays one. In `voters`.
    R15LostVoterStays = "r15-lost-voter-stays",

    // Bids and claims.
    /// A node bids without having detached. In `election::observe`.
    BidWithoutPromise = "bid-without-promise",
    /// A bid counts whatever revision of `leader` it names. In `election::completeness`.
    OlderBidCounts = "older-bid-counts",
    /// A node claims although a higher bid is there. In `election::observe`.
    LesserBidCampaigns = "lesser-bid-campaigns",
    /// The position in a bid is read before the received WAL is replayed. In `replication_plan::describe`.
    PositionBeforeReplay = "position-before-replay",
    /// A node claims without asking whether its bids are enough ("sync set not checked"). In `election::observe`.
    SyncSetNotChecked = "sync-set-not-checked",
    /// One voter's bid counts as a complete set. In `election::completeness`.
    OneBidIsEnough = "one-bid-is-enough",
    /// The acquiring transaction does not compare `voters`. In `election::claim`.
    ClaimIgnoresVoters = "claim-ignores-voters",
    /// The acquiring transaction does not compare the bids it rests on. In `election::claim`.
    ClaimIgnoresBids = "claim-ignores-bids",
    /// The acquiring transaction does not compare the failover switches. In `election::claim`.
    ClaimIgnoresSwitches = "claim-ignores-switches",
    /// A vacancy whose last holder nobody knows is taken at once, without waiting for D. In `election::observe`.
    AbsentKeyIsVacancy = "absent-key-is-vacancy",
    /// `history/<epoch>` is not part of the acquiring transaction. In `election::claim`, `election::orders`.
    PromoteBeforeHistory = "promote-before-history",
    /// A control state that went back (a restored etcd) is taken for the present. In `cluster::high_water`.
    WentBackIgnored = "went-back-ignored",
    /// A failover switch that is off keeps nobody from leading. In `election::observe`, `failover_policy`.
    SwitchOffIgnored = "switch-off-ignored",
    /// `async`: a copy beyond `max_bytes_behind_leader` leads. In `failover_policy`.
    LagIgnored = "lag-ignored",

    // The lease.
    /// t0 of a renewal is the clock when its answer came. In EtcdSessionActor (`etcd_session/renewing.rs`).
    DeadlineFromReply = "deadline-from-reply",
    /// t0 of a renewal is the clock before its last sending, not its first. In `renewal`.
    T0OfLaterAttempt = "t0-of-later-attempt",
    /// A renewal whose outcome is unclear counts as committed ("keep-alive trusted"). In `renewal`.
    RenewalTakenOnFaith = "renewal-taken-on-faith",
    /// Observers count D from the holder's own clock instead of their receipt. In `renewal`, for `cluster::build`.
    TakeoverByHoldersClock = "takeover-by-holders-clock",
    /// Renewals and vacancies compare `create_revision`, so a deposed holder overwrites its successor. In EtcdSessionActor and
    /// `actors::coordination::leader_key`.
    CreateRevisionAsToken = "create-revision-as-token",
    /// A voter change does not compare `epoch`. In `voters`.
    VoterChangeIgnoresEpoch = "voter-change-ignores-epoch",
    /// A voter change does not compare `voters`. In `voters`.
    VoterChangeIgnoresVoters = "voter-change-ignores-voters",
    /// Orders of an older epoch are obeyed. In the actors (PgReplicationActor, VipActor) and heart.
    EpochIgnored = "epoch-ignored",
    /// A renewal that commits late turns a step-down back into a hold, whatever has been shut meanwhile, and heart arms a
    /// fenced epoch. In `election::step_down`, `election::hold` and `heart::guard`.
    LateRenewalRevives = "late-renewal-revives",

    // Promotion, demotion and fences.
    /// PostgreSQL is promoted before heart is armed. In `election::hold`, `replication_plan::lead`.
    PromoteUnarmed = "promote-unarmed",
    /// The synchronous names of V' are not set before promotion, nor any before the start. In `replication_plan::lead`,
    /// `SyncNames::of_nobody`.
    NamesAfterPromotion = "names-after-promotion",
    /// The VIP is assigned as soon as the key is held. In `election::hold`.
    VipBeforeWritable = "vip-before-writable",
    /// The key is resigned as soon as the postmaster has ended, before every process is reaped. In `election::step_down`.
    ResignBeforeReaped = "resign-before-reaped",
    /// heart counts its deadline from when it hears of a renewal. In `heart::guard`.
    RelativeDeadline = "relative-deadline",
    /// A late refresh of the VIP's lifetime is not checked against the clock again. In `heart::guard`.
    VipRefreshUnchecked = "vip-refresh-unchecked",
    /// The fence ends the postmaster and waits for none of its children. In `heart::guard`.
    FenceLeavesBackends = "fence-leaves-backends",
    /// heart lets a second daemon attach without killing the first. In `heart::guard`.
    TwoDaemons = "two-daemons",
    /// A supervision tree that gives up ends the process without fencing first. In the daemon (`daemon.rs`).
    PanicSkipsFence = "panic-skips-fence",
    /// A step-down leaves the VIP where it is. In VipActor and `heart::guard`.
    VipKept = "vip-kept",
    /// `/leader` answers from the board after the answer's own deadline. In StatusHttpActor.
    StaleLeaderAnswer = "stale-leader-answer",

    // The order of voter changes.
    /// A voter is removed in etcd before PostgreSQL. In `voters`.
    RemovedInEtcdFirst = "removed-in-etcd-first",
    /// A voter is added in PostgreSQL before etcd. In `voters`.
    AddedInPostgresFirst = "added-in-postgres-first",
    /// Degrading goes through PostgreSQL first. In `voters`.
    DegradedInPostgresFirst = "degraded-in-postgres-first",
    /// Returning from degraded goes through etcd first. In `voters`.
    ReturnedInEtcdFirst = "returned-in-etcd-first",
    /// The catch-up wait before a put is left out. In `voters`.
    CatchUpNotAwaited = "catch-up-not-awaited",

    // Copies.
    /// A standby goes on streaming from the leader of an older epoch. In `replication_plan::follow`.
    FollowsOldEpoch = "follows-old-epoch",
    /// pg_rewind runs without the mark that says so. In `replication_plan::follow`.
    RewindWithoutMark = "rewind-without-mark",
    /// The old PGDATA is deleted when a copy is swapped in. In the PostgreSQL adapter (`Files::swap_in`), which its own tests see;
    /// the simulator has a port of its own in the adapter's place, and plants it there.
    OldCopyDeleted = "old-copy-deleted",
}

impl Planted {
    /// The bug of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// Whether PostgreSQL is to be started again under a hold that has lost it: three bugs need it.
pub(crate) fn restarts_in_place() -> bool {
    planted(Planted::R6RestartedInPlace)
        || planted(Planted::R11HoldAfterVacancy)
        || planted(Planted::LateRenewalRevives)
}

/// Whether this bug is planted here and now.
#[cfg(debug_assertions)]
pub fn planted(bug: Planted) -> bool {
    switch::is_on(bug)
}

/// Whether this bug is planted: never, in a build without debug assertions.
#[cfg(not(debug_assertions))]
pub const fn planted(_bug: Planted) -> bool {
    false
}

#[cfg(debug_assertions)]
pub use switch::PlantedGuard;

#[cfg(debug_assertions)]
mod switch {
    use super::Planted;
    use std::cell::Cell;

    const _: () = assert!(Planted::ALL.len() <= u128::BITS as usize, "one bit for each bug");

    thread_local! {
        static ON: Cell<u128> = const { Cell::new(0) };
    }

    fn bit(bug: Planted) -> u128 {
        1 << (bug as u32)
    }

    pub(super) fn is_on(bug: Planted) -> bool {
        ON.get() & bit(bug) != 0
    }

    /// Keeps a bug planted on the thread that planted it.
    #[must_use = "the bug is gone as soon as this is dropped"]
    #[derive(Debug)]
    pub struct PlantedGuard {
        before: u128,
        /// A switch belongs to one thread; so does its guard.
        _thread: std::marker::PhantomData<*const ()>,
    }

    impl Drop for PlantedGuard {
        fn drop(&mut self) {
            ON.set(self.before);
        }
    }

    impl Planted {
        /// Plants this bug on this thread until the guard is dropped. Guards nest; drop them in reverse order.
        pub fn plant(self) -> PlantedGuard {
            let before = ON.get();
            ON.set(before | bit(self));
            PlantedGuard { before, _thread: std::marker::PhantomData }
        }
    }
}

#[cfg(test)]
mod tests;
