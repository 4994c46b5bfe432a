//! Three nodes in one process: the real tree of every daemon, the real guard of every heart, over an etcd, three copies of
//! PostgreSQL and three kernels in memory, on tokio's paused clock.

pub mod heart;
pub mod host;
pub mod postgres;
pub mod store;
pub mod story;

use heart::Heart;
use host::{GoodDisks, Kernel, PausedClock};
use leaderl::actors::Neighbours;
use leaderl::actors::api::control::Control;
use leaderl::actors::api::http_routes::is_serving_leader;
use leaderl::adapters::doors::RealDoors;
use leaderl::adapters::etcd_service::config::member_record;
use leaderl::adapters::etcd_service::seed::seed_new_cluster;
use leaderl::adapters::search::LocalSearchEngine;
use leaderl::adapters::services::service_control;
use leaderl::adapters::state_files::StateDir;
use leaderl::board::Board;
use leaderl::context::NodeContext;
use leaderl::daemon::{DaemonError, run_node};
use leaderl::ports::{Clock, CoordinationStore, Txn, Write};
use leaderl::settings::secrets::Secrets;
use leaderl::settings::{RunMode, Settings};
use leaderl_decision::model::{Epoch, NodeId, Nonce, ReplicationMode};
use leaderl_decision::records::{ClusterSettings, Keys, SCHEMA};
use postgres::{Copies, Postgres};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Client, Store};
use story::{Moment, Story};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No wait in a test takes longer, in virtual time.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const VIP: &str = "10.9.9.9";

/// Everything outside the daemons.
pub struct World {
    pub clock: Arc<PausedClock>,
    pub store: Arc<Store>,
    pub copies: Arc<Copies>,
    pub story: Arc<Story>,
    pub nodes: Vec<Node>,
    secrets: Secrets,
    running: Arc<Mutex<BTreeMap<NodeId, Arc<NodeContext>>>>,
    _files: tempfile::TempDir,
}

/// One host.
pub struct Node {
    pub guid: NodeId,
    pub kernel: Arc<Kernel>,
    pub heart: Arc<Heart>,
    pub settings: Settings,
}

/// A running daemon.
pub struct Daemon {
    pub ctx: Arc<NodeContext>,
    pub control: Arc<Control>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), DaemonError>>,
}

fn settings(number: u8, files: &std::path::Path) -> Settings {
    let mut settings = Settings::default();
    settings.node.name = format!("backend-{number}");
    settings.node.publish_address = Some(format!("127.0.0.{}", 10 + number).parse().unwrap());
    settings.node.priority = 200 - u32::from(number);
    settings.node.state_dir = files.join(format!("state-{number}"));
    settings.node.runtime_dir = files.join(format!("run-{number}"));
    settings.vip.addresses = vec![format!("{VIP}/32")];
    settings.vip.interface = Some("eth0".to_owned());
    settings.search.mode = RunMode::Off;
    // The kernel chooses, so that tests do not meet.
    settings.http.port = 0;
    settings
}

impl World {
    /// Three hosts with equal copies, and a seeded etcd. No daemon runs.
    pub async fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let (clock, store, story) = (PausedClock::new(), Store::new(), Story::new());
        let copies: Arc<Copies> = Arc::default();
        let nodes: Vec<Node> = (1..=3)
            .map(|number| {
                let guid = NodeId(format!("{number:032x}"));
                let settings = settings(number, files.path());
                let own = settings.node.publish_address.unwrap();
                copies.add(guid.clone());
                let kernel = Kernel::new(own);
                let heart = Heart::start(guid.clone(), clock.clone(), copies.clone(), kernel.clone(), story.clone());
                Node { guid, kernel, heart, settings }
            })
            .collect();
        let running: Arc<Mutex<BTreeMap<NodeId, Arc<NodeContext>>>> = Arc::default();
        let looked_at = running.clone();
        story.looks_by(Box::new(move |node| {
            let running = looked_at.lock().unwrap();
            running.get(node).map_or((false, false), |ctx| {
                (is_serving_leader(ctx.as_ref()), ctx.neighbours.status_http.actor().is_ok())
            })
        }));
        let secrets = Secrets::generate().unwrap();
        let world = Self { clock, store, copies, story, nodes, secrets, running, _files: files };
        world.seed().await;
        world
    }

    async fn seed(&self) {
        let keys = self.keys();
        let record = |node: &Node| member_record(&node.settings, &node.guid).unwrap();
        let settings = ClusterSettings {
            schema: SCHEMA,
            cluster_id: self.secrets.cluster_id.clone(),
            system_identifier: None,
            leader_ttl_ms: 5000,
            mode: ReplicationMode::Quorum,
        };
        let client = Client(self.store.clone());
        let creator = record(&self.nodes[0]);
        seed_new_cluster(&client, &keys, &settings, &creator, Nonce("seed".into()), LIMIT).await.unwrap();
        let put = |node: &Node| Write::Put {
            key: keys.member(&node.guid),
            value: serde_json::to_vec(&record(node)).unwrap(),
        };
        let writes = self.nodes[1..].iter().map(put).collect();
        client.txn(Txn { writes, ..Txn::default() }, LIMIT).await.unwrap();
    }

    pub fn keys(&self) -> Keys {
        Keys::new(&self.secrets.cluster_id)
    }

    /// Starts the daemon of a host.
    pub fn daemon(&self, number: usize) -> Daemon {
        let node = &self.nodes[number - 1];
        let link = node.heart.connect();
        let postgres = Arc::new(Postgres { node: node.guid.clone(), copies: self.copies.clone() });
        let ctx = Arc::new(NodeContext {
            guid: node.guid.clone(),
            boot_id: format!("boot-{number}"),
            keys: self.keys(),
            board: Board::new(self.clock.now()),
            store: Arc::new(Client(self.store.clone())),
            guardian: link.clone(),
            addresses: node.kernel.clone(),
            disks: Arc::new(GoodDisks),
            postgres: postgres.clone(),
            postgres_probe: postgres,
            services: service_control(&node.settings),
            search: Arc::new(LocalSearchEngine::new(&node.settings).unwrap()),
            neighbours: Neighbours::new(),
            clock: self.clock.clone(),
            files: Arc::new(StateDir::new(&node.settings.node.state_dir)),
            doors: Arc::new(RealDoors),
            settings: node.settings.clone(),
            secrets: self.secrets.clone(),
        });
        self.running.lock().unwrap().insert(node.guid.clone(), ctx.clone());
        let control = Arc::new(Control::new());
        let (stop, stopped) = oneshot::channel();
        let (of_node, shared) = (ctx.clone(), control.clone());
        let task = tokio::spawn(async move {
            let stop = async {
                // A dropped sender is a test that has ended.
                let _ = stopped.await;
            };
            let outcome = run_node(of_node, shared, stop).await;
            link.end();
            outcome
        });
        Daemon { ctx, control, stop: Some(stop), task }
    }

    /// All three, with node 1 serving and both others as its voters.
    pub async fn whole(&self) -> Vec<Daemon> {
        let daemons: Vec<Daemon> = (1..=3).map(|number| self.daemon(number)).collect();
        self.until("node 1 serves with two voters", || {
            self.serves(1) && self.nodes[0].kernel.vips().len() == 1 && self.voters() == 2
        })
        .await;
        self.nodes.iter().for_each(|node| drop(self.story.take(&node.guid)));
        daemons
    }

    /// What `GET /leader` of a node says.
    pub fn serves(&self, number: usize) -> bool {
        let running = self.running.lock().unwrap();
        running.get(&self.nodes[number - 1].guid).is_some_and(|ctx| is_serving_leader(ctx.as_ref()))
    }

    /// Whether a node's gate lets clients in.
    pub fn lets_in(&self, number: usize) -> bool {
        self.nodes[number - 1].kernel.lets_in(self.clock.now())
    }

    fn voters(&self) -> usize {
        let record = self.store.value(&self.keys().voters());
        record.and_then(|record| record["voters"].as_array().map(Vec::len)).unwrap_or(0)
    }

    pub fn epoch(&self) -> Epoch {
        let record = self.store.value(&self.keys().epoch());
        Epoch(record.and_then(|record| record["epoch"].as_u64()).unwrap_or(0))
    }

    /// The leader key's value.
    pub fn leader(&self) -> serde_json::Value {
        self.store.value(&self.keys().leader()).unwrap_or_default()
    }

    /// What happened on a node since the last call.
    pub fn story_of(&self, number: usize) -> Vec<Moment> {
        self.story.take(&self.nodes[number - 1].guid)
    }

    /// Waits for a condition, in steps of a millisecond.
    pub async fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let end = tokio::time::Instant::now() + LIMIT;
        while !reached() {
            assert!(tokio::time::Instant::now() < end, "never: {what}; {}", self.describe());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl World {
    /// For a test that has waited in vain.
    fn describe(&self) -> String {
        let running = self.running.lock().unwrap();
        let of = |ctx: &Arc<NodeContext>| {
            let (election, postgres) = (ctx.board.election.borrow().clone(), ctx.board.postgres.borrow().clone());
            format!("\n{}: {election:#?}\n{postgres:#?}", ctx.settings.node.name)
        };
        let nodes: String = running.values().map(of).collect();
        format!("leader {}, {} voters{nodes}", self.leader(), self.voters())
    }
}

impl Daemon {
    /// SIGTERM.
    pub fn sigterm(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A daemon that ended already hears nothing.
            let _ = stop.send(());
        }
    }

    /// Waits for its end.
    pub async fn ended(self) -> Result<(), DaemonError> {
        tokio::time::timeout(2 * LIMIT, self.task).await.expect("the daemon ends").expect("it does not panic")
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}
