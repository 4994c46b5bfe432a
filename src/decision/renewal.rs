//! Renewing the leader key: which seq is sent, which t0 belongs to it, and when the hold is surely gone.
//!
//! A renewal is a transaction "the leader key's mod_revision is the one I know: put the same holder with seq + 1". Its answer
//! may be lost, a copy may arrive late, and a predecessor task of the same daemon may still have one under way. Rules:
//!
//! - **t0 of a seq is the clock before its first sending**, kept through every retry. Others count D from their receipt of a
//!   commit, which cannot be earlier than that; any later instant would let us live longer than they wait.
//! - Every task writes its own `sender` mark beside the nonce. A commit with our nonce and a foreign mark (a predecessor's late
//!   transaction) gives us its revision but not a t0: the old t0 stays, which errs on the safe side.
//! - An answer that does not prove a commit proves nothing: read, and let nonce, seq and mark decide.

use crate::model::{Nonce, Revision, Timestamp};
use crate::planted::{Planted, planted};
use crate::records::{Holder, LeaderValue};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The newest renewal that is known to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Its seq.
    pub seq: u64,
    /// The leader key's mod_revision.
    pub revision: Revision,
    /// The clock before the first sending of the seq, or an earlier instant.
    pub t0: Timestamp,
}

/// One sending: put `value` if the leader key's mod_revision is `compare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The seq in `value`.
    pub seq: u64,
    /// Expected mod_revision of the leader key.
    pub compare: Revision,
    /// The new value, JSON.
    pub value: Vec<u8>,
}

/// What became of one sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed at this revision.
    Committed(Revision),
    /// Nothing was sent.
    NotSent,
    /// A compare failed (perhaps because another copy was first), or nobody knows.
    Unclear,
}

/// What the leader key holds, seen from one renewing task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHolds {
    /// Our nonce.
    Ours {
        /// The seq.
        seq: u64,
        /// Written by this very task.
        by_me: bool,
        /// The key's mod_revision.
        revision: Revision,
    },
    /// Another holder, a vacancy, nothing, or something unreadable.
    Foreign,
}

/// What the caller does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new; go on by [`Renewal::due_at`].
    Wait,
    /// Read the leader key (linearizable) and report it by [`Renewal::read`].
    Read,
    /// A newer renewal is committed.
    Confirmed(Confirmed),
    /// The key is not ours any more; send nothing further.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    seq: u64,
    t0: Timestamp,
}

/// The bookkeeping of one hold by one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    holder: Holder,
    sender: String,
    every: Duration,
    retry_after: Duration,
    confirmed: Confirmed,
    pending: Option<Pending>,
    last_sent: Timestamp,
    hurry: bool,
    lost: bool,
}

/// Two sendings are never closer than this, whatever the errors.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

impl Renewal {
    /// Takes over a hold whose newest committed renewal is `holder.seq` at `revision`, first sent at `t0`.
    ///
    /// `sender` must be fresh for every task. `ttl` is D: a renewal starts each D/10 after the last sending, and an unanswered
    /// one is sent again after D/20 (between 100 and 500 ms).
    pub fn new(holder: Holder, revision: Revision, t0: Timestamp, sender: String, ttl: Duration) -> Self {
        let confirmed = Confirmed { seq: holder.seq, revision, t0 };
        let retry_after = (ttl / 20).clamp(Duration::from_millis(100), Duration::from_millis(500));
        Self {
            holder,
            sender,
            every: ttl / 10,
            retry_after,
            confirmed,
            pending: None,
            last_sent: t0,
            hurry: false,
            lost: false,
        }
    }

    /// The hold's nonce.
    pub fn nonce(&self) -> &Nonce {
        &self.holder.nonce
    }

    /// The newest renewal known to be committed.
    pub fn confirmed(&self) -> Confirmed {
        self.confirmed
    }

    /// Whether a sent renewal's fate is not known.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// How long one sending may wait for its answer: newer ones start meanwhile.
    pub fn attempt_limit(&self) -> Duration {
        self.retry_after * 4
    }

    /// When to call [`Self::send`] next.
    pub fn due_at(&self) -> Timestamp {
        let pause = match (self.pending, self.hurry) {
            (None, false) => self.every,
            (None | Some(_), true) => SHORTEST_PAUSE,
            (Some(_), false) => self.retry_after,
        };
        self.last_sent.plus(pause)
    }

    /// The next sending. `now` must be read before anything is sent; `None` when the hold is lost.
    pub fn send(&mut self, now: Timestamp) -> Option<Attempt> {
        if self.lost {
            return None;
        }
        if planted(Planted::T0OfLaterAttempt) {
            self.pending = None;
        }
        let pending = *self.pending.get_or_insert(Pending { seq: self.confirmed.seq + 1, t0: now });
        self.last_sent = now;
        self.hurry = false;
        let holder = Holder { seq: pending.seq, ..self.holder.clone() };
        Some(Attempt {
            seq: pending.seq,
            compare: self.confirmed.revision,
            value: encode(holder, &self.sender, pending.t0),
        })
    }

    /// A sending of `seq` was answered or given up.
    pub fn answered(&mut self, seq: u64, outcome: Outcome) -> Verdict {
        let Some(pending) = self.pending.filter(|pending| pending.seq == seq && !self.lost) else {
            return Verdict::Wait;
        };
        match outcome {
            Outcome::Committed(revision) => self.confirm(pending, revision),
            Outcome::NotSent => {
                self.hurry = true;
                Verdict::Wait
            }
            Outcome::Unclear if planted(Planted::RenewalTakenOnFaith) => self.confirm(pending, self.confirmed.revision),
            Outcome::Unclear => Verdict::Read,
        }
    }

    /// A linearizable read, begun after this hold began, showed this.
    pub fn read(&mut self, seen: &KeyHolds) -> Verdict {
        if self.lost {
            return Verdict::Wait;
        }
        let KeyHolds::Ours { seq, by_me, revision } = *seen else {
            self.lost = true;
            return Verdict::Lost;
        };
        match self.pending {
            Some(pending) if by_me && seq == pending.seq => return self.confirm(pending, revision),
            Some(_) | None => {}
        }
        if revision > self.confirmed.revision {
            // A predecessor's late commit: its revision is what the next compare needs; its t0 is not known to us.
            self.confirmed = Confirmed { seq: seq.max(self.confirmed.seq), revision, t0: self.confirmed.t0 };
            self.pending = None;
            self.hurry = true;
            return Verdict::Confirmed(self.confirmed);
        }
        // Not committed so far: the same seq again, with the t0 of its first sending.
        self.hurry = self.pending.is_some();
        Verdict::Wait
    }

    fn confirm(&mut self, pending: Pending, revision: Revision) -> Verdict {
        self.confirmed = Confirmed { seq: pending.seq, revision, t0: pending.t0 };
        self.pending = None;
        self.hurry = false;
        Verdict::Confirmed(self.confirmed)
    }

    /// What a read of the leader key means for this task.
    pub fn recognise(&self, value: Option<(&[u8], Revision)>) -> KeyHolds {
        let Some((bytes, revision)) = value else { return KeyHolds::Foreign };
        match serde_json::from_slice::<LeaderValue>(bytes) {
            Ok(LeaderValue::Holder(holder)) if holder.nonce == self.holder.nonce => {
                let by_me = !self.sender.is_empty() && sender_of(bytes).as_deref() == Some(&self.sender);
                KeyHolds::Ours { seq: holder.seq, by_me, revision }
            }
            Ok(LeaderValue::Holder(_) | LeaderValue::Vacancy(_)) | Err(_) => KeyHolds::Foreign,
        }
    }
}

/// The field that carries the sending task's mark; readers of the record ignore it.
const SENDER: &str = "sender";

fn encode(holder: Holder, sender: &str, t0: Timestamp) -> Vec<u8> {
    let mut value = serde_json::json!(LeaderValue::Holder(holder));
    value[SENDER] = serde_json::Value::from(sender);
    if planted(Planted::TakeoverByHoldersClock) {
        value[SENT_AT] = serde_json::Value::from(t0.0);
    }
    value.to_string().into_bytes()
}

/// Only with [`Planted::TakeoverByHoldersClock`]: the holder's own clock as it sent this.
const SENT_AT: &str = "t0";

/// From when D counts: the receipt, whatever the holder's clock says.
pub(crate) fn counts_from(bytes: &[u8], receipt: Timestamp) -> Timestamp {
    if !planted(Planted::TakeoverByHoldersClock) {
        return receipt;
    }
    let value = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
    value.get(SENT_AT).and_then(serde_json::Value::as_u64).map_or(receipt, Timestamp)
}

fn sender_of(bytes: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value.get(SENDER)?.as_str().map(str::to_owned)
}
