//! From the explored state's small numbers to the decisions' own words, and back.

use super::bounds::Bounds;
use super::world::{
    Bid, Down, EPOCHS, Election, Etcd, Hold, Mask, Node, Phase, Pos, Seat, Stage, Token, has, nodes, only,
};
use leaderl_decision::cluster::{ClusterView, Seen};
use leaderl_decision::election::{
    Claiming as RealClaiming, DownPhase, Hold as RealHold, Observing, Stage as RealStage, State, SteppingDown,
};
use leaderl_decision::model::{
    Epoch, Lsn, NodeId, Nonce, Position, Reason, ReplicationMode, Revision, Timeline, Timestamp,
};
use leaderl_decision::records::{
    BidRecord, EpochRecord, FailoverSwitch, HistoryRecord, Holder, Keys, LeaderValue, MemberRecord, NodeStatus, SCHEMA,
    Token as RealToken, Vacancy, VotersRecord,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// D of every run.
pub(crate) const TTL: Duration = Duration::from_secs(6);
/// The clock of every node before its timers are moved.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000_000_000);

/// What never changes in a run.
pub(crate) struct Lens {
    pub(crate) ids: Vec<NodeId>,
    pub(crate) keys: Keys,
    pub(crate) mode: ReplicationMode,
    /// Nodes whose failover switch is off.
    pub(crate) switched_off: Mask,
    /// heart keeps no door.
    pub(crate) doorless: bool,
    members: BTreeMap<NodeId, Seen<MemberRecord>>,
}

pub(crate) fn revision(rev: u8) -> Revision {
    Revision(i64::from(rev))
}

pub(crate) fn rev(revision: Revision) -> u8 {
    u8::try_from(revision.0).expect("revisions are renamed before they grow")
}

pub(crate) fn lsn(lsn: u8) -> Lsn {
    Lsn(u64::from(lsn))
}

pub(crate) fn small(number: u64) -> u8 {
    u8::try_from(number).expect("everything is small here")
}

pub(crate) fn epoch(number: u8) -> Epoch {
    Epoch(u64::from(number))
}

pub(crate) fn timeline(number: u8) -> Timeline {
    Timeline(u32::from(number))
}

pub(crate) fn nonce(number: u8) -> Nonce {
    Nonce(number.to_string())
}

pub(crate) fn number(nonce: &Nonce) -> u8 {
    nonce.0.parse().expect("nonces are numbers here")
}

pub(crate) fn position(pos: Pos) -> Position {
    Position { epoch: epoch(pos.epoch), lsn: lsn(pos.lsn), timeline: timeline(pos.timeline) }
}

pub(crate) fn pos(position: Position) -> Pos {
    Pos { epoch: small(position.epoch.0), lsn: small(position.lsn.0), timeline: small(position.timeline.0.into()) }
}

pub(crate) fn token(token: Token) -> RealToken {
    RealToken { epoch: epoch(token.epoch), nonce: nonce(token.nonce) }
}

pub(crate) fn small_token(token: &RealToken) -> Token {
    Token { epoch: small(token.epoch.0), nonce: number(&token.nonce) }
}

impl Lens {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let ids: Vec<NodeId> = nodes().map(|node| NodeId(format!("n{}", node + 1))).collect();
        let member = |id: &NodeId| MemberRecord {
            schema: SCHEMA,
            guid: id.clone(),
            name: id.0.clone(),
            address: id.0.clone(),
            version: String::new(),
            postgres_port: 5432,
            etcd_client_url: String::new(),
            etcd_peer_url: String::new(),
            search_ports: None,
        };
        let members = ids.iter().map(|id| (id.clone(), seen(member(id), 1))).collect();
        let Bounds { mode, switched_off, doorless, .. } = *bounds;
        Self { ids, keys: Keys::new("c"), mode, switched_off, doorless, members }
    }

    pub(crate) fn id(&self, node: Node) -> &NodeId {
        &self.ids[usize::from(node)]
    }

    pub(crate) fn node(&self, id: &NodeId) -> Node {
        self.ids.iter().position(|known| known == id).expect("only members are named") as Node
    }

    pub(crate) fn ids_of(&self, mask: Mask) -> BTreeSet<NodeId> {
        nodes().filter(|node| has(mask, *node)).map(|node| self.id(node).clone()).collect()
    }

    pub(crate) fn mask_of<'a>(&self, ids: impl IntoIterator<Item = &'a NodeId>) -> Mask {
        ids.into_iter().fold(0, |mask, id| mask | only(self.node(id)))
    }

    /// Every other member's record.
    pub(crate) fn others(&self, me: Node) -> BTreeMap<NodeId, MemberRecord> {
        let others = self.members.iter().filter(|(id, _)| **id != *self.id(me));
        others.map(|(id, seen)| (id.clone(), seen.record.clone())).collect()
    }

    /// What a node sees when its watch has caught up.
    pub(crate) fn view(&self, etcd: &Etcd) -> ClusterView {
        let mut view = ClusterView {
            store_id: 1,
            revision: revision(etcd.newest),
            heard_at: NOW,
            leader: self.leader(etcd).map(|value| seen(value, etcd.leader_rev)),
            members: self.members.clone(),
            ..ClusterView::default()
        };
        if etcd.epoch_rev != 0 {
            let record = EpochRecord {
                schema: SCHEMA,
                epoch: epoch(etcd.epoch),
                guid: self.id(etcd.epoch_node).clone(),
                nonce: nonce(etcd.epoch_nonce),
                taken_with: etcd.taken_with.map(token),
            };
            view.epoch = Some(seen(record, etcd.epoch_rev));
        }
        view.voters = Some(seen(self.voters(etcd), etcd.voters_rev));
        for number in 0..EPOCHS as u8 {
            if let Some(record) = self.history(etcd, number) {
                view.history.insert(record.epoch, record);
            }
        }
        for node in nodes() {
            let id = self.id(node);
            if let Some(bid) = etcd.bids[usize::from(node)] {
                view.bids.insert(id.clone(), seen(self.bid(node, bid), bid.rev));
            }
            view.nodes.insert(id.clone(), seen(self.status(etcd, node), 1));
            if has(self.switched_off, node) {
                let switch = FailoverSwitch { schema: SCHEMA, enabled: false, reason: String::new() };
                view.node_failover.insert(id.clone(), seen(switch, 1));
            }
        }
        view
    }

    fn leader(&self, etcd: &Etcd) -> Option<LeaderValue> {
        Some(match etcd.leader {
            Seat::Absent => return None,
            Seat::Holder { node, nonce: with, epoch: of } => LeaderValue::Holder(Holder {
                schema: SCHEMA,
                guid: self.id(node).clone(),
                boot_id: String::new(),
                nonce: nonce(with),
                epoch: epoch(of),
                seq: 1,
            }),
            Seat::Vacancy { left_by, epoch: of, end } => LeaderValue::Vacancy(Vacancy {
                schema: SCHEMA,
                left_by: left_by.map(|node| self.id(node).clone()),
                epoch: epoch(of),
                final_position: end.map(position),
                designated: None,
                cause: String::new(),
                nonce: nonce(0),
            }),
        })
    }

    /// What a seat's value is in small numbers.
    pub(crate) fn seat(&self, value: &LeaderValue) -> Seat {
        match value {
            LeaderValue::Holder(holder) => Seat::Holder {
                node: self.node(&holder.guid),
                nonce: number(&holder.nonce),
                epoch: small(holder.epoch.0),
            },
            LeaderValue::Vacancy(vacancy) => Seat::Vacancy {
                left_by: vacancy.left_by.as_ref().map(|id| self.node(id)),
                epoch: small(vacancy.epoch.0),
                end: vacancy.final_position.map(pos),
            },
        }
    }

    fn voters(&self, etcd: &Etcd) -> VotersRecord {
        VotersRecord {
            schema: SCHEMA,
            voters: self.ids_of(etcd.voters),
            quorum: 1,
            epoch: epoch(etcd.epoch),
            mode: self.mode,
            version: u64::from(etcd.voters_version),
        }
    }

    fn history(&self, etcd: &Etcd, number: u8) -> Option<HistoryRecord> {
        etcd.history[usize::from(number)].map(|history| HistoryRecord {
            schema: SCHEMA,
            epoch: epoch(number),
            timeline: timeline(history.timeline),
            parent_timeline: timeline(history.parent),
            fork_lsn: lsn(history.fork),
            node: self.id(history.node).clone(),
        })
    }

    fn bid(&self, node: Node, bid: Bid) -> BidRecord {
        let ineligible = bid.ineligible.then(|| Reason::new("switched-off", ""));
        BidRecord {
            schema: SCHEMA,
            guid: self.id(node).clone(),
            revision: revision(bid.for_rev),
            position: position(bid.at),
            token: bid.token.map(token),
            ineligible: ineligible.into_iter().collect(),
            priority: 100,
        }
    }

    fn status(&self, etcd: &Etcd, node: Node) -> NodeStatus {
        let is_last = etcd.epoch_node == node;
        NodeStatus {
            schema: SCHEMA,
            guid: self.id(node).clone(),
            seq: 1,
            role: String::new(),
            following: Some(self.id(etcd.epoch_node)).filter(|_| !is_last).cloned(),
            pg: String::new(),
            search: String::new(),
            partially_synced: has(etcd.unsynced, node),
            needs_remake: false,
            eligible: true,
            reasons: Vec::new(),
            position: etcd.published.filter(|_| is_last).map(position),
            lag_bytes: None,
            system_identifier: None,
            health: BTreeMap::new(),
            epoch: epoch(etcd.epoch),
            holds_key: false,
            writable: false,
            serves: false,
        }
    }
}

pub(crate) fn seen<T>(record: T, rev: u8) -> Seen<T> {
    Seen { record, revision: revision(rev), at: NOW }
}

/// The decision's state. Everything about time is set so that only what the model says is over is over.
pub(crate) fn state(election: Election) -> Option<State> {
    Some(match election {
        Election::Off => return None,
        Election::Undecided => State::Undecided,
        Election::Observing => State::Observing(Observing::default()),
        Election::Claiming { hold, adopts } => {
            State::Claiming(RealClaiming { hold: real_hold(hold), adopts, since: NOW })
        }
        Election::Holding(hold) => State::Holding(real_hold(hold)),
        Election::SteppingDown(down) => State::SteppingDown(SteppingDown {
            hold: real_hold(down.hold),
            cause: Reason::new("explored", ""),
            planned: down.planned,
            designated: None,
            since: NOW,
            phase: match down.phase {
                Phase::Checkpointing => DownPhase::Checkpointing,
                Phase::Stopping => DownPhase::Stopping,
                Phase::Releasing => DownPhase::Releasing,
                Phase::Vacating => DownPhase::Vacating,
            },
            request: None,
            was_writable: down.was_writable,
        }),
    })
}

pub(crate) fn real_hold(hold: Hold) -> RealHold {
    RealHold {
        epoch: epoch(hold.epoch),
        nonce: nonce(hold.nonce),
        acquired_with: nonce(hold.acquired_with),
        seq: 1,
        t0: if hold.old { NOW.minus(TTL) } else { NOW },
        revision: revision(hold.rev),
        since: NOW,
        stage: match hold.stage {
            Stage::Promoting => RealStage::Promoting,
            Stage::AwaitingVoters => RealStage::AwaitingVoters,
            Stage::Serving => RealStage::Serving,
        },
    }
}

/// The decision's hold in small numbers; whether it is old is the model's own knowledge.
pub(crate) fn hold(real: &RealHold, old: bool) -> Hold {
    Hold {
        epoch: small(real.epoch.0),
        nonce: number(&real.nonce),
        acquired_with: number(&real.acquired_with),
        rev: rev(real.revision),
        stage: match real.stage {
            RealStage::Promoting => Stage::Promoting,
            RealStage::AwaitingVoters => Stage::AwaitingVoters,
            RealStage::Serving => Stage::Serving,
        },
        old,
    }
}

/// The decision's state in small numbers.
pub(crate) fn election(state: &State, old: bool) -> Election {
    match state {
        State::Undecided => Election::Undecided,
        State::Observing(_) => Election::Observing,
        State::Claiming(claim) => Election::Claiming { hold: hold(&claim.hold, old), adopts: claim.adopts },
        State::Holding(real) => Election::Holding(hold(real, old)),
        State::SteppingDown(down) => Election::SteppingDown(Down {
            hold: hold(&down.hold, old),
            planned: down.planned,
            phase: match down.phase {
                DownPhase::Checkpointing => Phase::Checkpointing,
                DownPhase::Stopping => Phase::Stopping,
                DownPhase::Releasing => Phase::Releasing,
                DownPhase::Vacating => Phase::Vacating,
            },
            was_writable: down.was_writable,
        }),
    }
}
