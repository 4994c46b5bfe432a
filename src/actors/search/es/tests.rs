use super::reconcile;
use crate::ports::{
    SearchEngine, SearchError, SearchHost, ServiceControl, ServiceDefinition, ServiceError, ServiceState,
};
use crate::settings::{RunMode, SearchEngine as EngineSetting, Settings};
use async_trait::async_trait;
use fakes::{Node, Shared, guid};
use leaderl_decision::search_plan::render::EngineFiles;
use leaderl_decision::search_plan::{Colour, EngineState, Voting};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod fakes;
mod live;

/// An engine and its service manager in memory: what is started runs at once with the files written last.
#[derive(Default)]
struct FakeEngine {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    installed: bool,
    running: Option<EngineState>,
    files: EngineFiles,
    starts: u32,
    wishes: Vec<String>,
}

fn silent<T>() -> Result<T, SearchError> {
    Err(SearchError::Silent { detail: "connection refused".to_owned() })
}

impl FakeEngine {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap())
    }
}

#[async_trait]
impl SearchEngine for FakeEngine {
    async fn observe(&self, _: Duration) -> Result<EngineState, SearchError> {
        self.with(|inner| inner.running.clone()).map_or_else(silent, Ok)
    }
    async fn set_quorum(&self, quorum: u32, _: Duration) -> Result<(), SearchError> {
        self.with(|inner| inner.wishes.push(format!("quorum {quorum}")));
        Ok(())
    }
    async fn exclude_voters(&self, ids: &BTreeSet<String>, _: Duration) -> Result<(), SearchError> {
        self.with(|inner| inner.wishes.push(format!("exclude {ids:?}")));
        Ok(())
    }
    async fn clear_exclusions(&self, _: Duration) -> Result<(), SearchError> {
        silent()
    }
    async fn host(&self, _: Duration) -> Result<SearchHost, SearchError> {
        let has_run = self.with(|inner| inner.starts > 0);
        let memory_bytes = 8 << 30;
        Ok(SearchHost { engine_present: true, has_run, memory_bytes, ..SearchHost::default() })
    }
    async fn files_match(&self, files: &EngineFiles, _: Duration) -> Result<bool, SearchError> {
        Ok(self.with(|inner| inner.files == *files))
    }
    async fn write_files(&self, files: &EngineFiles, _: Duration) -> Result<(), SearchError> {
        self.with(|inner| inner.files = files.clone());
        Ok(())
    }
}

#[async_trait]
impl ServiceControl for FakeEngine {
    async fn install(&self, service: &ServiceDefinition, _: Duration) -> Result<bool, ServiceError> {
        assert_eq!(service.name, "leaderl-search");
        assert!(service.env.contains_key("ES_PATH_CONF"), "{service:?}");
        Ok(!self.with(|inner| std::mem::replace(&mut inner.installed, true)))
    }
    async fn start(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        self.with(|inner| {
            inner.starts += 1;
            inner.running = Some(EngineState {
                cluster_name: "leaderl-test".to_owned(),
                cluster_uuid: Some("uuid".to_owned()),
                colour: Colour::Green,
                nodes: [("id1".to_owned(), guid(1))].into(),
                master: Some(guid(1)),
                fingerprint: Some(inner.files.fingerprint.clone()),
                start_quorum: Some(1),
                voting: Some(Voting { committed: ["id1".to_owned()].into(), ..Voting::default() }),
                ..EngineState::default()
            });
        });
        Ok(())
    }
    async fn restart(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.start(name, limit).await
    }
    async fn status(&self, _: &str, _: Duration) -> Result<ServiceState, ServiceError> {
        Ok(self.with(|inner| match (inner.installed, &inner.running) {
            (false, _) => ServiceState::NotInstalled,
            (true, None) => ServiceState::Down { down: Duration::ZERO },
            (true, Some(_)) => ServiceState::Run { pid: 1, up: Duration::from_secs(200) },
        }))
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        Ok(())
    }
    async fn uninstall(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        Ok(())
    }
    async fn enable(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        Ok(())
    }
    async fn disable(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        Ok(())
    }
}

fn node(shared: &Shared, change: impl FnOnce(&mut Settings)) -> (Node, Arc<FakeEngine>) {
    let engine = Arc::new(FakeEngine::default());
    let mut settings = Settings::default();
    settings.search.engine = EngineSetting::Elasticsearch7;
    change(&mut settings);
    (shared.node(1, settings, engine.clone(), engine.clone()), engine)
}

async fn ticks(node: &mut Node, count: usize) {
    for _ in 0..count {
        reconcile(&mut node.state).await;
    }
}

#[tokio::test]
async fn a_new_cluster_is_founded_once_and_the_founding_line_goes_away() {
    let shared = Shared::new();
    shared.set_members(&[1]);
    let (mut node, engine) = node(&shared, |_| {});
    ticks(&mut node, 2).await;
    let yml = engine.with(|inner| inner.files.files["elasticsearch.yml"].clone());
    assert!(yml.contains("cluster.initial_master_nodes"), "{yml}");
    ticks(&mut node, 4).await;
    let yml = engine.with(|inner| inner.files.files["elasticsearch.yml"].clone());
    assert!(!yml.contains("cluster.initial_master_nodes"), "{yml}");
    assert_eq!(engine.with(|inner| inner.starts), 1);
    let view = node.view.borrow().clone();
    assert_eq!((view.role.as_str(), view.health.as_str(), view.nodes, view.has_master), ("master", "green", 1, true));
    assert_eq!(view.problems, []);
}

#[tokio::test]
async fn a_wiped_node_does_not_found_a_second_cluster() {
    let shared = Shared::new();
    shared.set_members(&[1]);
    let (mut first, _) = node(&shared, |_| {});
    ticks(&mut first, 6).await;
    let (mut wiped, engine) = node(&shared, |_| {});
    ticks(&mut wiped, 6).await;
    let yml = engine.with(|inner| inner.files.files["elasticsearch.yml"].clone());
    assert!(!yml.contains("cluster.initial_master_nodes"), "{yml}");
}

#[tokio::test]
async fn a_changed_setting_restarts_the_engine_once_and_gives_the_turn_back() {
    let shared = Shared::new();
    shared.set_members(&[1]);
    let (mut node, engine) = node(&shared, |_| {});
    ticks(&mut node, 6).await;
    let mut changed = Settings::default();
    changed.search.engine = EngineSetting::Elasticsearch7;
    changed.search.heap_mib = 999;
    let mut node = shared.node(1, changed, engine.clone(), engine.clone());
    for _ in 0..8 {
        ticks(&mut node, 1).await;
        if let Some(job) = node.state.restart.take() {
            job.await.unwrap();
        }
    }
    assert_eq!(engine.with(|inner| inner.starts), 2);
    assert_eq!(*node.state.records.turn(), leaderl_decision::search_plan::TurnSeen::Free);
    assert_eq!(node.codes(), Vec::<String>::new());
}

#[tokio::test]
async fn without_members_or_with_the_mode_off_nothing_is_touched() {
    let shared = Shared::new();
    let (mut unknown, engine) = node(&shared, |_| {});
    ticks(&mut unknown, 2).await;
    assert_eq!(unknown.codes(), ["not-a-member"]);
    assert_eq!((unknown.view.borrow().role.as_str(), engine.with(|inner| inner.installed)), ("offline", false));
    let (mut off, engine) = node(&shared, |settings| settings.search.mode = RunMode::Off);
    shared.set_members(&[1]);
    ticks(&mut off, 2).await;
    assert_eq!((off.view.borrow().role.as_str(), engine.with(|inner| inner.installed)), ("off", false));
}

#[tokio::test]
async fn an_external_engine_is_only_watched() {
    let shared = Shared::new();
    shared.set_members(&[1]);
    let (mut node, engine) = node(&shared, |settings| settings.search.mode = RunMode::External);
    ticks(&mut node, 2).await;
    assert_eq!(node.codes(), ["search-silent"]);
    engine.start("", Duration::ZERO).await.unwrap();
    ticks(&mut node, 2).await;
    let view = node.view.borrow().clone();
    assert_eq!((view.role.as_str(), view.has_master, engine.with(|inner| inner.installed)), ("external", true, false));
    assert_eq!(engine.with(|inner| inner.wishes.clone()), Vec::<String>::new());
}
