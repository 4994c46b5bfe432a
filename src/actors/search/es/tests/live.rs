//! The real engines: three nodes on loopback, grown from one to three and shrunk to two.
//!
//! Runs only with `LEADERL_SEARCH_HOMES="elasticsearch6=/opt/es6 opensearch2=/opt/os2"`, as root, with an OS user `search`.
//! It needs Java, about 2 GB of memory and some minutes.

use super::super::reconcile;
use super::fakes::{Node, Shared, guid};
use crate::adapters::search::LocalSearchEngine;
use crate::ports::{SearchEngine, SearchPaths, ServiceControl, ServiceDefinition, ServiceError, ServiceState};
use crate::settings::{SearchEngine as EngineSetting, Settings};
use async_trait::async_trait;
use leaderl_decision::search_plan::EngineState;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A service manager that knows one service and forgets it at the end of the test.
#[derive(Default)]
struct OneProcess {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    definition: Option<ServiceDefinition>,
    running: Option<(Child, Instant)>,
    starts: u32,
}

impl OneProcess {
    fn starts(&self) -> u32 {
        self.inner.lock().unwrap().starts
    }

    fn end(&self) {
        if let Some((mut child, _)) = self.inner.lock().unwrap().running.take() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for OneProcess {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl ServiceControl for OneProcess {
    async fn install(&self, service: &ServiceDefinition, _: Duration) -> Result<bool, ServiceError> {
        Ok(self.inner.lock().unwrap().definition.replace(service.clone()).is_none())
    }
    async fn start(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        let mut inner = self.inner.lock().unwrap();
        let definition = inner.definition.clone().unwrap();
        let user = nix::unistd::User::from_name(&definition.user.unwrap()).unwrap().unwrap();
        std::fs::create_dir_all(&definition.log_dir).unwrap();
        let log = std::fs::File::create(definition.log_dir.join("engine.out")).unwrap();
        let child = Command::new(&definition.argv[0])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(&definition.env)
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        inner.running = Some((child, Instant::now()));
        inner.starts += 1;
        Ok(())
    }
    async fn restart(&self, name: &str, limit: Duration) -> Result<(), ServiceError> {
        self.end();
        self.start(name, limit).await
    }
    async fn status(&self, _: &str, _: Duration) -> Result<ServiceState, ServiceError> {
        let inner = self.inner.lock().unwrap();
        Ok(match (&inner.definition, &inner.running) {
            (None, _) => ServiceState::NotInstalled,
            (Some(_), None) => ServiceState::Down { down: Duration::ZERO },
            (Some(_), Some((child, since))) => ServiceState::Run { pid: child.id(), up: since.elapsed() },
        })
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        self.end();
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

struct RealNode {
    node: Node,
    engine: Arc<LocalSearchEngine>,
    services: Arc<OneProcess>,
}

fn real_node(shared: &Shared, n: u8, engine: EngineSetting, home: &Path, top: &Path) -> RealNode {
    let settings = settings(n, engine, home, top);
    let engine = Arc::new(LocalSearchEngine::new(&settings).unwrap());
    let services = Arc::new(OneProcess::default());
    let node = shared.node(n, settings, engine.clone(), services.clone());
    RealNode { node, engine, services }
}

fn settings(n: u8, engine: EngineSetting, home: &Path, top: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.node.publish_address = Some(format!("127.0.0.1{n}").parse().unwrap());
    settings.node.state_dir = top.join(format!("n{n}/state"));
    settings.node.log_dir = top.join(format!("n{n}/log"));
    settings.search.engine = engine;
    settings.search.home = home.to_owned();
    (settings.search.http_port, settings.search.transport_port) = (19200, 19300);
    settings.search.heap_mib = 256;
    settings
}

/// Reconciles all nodes until `done` holds for every engine's state.
async fn until(what: &str, shared: &Shared, nodes: &mut [RealNode], done: impl Fn(&EngineState) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        shared.still_heard();
        let mut all = true;
        for real in nodes.iter_mut() {
            reconcile(&mut real.node.state).await;
            let state = real.engine.observe(Duration::from_secs(2)).await;
            all &= state.is_ok_and(|state| done(&state));
        }
        if all {
            println!("{what}: {:?}", nodes.iter().map(|real| real.node.view.borrow().clone()).collect::<Vec<_>>());
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: {:?}",
            nodes.iter().map(|real| real.node.codes()).collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn grow_and_shrink(setting: EngineSetting, home: &Path) {
    let top = tempfile::tempdir().unwrap();
    std::fs::set_permissions(top.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let shared = Shared::new();
    let mut nodes = vec![real_node(&shared, 1, setting, home, top.path())];
    shared.set_members(&[1]);
    until("one node", &shared, &mut nodes, |state| state.master == Some(guid(1))).await;

    nodes.push(real_node(&shared, 2, setting, home, top.path()));
    nodes.push(real_node(&shared, 3, setting, home, top.path()));
    shared.set_members(&[1, 2, 3]);
    let quorum = setting == EngineSetting::Elasticsearch6;
    until("three nodes", &shared, &mut nodes, |state| {
        let voters = state.voting.as_ref().is_none_or(|voting| voting.committed.len() == 3);
        state.nodes.len() == 3 && state.master.is_some() && voters && (!quorum || state.quorum == Some(2))
    })
    .await;

    // The master's daemon changes a setting that needs a restart: one restart, then the cluster is whole again.
    let mut changed = settings(3, setting, home, top.path());
    changed.search.heap_mib = 257;
    nodes[2].node = shared.node(3, changed, nodes[2].engine.clone(), nodes[2].services.clone());
    let old = nodes[2].engine.observe(Duration::from_secs(2)).await.unwrap().fingerprint;
    until("changed setting", &shared, &mut nodes, |state| {
        let third = state.fingerprint.clone();
        state.nodes.len() == 3 && state.master.is_some() && third.is_some()
    })
    .await;
    wait_for_restart(&shared, &mut nodes, old).await;
    assert_eq!(nodes.iter().map(|real| real.services.starts()).collect::<Vec<_>>(), [1, 1, 2]);

    nodes[2].services.end();
    nodes.pop();
    shared.set_members(&[1, 2]);
    until("two nodes", &shared, &mut nodes, |state| {
        let voters =
            state.voting.as_ref().is_none_or(|voting| voting.committed.len() < 3 && voting.excluded.is_empty());
        state.nodes.len() == 2 && state.master.is_some() && voters
    })
    .await;
}

async fn wait_for_restart(shared: &Shared, nodes: &mut [RealNode], old: Option<String>) {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        until("restart", shared, nodes, |state| state.nodes.len() == 3 && state.master.is_some()).await;
        let now = nodes[2].engine.observe(Duration::from_secs(2)).await.ok().and_then(|state| state.fingerprint);
        if now.is_some() && now != old {
            return;
        }
        assert!(Instant::now() < deadline, "{:?}", nodes[2].node.codes());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_engines_form_a_cluster_from_our_files() {
    let Ok(homes) = std::env::var("LEADERL_SEARCH_HOMES") else { return };
    let homes: BTreeMap<&str, &str> = homes.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
    for (name, home) in homes {
        let engine = match name {
            "elasticsearch6" => EngineSetting::Elasticsearch6,
            "elasticsearch7" => EngineSetting::Elasticsearch7,
            _ => EngineSetting::Opensearch2,
        };
        println!("{name}: {:?}", SearchPaths::new(&settings(1, engine, Path::new(home), Path::new("/"))).home);
        grow_and_shrink(engine, Path::new(home)).await;
    }
}
