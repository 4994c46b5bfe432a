//! What heart says, as far as the election cares.

use super::{Command, Facts};
use crate::model::{Epoch, Nonce, Timestamp};

/// heart, as far as the election cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartFacts {
    /// The armed epoch, its nonce and deadline.
    pub armed: Option<(Epoch, Nonce, Timestamp)>,
    /// The newest epoch that heart has fenced.
    pub fenced: Option<Epoch>,
    /// Every process of PostgreSQL is reaped.
    pub postgres_gone: bool,
    /// heart keeps a VIP alive.
    pub vip_held: bool,
    /// The port gate.
    pub gate: GateFacts,
}

/// The port gate, as far as the election cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateFacts {
    /// Why heart cannot keep it; `None`: it is kept, or there shall be none.
    pub failure: Option<String>,
    /// Clients pass under this epoch.
    pub open_for: Option<Epoch>,
    /// The newest epoch that it never opens for again.
    pub closed_for: Option<Epoch>,
    /// The newest epoch under which surely no client's packet passes any more.
    pub shut_for: Option<Epoch>,
}

impl Facts<'_> {
    /// Whether heart should have fenced this epoch by D/30 ago and says nothing of it: it stands still.
    pub(super) fn heart_missed_its_deadline(&self, epoch: Epoch) -> bool {
        self.heart_overslept() == Some(epoch)
    }

    /// The epoch that heart should have fenced by D/30 ago, if it says nothing of that.
    pub(super) fn heart_overslept(&self) -> Option<Epoch> {
        let heart = self.heart?;
        let (epoch, _, deadline) = heart.armed.as_ref()?;
        let overdue_at = self.timing.overdue_at(*epoch, *deadline, heart.fenced)?;
        (self.now >= overdue_at).then_some(*epoch)
    }

    /// For a node that holds nothing: a primary that a daemon before this one left to a heart that stands still ends only with it.
    pub(super) fn end_what_heart_does_not(&self) -> Option<Command> {
        self.heart_overslept().map(|_| Command::KillHeart)
    }

    /// Whether heart lets clients in under this epoch.
    pub fn is_gate_open(&self, epoch: Epoch) -> bool {
        self.heart.is_some_and(|heart| heart.gate.open_for == Some(epoch))
    }

    /// Whether no answer of this epoch can reach a client any more, as far as the gate can see to that.
    pub fn is_gate_shut(&self, epoch: Epoch) -> bool {
        self.heart.is_some_and(|heart| {
            let armed = heart.armed.as_ref().is_some_and(|(armed, _, _)| *armed == epoch);
            !armed || heart.gate.shut_for == Some(epoch) || heart.gate.failure.is_some()
        })
    }
}
