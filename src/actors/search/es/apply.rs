//! Carrying out the plan, one command after the other; the first failure ends the round and the next tick plans anew.

use super::context::SearchContext;
use super::{EsState, QUESTION, config};
use crate::actors::api::journal::{JournalEntry, JournalMessage};
use crate::blackbox;
use crate::ports::{SEARCH_SERVICE, SearchHost, ServiceState};
use leaderl_decision::model::Reason;
use leaderl_decision::search_plan::render::EngineFiles;
use leaderl_decision::search_plan::{SearchCommand, ServiceSeen};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A change of the engine's cluster goes through its master.
const CHANGE: Duration = Duration::from_secs(2);
/// Writing a service's files and starting its process.
const SERVICE: Duration = Duration::from_secs(5);
/// The engine closes its shards before it ends.
const RESTART: Duration = Duration::from_secs(120);

/// The service as the plan sees it; while an ordered restart runs, nobody asks.
pub(super) async fn service(context: &SearchContext, restart: Option<&JoinHandle<()>>) -> ServiceSeen {
    if restart.is_some_and(|job| !job.is_finished()) {
        return ServiceSeen::Changing;
    }
    match context.services.status(SEARCH_SERVICE, QUESTION).await {
        Ok(ServiceState::Run { up, .. }) => ServiceSeen::Running(up),
        Ok(ServiceState::Down { .. }) => ServiceSeen::Down,
        Ok(ServiceState::Changing) => ServiceSeen::Changing,
        Ok(ServiceState::NotInstalled) => ServiceSeen::NotInstalled,
        Err(_) => ServiceSeen::Unknown,
    }
}

/// Does what was planned; says what failed.
pub(super) async fn apply(
    state: &mut EsState,
    commands: &[SearchCommand],
    files: &EngineFiles,
    host: &SearchHost,
) -> Option<Reason> {
    for command in commands {
        if let Err(why) = one(state, command, files, host).await {
            if state.last_failure.as_ref() != Some(&why) {
                tracing::warn!(?command, "search engine: {why}");
            }
            blackbox::said(&why);
            state.last_failure = Some(why.clone());
            return Some(Reason::new("search-command-failed", why));
        }
        tell(&state.context, command);
    }
    state.last_failure = None;
    None
}

async fn one(
    state: &mut EsState,
    command: &SearchCommand,
    files: &EngineFiles,
    host: &SearchHost,
) -> Result<(), String> {
    let context = state.context.clone();
    let definition = || config::service_definition(&context.settings, host);
    match command {
        SearchCommand::ClaimRecord => state.records.claim(&context).await.map_err(text),
        SearchCommand::RecordCluster { uuid } => state.records.record(&context, uuid).await.map_err(text),
        SearchCommand::WriteFiles => context.engine.write_files(files, SERVICE).await.map_err(text),
        SearchCommand::DefineService => {
            context.services.install(&definition(), SERVICE).await.map_err(text)?;
            state.service_defined = true;
            Ok(())
        }
        SearchCommand::StartService => context.services.start(SEARCH_SERVICE, SERVICE).await.map_err(text),
        SearchCommand::TakeTurn => state.records.take_turn(&context).await.map_err(text),
        SearchCommand::GiveBackTurn => state.records.give_back_turn(&context).await.map_err(text),
        SearchCommand::RestartService => {
            // A minute or more: on a task of its own, so that this actor goes on hearing.
            state.restart = Some(tokio::spawn(async move {
                if let Err(why) = context.services.restart(SEARCH_SERVICE, RESTART).await {
                    tracing::warn!("restart of the search engine: {why}");
                }
            }));
            Ok(())
        }
        SearchCommand::SetQuorum(quorum) => context.engine.set_quorum(*quorum, CHANGE).await.map_err(text),
        SearchCommand::ExcludeVoters(ids) => context.engine.exclude_voters(ids, CHANGE).await.map_err(text),
        SearchCommand::ClearExclusions => context.engine.clear_exclusions(CHANGE).await.map_err(text),
    }
}

fn text(why: impl std::fmt::Display) -> String {
    why.to_string()
}

/// Tells the journal; it may be restarting, and nothing depends on it.
fn tell(context: &SearchContext, command: &SearchCommand) {
    let (code, words) = match command {
        SearchCommand::ClaimRecord => ("search-founder", "this node founds the search cluster".to_owned()),
        SearchCommand::RecordCluster { uuid } => ("search-founded", format!("the search cluster is {uuid}")),
        SearchCommand::WriteFiles => ("search-configured", "the search engine's files were written".to_owned()),
        SearchCommand::DefineService => ("search-service", "the search engine's service was defined".to_owned()),
        SearchCommand::StartService => ("search-started", "the search engine was started".to_owned()),
        SearchCommand::TakeTurn => ("search-turn", "this node has the turn to restart its search engine".to_owned()),
        SearchCommand::RestartService => {
            ("search-restarted", "the search engine restarts for a changed setting".to_owned())
        }
        SearchCommand::GiveBackTurn => ("search-turn", "the turn to restart a search engine is free".to_owned()),
        SearchCommand::SetQuorum(quorum) => ("search-quorum", format!("{quorum} master-eligible nodes make a quorum")),
        SearchCommand::ExcludeVoters(ids) => {
            ("search-voters", format!("excluded from the voting configuration: {ids:?}"))
        }
        SearchCommand::ClearExclusions => ("search-voters", "the voting exclusions were cleared".to_owned()),
    };
    blackbox::command(code);
    tracing::info!(code, "{words}");
    let entry = JournalEntry {
        at: String::new(),
        actor: "search".to_owned(),
        code: code.to_owned(),
        epoch: context.cluster.borrow().newest_epoch(),
        text: words,
        after_ms: 0,
    };
    let _ = context.journal.cast(JournalMessage::Record(entry));
}
