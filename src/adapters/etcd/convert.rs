//! Between the port's words and etcd-client's.

use crate::ports::{Compare, KeyValue, RangeAnswer, StoreMember, Txn, TxnAnswer, Write};
use etcd_client as etcd;
use leaderl_decision::model::Revision;

pub(super) fn key_value(kv: &etcd::KeyValue) -> KeyValue {
    KeyValue {
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        value: kv.value().to_vec(),
        mod_revision: Revision(kv.mod_revision()),
    }
}

pub(super) fn range(answer: &etcd::GetResponse) -> RangeAnswer {
    let (store_id, revision) = answer.header().map_or((0, 0), |header| (header.cluster_id(), header.revision()));
    RangeAnswer { store_id, revision: Revision(revision), entries: answer.kvs().iter().map(key_value).collect() }
}

pub(super) fn txn(txn: &Txn) -> etcd::Txn {
    let compare = |c: &Compare| etcd::Compare::mod_revision(c.key.as_str(), etcd::CompareOp::Equal, c.mod_revision.0);
    let write = |w: &Write| match w {
        Write::Put { key, value } => etcd::TxnOp::put(key.as_str(), value.as_slice(), None),
        Write::Delete { key } => etcd::TxnOp::delete(key.as_str(), None),
    };
    let read = |key: &String| etcd::TxnOp::get(key.as_str(), None);
    etcd::Txn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(txn.writes.iter().map(write).collect::<Vec<_>>())
        .or_else(txn.else_reads.iter().map(read).collect::<Vec<_>>())
}

pub(super) fn txn_answer(answer: &etcd::TxnResponse) -> TxnAnswer {
    let revision = Revision(answer.header().map_or(0, etcd::ResponseHeader::revision));
    if answer.succeeded() {
        return TxnAnswer::Committed { revision };
    }
    let mut reads = Vec::new();
    for response in answer.op_responses() {
        if let etcd::TxnOpResponse::Get(got) = response {
            reads.extend(got.kvs().iter().map(key_value));
        }
    }
    TxnAnswer::Refused { revision, reads }
}

pub(super) fn member(member: &etcd::Member) -> StoreMember {
    StoreMember {
        id: member.id(),
        name: member.name().to_owned(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        is_learner: member.is_learner(),
    }
}
