use super::render::{EngineConfig, render};
use super::*;
use crate::model::NodeId;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn node(n: u8) -> NodeId {
    NodeId(format!("{n:032x}"))
}

fn id(n: u8) -> String {
    format!("engine-{n}")
}

/// Everything a plan looks at, owned, in a calm three-node cluster.
#[derive(Clone, Debug)]
struct World {
    engine: Engine,
    members: BTreeSet<NodeId>,
    fresh: bool,
    record: RecordSeen,
    turn: TurnSeen,
    files_match: bool,
    defined: bool,
    service: ServiceSeen,
    has_run: bool,
    state: Option<EngineState>,
}

impl World {
    fn calm(engine: Engine) -> Self {
        let all = [1, 2, 3];
        let voting = Voting { committed: all.map(id).into(), excluded: BTreeSet::new() };
        Self {
            engine,
            members: all.map(node).into(),
            fresh: true,
            record: present(1, Some("uuid")),
            turn: TurnSeen::Unknown,
            files_match: true,
            defined: true,
            service: ServiceSeen::Running(Duration::from_secs(600)),
            has_run: true,
            state: Some(EngineState {
                version: "x".to_owned(),
                cluster_name: "c".to_owned(),
                cluster_uuid: Some("uuid".to_owned()),
                colour: Colour::Green,
                nodes: all.map(|n| (id(n), node(n))).into(),
                master: Some(node(2)),
                fingerprint: Some("f".to_owned()),
                start_quorum: Some(2),
                quorum: None,
                voting: (!engine.has_quorum_setting()).then_some(voting),
            }),
        }
    }

    fn state(&mut self) -> &mut EngineState {
        self.state.get_or_insert_default()
    }

    fn plan(&self) -> SearchPlan {
        let me = node(1);
        plan(&SearchFacts {
            engine: self.engine,
            me: &me,
            members: &self.members,
            members_fresh: self.fresh,
            record: &self.record,
            turn: &self.turn,
            cluster_name: "c",
            files_match: self.files_match,
            fingerprint: "f",
            service_defined: self.defined,
            service: self.service,
            has_run: self.has_run,
            engine_state: self.state.as_ref(),
        })
    }

    fn commands(&self) -> Vec<SearchCommand> {
        self.plan().commands
    }

    fn codes(&self) -> Vec<String> {
        self.plan().problems.into_iter().map(|reason| reason.code).collect()
    }

    /// What the real world does with a command.
    fn apply(&mut self, command: &SearchCommand) {
        match command {
            SearchCommand::ClaimRecord => self.record = present(1, None),
            SearchCommand::RecordCluster { uuid } => self.record = present(1, Some(uuid)),
            SearchCommand::WriteFiles => self.files_match = true,
            SearchCommand::DefineService => {
                self.defined = true;
                if self.service == ServiceSeen::NotInstalled {
                    self.service = ServiceSeen::Down;
                }
            }
            SearchCommand::StartService | SearchCommand::RestartService => {
                self.service = ServiceSeen::Running(Duration::ZERO);
                self.has_run = true;
                let mut calm = Self::calm(self.engine);
                calm.state().start_quorum = Some(quorum_of(self.members.len()));
                self.state = calm.state;
            }
            SearchCommand::TakeTurn => self.turn = TurnSeen::Mine,
            SearchCommand::GiveBackTurn => self.turn = TurnSeen::Free,
            SearchCommand::SetQuorum(quorum) => self.state().quorum = Some(*quorum),
            SearchCommand::ExcludeVoters(ids) => {
                let voting = self.state().voting.get_or_insert_default();
                voting.excluded.extend(ids.clone());
                voting.committed.retain(|voter| !ids.contains(voter));
            }
            SearchCommand::ClearExclusions => self.state().voting.get_or_insert_default().excluded.clear(),
        }
    }
}

fn present(founder: u8, uuid: Option<&str>) -> RecordSeen {
    RecordSeen::Present(SearchRecord { schema: 1, founder: node(founder), cluster_uuid: uuid.map(str::to_owned) })
}

fn fresh_node(engine: Engine) -> World {
    World {
        record: RecordSeen::Absent,
        files_match: false,
        defined: false,
        service: ServiceSeen::NotInstalled,
        has_run: false,
        state: None,
        ..World::calm(engine)
    }
}

#[test]
fn a_calm_cluster_is_left_alone() {
    for engine in [Engine::Elasticsearch6, Engine::Elasticsearch7, Engine::Opensearch2] {
        assert_eq!(World::calm(engine).plan(), SearchPlan::default());
    }
}

#[test]
fn a_node_outside_the_cluster_starts_nothing() {
    let mut world = fresh_node(Engine::Elasticsearch6);
    world.members.remove(&node(1));
    assert_eq!(world.commands(), []);
    assert_eq!(world.codes(), ["not-a-member"]);
}

#[test]
fn the_first_start_waits_for_the_founders_record() {
    let mut world = fresh_node(Engine::Elasticsearch7);
    assert_eq!(world.commands(), [SearchCommand::ClaimRecord]);
    world.record = RecordSeen::Unknown;
    assert_eq!(world.commands(), [SearchCommand::WriteFiles]);
    world.record = present(2, None);
    assert_eq!(
        world.commands(),
        [SearchCommand::WriteFiles, SearchCommand::DefineService, SearchCommand::StartService]
    );
}

#[test]
fn only_the_founder_of_a_cluster_that_is_not_there_yet_may_found() {
    assert!(may_found(&node(1), &present(1, None)));
    assert!(!may_found(&node(1), &present(1, Some("uuid"))));
    assert!(!may_found(&node(1), &present(2, None)));
    assert!(!may_found(&node(1), &RecordSeen::Absent));
    assert!(!may_found(&node(1), &RecordSeen::Unknown));
}

#[test]
fn a_founder_that_left_too_early_is_replaced() {
    let mut world = World::calm(Engine::Opensearch2);
    world.record = present(9, None);
    assert_eq!(world.commands(), [SearchCommand::ClaimRecord]);
    world.fresh = false;
    assert!(!world.commands().contains(&SearchCommand::ClaimRecord));
}

#[test]
fn the_founder_records_the_cluster_and_nobody_else_does() {
    let mut world = World::calm(Engine::Elasticsearch7);
    world.record = present(1, None);
    assert_eq!(world.commands(), [SearchCommand::RecordCluster { uuid: "uuid".to_owned() }]);
    world.record = present(2, None);
    assert_eq!(world.commands(), []);
}

#[test]
fn data_of_another_search_cluster_stop_every_change() {
    let mut world = World::calm(Engine::Elasticsearch6);
    world.state().cluster_uuid = Some("other".to_owned());
    world.state().quorum = Some(9);
    assert_eq!(world.commands(), []);
    assert_eq!(world.codes(), ["search-other-cluster"]);
}

#[test]
fn a_service_stopped_by_hand_stays_stopped() {
    let mut world = World::calm(Engine::Elasticsearch6);
    world.state = None;
    world.service = ServiceSeen::Down;
    assert_eq!(world.commands(), []);
    assert_eq!(world.codes(), ["search-stopped"]);
}

#[test]
fn the_quorum_follows_the_members_as_far_as_the_engine_allows() {
    let mut world = World::calm(Engine::Elasticsearch6);
    world.state().start_quorum = Some(1);
    assert_eq!(world.commands(), [SearchCommand::SetQuorum(2)]);
    world.state().nodes = BTreeMap::from([(id(1), node(1))]);
    assert_eq!(world.commands(), [], "the engine refuses more than it has nodes");
    let mut shrunk = World::calm(Engine::Elasticsearch6);
    shrunk.members = BTreeSet::from([node(1)]);
    assert_eq!(shrunk.commands(), [SearchCommand::SetQuorum(1)]);
    shrunk.fresh = false;
    assert_eq!(shrunk.commands(), [], "an old list of members changes no quorum");
}

#[test]
fn the_last_of_two_nodes_restarts_with_a_quorum_of_one() {
    let mut world = World::calm(Engine::Elasticsearch6);
    world.members = BTreeSet::from([node(1)]);
    world.state().master = None;
    world.turn = TurnSeen::Free;
    assert_eq!(world.commands(), [SearchCommand::TakeTurn]);
    world.turn = TurnSeen::Mine;
    assert_eq!(world.commands(), [SearchCommand::RestartService]);
    world.service = ServiceSeen::Running(Duration::from_secs(5));
    assert_eq!(world.commands(), [], "a master may still be found");
}

#[test]
fn a_restart_needs_the_turn_and_a_green_complete_cluster() {
    let mut world = World::calm(Engine::Elasticsearch7);
    world.state().fingerprint = Some("older".to_owned());
    world.turn = TurnSeen::Free;
    assert_eq!(world.commands(), [SearchCommand::TakeTurn]);
    world.turn = TurnSeen::Other(node(3));
    assert_eq!((world.commands(), world.codes()), (vec![], vec!["search-restart".to_owned()]));
    world.turn = TurnSeen::Mine;
    assert_eq!(world.commands(), [SearchCommand::RestartService]);
    world.state().colour = Colour::Yellow;
    assert_eq!(world.commands(), []);
    world.state().fingerprint = Some("f".to_owned());
    assert_eq!(world.commands(), [SearchCommand::GiveBackTurn]);
}

#[test]
fn a_removed_member_leaves_the_voting_configuration_and_the_exclusion_ends() {
    let mut world = World::calm(Engine::Elasticsearch7);
    world.members.remove(&node(3));
    assert_eq!(world.commands(), [SearchCommand::ExcludeVoters([id(3)].into())], "while it still runs");
    world.state().nodes.remove(&id(3));
    assert_eq!(world.commands(), [SearchCommand::ExcludeVoters([id(3)].into())], "and when it is gone");
    let mut absent_too = world.clone();
    absent_too.state().nodes.remove(&id(2));
    assert_eq!(absent_too.commands(), [], "an absent voter may be a member that is only down");
    world.apply(&SearchCommand::ExcludeVoters([id(3)].into()));
    assert_eq!(world.commands(), [SearchCommand::ClearExclusions]);
    world.apply(&SearchCommand::ClearExclusions);
    assert_eq!(world.commands(), []);
}

fn config(engine: Engine) -> EngineConfig {
    EngineConfig {
        engine,
        cluster_name: "leaderl-0123".to_owned(),
        me: node(1),
        address: "10.0.0.1".parse().unwrap(),
        vips: Vec::new(),
        http_port: 9200,
        transport_port: 9300,
        data_dir: "/data".to_owned(),
        log_dir: "/log".to_owned(),
        heap_mib: 300,
        jvm_opts: vec!["-Da=b".to_owned()],
        mmap: true,
        seeds: vec!["10.0.0.2:9300".parse().unwrap(), "[fd00::3]:9300".parse().unwrap()],
        quorum: 2,
        found_cluster: false,
    }
}

#[test]
fn members_and_quorum_change_files_but_need_no_restart() {
    for engine in [Engine::Elasticsearch6, Engine::Elasticsearch7, Engine::Opensearch2] {
        let before = render(&config(engine));
        let after = render(&EngineConfig { seeds: Vec::new(), quorum: 1, found_cluster: true, ..config(engine) });
        assert_eq!(before.fingerprint, after.fingerprint);
        assert_ne!(before.files, after.files);
        let heap = render(&EngineConfig { heap_mib: 301, ..config(engine) });
        assert_ne!(before.fingerprint, heap.fingerprint);
    }
}

#[test]
fn the_files_say_what_was_asked() {
    let rendered = render(&EngineConfig { found_cluster: true, ..config(Engine::Elasticsearch6) });
    let yml = &rendered.files["elasticsearch.yml"];
    assert!(yml.contains("discovery.zen.minimum_master_nodes: 2\n"), "{yml}");
    assert!(yml.contains("cluster.routing.allocation.disk.watermark.flood_stage: 500mb\n"), "{yml}");
    assert!(yml.contains("http.bind_host: [\"10.0.0.1\", \"_local_\"]\n"), "{yml}");
    assert!(!yml.contains("initial_"), "zen1 knows no founding");
    assert_eq!(rendered.files["unicast_hosts.txt"], "10.0.0.2:9300\n[fd00::3]:9300\n");
    assert!(rendered.files["jvm.options"].starts_with("-Xms300m\n-Xmx300m\n"));
    assert!(rendered.files["jvm.options"].ends_with("-Da=b\n"));
    let open = render(&EngineConfig { found_cluster: true, ..config(Engine::Opensearch2) });
    let yml = &open.files["opensearch.yml"];
    assert!(yml.contains(&format!("cluster.initial_cluster_manager_nodes: [\"{}\"]", node(1))), "{yml}");
    assert!(!yml.contains("xpack"), "{yml}");
}

fn engines() -> impl Strategy<Value = Engine> {
    prop_oneof![Just(Engine::Elasticsearch6), Just(Engine::Elasticsearch7), Just(Engine::Opensearch2)]
}

proptest! {
    /// Cut the list after any prefix, observe again, plan again: the end is the same, and it is calm.
    #[test]
    fn a_plan_survives_being_cut_anywhere(engine in engines(), old in any::<bool>(), absent in any::<bool>(), cuts in prop::collection::vec(0usize..4, 40)) {
        let mut world = if absent { fresh_node(engine) } else { World::calm(engine) };
        world.turn = TurnSeen::Free;
        if old && let Some(state) = &mut world.state {
            state.fingerprint = Some("older".to_owned());
            world.files_match = false;
        }
        for cut in cuts {
            for command in world.commands().iter().take(cut) {
                world.apply(command);
            }
        }
        for _ in 0..20 {
            for command in world.commands() {
                world.apply(&command);
            }
        }
        prop_assert_eq!(world.commands(), []);
        prop_assert_eq!(world.turn.clone(), TurnSeen::Free);
        prop_assert!(world.state.is_some());
    }
}
