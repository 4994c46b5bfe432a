//! Every state of the election and everything that can happen to it, as `docs/election-states.md` draws them.

use leaderl_decision::cluster::{ClusterView, Seen};
use leaderl_decision::election::{
    Claiming, Command, DownPhase, Event, Facts, GateFacts, HeartFacts, Hold, Observing, Stage, State, SteppingDown,
    Timing, step,
};
use leaderl_decision::failover_policy::OwnFaults;
use leaderl_decision::model::{
    ByteLag, Epoch, Lsn, NodeId, Nonce, Position, Reason, ReplicationMode, Revision, Timeline, Timestamp,
};
use leaderl_decision::postgres_report::{FollowerReport, PostgresReport, PostgresState, PrimaryReport};
use leaderl_decision::records::{
    BidRecord, EpochRecord, HistoryRecord, Holder, LeaderValue, MemberRecord, NodeStatus, RequestKind, RequestRecord,
    RequestState, SCHEMA, Vacancy, VotersRecord,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const D: Duration = Duration::from_secs(5);
pub(crate) const NOW: Timestamp = Timestamp(100_000_000_000);
/// mod_revision of the leader key.
pub(crate) const REVISION: Revision = Revision(70);

/// What one node sees: n1 decides, epoch 2 is the newest.
pub(crate) struct Seat {
    pub(crate) now: Timestamp,
    pub(crate) view: ClusterView,
    pub(crate) heart: Option<HeartFacts>,
    pub(crate) postgres: PostgresReport,
}

pub(crate) fn n(which: u8) -> NodeId {
    NodeId(format!("n{which}"))
}

pub(crate) fn nonce() -> Nonce {
    Nonce("held".into())
}

pub(crate) fn seen<T>(record: T, revision: Revision) -> Seen<T> {
    Seen { record, revision, at: NOW }
}

fn position() -> Position {
    Position { epoch: Epoch(2), lsn: Lsn(1000), timeline: Timeline(3) }
}

fn hold(stage: Stage) -> Hold {
    Hold {
        epoch: Epoch(2),
        nonce: nonce(),
        acquired_with: nonce(),
        seq: 1,
        t0: NOW,
        revision: REVISION,
        since: NOW,
        stage,
    }
}

fn stepping_down(phase: DownPhase) -> State {
    State::SteppingDown(SteppingDown {
        hold: hold(Stage::Serving),
        cause: Reason::new("example", "example"),
        planned: true,
        designated: None,
        since: NOW,
        phase,
        request: None,
        was_writable: true,
    })
}

/// Every state, with its name and the world around it.
pub(crate) fn states() -> Vec<(&'static str, State, Seat)> {
    let claiming = |adopts| State::Claiming(Claiming { hold: hold(Stage::Promoting), adopts, since: NOW });
    let standby = || Seat::new(2, PostgresState::Standby { streaming_from: Some(n(2)) });
    let own = || Seat::new(1, primary());
    let waiting = || Seat::new(1, PostgresState::Standby { streaming_from: None });
    let down = || Seat::new(1, PostgresState::Down { initialised: true });
    let mut all = vec![
        ("undecided", State::Undecided, standby()),
        ("observing", State::Observing(Observing { confirmed: Some(REVISION), ..Observing::default() }), standby()),
        ("claiming", claiming(false), waiting()),
        ("adopting", claiming(true), own()),
        ("promoting", State::Holding(hold(Stage::Promoting)), waiting()),
        ("awaiting-voters", State::Holding(hold(Stage::AwaitingVoters)), own()),
        ("leading", State::Holding(hold(Stage::Serving)), own()),
        ("checkpointing", stepping_down(DownPhase::Checkpointing), own()),
        ("stopping", stepping_down(DownPhase::Stopping), Seat::new(1, PostgresState::Stopping)),
        ("releasing", stepping_down(DownPhase::Releasing), down()),
        ("vacating", stepping_down(DownPhase::Vacating), down()),
    ];
    for (_, _, seat) in all.iter_mut().filter(|(name, _, _)| *name == "awaiting-voters") {
        seat.followers_at(Lsn(900));
    }
    all
}

/// The state's name here: stepping down is told apart by its phases.
pub(crate) fn name(state: &State) -> &'static str {
    match state {
        State::SteppingDown(down) => match down.phase {
            DownPhase::Checkpointing => "checkpointing",
            DownPhase::Stopping => "stopping",
            DownPhase::Releasing => "releasing",
            DownPhase::Vacating => "vacating",
        },
        State::Undecided | State::Observing(_) | State::Claiming(_) | State::Holding(_) => state.name(),
    }
}

pub(crate) fn primary() -> PostgresState {
    let row = FollowerReport { streaming: true, flushed: Lsn(1200), counted: true };
    PostgresState::Primary(PrimaryReport {
        epoch: Epoch(2),
        timeline: Timeline(3),
        promoted_at: Lsn(1000),
        writable: true,
        flushed: Lsn(1200),
        sync_names: Some(BTreeSet::from([n(2)])),
        names_effective_at: Some(Lsn(1100)),
        followers: BTreeMap::from([(n(2), row)]),
    })
}

pub(crate) fn holder(which: u8) -> LeaderValue {
    let nonce = if which == 1 { nonce() } else { Nonce("another".into()) };
    LeaderValue::Holder(Holder {
        schema: SCHEMA,
        guid: n(which),
        boot_id: String::new(),
        nonce,
        epoch: Epoch(2),
        seq: 1,
    })
}

fn member(which: u8) -> MemberRecord {
    MemberRecord {
        schema: SCHEMA,
        guid: n(which),
        name: format!("n{which}"),
        address: String::new(),
        version: String::new(),
        postgres_port: 5432,
        etcd_client_url: String::new(),
        etcd_peer_url: String::new(),
        search_ports: None,
    }
}

fn status(which: u8) -> NodeStatus {
    NodeStatus {
        schema: SCHEMA,
        guid: n(which),
        seq: 1,
        role: String::new(),
        following: None,
        pg: String::new(),
        search: String::new(),
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
    }
}

impl Seat {
    /// `which` holds epoch 2; n1's PostgreSQL is in this state.
    fn new(which: u8, state: PostgresState) -> Self {
        let mut view = ClusterView { revision: Revision(80), heard_at: NOW, ..ClusterView::default() };
        view.leader = Some(seen(holder(which), REVISION));
        let record = EpochRecord { schema: SCHEMA, epoch: Epoch(2), guid: n(which), nonce: nonce(), taken_with: None };
        view.epoch = Some(seen(record, Revision(60)));
        let history = HistoryRecord {
            schema: SCHEMA,
            epoch: Epoch(2),
            timeline: Timeline(3),
            parent_timeline: Timeline(2),
            fork_lsn: Lsn(1000),
            node: n(which),
        };
        view.history.insert(Epoch(2), history);
        let voters =
            VotersRecord { voters: BTreeSet::from([n(3 - which)]), quorum: 1, epoch: Epoch(2), ..Default::default() };
        view.voters = Some(seen(voters, Revision(61)));
        for which in 1..=2 {
            view.members.insert(n(which), seen(member(which), Revision(1)));
            view.nodes.insert(n(which), seen(status(which), Revision(50)));
        }
        let armed = (which == 1).then(|| (Epoch(2), nonce(), NOW.plus(D)));
        let open_for = armed.as_ref().map(|(epoch, ..)| *epoch);
        let gate = GateFacts { open_for, ..GateFacts::default() };
        let gone = matches!(state, PostgresState::Down { .. });
        let heart = Some(HeartFacts { armed, fenced: None, postgres_gone: gone, vip_held: false, gate });
        let postgres = PostgresReport {
            state,
            position: Some(position()),
            promised: Revision(50),
            final_position: gone.then(position),
            ..PostgresReport::default()
        };
        Self { now: NOW, view, heart, postgres }
    }

    /// How long it is since the last renewal.
    pub(crate) fn waited(&self) -> Duration {
        self.now.since(NOW)
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    pub(crate) fn followers_at(&mut self, lsn: Lsn) {
        if let PostgresState::Primary(primary) = &mut self.postgres.state {
            primary.followers.values_mut().for_each(|row| row.flushed = lsn);
        }
    }

    pub(crate) fn left(&mut self, left_by: Option<NodeId>) {
        let vacancy = Vacancy {
            schema: SCHEMA,
            left_by,
            epoch: Epoch(2),
            final_position: None,
            designated: None,
            cause: "example".into(),
            nonce: Nonce("left".into()),
        };
        self.view.leader = Some(seen(LeaderValue::Vacancy(vacancy), REVISION));
    }

    pub(crate) fn holds(&mut self) {
        let own = Self::new(1, primary());
        (self.view.leader, self.heart, self.postgres) = (own.view.leader, own.heart, own.postgres);
    }

    pub(crate) fn bids(&mut self) {
        self.postgres.detached = Some((REVISION, position()));
        self.postgres.promised = REVISION;
        self.postgres.state = PostgresState::Standby { streaming_from: None };
        let bid = BidRecord {
            schema: SCHEMA,
            guid: n(1),
            revision: REVISION,
            position: position(),
            token: None,
            ineligible: Vec::new(),
            priority: 100,
        };
        self.view.bids.insert(n(1), seen(bid, Revision(75)));
    }

    pub(crate) fn asked(&mut self, kind: RequestKind) {
        let request = RequestRecord {
            schema: SCHEMA,
            kind,
            state: RequestState::Pending,
            epoch: Epoch(2),
            detail: String::new(),
        };
        self.view.requests.insert("r1".into(), seen(request, Revision(78)));
    }

    pub(crate) fn step(&self, state: State, event: &Event) -> (State, Vec<Command>) {
        let me = n(1);
        let facts = Facts {
            now: self.now,
            me: &me,
            boot_id: "",
            timing: Timing { ttl: D },
            mode: ReplicationMode::Quorum,
            priority: 100,
            max_lag: ByteLag(0),
            promote_deadline: Duration::from_secs(300),
            cluster: Some(&self.view),
            heart: self.heart.as_ref(),
            postgres: &self.postgres,
            tripped: &BTreeMap::new(),
            faults: OwnFaults { ended_at: &[], most: 0, window: Duration::ZERO },
            fresh_nonce: &Nonce("fresh".into()),
        };
        step(state, event, &facts)
    }
}
