//! `leaderl run`: builds the node's context, starts the supervision tree, and ends it in order.

use crate::actors::Neighbours;
use crate::actors::api::control::{Control, StopMode};
use crate::actors::coordination::election::ElectionMessage;
use crate::actors::inside::{BlackBoxes, Inside};
use crate::actors::start::Start;
use crate::actors::tree_news::TreeNews;
use crate::adapters::clock::BoottimeClock;
use crate::adapters::disk::RealDisks;
use crate::adapters::doors::RealDoors;
use crate::adapters::etcd_service;
use crate::adapters::heart::HeartLink;
use crate::adapters::netlink::NetlinkAddresses;
use crate::adapters::postgres::RealPostgres;
use crate::adapters::postgres_check::PostgresCheck;
use crate::adapters::search::LocalSearchEngine;
use crate::adapters::services::service_control;
use crate::adapters::state_files::StateDir;
use crate::board::Board;
use crate::context::NodeContext;
use crate::heart::protocol::{PostgresProcess, PostgresStop, StopMode as PostgresStopMode};
use crate::ports::Clock;
use crate::settings::Settings;
use crate::settings::identity::NodeIdentity;
use crate::settings::secrets::Secrets;
use crate::tree::Actor;
use leaderl_decision::model::Door;
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::records::Keys;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use supervisors::{CallError, ExitReason, NotRunning, RootHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// How long a step-down and hand-over at SIGTERM may take before the daemon ends anyway (heart's deadline then acts).
const HAND_OVER_LIMIT: Duration = Duration::from_secs(30);
/// How long the actors of a tree that gave up may take to stop; the node is fenced before that.
const TREE_END_LIMIT: Duration = Duration::from_secs(30);
/// How long a branch that had given up may take to start.
const WAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long fencing may take when the tree gives up.
const FENCE_LIMIT: Duration = Duration::from_secs(2);

/// Why the daemon did not run, or ended in trouble.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Not created or joined, or the identity is broken.
    #[error(transparent)]
    Identity(#[from] crate::settings::identity::IdentityError),
    /// The secrets file.
    #[error(transparent)]
    Secrets(#[from] crate::settings::secrets::SecretsError),
    /// The runtime or a file of the kernel's.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// An adapter cannot be made from these settings.
    #[error("{what}")]
    Adapter {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An actor did not start.
    #[error("the supervision tree did not start: {0}")]
    NotStarted(String),
    /// Restarting did not help; the node was fenced first.
    #[error("the supervision tree gave up ({0}); this node is fenced")]
    GaveUp(String),
}

/// Runs the daemon until a signal or until its tree gives up.
pub fn run(settings: Settings) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System { what: "no runtime could be started".to_owned(), source })?;
    let outcome = runtime.block_on(run_tree(settings));
    // Detached probes of a hung disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn run_tree(settings: Settings) -> Result<(), DaemonError> {
    // Before the tree: a stop that comes while it starts is not lost.
    let stop = StopSignals::listen()?;
    run_node(Arc::new(context(settings)?), Arc::new(Control::new()), stop.come()).await
}

/// Runs one node's tree until `stop` says so or until it gives up, and ends it in order.
pub async fn run_node(
    ctx: Arc<NodeContext>,
    control: Arc<Control>,
    stop: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let boxes = Arc::new(BlackBoxes::new(ctx.settings.actors.flight_recorder));
    let news = Arc::new(TreeNews::new(ctx.clone(), boxes.clone()));
    let tree = Start { ctx: ctx.clone(), control: control.clone(), boxes: boxes.clone() }.tree();
    let started = supervisors::start_root_with(tree.starts(), Some(news.clone())).await;
    let root = started.map_err(|why| DaemonError::NotStarted(why.to_string()))?;
    let root = root.ok_or_else(|| DaemonError::NotStarted("the tree has nothing to run".to_owned()))?;
    let _set_once = control.inside.set(Inside::new(root.clone(), boxes));
    tracing::info!(guid = %ctx.guid, version = env!("CARGO_PKG_VERSION"), "leaderl runs");
    let orderly = async {
        stop.await;
        let mode = control.stop_mode(ctx.clock.now());
        tracing::info!(?mode, "leaderl stops");
        match mode {
            StopMode::StepDown => hand_over(&ctx).await,
            // heart holds PostgreSQL, VIP and deadline meanwhile.
            StopMode::Restart | StopMode::Upgrade => {}
        }
        root.stop(ExitReason::Shutdown).await;
    };
    tokio::select! {
        biased;
        () = news.root_gave_up() => Err(surrender(&ctx, &root).await),
        () = orderly => Ok(()),
        never = wake_resting(&news, &root) => match never {},
        // Whatever ended it, it was not us.
        _ = root.wait() => Err(surrender(&ctx, &root).await),
    }
}

/// Starts branches again that gave up and have rested, for ever.
async fn wake_resting(news: &TreeNews, root: &RootHandle<Actor>) -> Infallible {
    while let Some((branch, rest)) = news.next_to_rest().await {
        tokio::time::sleep(rest).await;
        match tokio::time::timeout(WAKE_LIMIT, root.supervisor().restart_child(branch)).await {
            Ok(Ok(_)) => tracing::warn!(%branch, "it had given up and runs again"),
            Ok(Err(why)) => tracing::error!(%branch, %why, "it had given up and was not started again"),
            Err(_) => tracing::error!(%branch, "it had given up, and its supervisor does not answer"),
        }
    }
    std::future::pending().await
}

/// SIGTERM and SIGINT.
struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, DaemonError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|source| DaemonError::System { what: "signals cannot be listened to".to_owned(), source })
        };
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    async fn come(mut self) {
        tokio::select! {
            biased;
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Asks the election to step down and hand over, each incarnation anew: one that ends half-way takes the order along.
async fn hand_over(ctx: &NodeContext) {
    let end = Instant::now() + HAND_OVER_LIMIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let outcome = match ctx.neighbours.election.wait_started(left).await {
            Ok(()) => ctx.neighbours.election.call(ElectionMessage::StepDownAndStop, left).await,
            Err(NotRunning) => Err(CallError::NotRunning),
        };
        match outcome {
            Ok(()) => return,
            Err(CallError::Ended | CallError::NotRunning) if Instant::now() < end => {
                tracing::warn!("the election ended before it had handed over; its next incarnation is asked");
                tokio::task::yield_now().await;
            }
            Err(why) => {
                tracing::warn!(%why, "nothing was handed over in time; heart's deadline ends what is left");
                return;
            }
        }
    }
}

/// I13: a tree that gives up fences its node before the process ends: at once, while its actors are still being stopped, and
/// once more when none of them can undo it.
async fn surrender(ctx: &NodeContext, root: &RootHandle<Actor>) -> DaemonError {
    if planted(Planted::PanicSkipsFence) {
        return DaemonError::GaveUp("a planted bug".to_owned());
    }
    // The status server may outlive the election by what its own stop takes.
    ctx.board.election.send_modify(|view| view.serves = false);
    fence(ctx).await;
    let reason = match tokio::time::timeout(TREE_END_LIMIT, root.wait()).await {
        Ok(reason) => reason.to_string(),
        Err(_) => format!("it did not end within {} s", TREE_END_LIMIT.as_secs()),
    };
    fence(ctx).await;
    DaemonError::GaveUp(reason)
}

/// VIP off and PostgreSQL ended at once, on a leader. Followers keep streaming.
async fn fence(ctx: &NodeContext) {
    let mut state = ctx.guardian.state();
    let armed = state.borrow().as_ref().and_then(|state| state.armed.clone());
    let Some(lease) = armed else { return };
    tracing::error!(epoch = %lease.epoch, "the supervision tree gave up on a leader: fencing");
    let stop = PostgresStop { mode: PostgresStopMode::Immediate, kill_at: ctx.clock.now().plus(FENCE_LIMIT / 4) };
    let (shut, released, stopped) = futures::join!(
        ctx.guardian.set_door(lease.epoch, Door::Shut, FENCE_LIMIT),
        ctx.guardian.release_vips(FENCE_LIMIT),
        ctx.guardian.stop_postgres(stop, FENCE_LIMIT),
    );
    if let Err(why) = shut {
        tracing::error!(%why, "the port gate was not shut; its deadline shuts it");
    }
    if let Err(why) = released {
        tracing::error!(%why, "the VIP was not released; its lifetime ends it");
    }
    if let Err(why) = stopped {
        tracing::error!(%why, "PostgreSQL was not stopped");
    }
    let gone = state.wait_for(|state| state.as_ref().is_some_and(|state| state.postgres == PostgresProcess::Gone));
    if tokio::time::timeout(FENCE_LIMIT, gone).await.is_err() {
        // heart is frozen or gone; the kernel ends PostgreSQL with it.
        tracing::error!("PostgreSQL is not known to be gone: killing heart");
        if let Err(why) = ctx.guardian.kill().await {
            tracing::error!(%why, "heart was not killed; its own deadline ends PostgreSQL if it runs");
        }
    }
}

fn context(settings: Settings) -> Result<NodeContext, DaemonError> {
    let identity = NodeIdentity::read(&settings)?;
    let secrets = Secrets::read(&settings.node.secrets_file)?;
    let adapter = |what: &str| {
        let what = what.to_owned();
        move |source: Box<dyn std::error::Error + Send + Sync>| DaemonError::Adapter { what, source }
    };
    let clock: Arc<dyn Clock> = Arc::new(BoottimeClock);
    let postgres = RealPostgres::new(&settings, &secrets, identity.guid.clone())
        .map_err(|why| adapter("PostgreSQL cannot be driven")(why.into()))?;
    let search =
        LocalSearchEngine::new(&settings).map_err(|why| adapter("the search engine cannot be driven")(why.into()))?;
    Ok(NodeContext {
        guid: identity.guid,
        boot_id: boot_id()?,
        keys: Keys::new(&secrets.cluster_id),
        board: Board::new(clock.now()),
        store: Arc::new(etcd_service::endpoints::store(&settings)),
        guardian: HeartLink::start(
            settings.node.runtime_dir.join("heart.sock"),
            settings.election.leader_ttl,
            clock.clone(),
        ),
        addresses: Arc::new(NetlinkAddresses::open()),
        disks: Arc::new(RealDisks::default()),
        files: Arc::new(StateDir::new(&settings.node.state_dir)),
        doors: Arc::new(RealDoors),
        postgres: Arc::new(postgres),
        postgres_probe: Arc::new(PostgresCheck::new(&settings, &secrets.superuser_password)),
        services: service_control(&settings),
        search: Arc::new(search),
        neighbours: Neighbours::new(),
        clock,
        settings,
        secrets,
    })
}

fn boot_id() -> Result<String, DaemonError> {
    let path = "/proc/sys/kernel/random/boot_id";
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|source| DaemonError::System { what: format!("{path} cannot be read"), source })
}
