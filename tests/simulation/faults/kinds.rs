//! Every kind of fault: its name, what it does to the world, and how it is undone.

use super::Scope;
use crate::world::daemon::StopPoint;
use crate::world::node::Disk;
use crate::world::{MS, SEC, Time, World};
use leaderl_decision::model::Lsn;

/// A kind of fault. Durations are the plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillDaemon,
    KillDaemonForLong,
    FreezeDaemon,
    StepKill,
    StepFreeze,
    RestartDaemon,
    StopDaemon,
    KillHeart,
    FreezeHeart,
    FreezeHeartAtRefresh,
    FreezeBoth,
    KillPostmaster,
    KillPostgres,
    FreezePostgres,
    FreezeWalsenders,
    PauseReplay,
    RefuseStart,
    SlowPromotion,
    NeverPromotes,
    SlowRecovery,
    PowerCut,
    PowerCutAll,
    PauseMachine,
    CutFromAll,
    CutFromNodes,
    CutFromEtcd,
    CutOutgoing,
    CutIncoming,
    CutPair,
    CutReplication,
    FlapLink,
    Swizzle,
    SlowLinks,
    LossyLinks,
    CutArp,
    EtcdMemberDown,
    EtcdTwoDown,
    EtcdFreeze,
    EtcdLosesLeader,
    EtcdSlow,
    EtcdWatchStalls,
    EtcdWatchCancelled,
    EtcdCompacts,
    EtcdFull,
    EtcdAuth,
    DiskFull,
    DiskFails,
    DiskSlow,
    LoseData,
    LoseWal,
    SearchDown,
    WallClock,
    Promote,
    Demote,
    SwitchNode,
    SwitchCluster,
    LoseProcesses,
    ChaseProcesses,
    ChaseEtcdCut,
    ChaseVoters,
    LagOne,
    StallOne,
    OneVoterLeft,
    CrashAlone,
    Reacquire,
    LateAnswers,
    LateAnswersThenCut,
    LateAnswersThenFreeze,
    LateRequests,
    KillThenCut,
    RefreshLate,
    StuckBackend,
    SlowReload,
    DeleteLeaderKey,
    EtcdRestored,
    PanicLoop,
    OffWithBest,
    LongerOldLine,
    LateVoters,
    OldPrimaryLives,
    FreezeThenLose,
    ChaseVotersFrozen,
    ReturnSlowly,
    SwitchAtClaim,
    HeldVoters,
}

/// All of them, with how often each is drawn.
pub(crate) const ALL: &[(Kind, u32)] = &[
    (Kind::KillDaemon, 5),
    (Kind::KillDaemonForLong, 3),
    (Kind::FreezeDaemon, 5),
    (Kind::StepKill, 6),
    (Kind::StepFreeze, 5),
    (Kind::RestartDaemon, 3),
    (Kind::StopDaemon, 3),
    (Kind::KillHeart, 4),
    (Kind::FreezeHeart, 4),
    (Kind::FreezeHeartAtRefresh, 3),
    (Kind::FreezeBoth, 2),
    (Kind::KillPostmaster, 4),
    (Kind::KillPostgres, 4),
    (Kind::FreezePostgres, 3),
    (Kind::FreezeWalsenders, 3),
    (Kind::PauseReplay, 2),
    (Kind::RefuseStart, 2),
    (Kind::SlowPromotion, 2),
    (Kind::NeverPromotes, 1),
    (Kind::SlowRecovery, 2),
    (Kind::PowerCut, 5),
    (Kind::PowerCutAll, 2),
    (Kind::PauseMachine, 3),
    (Kind::CutFromAll, 5),
    (Kind::CutFromNodes, 5),
    (Kind::CutFromEtcd, 4),
    (Kind::CutOutgoing, 3),
    (Kind::CutIncoming, 3),
    (Kind::CutPair, 4),
    (Kind::CutReplication, 3),
    (Kind::FlapLink, 3),
    (Kind::Swizzle, 2),
    (Kind::SlowLinks, 4),
    (Kind::LossyLinks, 4),
    (Kind::CutArp, 2),
    (Kind::EtcdMemberDown, 4),
    (Kind::EtcdTwoDown, 2),
    (Kind::EtcdFreeze, 4),
    (Kind::EtcdLosesLeader, 5),
    (Kind::EtcdSlow, 3),
    (Kind::EtcdWatchStalls, 4),
    (Kind::EtcdWatchCancelled, 3),
    (Kind::EtcdCompacts, 2),
    (Kind::EtcdFull, 1),
    (Kind::EtcdAuth, 2),
    (Kind::DiskFull, 2),
    (Kind::DiskFails, 2),
    (Kind::DiskSlow, 3),
    (Kind::LoseData, 2),
    (Kind::LoseWal, 2),
    (Kind::SearchDown, 2),
    (Kind::WallClock, 1),
    (Kind::Promote, 5),
    (Kind::Demote, 4),
    (Kind::SwitchNode, 2),
    (Kind::SwitchCluster, 2),
];

/// Faults that belong together (`scenes.rs`); drawn by swarms and classes only.
pub(crate) const SCENES: &[(Kind, u32)] = &[
    (Kind::LoseProcesses, 2),
    (Kind::ChaseProcesses, 2),
    (Kind::ChaseEtcdCut, 1),
    (Kind::ChaseVoters, 2),
    (Kind::LagOne, 2),
    (Kind::StallOne, 2),
    (Kind::OneVoterLeft, 2),
    (Kind::CrashAlone, 1),
    (Kind::Reacquire, 1),
    (Kind::LateAnswers, 1),
    (Kind::LateAnswersThenCut, 1),
    (Kind::LateAnswersThenFreeze, 1),
    (Kind::LateRequests, 2),
    (Kind::KillThenCut, 1),
    (Kind::RefreshLate, 1),
    (Kind::StuckBackend, 1),
    (Kind::SlowReload, 2),
    (Kind::DeleteLeaderKey, 1),
    (Kind::PanicLoop, 1),
    (Kind::OffWithBest, 1),
    (Kind::LongerOldLine, 1),
    (Kind::LateVoters, 1),
    (Kind::OldPrimaryLives, 2),
    (Kind::FreezeThenLose, 1),
    (Kind::ChaseVotersFrozen, 1),
    (Kind::ReturnSlowly, 1),
    (Kind::SwitchAtClaim, 1),
    (Kind::HeldVoters, 1),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillDaemon => "kill-daemon",
            Self::KillDaemonForLong => "kill-daemon-for-long",
            Self::FreezeDaemon => "freeze-daemon",
            Self::StepKill => "step-kill",
            Self::StepFreeze => "step-freeze",
            Self::RestartDaemon => "restart-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::KillHeart => "kill-heart",
            Self::FreezeHeart => "freeze-heart",
            Self::FreezeHeartAtRefresh => "freeze-heart-at-refresh",
            Self::FreezeBoth => "freeze-daemon-and-heart",
            Self::KillPostmaster => "kill-postmaster",
            Self::KillPostgres => "kill-postgres",
            Self::FreezePostgres => "freeze-postgres",
            Self::FreezeWalsenders => "freeze-walsenders",
            Self::PauseReplay => "pause-replay",
            Self::RefuseStart => "refuse-start",
            Self::SlowPromotion => "slow-promotion",
            Self::NeverPromotes => "never-promotes",
            Self::SlowRecovery => "slow-recovery",
            Self::PowerCut => "power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::PauseMachine => "pause-machine",
            Self::CutFromAll => "cut-from-all",
            Self::CutFromNodes => "cut-from-nodes",
            Self::CutFromEtcd => "cut-from-etcd",
            Self::CutOutgoing => "cut-outgoing",
            Self::CutIncoming => "cut-incoming",
            Self::CutPair => "cut-pair",
            Self::CutReplication => "cut-replication",
            Self::FlapLink => "flap-link",
            Self::Swizzle => "swizzle",
            Self::SlowLinks => "slow-links",
            Self::LossyLinks => "lossy-links",
            Self::CutArp => "cut-arp",
            Self::EtcdMemberDown => "etcd-member-down",
            Self::EtcdTwoDown => "etcd-two-down",
            Self::EtcdFreeze => "etcd-freeze",
            Self::EtcdLosesLeader => "etcd-loses-leader",
            Self::EtcdSlow => "etcd-slow",
            Self::EtcdWatchStalls => "etcd-watch-stalls",
            Self::EtcdWatchCancelled => "etcd-watch-cancelled",
            Self::EtcdCompacts => "etcd-compacts",
            Self::EtcdFull => "etcd-full",
            Self::EtcdAuth => "etcd-auth",
            Self::DiskFull => "disk-full",
            Self::DiskFails => "disk-fails",
            Self::DiskSlow => "disk-slow",
            Self::LoseData => "lose-data",
            Self::LoseWal => "lose-wal",
            Self::SearchDown => "search-down",
            Self::WallClock => "wall-clock-step",
            Self::Promote => "operator-promotes",
            Self::Demote => "operator-demotes",
            Self::SwitchNode => "operator-switches-node",
            Self::SwitchCluster => "operator-switches-cluster",
            Self::LoseProcesses => "lose-processes",
            Self::ChaseProcesses => "chase-processes",
            Self::ChaseEtcdCut => "chase-etcd-cut",
            Self::ChaseVoters => "chase-voters",
            Self::LagOne => "lag-one",
            Self::StallOne => "stall-one",
            Self::OneVoterLeft => "one-voter-left",
            Self::CrashAlone => "crash-alone",
            Self::Reacquire => "reacquire",
            Self::LateAnswers => "late-answers",
            Self::LateAnswersThenCut => "late-answers-then-cut",
            Self::LateAnswersThenFreeze => "late-answers-then-freeze",
            Self::LateRequests => "late-requests",
            Self::KillThenCut => "kill-then-cut",
            Self::RefreshLate => "refresh-late",
            Self::StuckBackend => "stuck-backend",
            Self::SlowReload => "slow-reload",
            Self::DeleteLeaderKey => "delete-leader-key",
            Self::EtcdRestored => "etcd-restored",
            Self::PanicLoop => "panic-loop",
            Self::OffWithBest => "off-with-best",
            Self::LongerOldLine => "longer-old-line",
            Self::LateVoters => "late-voters",
            Self::OldPrimaryLives => "old-primary-lives",
            Self::FreezeThenLose => "freeze-then-lose",
            Self::ChaseVotersFrozen => "chase-voters-frozen",
            Self::ReturnSlowly => "return-slowly",
            Self::SwitchAtClaim => "switch-at-claim",
            Self::HeldVoters => "held-voters",
        }
    }
}

/// Applies a fault to a node for so long.
pub(crate) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    match kind {
        Kind::KillDaemon => w.kill_daemon(id, "fault"),
        Kind::KillDaemonForLong => {
            w.nodes[id].daemon.wanted = false;
            w.kill_daemon(id, "fault, for long");
            w.undo(lasts, Scope::Process, id, move |w| w.start_daemon(id));
        }
        Kind::FreezeDaemon => {
            w.freeze_daemon(id);
            w.undo(lasts, Scope::Process, id, move |w| w.thaw_daemon(id));
        }
        Kind::StepKill => {
            let calls = w.rng.between(1, 60);
            w.nodes[id].daemon.stop_point = Some((calls, StopPoint::Kill));
        }
        Kind::StepFreeze => {
            let calls = w.rng.between(1, 60);
            w.nodes[id].daemon.stop_point = Some((calls, StopPoint::FreezeFor(lasts)));
        }
        Kind::RestartDaemon => w.stop_daemon(id, true, true),
        Kind::StopDaemon => {
            w.stop_daemon(id, false, false);
            w.undo(lasts, Scope::Process, id, move |w| w.start_daemon(id));
        }
        Kind::KillHeart => w.heart_dies(id, true),
        Kind::FreezeHeart => {
            w.freeze_heart(id);
            w.undo(lasts, Scope::Process, id, move |w| w.thaw_heart(id));
        }
        Kind::FreezeHeartAtRefresh => w.nodes[id].heart.stop_at_refresh = Some(lasts),
        Kind::FreezeBoth => {
            w.freeze_daemon(id);
            w.freeze_heart(id);
            w.undo(lasts, Scope::Process, id, move |w| {
                w.thaw_heart(id);
                w.thaw_daemon(id);
            });
        }
        Kind::KillPostmaster => w.kill_postmaster(id),
        Kind::KillPostgres => w.postgres_crashes(id),
        _ if SCENES.iter().any(|(scene, _)| *scene == kind) || kind == Kind::EtcdRestored => {
            super::scenes::apply(w, kind, id, lasts)
        }
        _ => super::more::apply(w, kind, id, lasts),
    }
}

/// Faults of PostgreSQL, disks and machines.
pub(super) fn postgres(w: &mut World, kind: Kind, id: usize, lasts: Time) -> bool {
    match kind {
        Kind::FreezePostgres => {
            if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                server.frozen = true;
                let pid = server.pid;
                w.undo(lasts, Scope::Process, id, move |w| {
                    if let Some(server) = w.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) {
                        server.frozen = false;
                        w.truth.writer_changed = true;
                    }
                });
            }
        }
        Kind::FreezeWalsenders => {
            if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                server.senders.iter_mut().for_each(|sender| sender.frozen = true);
                w.undo(lasts, Scope::Process, id, move |w| {
                    if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                        server.senders.iter_mut().for_each(|sender| {
                            sender.frozen = false;
                            sender.in_flight = false;
                        });
                    }
                });
            }
        }
        Kind::PauseReplay => {
            if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                server.paused = true;
            }
        }
        Kind::RefuseStart => {
            w.nodes[id].postgres.start_refused = true;
            w.postgres_crashes(id);
            w.undo(lasts, Scope::Process, id, move |w| w.nodes[id].postgres.start_refused = false);
        }
        Kind::SlowPromotion | Kind::NeverPromotes => {
            let time = if kind == Kind::SlowPromotion { w.millis(2000, 12_000) } else { 1000 * SEC };
            w.nodes[id].postgres.slow_promotion = Some(time);
            w.undo(lasts + 20 * SEC, Scope::Process, id, move |w| w.nodes[id].postgres.slow_promotion = None);
        }
        Kind::SlowRecovery => {
            w.nodes[id].postgres.slow_recovery = w.millis(1000, 15_000);
            w.undo(lasts + 10 * SEC, Scope::Process, id, move |w| w.nodes[id].postgres.slow_recovery = 0);
        }
        Kind::DiskFull | Kind::DiskFails | Kind::DiskSlow => {
            w.nodes[id].disk = match kind {
                Kind::DiskFull => Disk::Full,
                Kind::DiskFails => Disk::Failing,
                _ => Disk::Slow(w.millis(50, 1500)),
            };
            w.undo(lasts, Scope::Disk, id, move |w| w.nodes[id].disk = Disk::Fine);
        }
        Kind::LoseData => super::more::lose_data(w, id),
        Kind::LoseWal => {
            if let Some(data) = w.nodes[id].postgres.data.as_mut() {
                data.removed_before = data.end();
                data.slots
                    .values_mut()
                    .filter(|slot| slot.restart < Lsn(data.removed_before))
                    .for_each(|slot| slot.lost = true);
            }
        }
        _ => return false,
    }
    true
}

/// A pause of one unit.
pub(super) const STEP: Time = 100 * MS;
