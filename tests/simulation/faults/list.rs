//! The kinds of faults, their names, and how often each is drawn.

/// Declares the kinds: those that everything is drawn from, those that belong together, and those of a class alone.
macro_rules! kinds {
    (
        everything { $($one:ident $one_name:literal $one_weight:literal,)+ }
        scenes { $($scene:ident $scene_name:literal $scene_weight:literal,)+ }
        apart { $($apart:ident $apart_name:literal,)+ }
    ) => {
        /// A kind of fault. Durations are the plan's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($one,)+
            $($scene,)+
            $($apart,)+
        }

        /// All single faults, with how often each is drawn.
        pub(crate) const ALL: &[(Kind, u32)] = &[$((Kind::$one, $one_weight),)+];

        /// Faults that belong together (`scenes.rs`); drawn by swarms and classes only.
        pub(crate) const SCENES: &[(Kind, u32)] = &[$((Kind::$scene, $scene_weight),)+];

        impl Kind {
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$one => $one_name,)+
                    $(Self::$scene => $scene_name,)+
                    $(Self::$apart => $apart_name,)+
                }
            }
        }
    };
}

kinds! {
    everything {
        KillDaemon "kill-daemon" 5,
        KillDaemonForLong "kill-daemon-for-long" 3,
        FreezeDaemon "freeze-daemon" 5,
        StepKill "step-kill" 6,
        StepFreeze "step-freeze" 5,
        RestartDaemon "restart-daemon" 3,
        StopDaemon "stop-daemon" 3,
        KillHeart "kill-heart" 4,
        FreezeHeart "freeze-heart" 4,
        FreezeHeartAtRefresh "freeze-heart-at-refresh" 3,
        FreezeBoth "freeze-daemon-and-heart" 2,
        KillPostmaster "kill-postmaster" 4,
        KillPostgres "kill-postgres" 4,
        FreezePostgres "freeze-postgres" 3,
        FreezeWalsenders "freeze-walsenders" 3,
        PauseReplay "pause-replay" 2,
        RefuseStart "refuse-start" 2,
        SlowPromotion "slow-promotion" 2,
        NeverPromotes "never-promotes" 1,
        SlowRecovery "slow-recovery" 2,
        PowerCut "power-cut" 5,
        PowerCutAll "power-cut-all" 2,
        PauseMachine "pause-machine" 3,
        CutFromAll "cut-from-all" 5,
        CutFromNodes "cut-from-nodes" 5,
        CutFromEtcd "cut-from-etcd" 4,
        CutOutgoing "cut-outgoing" 3,
        CutIncoming "cut-incoming" 3,
        CutPair "cut-pair" 4,
        CutReplication "cut-replication" 3,
        FlapLink "flap-link" 3,
        Swizzle "swizzle" 2,
        SlowLinks "slow-links" 4,
        LossyLinks "lossy-links" 4,
        CutArp "cut-arp" 2,
        EtcdMemberDown "etcd-member-down" 4,
        EtcdTwoDown "etcd-two-down" 2,
        EtcdFreeze "etcd-freeze" 4,
        EtcdLosesLeader "etcd-loses-leader" 5,
        EtcdSlow "etcd-slow" 3,
        EtcdWatchStalls "etcd-watch-stalls" 4,
        EtcdWatchCancelled "etcd-watch-cancelled" 3,
        EtcdCompacts "etcd-compacts" 2,
        EtcdFull "etcd-full" 1,
        EtcdAuth "etcd-auth" 2,
        DiskFull "disk-full" 2,
        DiskFails "disk-fails" 2,
        DiskSlow "disk-slow" 3,
        LoseData "lose-data" 2,
        LoseWal "lose-wal" 2,
        SearchDown "search-down" 2,
        WallClock "wall-clock-step" 1,
        Promote "operator-promotes" 5,
        Demote "operator-demotes" 4,
        SwitchNode "operator-switches-node" 2,
        SwitchCluster "operator-switches-cluster" 2,
        ReplaceNode "operator-replaces-node" 2,
    }
    scenes {
        LoseProcesses "lose-processes" 2,
        ChaseProcesses "chase-processes" 2,
        ChaseEtcdCut "chase-etcd-cut" 1,
        ChaseVoters "chase-voters" 2,
        LagOne "lag-one" 2,
        StallOne "stall-one" 2,
        OneVoterLeft "one-voter-left" 2,
        CrashAlone "crash-alone" 1,
        Reacquire "reacquire" 1,
        LateAnswers "late-answers" 1,
        LateAnswersThenCut "late-answers-then-cut" 1,
        LateAnswersThenFreeze "late-answers-then-freeze" 1,
        LateRequests "late-requests" 2,
        KillThenCut "kill-then-cut" 1,
        RefreshLate "refresh-late" 1,
        StuckBackend "stuck-backend" 1,
        SlowReload "slow-reload" 2,
        DeleteLeaderKey "delete-leader-key" 1,
        PanicLoop "panic-loop" 1,
        OffWithBest "off-with-best" 1,
        LongerOldLine "longer-old-line" 1,
        LateVoters "late-voters" 1,
        OldPrimaryLives "old-primary-lives" 2,
        FreezeThenLose "freeze-then-lose" 1,
        ChaseVotersFrozen "chase-voters-frozen" 1,
        ReturnSlowly "return-slowly" 1,
        SwitchAtClaim "switch-at-claim" 1,
        HeldVoters "held-voters" 1,
        ResignThenLose "resign-then-lose" 1,
    }
    apart {
        FeedLate "feed-late",
        AnswersLost "answers-lost",
        ReturnHeld "return-held",
        EtcdRestored "etcd-restored",
        SleepsThrough "sleeps-through",
        RebuiltThenLost "rebuilt-then-lost",
        HolderGone "holder-gone",
        OldCopyBack "old-copy-put-back",
        ReplayLags "replay-lags",
        ReconnectsLate "reconnects-late",
        StreamBlinks "stream-blinks",
        PromiseLost "promise-lost",
        StateLost "state-lost",
        VotersDuringClaim "voters-during-claim",
    }
}
