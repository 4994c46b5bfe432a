//! Every plan on a small model of PostgreSQL: it ends where it shall, wherever its commands are cut.

mod promises;

use super::*;
use crate::model::{Epoch, Lsn, NodeId, Nonce, Revision, Timeline, Timestamp};
use crate::postgres_report::{FollowOrder, LeadOrder, PostgresOrder, PostgresState};
use crate::records::{HistoryRecord, MemberRecord, SCHEMA, Token};
use std::collections::BTreeMap;

const LEADER_END: Lsn = Lsn(1000);

fn node(number: u8) -> NodeId {
    NodeId(format!("{number:032x}"))
}

fn member(number: u8) -> (NodeId, MemberRecord) {
    let record = MemberRecord {
        schema: SCHEMA,
        guid: node(number),
        name: format!("n{number}"),
        address: format!("10.0.0.{number}"),
        version: String::new(),
        postgres_port: 5432,
        etcd_client_url: String::new(),
        etcd_peer_url: String::new(),
        search_ports: None,
    };
    (node(number), record)
}

/// Epochs 1 and 2 on timelines 2 and 3; the second forked at 900.
pub(super) fn lineage() -> Vec<HistoryRecord> {
    let record = |epoch, timeline, parent, fork| HistoryRecord {
        schema: SCHEMA,
        epoch: Epoch(epoch),
        timeline: Timeline(timeline),
        parent_timeline: Timeline(parent),
        fork_lsn: Lsn(fork),
        node: node(1),
    };
    vec![record(1, 2, 1, 100), record(2, 3, 2, 900)]
}

fn follow() -> FollowOrder {
    FollowOrder {
        leader: node(2),
        address: "10.0.0.2".into(),
        port: 5432,
        epoch: Epoch(2),
        leader_revision: Revision(50),
        lineage: lineage(),
        named_voter: false,
        members: [member(2), member(3)].into(),
        catch_up: false,
    }
}

fn lead() -> LeadOrder {
    LeadOrder {
        epoch: Epoch(3),
        nonce: Nonce("n".into()),
        timeline: Timeline(4),
        highest_timeline: Timeline(3),
        sync_names: [node(2)].into(),
        sync_quorum: 1,
        members: [member(2), member(3)].into(),
        first_epoch: false,
    }
}

fn control(clean: bool) -> Control {
    Control {
        system_identifier: "7".into(),
        shut_down_as_primary: false,
        ended_cleanly: clean,
        checkpoint: Lsn(10),
        timeline: Timeline(2),
    }
}

/// A server at (timeline, lsn) that is down, or runs as a standby or as a primary.
fn world(timeline: u32, lsn: u64, process: Process, primary: bool) -> Observed {
    let server = ServerSeen {
        in_recovery: !primary,
        timeline: Timeline(timeline),
        position: Lsn(lsn),
        waiting_for_wal: true,
        ..ServerSeen::default()
    };
    Observed {
        now: Timestamp(10),
        process,
        armed: Some((Epoch(3), Timestamp(1000))),
        files: FilesSeen { data: DataSeen::Present(control(false)), promised: Revision(40), ..FilesSeen::default() },
        server: (process == Process::Running).then_some(server),
        memory: Memory { stood_at: Some((Timeline(timeline), Lsn(lsn))), ..Memory::default() },
        expected_system_identifier: Some("7".into()),
        epochs: (1..=4).map(|timeline| (Timeline(timeline), Epoch(u64::from(timeline) - 1))).collect(),
    }
}

#[test]
fn one_epoch_is_promoted_once() {
    // The recorded timeline of epoch 3 is there already, and the server is a standby again.
    let mut seen = world(4, 1200, Process::Running, false);
    seen.files.token = Some(Token { epoch: Epoch(3), nonce: Nonce("n".into()) });
    let planned = plan(&PostgresOrder::Lead(lead()), None, &seen);
    assert_eq!((planned.commands, planned.problems[0].code.as_str()), (vec![], "promoted-before"));
}

/// What the commands do to the model. `at` is where the data stands, also while it is down.
struct Model {
    seen: Observed,
    at: (Timeline, Lsn),
    names: u32,
    rewound_onto: Option<NodeId>,
}

impl Model {
    fn new(seen: Observed) -> Self {
        let at = seen.memory.stood_at.unwrap_or_default();
        // A restarted actor remembers nothing.
        let seen = Observed { memory: Memory::default(), ..seen };
        Self { seen, at, names: 0, rewound_onto: None }
    }

    fn streams(&mut self, source: &Source) {
        self.at = (Timeline(3), LEADER_END);
        if let Some(server) = &mut self.seen.server {
            server.streaming_from = Some((source.address.clone(), source.port));
            (server.timeline, server.position, server.received) = (Timeline(3), LEADER_END, Some(LEADER_END));
            server.at_sentinel = None;
        }
    }

    fn reload(&mut self) {
        match (self.seen.files.upstream.clone(), &mut self.seen.server) {
            (Upstream::Sentinel { name, .. }, Some(server)) if server.in_recovery => {
                server.at_sentinel = Some(name);
                server.streaming_from = None;
            }
            (Upstream::Node(source), Some(server)) if server.in_recovery => self.streams(&source),
            (Upstream::Unset | Upstream::Sentinel { .. } | Upstream::Node(_), _) => {}
        }
    }

    fn apply(&mut self, command: &Command) {
        let files = &mut self.seen.files;
        match command {
            Command::PrepareStart => files.standby_signal = true,
            Command::StartStandby => {
                assert!(files.standby_signal && self.seen.process == Process::Gone, "a start that heart refuses");
                self.start();
            }
            Command::StopPostgres { .. } => {
                self.seen.process = Process::Gone;
                self.seen.server = None;
                files.data = DataSeen::Present(control(true));
            }
            Command::Promise { revision, marks } => {
                files.promised = files.promised.max(*revision);
                files.token = marks.then(promises::mark).or(files.token.take());
            }
            Command::PointAtSentinel(revision) => {
                self.names += 1;
                files.upstream = Upstream::Sentinel { revision: *revision, name: format!("s{}", self.names) };
            }
            Command::PointAt { source, revision, catch_up } => {
                assert!(*catch_up || *revision > files.promised, "rule R4");
                files.upstream = Upstream::Node(source.clone());
            }
            Command::Reload => self.reload(),
            Command::ResumeReplay => self.server().paused = false,
            Command::WriteAccess(members) => self.seen.memory.access = Some(members.clone()),
            Command::CreateSlot(name) => drop(self.server().slots.insert(name.clone(), SlotSeen::default())),
            Command::DropSlot(name) => drop(self.server().slots.remove(name)),
            Command::MarkUnsynced(mark) => files.unsynced = Some(mark.clone()),
            Command::AskTarget { timeline, .. } => {
                if let Some(mark) = &mut files.unsynced {
                    mark.target = Some((*timeline, LEADER_END));
                }
            }
            Command::ClearUnsynced => files.unsynced = None,
            Command::Rewind(source) => {
                assert!(files.unsynced.is_some() && self.seen.process == Process::Gone, "rule R7");
                files.token = None;
                self.seen.memory.stood_at = None;
                self.rewound_onto = Some(source.node.clone());
                self.at = (Timeline(2), Lsn(900));
            }
            Command::CopyBase(_) => files.side_ready = true,
            Command::SwapIn { .. } => {
                assert_eq!(self.seen.process, Process::Gone, "a directory in use is not renamed");
                (files.side_ready, files.token, files.data) = (false, None, DataSeen::Present(control(false)));
                self.seen.memory.stood_at = None;
                self.at = (Timeline(3), Lsn(950));
            }
            Command::WriteToken(token) => files.token = Some(token.clone()),
            Command::WriteSyncNames(names) => files.sync_names = names.clone(),
            Command::ProveSyncNames { names, .. } => {
                self.seen.memory.names_proven = Some((names.clone(), LEADER_END));
                self.seen.memory.checkpointed = Some(Epoch(3));
            }
            Command::Promote { .. } => self.promote(),
            Command::EndPredecessors(epoch) => self.seen.memory.predecessors_ended = Some(*epoch),
            Command::TestWrite(epoch) => self.seen.memory.written = Some(*epoch),
            Command::MakeRoles(epoch) => self.seen.memory.roles_made = Some(*epoch),
            Command::AwaitAnswer
            | Command::AwaitProof
            | Command::AwaitStreaming(_)
            | Command::AwaitSourceCheckpoint { .. }
            | Command::AdvanceSlots { .. }
            | Command::PlaceHistory { .. } => {}
        }
    }

    fn start(&mut self) {
        self.seen.process = Process::Running;
        self.seen.memory.stood_at = None;
        let server = world(self.at.0.0, self.at.1.0, Process::Running, false).server;
        self.seen.server = server;
        self.reload();
    }

    fn promote(&mut self) {
        assert_eq!(self.seen.files.sync_names.names, [node(2)].into(), "names are set before promotion");
        assert_eq!(self.seen.files.token.as_ref().map(|token| token.epoch), Some(Epoch(3)));
        assert!(proven_detached(&self.seen).is_some(), "nothing streams into a promotion");
        assert!(self.seen.files.unsynced.is_none());
        self.at.0 = Timeline(4);
        let server = self.server();
        (server.in_recovery, server.timeline, server.at_sentinel) = (false, Timeline(4), None);
    }

    fn server(&mut self) -> &mut ServerSeen {
        self.seen.server.as_mut().expect("a command for a running server")
    }

    fn look(&mut self) {
        if let Some(server) = &self.seen.server {
            self.seen.memory.stood_at = Some((server.timeline, server.position));
        }
    }

    /// Plans and applies until nothing is left; the plan is cut after `cut` commands in all, once.
    fn run(&mut self, order: &PostgresOrder, cut: Option<usize>) -> usize {
        let mut applied = 0;
        for _ in 0..60 {
            self.look();
            let planned = plan(order, None, &self.seen);
            if planned.commands.is_empty() {
                return applied;
            }
            for command in &planned.commands {
                self.apply(command);
                applied += 1;
                if cut == Some(applied) {
                    // The daemon died here, too: nothing is remembered.
                    self.seen.memory = Memory::default();
                    break;
                }
            }
        }
        panic!("the plan for {order:?} does not end: {:#?}", self.seen);
    }
}

/// What must be the same at the end.
fn end(model: &Model) -> impl PartialEq + std::fmt::Debug + use<> {
    let seen = &model.seen;
    let upstream = match &seen.files.upstream {
        Upstream::Sentinel { revision, .. } => Upstream::Sentinel { revision: *revision, name: String::new() },
        Upstream::Unset | Upstream::Node(_) => seen.files.upstream.clone(),
    };
    let server = seen.server.clone().unwrap_or_default();
    let at = (model.at, server.in_recovery, server.streaming_from, server.slots.into_keys().collect::<Vec<_>>());
    let detached = proven_detached(seen);
    (seen.process, upstream, at, detached, seen.files.promised, seen.files.unsynced.clone(), seen.files.token.clone())
}

fn starts() -> Vec<(&'static str, Observed)> {
    let mut missing = world(0, 0, Process::Gone, false);
    missing.files.data = DataSeen::Missing;
    let mut paused = world(2, 850, Process::Running, false);
    paused.server.as_mut().unwrap().paused = true;
    let mut cut_rewind = world(2, 950, Process::Gone, false);
    let mark = |work| UnsyncedMark { cause: "test".into(), work, target: None };
    cut_rewind.files.unsynced = Some(mark(RemakeWork::RewindBegun));
    let mut old_primary = world(2, 850, Process::Running, true);
    old_primary.files.token = Some(Token { epoch: Epoch(1), nonce: Nonce("o".into()) });
    let mut asked = world(2, 850, Process::Gone, false);
    asked.files.unsynced = Some(mark(RemakeWork::CatchUp));
    asked.files.unsynced.as_mut().unwrap().target = Some((Timeline(2), Lsn(880)));
    vec![
        ("asked a holder before", asked),
        ("missing", missing),
        ("down, behind", world(2, 850, Process::Gone, false)),
        ("down, diverged", world(2, 950, Process::Gone, false)),
        ("standby, behind", world(2, 850, Process::Running, false)),
        ("standby, diverged", world(2, 950, Process::Running, false)),
        ("paused", paused),
        ("primary of an older epoch", old_primary),
        ("primary, diverged", world(2, 950, Process::Running, true)),
        ("rewind cut short", cut_rewind),
    ]
}

#[test]
fn every_plan_cut_anywhere_ends_the_same() {
    let orders = [
        PostgresOrder::Follow(follow()),
        PostgresOrder::Lead(lead()),
        PostgresOrder::Detach { revision: Revision(60), keeps_token: false },
        PostgresOrder::Stop { fast: true },
        PostgresOrder::Undecided,
    ];
    for (name, start) in starts() {
        for order in &orders {
            let mut whole = Model::new(start.clone());
            let steps = whole.run(order, None);
            for cut in 1..=steps {
                let mut model = Model::new(start.clone());
                model.run(order, Some(cut));
                // A rewind that is cut short becomes a copy: another way to the same end.
                assert_eq!(end(&model), end(&whole), "`{name}`, {order:?}, cut after {cut}");
            }
        }
    }
}

#[test]
fn following_ends_in_sync_and_streaming_from_anywhere() {
    for (name, start) in starts() {
        let mut model = Model::new(start);
        model.run(&PostgresOrder::Follow(follow()), None);
        let report = describe(&model.seen, &BTreeMap::new(), None);
        assert_eq!(report.state, PostgresState::Standby { streaming_from: Some(node(2)) }, "{name}");
        assert_eq!(report.unsynced, None, "{name}");
        assert_eq!(model.rewound_onto.is_some(), name.contains("diverged"), "{name}");
    }
}

#[test]
fn a_named_voter_is_neither_rewound_nor_copied() {
    let order = PostgresOrder::Follow(FollowOrder { named_voter: true, ..follow() });
    for (name, start) in starts() {
        let mut model = Model::new(start.clone());
        model.run(&order, None);
        let report = plan(&order, None, &model.seen);
        if name.contains("diverged") || matches!(start.files.data, DataSeen::Missing) {
            assert!(!report.problems.is_empty(), "{name}");
            assert_eq!(model.seen.files.unsynced, start.files.unsynced, "{name}");
        }
        assert_eq!(model.rewound_onto, None, "{name}");
        assert!(!model.seen.files.side_ready, "{name}");
    }
}

#[test]
fn a_promise_forbids_to_follow_a_holder_that_is_not_newer() {
    let order = PostgresOrder::Follow(FollowOrder { leader_revision: Revision(40), ..follow() });
    let mut model = Model::new(world(2, 850, Process::Running, false));
    model.run(&order, None);
    assert_eq!(proven_detached(&model.seen), Some(Revision(40)));
    assert_eq!(plan(&order, None, &model.seen).problems[0].code, "promised");
    let bidder = FollowOrder { leader_revision: Revision(40), catch_up: true, ..follow() };
    model.run(&PostgresOrder::Follow(bidder), None);
    assert!(matches!(model.seen.files.upstream, Upstream::Node(_)), "rule R14");
}

#[test]
fn nothing_is_promoted_without_an_armed_deadline_in_the_future() {
    for armed in [None, Some((Epoch(2), Timestamp(1000))), Some((Epoch(3), Timestamp(10)))] {
        let seen = Observed { armed, ..world(2, 850, Process::Running, false) };
        let planned = plan(&PostgresOrder::Lead(lead()), None, &seen);
        assert_eq!(planned.commands, []);
        assert_eq!(planned.problems[0].code, "not-armed");
    }
}

#[test]
fn a_foreign_directory_and_a_no_start_mark_are_left_alone() {
    let mut foreign = world(2, 850, Process::Gone, false);
    foreign.expected_system_identifier = Some("8".into());
    let mut forbidden = world(2, 850, Process::Gone, false);
    forbidden.files.no_start = Some("disk".into());
    for (seen, code) in [(foreign, "foreign-data-directory"), (forbidden, "no-start")] {
        let planned = plan(&PostgresOrder::Follow(follow()), None, &seen);
        assert_eq!((planned.commands.len(), planned.problems[0].code.as_str()), (0, code));
    }
}
