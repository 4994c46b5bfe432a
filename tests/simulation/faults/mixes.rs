//! Which faults a seed draws: everything, a swarm of a few kinds at a higher rate, or a class of runs.

use super::kinds::{ALL, Kind, SCENES};
use crate::world::SEC;
use crate::world::rng::Rng;

/// A seed from here on is one of a class: `seed / CLASS` is its number in [`CLASSES`], counted from 1.
pub(crate) const CLASS: u64 = 1_000_000_000_000;

/// A class, as it is written down.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) kinds: &'static [(Kind, u32)],
    pub(super) gap_ds: u64,
    pub(super) spans: &'static [u64],
    pub(super) edge_clocks: bool,
    pub(super) leader: u64,
}

/// What a seed draws from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) kinds: Vec<(Kind, u32)>,
    /// How many seconds there are for each fault, in tenths.
    pub(crate) gap_ds: u64,
    /// Longest durations to draw from, in milliseconds.
    pub(crate) spans: &'static [u64],
    /// Clocks as different as they may be.
    pub(crate) edge_clocks: bool,
    /// How many in a hundred hit the leader, and how many followers.
    pub(crate) leader: u64,
}

const LONG: &[u64] = &[300, 1500, 3500, 6000, 12_000, 25_000];
pub(super) const SHORT: &[u64] = &[300, 900, 2000, 3500, 6000];
const LEASE: &[u64] = &[1500, 3500, 6000, 9000];

/// The classes, by name.
pub(crate) const CLASSES: &[&str] = &[
    "losses", "lease", "voters", "untimed", "rebuild", "switches", "late", "restored", "async", "wild", "copies",
    "adrift", "feeds", "returns",
];

use Kind::*;

/// Every class: what it makes likely, and of what it is mixed.
const MIXES: &[Class] = &[
    // Process after process ends while commits are on their way; etcd never loses its majority.
    Class {
        name: "losses",
        kinds: &[
            (LoseProcesses, 4),
            (ChaseProcesses, 3),
            (LagOne, 4),
            (StallOne, 2),
            (OneVoterLeft, 8),
            (CrashAlone, 4),
            (Reacquire, 3),
            (LongerOldLine, 3),
            (CutReplication, 2),
            (KillPostgres, 2),
            (KillPostmaster, 2),
            (PauseReplay, 3),
            (Demote, 1),
            (KillDaemon, 1),
            (StuckBackend, 2),
        ],
        gap_ds: 30,
        spans: SHORT,
        edge_clocks: false,
        leader: 75,
    },
    // Renewals that come late, or not at all, with clocks at the edge of what is tolerated.
    Class {
        name: "lease",
        kinds: &[
            (LateAnswersThenCut, 5),
            (LateAnswersThenFreeze, 9),
            (LateAnswers, 2),
            (KillThenCut, 4),
            (RefreshLate, 4),
            (FreezeDaemon, 4),
            (CutFromAll, 3),
            (CutFromEtcd, 3),
            (DeleteLeaderKey, 3),
            (FreezeHeart, 2),
            (StuckBackend, 4),
            (StepFreeze, 3),
            (PanicLoop, 2),
            (KillPostmaster, 2),
            (Demote, 2),
        ],
        gap_ds: 60,
        spans: LEASE,
        edge_clocks: true,
        leader: 90,
    },
    // Voters change all the time, and the leader ends in the middle of it.
    Class {
        name: "voters",
        kinds: &[
            (ChaseVoters, 4),
            (ChaseVotersFrozen, 8),
            (ReturnSlowly, 6),
            (HeldVoters, 6),
            (LateVoters, 5),
            (LagOne, 5),
            (CutReplication, 4),
            (StallOne, 2),
            (OneVoterLeft, 4),
            (LateRequests, 4),
            (KillDaemon, 3),
            (SlowReload, 4),
            (LoseProcesses, 3),
            (FlapLink, 2),
            (KillPostgres, 1),
        ],
        gap_ds: 50,
        spans: SHORT,
        edge_clocks: false,
        leader: 75,
    },
    // The old primary lives on with nobody to end it; only the quorum holds it.
    Class {
        name: "untimed",
        kinds: &[
            (OldPrimaryLives, 14),
            (FreezeBoth, 3),
            (LagOne, 3),
            (CutReplication, 2),
            (SlowReload, 4),
            (KillDaemon, 4),
            (LoseData, 3),
            (LateRequests, 2),
            (PauseReplay, 2),
            (PauseMachine, 2),
            (LoseProcesses, 2),
            (FlapLink, 3),
            (StepKill, 2),
        ],
        gap_ds: 60,
        spans: SHORT,
        edge_clocks: true,
        leader: 80,
    },
    // Copies are lost, rewound and made again while leaders change.
    Class {
        name: "rebuild",
        kinds: &[
            (LoseData, 6),
            (ResignThenLose, 3),
            (LoseWal, 4),
            (LoseProcesses, 4),
            (ChaseProcesses, 3),
            (CrashAlone, 4),
            (LagOne, 2),
            (StepKill, 3),
            (Demote, 2),
            (FreezeBoth, 2),
            (KillDaemonForLong, 3),
            (CutReplication, 2),
        ],
        gap_ds: 50,
        spans: LONG,
        edge_clocks: false,
        leader: 50,
    },
    // Operators switch failover off and on while leaders are lost.
    Class {
        name: "switches",
        kinds: &[
            (SwitchNode, 6),
            (OffWithBest, 4),
            (SwitchAtClaim, 5),
            (SwitchCluster, 4),
            (LoseProcesses, 5),
            (CrashAlone, 2),
            (LagOne, 3),
            (LateRequests, 4),
            (EtcdWatchStalls, 3),
            (Promote, 3),
            (Demote, 2),
            (OneVoterLeft, 2),
        ],
        gap_ds: 40,
        spans: LONG,
        edge_clocks: false,
        leader: 60,
    },
    // Requests arrive seconds after their sender has given them up.
    Class {
        name: "late",
        kinds: &[
            (LateRequests, 10),
            (LateVoters, 4),
            (FreezeDaemon, 4),
            (KillDaemon, 4),
            (Demote, 3),
            (KillPostgres, 3),
            (StepFreeze, 3),
            (LoseProcesses, 3),
            (CutReplication, 3),
            (FreezeBoth, 2),
            (CutFromEtcd, 2),
            (LagOne, 2),
        ],
        gap_ds: 30,
        spans: LEASE,
        edge_clocks: false,
        leader: 80,
    },
    // etcd is restored from an older backup.
    Class {
        name: "restored",
        kinds: &[(EtcdRestored, 2), (LoseProcesses, 4), (KillDaemon, 3), (KillPostgres, 3), (Demote, 2), (LagOne, 2)],
        gap_ds: 80,
        spans: SHORT,
        edge_clocks: false,
        leader: 70,
    },
    // Nobody waits for followers.
    Class {
        name: "async",
        kinds: &[(LagOne, 4), (CutReplication, 6), (LoseProcesses, 6), (StallOne, 3), (PowerCut, 3), (KillPostgres, 2)],
        gap_ds: 50,
        spans: LONG,
        edge_clocks: false,
        leader: 70,
    },
    // Clocks so different that deadlines mean nothing: every acknowledged row is kept all the same.
    Class {
        name: "wild",
        kinds: &[
            (CutFromEtcd, 5),
            (LateAnswers, 3),
            (LateRequests, 3),
            (LagOne, 4),
            (CutReplication, 3),
            (SlowReload, 4),
            (LateVoters, 3),
            (KillDaemon, 4),
            (FlapLink, 3),
            (OldPrimaryLives, 3),
            (StallOne, 3),
            (LoseProcesses, 3),
            (FreezeDaemon, 3),
            (ChaseEtcdCut, 3),
        ],
        gap_ds: 40,
        spans: SHORT,
        edge_clocks: false,
        leader: 75,
    },
    // A renewal's way from etcd to heart is interrupted, with clocks at the edge of what is tolerated.
    Class {
        name: "feeds",
        kinds: &[
            (FeedLate, 6),
            (AnswersLost, 6),
            (LateAnswersThenFreeze, 1),
            (KillDaemon, 2),
            (Demote, 2),
            (Promote, 1),
        ],
        gap_ds: 80,
        spans: LEASE,
        edge_clocks: true,
        leader: 95,
    },
    // Followers go and come back, and the daemon that makes them voters again ends meanwhile.
    Class {
        name: "returns",
        kinds: &[(ReturnHeld, 6), (ReturnSlowly, 2), (KillDaemon, 1), (LagOne, 1)],
        gap_ds: 100,
        spans: SHORT,
        edge_clocks: false,
        leader: 90,
    },
];

fn class(name: &str) -> Option<Mix> {
    let it = MIXES.iter().chain([&super::copies::CLASS, &super::promises::CLASS]).find(|class| class.name == name)?;
    let Class { name, kinds, gap_ds, spans, edge_clocks, leader } = *it;
    Some(Mix { name, kinds: kinds.to_vec(), gap_ds, spans, edge_clocks, leader })
}

impl Mix {
    pub(crate) fn of(seed: u64) -> Self {
        let number = usize::try_from(seed / CLASS).unwrap_or(0);
        if let Some(mix) = number.checked_sub(1).and_then(|number| class(CLASSES.get(number)?)) {
            return mix;
        }
        let mut rng = Rng::new(seed, 5);
        let everything =
            || Self { name: "everything", kinds: ALL.to_vec(), gap_ds: 0, spans: LONG, edge_clocks: false, leader: 60 };
        match rng.index(10) {
            0..=4 => everything(),
            5..=7 => {
                let mut kinds: Vec<(Kind, u32)> = ALL.iter().chain(SCENES).copied().collect();
                while kinds.len() > 9 {
                    let at = rng.index(kinds.len());
                    kinds.swap_remove(at);
                }
                Self { name: "swarm", kinds, gap_ds: 40, ..everything() }
            }
            // A restored etcd ends with an operator: it is a class of its own. So are clocks that differ too much.
            _ => {
                let apart = ["restored", "wild", "adrift"];
                let any = CLASSES.iter().filter(|name| !apart.contains(name));
                any.copied().nth(rng.index(CLASSES.len() - apart.len())).and_then(class).unwrap_or_else(everything)
            }
        }
    }

    /// How many faults there are in so long.
    pub(crate) fn count(&self, lasts: u64) -> Option<usize> {
        (self.gap_ds > 0).then(|| usize::try_from(lasts * 10 / SEC / self.gap_ds).unwrap_or(12).max(12))
    }
}
