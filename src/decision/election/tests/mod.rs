//! Tests of the election: a small world that one node sees, and the rules each with the run it refuses.

mod explored;
mod restarts;
mod rules;
mod surplus;
mod table;
mod timetable;
mod tokens;
mod transcripts;

use super::*;
use crate::cluster::Seen;
use crate::failover_policy::OwnFaults;
use crate::model::{Lsn, Timeline};
use crate::postgres_report::{FollowerReport, PostgresState, PrimaryReport};
use crate::records::{EpochRecord, HistoryRecord, LeaderValue, MemberRecord, NodeStatus, SCHEMA, Token, VotersRecord};
use std::collections::BTreeSet;

pub(super) const D: Duration = Duration::from_secs(5);

pub(super) fn n(which: u8) -> NodeId {
    NodeId(format!("{which:032x}"))
}

pub(super) fn position(epoch: u64, lsn: u64) -> Position {
    Position { epoch: Epoch(epoch), lsn: Lsn(lsn), timeline: Timeline(u32::try_from(epoch).unwrap() + 1) }
}

/// Everything node 2 sees; node 1 led epoch 1 with V = {2, 3}.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) me: NodeId,
    pub(super) mode: ReplicationMode,
    pub(super) view: Option<ClusterView>,
    pub(super) heart: Option<HeartFacts>,
    pub(super) postgres: PostgresReport,
    pub(super) tripped: BTreeMap<ServiceName, String>,
    pub(super) faults: Vec<Timestamp>,
    pub(super) nonce: Nonce,
}

impl World {
    /// Node 1 holds the key under epoch 1, last renewed just now; this is node 2, streaming.
    pub(super) fn following() -> Self {
        let now = Timestamp(100_000_000_000);
        let mut view = ClusterView { revision: Revision(50), heard_at: now, ..ClusterView::default() };
        for which in 1..=3 {
            let member = MemberRecord {
                schema: SCHEMA,
                guid: n(which),
                name: format!("n{which}"),
                address: format!("10.0.0.{which}"),
                version: "0".into(),
                postgres_port: 5432,
                etcd_client_url: String::new(),
                etcd_peer_url: String::new(),
                search_ports: None,
            };
            view.members.insert(n(which), seen(member, 2, now));
        }
        let nonce = Nonce("n1-first".into());
        let epoch = EpochRecord { schema: SCHEMA, epoch: Epoch(1), guid: n(1), nonce: nonce.clone(), taken_with: None };
        view.epoch = Some(seen(epoch, 10, now));
        view.history.insert(
            Epoch(1),
            HistoryRecord {
                schema: SCHEMA,
                epoch: Epoch(1),
                timeline: Timeline(2),
                parent_timeline: Timeline(1),
                fork_lsn: Lsn(50),
                node: n(1),
            },
        );
        view.voters = Some(seen(voters(&[2, 3], 1), 20, now));
        let mut world = Self {
            now,
            me: n(2),
            mode: ReplicationMode::Quorum,
            view: Some(view),
            heart: Some(HeartFacts { postgres_gone: false, ..HeartFacts::default() }),
            postgres: PostgresReport {
                state: PostgresState::Standby { streaming_from: Some(n(1)) },
                position: Some(position(1, 1000)),
                promised: Revision(5),
                ..PostgresReport::default()
            },
            tripped: BTreeMap::new(),
            faults: Vec::new(),
            nonce: Nonce("fresh".into()),
        };
        world.held_by(1, "n1-first", 30);
        world
    }

    pub(super) fn view(&mut self) -> &mut ClusterView {
        self.view.as_mut().unwrap()
    }

    /// `which` holds the key; its renewal of this revision was received now.
    pub(super) fn held_by(&mut self, which: u8, nonce: &str, revision: i64) {
        let epoch = self.view().newest_epoch();
        let holder = Holder {
            schema: SCHEMA,
            guid: n(which),
            boot_id: "boot".into(),
            nonce: Nonce(nonce.into()),
            epoch,
            seq: 7,
        };
        let now = self.now;
        self.view().leader = Some(seen(LeaderValue::Holder(holder), revision, now));
    }

    /// The last holder left, with or without a final position.
    pub(super) fn left_by(&mut self, which: Option<u8>, final_position: Option<Position>, revision: i64) {
        let vacancy = Vacancy {
            schema: SCHEMA,
            left_by: which.map(n),
            epoch: Epoch(1),
            final_position,
            designated: None,
            cause: "test".into(),
            nonce: Nonce("left".into()),
        };
        let now = self.now;
        self.view().leader = Some(seen(LeaderValue::Vacancy(vacancy), revision, now));
    }

    /// PostgreSQL is proven detached at the present revision of `leader`.
    pub(super) fn detached(&mut self, at: Position) {
        let revision = self.leader_revision();
        self.postgres.detached = Some((revision, at));
        self.postgres.promised = revision;
        self.postgres.position = Some(at);
    }

    pub(super) fn leader_revision(&mut self) -> Revision {
        self.view().leader.as_ref().map(|leader| leader.revision).unwrap_or_default()
    }

    /// `which` has bid for the present revision.
    pub(super) fn bid_of(&mut self, which: u8, at: Position) -> &mut BidRecord {
        let revision = self.leader_revision();
        let bid = BidRecord {
            schema: SCHEMA,
            guid: n(which),
            revision,
            position: at,
            token: None,
            ineligible: Vec::new(),
            priority: 100,
        };
        let now = self.now;
        self.view().bids.insert(n(which), seen(bid, 60 + i64::from(which), now));
        &mut self.view().bids.get_mut(&n(which)).unwrap().record
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            now: self.now,
            me: &self.me,
            boot_id: "boot",
            timing: Timing { ttl: D },
            mode: self.mode,
            priority: 100,
            max_lag: ByteLag(1_000_000),
            promote_deadline: Duration::from_secs(300),
            cluster: self.view.as_ref(),
            heart: self.heart.as_ref(),
            postgres: &self.postgres,
            tripped: &self.tripped,
            faults: OwnFaults { ended_at: &self.faults, most: 3, window: Duration::from_secs(600) },
            fresh_nonce: &self.nonce,
        }
    }

    pub(super) fn look(&self, state: State) -> (State, Vec<Command>) {
        step(state, &Event::Look, &self.facts())
    }

    /// The leader's key is confirmed by a linearizable read.
    pub(super) fn confirmed(&self) -> State {
        let revision = self.view.as_ref().and_then(|view| view.leader.as_ref()).map(|leader| leader.revision);
        State::Observing(Observing { confirmed: revision, ..Observing::default() })
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.plus(Duration::from_millis(milliseconds));
    }

    /// This node holds epoch 2 and heart is armed; PostgreSQL is its primary with node 3 streaming.
    pub(super) fn leading() -> (Self, Hold) {
        let mut world = Self::following();
        let nonce = Nonce("n2-won".into());
        let now = world.now;
        let view = world.view();
        view.epoch = Some(seen(
            EpochRecord { schema: SCHEMA, epoch: Epoch(2), guid: n(2), nonce: nonce.clone(), taken_with: None },
            70,
            now,
        ));
        view.history.insert(
            Epoch(2),
            HistoryRecord {
                schema: SCHEMA,
                epoch: Epoch(2),
                timeline: Timeline(3),
                parent_timeline: Timeline(2),
                fork_lsn: Lsn(1000),
                node: n(2),
            },
        );
        view.voters = Some(seen(voters(&[1, 3], 2), 70, now));
        world.held_by(2, "n2-won", 70);
        let hold = Hold {
            epoch: Epoch(2),
            nonce: nonce.clone(),
            acquired_with: nonce.clone(),
            seq: 1,
            t0: now,
            revision: Revision(70),
            since: now,
            stage: Stage::Promoting,
        };
        world.heart = Some(HeartFacts {
            armed: Some((Epoch(2), nonce, now.plus(D))),
            fenced: None,
            postgres_gone: false,
            vip_held: false,
            gate: GateFacts { open_for: Some(Epoch(2)), ..GateFacts::default() },
        });
        world.postgres.state = PostgresState::Primary(PrimaryReport {
            epoch: Epoch(2),
            timeline: Timeline(3),
            promoted_at: Lsn(1000),
            writable: true,
            flushed: Lsn(1200),
            sync_names: Some(BTreeSet::from([n(1), n(3)])),
            names_effective_at: Some(Lsn(1100)),
            followers: BTreeMap::from([(n(3), FollowerReport { streaming: true, flushed: Lsn(1200), counted: true })]),
        });
        (world, hold)
    }

    pub(super) fn gate(&mut self) -> &mut GateFacts {
        &mut self.heart.as_mut().unwrap().gate
    }

    pub(super) fn primary(&mut self) -> &mut PrimaryReport {
        match &mut self.postgres.state {
            PostgresState::Primary(primary) => primary,
            other => panic!("not a primary: {other:?}"),
        }
    }

    /// `which` posted that it could lead now.
    pub(super) fn posted(&mut self, which: u8) -> &mut NodeStatus {
        let status = NodeStatus {
            schema: SCHEMA,
            guid: n(which),
            seq: 1,
            role: "follower".into(),
            following: Some(n(2)),
            pg: "synced".into(),
            search: "not_master".into(),
            partially_synced: false,
            needs_remake: false,
            eligible: true,
            reasons: Vec::new(),
            position: None,
            lag_bytes: None,
            system_identifier: None,
            health: BTreeMap::new(),
            epoch: Epoch(2),
            holds_key: false,
            writable: false,
            serves: false,
        };
        let now = self.now;
        self.view().nodes.insert(n(which), seen(status, 80, now));
        &mut self.view().nodes.get_mut(&n(which)).unwrap().record
    }
}

pub(super) fn seen<T>(record: T, revision: i64, at: Timestamp) -> Seen<T> {
    Seen { record, revision: Revision(revision), at }
}

pub(super) fn voters(which: &[u8], epoch: u64) -> VotersRecord {
    VotersRecord {
        schema: SCHEMA,
        voters: which.iter().map(|w| n(*w)).collect(),
        quorum: 1,
        epoch: Epoch(epoch),
        mode: ReplicationMode::Quorum,
        version: 1,
    }
}

pub(super) fn claim_of(commands: &[Command]) -> Option<&ClaimTxn> {
    commands.iter().find_map(|command| match command {
        Command::Claim(txn) => Some(txn.as_ref()),
        _ => None,
    })
}

pub(super) fn order_of(commands: &[Command]) -> Option<&PostgresOrder> {
    commands.iter().find_map(|command| match command {
        Command::OrderPostgres(order) => Some(order),
        _ => None,
    })
}

pub(super) fn bid_of(commands: &[Command]) -> Option<&BidRecord> {
    commands.iter().find_map(|command| match command {
        Command::PutBid(bid) => Some(bid),
        _ => None,
    })
}

pub(super) fn token(epoch: u64, nonce: &str) -> Option<Token> {
    Some(Token { epoch: Epoch(epoch), nonce: Nonce(nonce.into()) })
}
