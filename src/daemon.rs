//! `leaderl run`: builds the node's context, starts the supervision tree, and ends it in order.

use crate::actors::Neighbours;
use crate::actors::api::control::{Control, StopMode, TreeNode};
use crate::actors::coordination::election::ElectionMessage;
use crate::actors::start::Start;
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
use crate::heart::protocol::{PostgresStop, StopMode as PostgresStopMode};
use crate::ports::Clock;
use crate::settings::Settings;
use crate::settings::identity::NodeIdentity;
use crate::settings::secrets::Secrets;
use crate::tree::Actor;
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::records::Keys;
use std::sync::Arc;
use std::time::Duration;
use supervisors::{ChildNow, ChildSnapshot, ExitReason, RootHandle, TreeSnapshot};
use tokio::signal::unix::{SignalKind, signal};

/// How long a step-down and hand-over at SIGTERM may take before the daemon ends anyway (heart's deadline then acts).
const HAND_OVER_LIMIT: Duration = Duration::from_secs(30);
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
    run_until(Arc::new(context(settings)?), stop_signal()).await
}

/// Runs the tree of this node until `stop` or until it gives up, in either case to its orderly end.
pub async fn run_until(
    ctx: Arc<NodeContext>,
    stop_signal: impl Future<Output = Result<(), DaemonError>>,
) -> Result<(), DaemonError> {
    let control = Arc::new(Control::new());
    let tree = Start { ctx: ctx.clone(), control: control.clone() }.tree();
    let root = supervisors::start_root(tree).await.map_err(|why| DaemonError::NotStarted(why.to_string()))?;
    let drawn_from = root.clone();
    let _set_once = control.tree.set(Arc::new(move || {
        let root = drawn_from.clone();
        Box::pin(async move { root.snapshot().await.map(|tree| root_node(&tree)) })
    }));
    tracing::info!(guid = %ctx.guid, version = env!("CARGO_PKG_VERSION"), "leaderl runs");
    tokio::select! {
        biased;
        stopped = stop_signal => {
            stopped?;
            let mode = control.stop_mode(ctx.clock.now());
            stop(&ctx, &root, mode).await;
            Ok(())
        }
        reason = root.wait() => {
            if !planted(Planted::PanicSkipsFence) {
                fence(&ctx).await;
            }
            Err(DaemonError::GaveUp(reason.to_string()))
        }
    }
}

async fn stop_signal() -> Result<(), DaemonError> {
    let listen = |kind| {
        signal(kind).map_err(|source| DaemonError::System { what: "signals cannot be listened to".to_owned(), source })
    };
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// An ordinary stop steps down and hands over first; an announced restart or upgrade demotes nothing.
async fn stop(ctx: &NodeContext, root: &RootHandle<Actor>, mode: StopMode) {
    tracing::info!(?mode, "leaderl stops");
    match mode {
        StopMode::StepDown => {
            if let Err(why) = ctx.neighbours.election.call(ElectionMessage::StepDownAndStop, HAND_OVER_LIMIT).await {
                tracing::warn!(%why, "the election did not end in order; heart's deadline ends what is left");
            }
        }
        StopMode::Restart | StopMode::Upgrade => {}
    }
    root.stop(ExitReason::Shutdown).await;
}

/// I13: a tree that gives up fences its node before the process ends. Followers keep streaming.
async fn fence(ctx: &NodeContext) {
    let armed = ctx.guardian.state().borrow().as_ref().and_then(|state| state.armed.clone());
    let Some(lease) = armed else { return };
    tracing::error!(epoch = %lease.epoch, "the supervision tree gave up on a leader: fencing");
    if let Err(why) = ctx.guardian.release_vips(FENCE_LIMIT).await {
        tracing::error!(%why, "the VIP was not released; its lifetime ends it");
    }
    let stop = PostgresStop { mode: PostgresStopMode::Immediate, kill_at: ctx.clock.now().plus(FENCE_LIMIT / 4) };
    if let Err(why) = ctx.guardian.stop_postgres(stop, FENCE_LIMIT).await {
        tracing::error!(%why, "PostgreSQL was not stopped; heart's deadline ends it");
    }
    let mut state = ctx.guardian.state();
    let gone = state.wait_for(|state| {
        state.as_ref().is_some_and(|state| state.postgres == crate::heart::protocol::PostgresProcess::Gone)
    });
    if tokio::time::timeout(FENCE_LIMIT, gone).await.is_err() {
        tracing::error!("PostgreSQL is not known to be gone; heart's deadline ends it");
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
        guardian: HeartLink::start(settings.node.runtime_dir.join("heart.sock")),
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

fn root_node(tree: &TreeSnapshot<Actor>) -> TreeNode {
    TreeNode {
        id: "leaderl".to_owned(),
        kind: "supervisor".to_owned(),
        state: "running".to_owned(),
        children: tree.children.iter().map(child_node).collect(),
        ..TreeNode::default()
    }
}

fn child_node(child: &ChildSnapshot<Actor>) -> TreeNode {
    let (kind, children) = match &child.subtree {
        Some(tree) => ("supervisor", tree.children.iter().map(child_node).collect()),
        None => ("worker", Vec::new()),
    };
    TreeNode {
        id: child.id.to_string(),
        kind: kind.to_owned(),
        state: match child.now {
            ChildNow::Running(_) => "running",
            ChildNow::Restarting => "restarting",
            ChildNow::Down => "down",
        }
        .to_owned(),
        in_state_ms: u64::try_from(child.in_state.as_millis()).unwrap_or(u64::MAX),
        restarts: child.restarts,
        handled: child.handled,
        busy: child.busy,
        last_exit: child.last_exit.as_ref().map(ToString::to_string).unwrap_or_default(),
        children,
    }
}
