//! One node: directories, a heart process, and PgReplicationActor over the real adapter.

use async_trait::async_trait;
use leaderl::actors::Neighbours;
use leaderl::actors::postgres::pg_replication::{PgReplicationActor, PgReplicationMessage};
use leaderl::adapters::clock::BoottimeClock;
use leaderl::adapters::disk::RealDisks;
use leaderl::adapters::doors::RealDoors;
use leaderl::adapters::etcd::EtcdStore;
use leaderl::adapters::heart::HeartLink;
use leaderl::adapters::netlink::NetlinkAddresses;
use leaderl::adapters::postgres::RealPostgres;
use leaderl::adapters::search::LocalSearchEngine;
use leaderl::adapters::state_files::StateDir;
use leaderl::board::Board;
use leaderl::context::NodeContext;
use leaderl::heart::SOCKET_NAME;
use leaderl::heart::protocol::PostgresProcess;
use leaderl::ports::*;
use leaderl::settings::secrets::{Secret, Secrets};
use leaderl::settings::{PortGate, Settings};
use leaderl_decision::model::{Epoch, NodeId, Nonce, Timestamp};
use leaderl_decision::postgres_report::{PostgresOrder, PostgresReport, PostgresState, PrimaryReport};
use leaderl_decision::records::{Keys, MemberRecord, SCHEMA};
use ractor::{Actor, ActorRef};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn reason_to_skip() -> Option<&'static str> {
    let settings = Settings::default();
    if !nix::unistd::Uid::effective().is_root() {
        return Some("it needs root");
    }
    if !settings.postgres.bin_dir.join("pg_rewind").exists() {
        return Some("there is no PostgreSQL 15 in /usr/lib/postgresql/15");
    }
    None
}

/// Runs heart in this process, as `leaderl heart` does.
pub(crate) fn be_heart(directory: &Path) -> ExitCode {
    match leaderl::heart::run(&settings(directory, 0)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn settings(directory: &Path, port: u16) -> Settings {
    let mut settings = Settings::default();
    settings.node.publish_address = Some("127.0.0.1".parse().expect("an address"));
    settings.node.state_dir = directory.join("state");
    settings.node.runtime_dir = directory.join("run");
    settings.node.log_dir = directory.join("log");
    settings.postgres.data_dir = directory.join("state/postgresql/data");
    settings.postgres.port = port;
    settings.postgres.shared_buffers = "16MB".into();
    settings.postgres.max_connections = 50;
    // Several nodes share this machine's network.
    settings.fencing.port_gate = PortGate::Off;
    settings.postgres.client_addresses = vec!["127.0.0.1/32".into()];
    settings
}

pub(crate) fn secrets() -> Secrets {
    Secrets {
        cluster_id: "c".repeat(32),
        etcd_token: "t".into(),
        superuser_password: Secret("super:secret".into()),
        replication_password: Secret(r"repl:i\cation".into()),
        search_cluster_name: "s".into(),
    }
}

pub(crate) struct Node {
    directory: tempfile::TempDir,
    heart: Child,
    pub(crate) ctx: Arc<NodeContext>,
    actor: ActorRef<PgReplicationMessage>,
    pub(crate) name: &'static str,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.actor.kill();
        // heart ends everything that it is the parent of.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(self.heart.id()).expect("a pid")),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.heart.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path().join("log/postgresql/postgresql.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            eprintln!("--- {} PostgreSQL's log, last lines", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            eprintln!("--- {} last report: {:#?}", self.name, self.report());
        }
    }
}

impl Node {
    /// `first`: with a fresh data directory.
    pub(crate) async fn new(name: &'static str, number: u8, first: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("leaderl-pg-").tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let settings = settings(directory.path(), port);
        if first {
            let identifier = leaderl::adapters::postgres::init_database(&settings, &secrets()).await.expect("initdb");
            assert!(identifier.parse::<u64>().is_ok(), "{identifier}");
        }
        let heart = Command::new(std::env::current_exe().expect("this program"))
            .arg("heart")
            .arg(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("heart");
        let ctx = Arc::new(context(settings, number));
        let (actor, _) = Actor::spawn(None, PgReplicationActor, ctx.clone()).await.expect("the actor");
        spread_heart(&ctx, &actor);
        Self { directory, heart, ctx, actor, name }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.ctx.settings.postgres.data_dir.clone()
    }

    pub(crate) fn guid(&self) -> NodeId {
        self.ctx.guid.clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.ctx.settings.postgres.port
    }

    pub(crate) fn member(&self) -> MemberRecord {
        MemberRecord {
            schema: SCHEMA,
            guid: self.guid(),
            name: self.name.into(),
            address: "127.0.0.1".into(),
            version: "0".into(),
            postgres_port: self.port(),
            etcd_client_url: String::new(),
            etcd_peer_url: String::new(),
            search_ports: None,
        }
    }

    pub(crate) fn order(&self, order: PostgresOrder) {
        self.tell(PgReplicationMessage::Become(order));
    }

    pub(crate) fn tell(&self, message: PgReplicationMessage) {
        self.actor.cast(message).expect("the actor runs");
    }

    /// Kills the actor, and starts another one, as a restarted daemon would.
    pub(crate) async fn restart_actor(&mut self) {
        self.actor.kill();
        let (actor, _) = Actor::spawn(None, PgReplicationActor, self.ctx.clone()).await.expect("the actor");
        spread_heart(&self.ctx, &actor);
        self.actor = actor;
    }

    pub(crate) fn report(&self) -> PostgresReport {
        self.ctx.board.postgres.borrow().clone()
    }

    pub(crate) fn primary(&self) -> PrimaryReport {
        match self.report().state {
            PostgresState::Primary(primary) => primary,
            other => panic!("{} is no primary but {other:?}", self.name),
        }
    }

    /// Waits for a report like that; how long it took.
    pub(crate) async fn until(&self, what: &str, like: impl Fn(&PostgresReport) -> bool) -> Duration {
        let began = Instant::now();
        let mut reports = self.ctx.board.postgres.subscribe();
        let found = tokio::time::timeout(LIMIT, reports.wait_for(|report| like(report))).await;
        if found.is_err() {
            panic!("{}: no `{what}` within {LIMIT:?}; {:#?}", self.name, self.report());
        }
        drop(found);
        began.elapsed()
    }

    pub(crate) async fn arm(&self, epoch: u64) {
        let now = self.ctx.clock.now();
        let lease = ArmedLease {
            epoch: Epoch(epoch),
            nonce: Nonce(format!("nonce{epoch}")),
            seq: 1,
            t0: now,
            fence_at: now.plus(Duration::from_secs(200)),
        };
        self.ctx.guardian.arm(lease, Duration::from_secs(2)).await.expect("armed");
    }

    pub(crate) async fn disarm(&self, epoch: u64) {
        self.ctx.guardian.disarm(Epoch(epoch), Duration::from_secs(2)).await.expect("disarmed");
    }

    pub(crate) fn postmaster(&self) -> i32 {
        let heart = self.ctx.guardian.state().borrow().clone().expect("heart is attached");
        match heart.postgres {
            PostgresProcess::Running { pid, .. } => i32::try_from(pid).expect("a pid"),
            other => panic!("no postmaster: {other:?}"),
        }
    }

    /// A client's session over TCP.
    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port())
            .user("chef_pgsql")
            .password("super:secret")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await
            .expect("a client's session");
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn rows(&self) -> i64 {
        let row = self.client().await.query_one("select count(*) from rows", &[]).await.expect("rows");
        row.get(0)
    }

    /// Waits until a standby shows `count` rows: it replays what it has flushed a little later.
    pub(crate) async fn shows(&self, count: i64) {
        let end = Instant::now() + LIMIT;
        while self.rows().await != count {
            assert!(Instant::now() < end, "{}: {} rows instead of {count}", self.name, self.rows().await);
            tokio::task::yield_now().await;
        }
    }
}

/// What HeartLinkActor does.
fn spread_heart(ctx: &Arc<NodeContext>, actor: &ActorRef<PgReplicationMessage>) {
    let (mut state, actor) = (ctx.guardian.state(), actor.clone());
    tokio::spawn(async move {
        loop {
            let heart = state.borrow_and_update().clone();
            if actor.cast(PgReplicationMessage::HeartChanged(heart)).is_err() || state.changed().await.is_err() {
                return;
            }
        }
    });
}

fn context(settings: Settings, number: u8) -> NodeContext {
    let guid = NodeId(format!("{number:032x}"));
    let secrets = secrets();
    let postgres = RealPostgres::new(&settings, &secrets, guid.clone()).expect("the adapter");
    let nobody = Arc::new(Nobody);
    NodeContext {
        guid,
        boot_id: String::new(),
        keys: Keys::new(&secrets.cluster_id),
        clock: Arc::new(BoottimeClock),
        board: Board::new(Timestamp(0)),
        store: Arc::new(EtcdStore::new("http://127.0.0.1:9", &[])),
        guardian: HeartLink::start(
            settings.node.runtime_dir.join(SOCKET_NAME),
            settings.election.leader_ttl,
            Arc::new(BoottimeClock),
        ),
        addresses: Arc::new(NetlinkAddresses::open()),
        disks: Arc::new(RealDisks::default()),
        files: Arc::new(StateDir::new(&settings.node.state_dir)),
        doors: Arc::new(RealDoors),
        postgres: Arc::new(postgres),
        postgres_probe: nobody.clone(),
        search: Arc::new(LocalSearchEngine::new(&settings).expect("a client")),
        services: nobody,
        neighbours: Neighbours::new(),
        settings,
        secrets,
    }
}

/// Ports that this actor does not use.
struct Nobody;

#[async_trait]
impl PostgresProbe for Nobody {
    async fn check(&self, limit: Duration) -> Result<PostgresAnswer, PostgresProbeError> {
        Err(PostgresProbeError::Silent { limit })
    }
}

fn no_service<T>() -> Result<T, ServiceError> {
    unreachable!("this actor uses no services")
}

#[async_trait]
impl ServiceControl for Nobody {
    async fn install(&self, _: &ServiceDefinition, _: Duration) -> Result<bool, ServiceError> {
        no_service()
    }
    async fn uninstall(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        no_service()
    }
    async fn start(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        no_service()
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        no_service()
    }
    async fn restart(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        no_service()
    }
    async fn status(&self, _: &str, _: Duration) -> Result<ServiceState, ServiceError> {
        no_service()
    }
    async fn enable(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        no_service()
    }
    async fn disable(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        no_service()
    }
}
