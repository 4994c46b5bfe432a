//! Which hold is being renewed, and which ones must never be again.

use super::renewing::{News, Renewing, Report, StopReply};
use super::{AbortOnDrop, EtcdSessionMessage, spawn};
use crate::actors::coordination::election::ElectionMessage;
use crate::actors::coordination::heart_link::HeartLinkMessage;
use crate::ports::{ArmedLease, Clock, CoordinationStore};
use leaderl_decision::model::{Nonce, Revision, Timestamp};
use leaderl_decision::records::Holder;
use leaderl_decision::renewal::Renewal;
use ractor::{ActorRef, RpcReplyPort};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use supervisors::ChildRef;
use tokio::sync::mpsc;

#[cfg(test)]
mod tests;

/// How many ended holds are remembered; the election repeats only its newest.
const REMEMBERED: usize = 16;

/// What renewing works with.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) store: Arc<dyn CoordinationStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) leader_key: String,
    pub(super) ttl: Duration,
    pub(super) election: ChildRef<ElectionMessage>,
    pub(super) heart_link: ChildRef<HeartLinkMessage>,
}

struct Hold {
    nonce: Nonce,
    stops: mpsc::UnboundedSender<StopReply>,
    _task: AbortOnDrop,
}

struct Ended {
    nonce: Nonce,
    revision: Revision,
    lost: bool,
}

/// The hold that is renewed now, and those that ended, newest last: a repeated order of one of them does not begin it again.
pub(super) struct Holds {
    parts: Parts,
    hold: Option<Hold>,
    ended: VecDeque<Ended>,
}

impl Holds {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, hold: None, ended: VecDeque::new() }
    }

    /// Whether a hold is being renewed.
    pub(super) fn renews(&self) -> bool {
        self.hold.is_some()
    }

    /// Renews this hold, unless it is renewed already or has ended. Another hold before it is over: its task ends.
    pub(super) fn begin(
        &mut self,
        me: &ActorRef<EtcdSessionMessage>,
        holder: Holder,
        revision: Revision,
        t0: Timestamp,
    ) {
        if self.hold.as_ref().is_some_and(|hold| hold.nonce == holder.nonce) {
            return;
        }
        if let Some(ended) = self.ended.iter().find(|ended| ended.nonce == holder.nonce) {
            if ended.lost {
                let _ = self.parts.election.cast(ElectionMessage::HoldLost { nonce: holder.nonce });
            }
            return;
        }
        let (stops, orders) = mpsc::unbounded_channel();
        let nonce = holder.nonce.clone();
        let report = reporter(&self.parts, me.clone(), &holder);
        let task = Renewing {
            store: self.parts.store.clone(),
            clock: self.parts.clock.clone(),
            leader_key: self.parts.leader_key.clone(),
            renewal: Renewal::new(holder, revision, t0, sender_mark(), self.parts.ttl),
            report,
            stops: orders,
        };
        self.hold = Some(Hold { nonce, stops, _task: spawn(me, "renewing", task.run()) });
    }

    /// Ends renewing this nonce for good; answered when nothing of it is in flight any more.
    pub(super) fn stop(&mut self, nonce: &Nonce, reply: RpcReplyPort<Revision>) {
        if let Some(hold) = self.hold.as_ref().filter(|hold| hold.nonce == *nonce) {
            let answer: StopReply = Box::new(move |revision| {
                let _ = reply.send(revision);
            });
            // Refused when the task has just ended: its report is in our mailbox, and the asker reads the key himself.
            if let Err(refused) = hold.stops.send(answer) {
                (refused.0)(Revision(0));
            }
            return;
        }
        let known = self.ended.iter().find(|ended| ended.nonce == *nonce).map(|ended| ended.revision);
        if known.is_none() {
            self.remember(Ended { nonce: nonce.clone(), revision: Revision(0), lost: false });
        }
        let _ = reply.send(known.unwrap_or_default());
    }

    /// Sends nothing further for whatever is held: the control state went back.
    pub(super) fn drop_all(&mut self) {
        self.hold = None;
    }

    /// The task of this nonce reported its end.
    pub(super) fn ended(&mut self, nonce: Nonce, revision: Revision, lost: bool) {
        if self.hold.as_ref().is_some_and(|hold| hold.nonce == nonce) {
            self.hold = None;
        }
        self.remember(Ended { nonce, revision, lost });
    }

    fn remember(&mut self, ended: Ended) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }
}

/// Where a renewal's news goes.
fn reporter(parts: &Parts, me: ActorRef<EtcdSessionMessage>, holder: &Holder) -> Report {
    let (nonce, epoch) = (holder.nonce.clone(), holder.epoch);
    let two_thirds = parts.ttl * 2 / 3;
    let (election, heart_link) = (parts.election.clone(), parts.heart_link.clone());
    Box::new(move |news| match news {
        News::Confirmed(confirmed) => {
            let (seq, t0, revision) = (confirmed.seq, confirmed.t0, confirmed.revision);
            let lease = ArmedLease { epoch, nonce: nonce.clone(), seq, t0, fence_at: t0.plus(two_thirds) };
            // Not running now: the next renewal, D/10 later, tells as much and more.
            let _ = heart_link.cast(HeartLinkMessage::Renewed(lease));
            let _ = election.cast(ElectionMessage::Renewed { nonce: nonce.clone(), seq, t0, revision });
        }
        News::Ended { revision, lost } => {
            if lost {
                let _ = election.cast(ElectionMessage::HoldLost { nonce: nonce.clone() });
            }
            let _ = me.cast(EtcdSessionMessage::RenewingEnded { nonce: nonce.clone(), revision, lost });
        }
    })
}

/// Fresh for every renewing task: tells its commits from those of a predecessor.
fn sender_mark() -> String {
    let mut bytes = [0_u8; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        // Without randomness no commit may count as this task's own: `Renewal` trusts no empty mark, t0 stands still and the
        // node fences itself, which is the safe end of this.
        Err(_) => String::new(),
    }
}
