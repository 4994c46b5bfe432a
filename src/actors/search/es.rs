//! EsActor: configures the search engine for this node, starts or watches it, and keeps its quorum settings right.
//!
//! Hears:   `Reconcile` (its own timer, and every change of the cluster's members).
//! Does:    observe engine, service, host and etcd's record; `search_plan::plan`; apply; publish `SearchView`.
//! Restart: begins knowing nothing, observes, and changes only what differs. Its stop leaves the engine running.

use crate::blackbox::{self, Kind, Named, own};
use crate::board::SearchView;
use crate::context::NodeContext;
use crate::ports::{SearchHost, search_engine_of};
use crate::settings::RunMode;
use context::SearchContext;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{NodeId, Reason};
use leaderl_decision::search_plan::render::{EngineFiles, render};
use leaderl_decision::search_plan::{
    self, EngineState, SearchFacts, SearchPlan, ServiceSeen, may_found, needs_restart,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod apply;
mod config;
mod context;
mod records;
#[cfg(test)]
mod tests;

/// How often the engine is looked at.
const TICK: Duration = Duration::from_secs(2);
/// One question to the engine, the service manager or the disk.
const QUESTION: Duration = Duration::from_millis(1500);
/// Members count as known for so long after etcd last spoke.
const MEMBERS_FRESH: Duration = Duration::from_secs(5);

/// What EsActor hears.
#[derive(Debug)]
pub enum EsMessage {
    /// Observe, plan, apply.
    Reconcile,
}

impl Named for EsMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Reconcile => own("reconcile"),
        }
    }
}

/// The actor; its argument is the node's context.
pub struct EsActor;

/// What one incarnation knows.
pub struct EsState {
    context: SearchContext,
    records: records::Records,
    service_defined: bool,
    restart: Option<JoinHandle<()>>,
    last_failure: Option<String>,
    timer: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl EsState {
    fn new(context: SearchContext) -> Self {
        Self {
            context,
            records: records::Records::default(),
            service_defined: false,
            restart: None,
            last_failure: None,
            timer: None,
            watcher: None,
        }
    }
}

impl Drop for EsState {
    fn drop(&mut self) {
        for task in [&self.watcher, &self.timer].into_iter().flatten() {
            task.abort();
        }
        // An ordered restart goes on without us: the service manager does it, within its own limit.
    }
}

impl Actor for EsActor {
    type Msg = EsMessage;
    type State = EsState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(&self, me: ActorRef<EsMessage>, node: Arc<NodeContext>) -> Result<EsState, ActorProcessingErr> {
        let context = SearchContext::of(&node);
        let watcher = tokio::spawn(watch_members(context.cluster.clone(), me.clone()));
        me.cast(EsMessage::Reconcile)?;
        let mut state = EsState::new(context);
        state.watcher = Some(watcher);
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<EsMessage>,
        message: EsMessage,
        state: &mut EsState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EsMessage::Reconcile => {
                reconcile(state).await;
                schedule(state, me);
            }
        }
        Ok(())
    }
}

async fn reconcile(state: &mut EsState) {
    let view = match state.context.settings.search.mode {
        RunMode::Managed => managed(state).await,
        RunMode::External => external(state).await,
        RunMode::Off => SearchView { role: "off".to_owned(), ..SearchView::default() },
    };
    blackbox::became(word_of(&view));
    publish(&state.context, view);
}

fn word_of(view: &SearchView) -> &'static str {
    match view.role.as_str() {
        "master" => "master",
        "not_master" => "not_master",
        "external" => "external",
        "off" => "off",
        _ => "offline",
    }
}

/// One timer at a time, so that a change of members brings the next look forward and does not add one.
fn schedule(state: &mut EsState, me: ActorRef<EsMessage>) {
    if let Some(timer) = state.timer.take() {
        timer.abort();
    }
    state.timer = Some(tokio::spawn(async move {
        tokio::time::sleep(TICK).await;
        // A closed mailbox means that this incarnation has ended.
        let _ = me.cast(EsMessage::Reconcile);
    }));
}

async fn watch_members(mut cluster: watch::Receiver<Arc<ClusterView>>, me: ActorRef<EsMessage>) {
    let mut known: BTreeSet<NodeId> = cluster.borrow_and_update().members.keys().cloned().collect();
    while cluster.changed().await.is_ok() {
        let now: BTreeSet<NodeId> = cluster.borrow_and_update().members.keys().cloned().collect();
        if now != known {
            known = now;
            if me.cast(EsMessage::Reconcile).is_err() {
                return;
            }
        }
    }
}

fn publish(context: &SearchContext, view: SearchView) {
    context.published.send_if_modified(|published| {
        let changed = *published != view;
        *published = view;
        changed
    });
}

async fn external(state: &mut EsState) -> SearchView {
    let (engine, problems) = match state.context.engine.observe(QUESTION).await {
        Ok(engine) => (Some(engine), Vec::new()),
        Err(why) => (None, vec![Reason::new("search-silent", why.to_string())]),
    };
    SearchView { role: "external".to_owned(), ..view(engine.as_ref(), &state.context.guid, problems) }
}

/// Everything one look brought.
struct Observed {
    members: BTreeSet<NodeId>,
    members_fresh: bool,
    engine: Option<EngineState>,
    service: ServiceSeen,
    host: SearchHost,
}

async fn managed(state: &mut EsState) -> SearchView {
    let observed = match observe(state).await {
        Ok(observed) => observed,
        Err(reason) => return view(None, &state.context.guid.clone(), vec![reason]),
    };
    let mut problems = config::host_problems(&observed.host, &state.context.settings);
    if !observed.host.engine_present {
        return view(observed.engine.as_ref(), &state.context.guid, problems);
    }
    state.records.read_cluster(&state.context).await;
    let files = wanted_files(state, &observed);
    let files_match = state.context.engine.files_match(&files, QUESTION).await.unwrap_or(false);
    let wants_turn = needs_restart(&facts(state, &observed, &files, files_match));
    state.records.read_turn(&state.context, wants_turn).await;

    let SearchPlan { commands, problems: planned } = search_plan::plan(&facts(state, &observed, &files, files_match));
    problems.extend(planned);
    problems.extend(apply::apply(state, &commands, &files, &observed.host).await);
    view(observed.engine.as_ref(), &state.context.guid, problems)
}

async fn observe(state: &mut EsState) -> Result<Observed, Reason> {
    let context = &state.context;
    let (engine, service, host) = futures::join!(
        context.engine.observe(QUESTION),
        apply::service(context, state.restart.as_ref()),
        context.engine.host(QUESTION),
    );
    let host = host.map_err(|why| Reason::new("search-host", why.to_string()))?;
    let cluster = context.cluster.borrow().clone();
    Ok(Observed {
        members: cluster.members.keys().cloned().collect(),
        members_fresh: context.clock.now().since(cluster.heard_at) < MEMBERS_FRESH,
        engine: engine.ok(),
        service,
        host,
    })
}

fn wanted_files(state: &EsState, observed: &Observed) -> EngineFiles {
    let cluster = state.context.cluster.borrow().clone();
    let found_cluster = may_found(&state.context.guid, state.records.cluster());
    render(&config::engine_config(&state.context, &cluster, &observed.host, found_cluster))
}

fn facts<'a>(state: &'a EsState, observed: &'a Observed, files: &'a EngineFiles, files_match: bool) -> SearchFacts<'a> {
    SearchFacts {
        engine: search_engine_of(&state.context.settings.search),
        me: &state.context.guid,
        members: &observed.members,
        members_fresh: observed.members_fresh,
        record: state.records.cluster(),
        turn: state.records.turn(),
        cluster_name: &state.context.cluster_name,
        files_match,
        fingerprint: &files.fingerprint,
        service_defined: state.service_defined,
        service: observed.service,
        has_run: observed.host.has_run,
        engine_state: observed.engine.as_ref(),
    }
}

fn view(engine: Option<&EngineState>, me: &NodeId, problems: Vec<Reason>) -> SearchView {
    let Some(engine) = engine else {
        return SearchView { role: "offline".to_owned(), problems, ..SearchView::default() };
    };
    let role = if engine.master.as_ref() == Some(me) { "master" } else { "not_master" };
    SearchView {
        role: role.to_owned(),
        health: engine.colour.word().to_owned(),
        nodes: u32::try_from(engine.nodes.len()).unwrap_or(u32::MAX),
        has_master: engine.master.is_some(),
        problems,
    }
}
