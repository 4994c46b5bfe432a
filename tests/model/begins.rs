//! Beginnings for [`super::script`]: what many runs begin with, as the explorer itself has found it.

use super::look::Age::{self, Bidding, Fresh, Open};
use super::moves::Move::{
    BackedUp, Commits, Cut, DaemonStarts, DiskLost, Fenced, Healed, Keep, KeyDeleted, LateCommit, Look, PowerBack,
    PowerLost, Promoted, Renew, Restored, Stopped, ToldToStop,
};
use super::script::Go;

const fn look(node: u8, age: Age, word: &'static str) -> Go {
    Go(Look { node, age }, word)
}

const N2_LETS_GO: Go = look(1, Bidding, "");
const N2_BIDS: Go = look(1, Bidding, "bid");
const N3_LETS_GO: Go = look(2, Bidding, "");
const N3_BIDS: Go = look(2, Bidding, "bid");
const N2_CLAIMS: Go = look(1, Open, "claim");

/// The key is deleted, n2 and n3 bid for the absent key, n2 takes it.
pub(crate) const DELETED_ONCE: &[Go] = &[
    Go(KeyDeleted, ""),
    look(1, Fresh, ""),
    look(1, Fresh, "bid"),
    look(2, Fresh, ""),
    look(2, Fresh, "bid"),
    look(1, Fresh, "claim"),
    Go(Promoted(1), ""),
];

/// n1 is told to hand over before it is promoted; it resigns, and nobody knows whether that will commit.
pub(crate) const RESIGNS_LATE: &[Go] = &[Go(ToldToStop(0), ""), look(0, Fresh, ""), look(0, Fresh, "resign, given up")];

/// n2 comes back with an empty disk, and its daemon is killed as soon as the new copy runs.
pub(crate) const COPY_CUT: &[Go] = &[
    Go(PowerLost(1), ""),
    Go(DiskLost(1), ""),
    Go(PowerBack(1), ""),
    look(1, Fresh, ""),
    Go(Renew(0), ""),
    look(1, Fresh, "killed after start"),
    Go(DaemonStarts(1), ""),
];

/// n2 takes epoch 2.
pub(crate) const TAKEN_OVER: &[Go] = &[N2_LETS_GO, N2_BIDS, N3_LETS_GO, N3_BIDS, N2_CLAIMS];

/// n1, with a commit that nobody else has, is deposed and bids.
pub(crate) const UNREPLICATED: &[Go] = &[
    Go(Commits(0), ""),
    N2_LETS_GO,
    N2_BIDS,
    N3_LETS_GO,
    N3_BIDS,
    N2_CLAIMS,
    look(0, Fresh, ""),
    look(0, Fresh, "resign, refused"),
    look(0, Bidding, ""),
    look(0, Bidding, "bid"),
];

/// n1, with a commit that nobody else has, loses power and is back; n2 leads.
pub(crate) const DIVERGED: &[Go] = &[
    Go(Commits(0), ""),
    Go(PowerLost(0), ""),
    Go(PowerBack(0), ""),
    N2_LETS_GO,
    N2_BIDS,
    N3_LETS_GO,
    N3_BIDS,
    N2_CLAIMS,
    Go(Promoted(1), ""),
];

/// etcd is backed up before n2 takes epoch 2 and promotes it.
pub(crate) const BEFORE_THE_BACKUP: &[Go] =
    &[N2_LETS_GO, N2_BIDS, N3_LETS_GO, N3_BIDS, Go(BackedUp, ""), N2_CLAIMS, Go(Promoted(1), "")];

/// n3 is the only voter, n1 is fenced, and n3 takes its seat.
pub(crate) const FENCED: &[Go] = &[
    N2_LETS_GO,
    Go(Keep { node: 0, patient: true }, "names {n3}"),
    Go(Keep { node: 0, patient: false }, "voters {n3}"),
    Go(Fenced(0), ""),
    N3_LETS_GO,
    N3_BIDS,
    look(2, Open, "claim"),
];

/// n1 is fenced and leads again.
pub(crate) const LEADS_AGAIN: &[Go] =
    &[Go(Fenced(0), ""), look(0, Fresh, "resign"), look(0, Fresh, "bid"), look(0, Fresh, "claim"), Go(Promoted(0), "")];

/// n1 removes n2 from the voters, and nobody knows whether that will commit.
pub(crate) const REMOVED_LATE: &[Go] = &[
    N2_LETS_GO,
    Go(Keep { node: 0, patient: true }, "names {n3}"),
    Go(Keep { node: 0, patient: false }, "voters {n3}, given up"),
];

/// n2's claim is on its way; n1 has a commit that nobody else has.
pub(crate) const CLAIM_ON_ITS_WAY: &[Go] =
    &[Go(Commits(0), ""), N2_LETS_GO, N2_BIDS, N3_LETS_GO, N3_BIDS, look(1, Open, "on its way")];

/// n2 has bid, and its disk is emptied, the promise with it.
pub(crate) const PROMISE_LOST: &[Go] =
    &[Go(Commits(0), ""), N2_LETS_GO, N2_BIDS, Go(PowerLost(1), ""), Go(DiskLost(1), ""), Go(PowerBack(1), "")];

/// n2 bids as the only voter, and its claim is on its way; then etcd is restored to before n1 removed n3 from the voters. n1, which
/// does not know what became of that change, puts the record again: at the same revision.
pub(crate) const CLAIM_OUTLIVES_THE_STORE: &[Go] = &[
    Go(BackedUp, ""),
    Go(Cut(2), ""),
    Go(Keep { node: 0, patient: true }, "names {n2}"),
    Go(Keep { node: 0, patient: false }, "voters {n2}, given up"),
    Go(LateCommit(0), ""),
    N2_LETS_GO,
    N2_BIDS,
    look(1, Open, "on its way"),
    Go(Restored, ""),
    Go(Healed(2), ""),
    Go(Commits(0), ""),
];

/// n1, with a commit that nobody else has, resigns in order, and its disk is lost.
pub(crate) const RESIGNED_AND_LOST: &[Go] = &[
    Go(Commits(0), ""),
    Go(ToldToStop(0), ""),
    look(0, Fresh, ""),
    Go(Stopped(0), ""),
    look(0, Fresh, "resign"),
    Go(PowerLost(0), ""),
    Go(DiskLost(0), ""),
];

/// The same after it has bid.
pub(crate) const BID_AND_LOST: &[Go] = &[
    Go(Commits(0), ""),
    Go(ToldToStop(0), ""),
    look(0, Fresh, ""),
    Go(Stopped(0), ""),
    look(0, Fresh, "resign"),
    look(0, Fresh, "bid"),
    Go(PowerLost(0), ""),
    Go(DiskLost(0), ""),
];
