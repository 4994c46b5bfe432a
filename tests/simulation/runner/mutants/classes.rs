//! In which class of runs each bug is looked for first, what is planted with it, and which bugs have no place in a simulation.

use crate::faults::mixes::CLASSES;
use leaderl_decision::planted::Planted::{self, *};

/// The class's number, as seeds count them.
pub(super) fn class_of(bug: Planted) -> u64 {
    let name = match bug {
        R1LastLeaderNoVoter | R6ClientsLetInEarly | R6RestartedInPlace | R9TimelineTwice | R10BidsWhileHolding
        | R13LsnAlone | OlderBidCounts | LesserBidCampaigns | SyncSetNotChecked | OneBidIsEnough
        | NamesAfterPromotion | PromoteBeforeHistory => "losses",
        DeadlineFromReply
        | RenewalTakenOnFaith
        | TakeoverByHoldersClock
        | PromoteUnarmed
        | VipBeforeWritable
        | ResignBeforeReaped
        | VipRefreshUnchecked
        | FenceLeavesBackends
        | TwoDaemons
        | PanicSkipsFence
        | VipKept
        | StaleLeaderAnswer
        | AbsentKeyIsVacancy
        | R8BidsOnAbsentKey
        | EpochIgnored => "lease",
        R3NamesUnproven
        | RemovedInEtcdFirst
        | AddedInPostgresFirst
        | DegradedInPostgresFirst
        | ReturnedInEtcdFirst
        | CatchUpNotAwaited
        | R12LastLeaderNoBid => "voters",
        R4PromiseForgotten | BidWithoutPromise => "untimed",
        R7VoterRebuilt | R7UnsyncedVotes | R15LostVoterStays | RewindWithoutMark | OldCopyDeleted => "rebuild",
        R7UnsyncedBids | R7TokenIgnored | FollowsOldEpoch | PositionBeforeReplay => "copies",
        R5DetachedOnSight | R7BidForgotten | ClaimIgnoresVoters | ClaimIgnoresBids => "adrift",
        R14NoCatchUp | ClaimIgnoresSwitches | SwitchOffIgnored => "switches",
        R11HoldAfterVacancy | CreateRevisionAsToken | VoterChangeIgnoresEpoch | VoterChangeIgnoresVoters => "late",
        WentBackIgnored => "restored",
        LagIgnored => "async",
        T0OfLaterAttempt | RelativeDeadline | LateRenewalRevives | R11AdoptsWithoutRenewal | R3PredecessorsLive => {
            "feeds"
        }
        R2NoOwnPut => "returns",
    };
    CLASSES.iter().position(|class| *class == name).map_or(0, |at| at as u64 + 1)
}

/// A second guard that masks the bug is switched off with it.
pub(super) fn together_with(bug: Planted) -> &'static [Planted] {
    match bug {
        // Every takeover writes `voters` too, so either comparison alone refuses a deposed leader's put.
        VoterChangeIgnoresEpoch => &[VoterChangeIgnoresVoters],
        _ => &[],
    }
}

/// Why no seed can find it.
pub(super) fn not_here(bug: Planted) -> Option<&'static str> {
    if bug == TwoDaemons {
        return Some("a node has one daemon; heart::guard's own tests see it");
    }
    if bug == EpochIgnored {
        return Some("a daemon's orders keep their order; VipActor's own tests see it");
    }
    if bug == ClaimIgnoresBids {
        return Some(
            "a bid cannot become untrue at its revision of `leader`, which the claim compares: its bidder has promised it. Only an \
             etcd restored within the lease of a leader that does not notice tells the difference; `tests/model` has that run",
        );
    }
    None
}
