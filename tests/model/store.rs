//! etcd: one key space with a revision for every write, and transactions that compare mod_revisions.

use super::lens::{self, Lens};
use super::world::{Compares, Etcd, Rev, Seat, Txn, Writes, nodes};
use leaderl_decision::model::Revision;

/// What a decision compares, in small numbers. Failover switches never change here.
pub(crate) fn compares(lens: &Lens, wanted: &[(String, Revision)]) -> Compares {
    let mut compares = Compares::default();
    for (key, revision) in wanted {
        let rev = Some(lens::rev(*revision));
        if *key == lens.keys.leader() {
            compares.leader = rev;
        } else if *key == lens.keys.epoch() {
            compares.epoch = rev;
        } else if *key == lens.keys.voters() {
            compares.voters = rev;
        }
        for node in nodes().filter(|node| *key == lens.keys.bid(lens.id(*node))) {
            compares.bids[usize::from(node)] = rev;
        }
    }
    compares
}

/// Whether every compare holds.
pub(crate) fn may_commit(etcd: &Etcd, txn: &Txn) -> bool {
    let same = |wanted: Option<Rev>, rev: Rev| wanted.is_none_or(|wanted| wanted == rev);
    let bids = etcd.bids.iter().zip(txn.compares.bids).all(|(bid, wanted)| same(wanted, bid.map_or(0, |bid| bid.rev)));
    same(txn.compares.leader, etcd.leader_rev)
        && same(txn.compares.epoch, etcd.epoch_rev)
        && same(txn.compares.voters, etcd.voters_rev)
        && bids
}

/// Commits a transaction if its compares hold.
pub(crate) fn commit(etcd: &mut Etcd, txn: &Txn) -> bool {
    if !may_commit(etcd, txn) {
        return false;
    }
    etcd.newest += 1;
    let rev = etcd.newest;
    match txn.writes {
        Writes::Seat(seat) => {
            etcd.leader = seat;
            etcd.leader_rev = rev;
        }
        Writes::Bid(bid) => etcd.bids[usize::from(txn.by)] = Some(super::world::Bid { rev, ..bid }),
        Writes::Voters { voters, version } => {
            etcd.voters = voters;
            etcd.voters_version = version;
            etcd.voters_rev = rev;
        }
        Writes::Claim { nonce, epoch, taken_with, history, voters, version } => {
            etcd.leader = Seat::Holder { node: txn.by, nonce, epoch };
            etcd.epoch = epoch;
            etcd.epoch_node = txn.by;
            etcd.epoch_nonce = nonce;
            etcd.taken_with = taken_with;
            if history.is_some() {
                etcd.history[usize::from(epoch)] = history;
            }
            etcd.voters = voters;
            etcd.voters_version = version;
            (etcd.leader_rev, etcd.epoch_rev, etcd.voters_rev) = (rev, rev, rev);
        }
    }
    true
}

/// Deletes the leader key.
pub(crate) fn delete_leader(etcd: &mut Etcd) {
    etcd.newest += 1;
    etcd.leader = Seat::Absent;
    etcd.leader_rev = 0;
}
