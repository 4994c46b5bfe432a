//! What events and commands are called in a flight recorder and in transcripts.

use super::{Command, Event};

impl Event {
    /// In one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::LeaderRead(_) => "leader-read",
            Self::EffectEnded => "effect-ended",
            Self::ClaimWon { .. } => "claim-won",
            Self::ClaimLost { .. } => "claim-lost",
            Self::Renewed { .. } => "renewed",
            Self::HoldLost { .. } => "hold-lost",
            Self::HeartSilent => "heart-silent",
            Self::CheckpointEnded => "checkpoint-ended",
            Self::VipGone => "vip-gone",
            Self::VacancySent => "vacancy-sent",
            Self::StopForGood => "stop-for-good",
        }
    }
}

impl Command {
    /// In one word; a line of the journal has its code.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadLeader => "read-leader",
            Self::CreateVacancy(_) => "create-vacancy",
            Self::PutBid(_) => "put-bid",
            Self::Claim(_) => "claim",
            Self::Adopt { .. } => "adopt",
            Self::Arm { .. } => "arm",
            Self::Renew { .. } => "renew",
            Self::OrderPostgres(_) => "order-postgres",
            Self::Checkpoint => "checkpoint",
            Self::AssignVip { .. } => "assign-vip",
            Self::ReleaseVip => "release-vip",
            Self::KeepVoters { .. } => "keep-voters",
            Self::RestVoters => "rest-voters",
            Self::SendVacancy { .. } => "send-vacancy",
            Self::StopRenewing { .. } => "stop-renewing",
            Self::KillHeart => "kill-heart",
            Self::Disarm { .. } => "disarm",
            Self::UpdateRequest { .. } => "update-request",
            Self::Record { code, .. } => code,
        }
    }
}
