//! The transactions a daemon sends, and what it learns of them.

use super::lens;
use super::look::Look;
use super::store;
use super::world::{Bid, Compares, History, Seat, Token, Txn, Writes};
use leaderl_decision::election::{ClaimTxn, Event, Hold};
use leaderl_decision::model::Nonce;
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::records::{BidRecord, Holder, LeaderValue};

/// What a sender knows of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is committed.
    Committed,
    /// It surely is not.
    Refused,
    /// It may commit at any time.
    Late,
}

impl Look<'_> {
    /// Sends a transaction. `waits`: the sender may wait for its outcome and do nothing else meanwhile.
    pub(crate) fn send(&mut self, compares: Compares, writes: Writes, waits: bool, said: String) -> Sent {
        self.wrote = true;
        let mut txn = Txn { by: self.input.me, awaited: false, compares, writes };
        let may_be_late = self.input.may_be_late && store::may_commit(&self.out.etcd, &txn);
        let late = if may_be_late { self.choices.pick(if waits { 3 } else { 2 }) } else { 0 };
        if late > 0 {
            txn.awaited = late == 2;
            self.out.said.push(format!("{said}, {}", if txn.awaited { "on its way" } else { "given up" }));
            self.out.late = Some(txn);
            return Sent::Late;
        }
        let committed = store::commit(&mut self.out.etcd, &txn);
        self.out.said.push(if committed { said } else { format!("{said}, refused") });
        self.see();
        if committed { Sent::Committed } else { Sent::Refused }
    }

    pub(crate) fn put_bid(&mut self, bid: &BidRecord) {
        let compares = Compares { leader: Some(lens::rev(bid.revision)), ..Compares::default() };
        let small = Bid {
            for_rev: lens::rev(bid.revision),
            at: lens::pos(bid.position),
            token: bid.token.as_ref().map(lens::small_token),
            ineligible: !bid.ineligible.is_empty(),
            rev: 0,
        };
        self.send(compares, Writes::Bid(small), false, format!("bid({})", bid.position.lsn.0));
    }

    pub(crate) fn claim(&mut self, claim: &ClaimTxn) -> Event {
        let compares = store::compares(self.lens, &claim.compares(&self.lens.keys));
        let history = claim.recorded_history().map(|record| History {
            timeline: lens::small(record.timeline.0.into()),
            parent: lens::small(record.parent_timeline.0.into()),
            fork: lens::small(record.fork_lsn.0),
            node: self.lens.node(&record.node),
        });
        let nonce = claim.holder.nonce.clone();
        let voters = self.lens.mask_of(&claim.voters.voters);
        let said = format!("claim({}, voters {})", claim.epoch.epoch, super::story::names(voters));
        let taken_with = Some(claim.epoch.taken_with.as_ref().map_or_else(|| self.mark_copy(), lens::small_token));
        let writes = Writes::Claim {
            nonce: self.input.fresh_nonce,
            epoch: lens::small(claim.epoch.epoch.0),
            taken_with,
            history,
            voters,
            version: if self.input.may_be_restored { lens::small(claim.voters.version) } else { 0 },
        };
        let sent = self.send(compares, writes, true, said);
        self.out.claimed = sent == Sent::Committed;
        self.outcome(sent, nonce)
    }

    /// A copy gets its mark with the promise before its bid. Nothing tells marks apart until an epoch is taken with one, so here
    /// it gets it only then.
    fn mark_copy(&mut self) -> Token {
        let mark = Token { epoch: 0, nonce: self.input.fresh_nonce };
        self.out.machine.postgres.token = Some(mark);
        mark
    }

    pub(crate) fn outcome(&self, sent: Sent, nonce: Nonce) -> Event {
        match sent {
            Sent::Committed => Event::ClaimWon { nonce, revision: lens::revision(self.out.etcd.leader_rev) },
            // Waiting is all that a claiming election does.
            Sent::Late if self.out.late.is_some_and(|txn| txn.awaited) => Event::Look,
            Sent::Late | Sent::Refused => Event::ClaimLost { nonce },
        }
    }

    pub(crate) fn adopt(&mut self, holder: Holder, revision: u8) -> Event {
        let nonce = holder.nonce.clone();
        let compares = Compares { leader: Some(revision), ..Compares::default() };
        let writes = Writes::Seat(self.lens.seat(&LeaderValue::Holder(holder)));
        let sent = self.send(compares, writes, true, "adopt".to_owned());
        self.outcome(sent, nonce)
    }

    /// A refused vacancy is sent again from where our own renewal has moved the key.
    pub(crate) fn resign(&mut self, hold: &Hold, vacancy: LeaderValue) {
        let own = match self.out.etcd.leader {
            Seat::Holder { node, nonce, .. } => node == self.input.me && lens::nonce(nonce) == hold.nonce,
            Seat::Absent | Seat::Vacancy { .. } => false,
        };
        let compared = if own { self.out.etcd.leader_rev } else { lens::rev(hold.revision) };
        let leader = (!planted(Planted::CreateRevisionAsToken)).then_some(compared);
        let writes = Writes::Seat(self.lens.seat(&vacancy));
        self.send(Compares { leader, ..Compares::default() }, writes, false, "resign".to_owned());
    }
}
