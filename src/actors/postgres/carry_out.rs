//! Carries out a plan's commands: files and sessions through `PostgresServer`, processes through `Guardian`.

use super::pass::{Pass, process_of};
use super::pg_replication::PgReplicationMessage;
use crate::actors::api::journal::{JournalEntry, JournalMessage};
use crate::actors::coordination::election::fresh_nonce;
use crate::heart::protocol::{PostgresProcess, PostgresStop, StopMode, ToolRequest};
use crate::ports::{GuardianError, PostgresError};
use leaderl_decision::model::Epoch;
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::records::Token;
use leaderl_decision::replication_plan::{Command, Process, RemakeWork, Source, SyncNames, UnsyncedMark};
use std::time::Duration;

/// A wait for something the server does by itself; afterwards everything is looked at again.
const SHORT_WAIT: Duration = Duration::from_millis(500);
/// How long heart may take to answer an order.
const HEART_ANSWERS: Duration = Duration::from_secs(2);
/// An immediate stop is given so long before everything left is killed (design 3.2).
const QUIT_GRACE: Duration = Duration::from_millis(300);
/// Reaping the last process after `kill_at`.
const REAP_GRACE: Duration = Duration::from_secs(3);
/// A base copy of any size ends within this; a hung source is noticed by the tool itself.
const TOOL_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Proving names includes checkpoints.
const PROOF_LIMIT: Duration = Duration::from_secs(120);

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Guardian(#[from] GuardianError),
    #[error("PostgreSQL ended meanwhile")]
    Ended,
    #[error("leaderl-heart is not armed for epoch {0} any more")]
    NotArmed(Epoch),
    #[error("PostgreSQL was not gone within {0:?}")]
    NotGone(Duration),
    #[error("{tool} failed: {words}")]
    Tool { tool: &'static str, words: String },
}

/// Whether people want to see it as work in hand.
pub(super) fn takes_time(command: &Command) -> bool {
    match command {
        Command::StartStandby
        | Command::StopPostgres { .. }
        | Command::Promote { .. }
        | Command::Rewind(_)
        | Command::CopyBase(_)
        | Command::AwaitSourceCheckpoint { .. }
        | Command::SwapIn { .. } => true,
        Command::PrepareStart
        | Command::AwaitAnswer
        | Command::Promise { .. }
        | Command::PointAtSentinel(_)
        | Command::PointAt { .. }
        | Command::Reload
        | Command::ResumeReplay
        | Command::AwaitProof
        | Command::AwaitStreaming(_)
        | Command::WriteAccess(_)
        | Command::CreateSlot(_)
        | Command::DropSlot(_)
        | Command::AdvanceSlots { .. }
        | Command::MarkUnsynced(_)
        | Command::AskTarget { .. }
        | Command::ClearUnsynced
        | Command::WriteToken(_)
        | Command::WriteSyncNames(_)
        | Command::ProveSyncNames { .. }
        | Command::PlaceHistory { .. }
        | Command::EndPredecessors(_)
        | Command::TestWrite(_)
        | Command::MakeRoles(_) => false,
    }
}

/// Does one step. What it proves is put into the memory.
pub(super) async fn carry_out(pass: &Pass, command: &Command) -> Result<(), StepError> {
    let server = &pass.ctx.postgres;
    match command {
        Command::PrepareStart => Ok(server.prepare_start().await?),
        Command::StartStandby => start(pass).await,
        Command::StopPostgres { fast } => stop(pass, *fast).await,
        Command::Promise { revision, marks } => {
            let mark = marks.then(|| Token { epoch: Epoch(0), nonce: fresh_nonce() });
            Ok(server.promise(*revision, mark).await?)
        }
        Command::PointAtSentinel(revision) => Ok(server.point_at_sentinel(*revision).await?),
        Command::PointAt { source, revision, catch_up } => Ok(server.point_at(source, *revision, *catch_up).await?),
        Command::WriteAccess(members) => {
            server.write_access(members).await?;
            pass.memory.lock().access = Some(members.clone());
            Ok(())
        }
        Command::MarkUnsynced(mark) => Ok(server.mark_unsynced(Some(mark)).await?),
        Command::ClearUnsynced => {
            server.mark_unsynced(None).await?;
            record(pass, "in-sync", "the remade copy has caught up with its leader".into());
            Ok(())
        }
        Command::AskTarget { source, timeline } => {
            let lsn = server.ask_holder(source, *timeline, Duration::from_secs(5)).await?;
            let cause = server.files().await?.unsynced.map(|mark| mark.cause).unwrap_or_default();
            let mark = UnsyncedMark { cause, work: RemakeWork::CatchUp, target: Some((*timeline, lsn)) };
            Ok(server.mark_unsynced(Some(&mark)).await?)
        }
        Command::AwaitSourceCheckpoint { source, timeline } => {
            Ok(server.await_source_checkpoint(source, *timeline, Duration::from_secs(10)).await?)
        }
        Command::Rewind(source) => rewind(pass, source).await,
        Command::CopyBase(source) => copy(pass, source).await,
        Command::SwapIn { epoch } => {
            pass.memory.lock().stood_at = None;
            Ok(server.swap_in(*epoch).await?)
        }
        Command::WriteToken(token) => Ok(server.write_token(token).await?),
        Command::WriteSyncNames(names) => {
            forget_names(pass, names);
            Ok(server.write_sync_names(names).await?)
        }
        Command::ProveSyncNames { names, checkpoint } => {
            prove_beside(pass, names.clone(), *checkpoint);
            Ok(())
        }
        Command::PlaceHistory { after, up_to } => Ok(server.place_history(*after, *up_to).await?),
        Command::AwaitAnswer
        | Command::Reload
        | Command::ResumeReplay
        | Command::AwaitProof
        | Command::AwaitStreaming(_)
        | Command::CreateSlot(_)
        | Command::DropSlot(_)
        | Command::AdvanceSlots { .. }
        | Command::Promote { .. }
        | Command::EndPredecessors(_)
        | Command::TestWrite(_)
        | Command::MakeRoles(_) => while_it_runs(pass, command).await,
    }
}

/// Steps that need the server end at once when heart says that it ended.
async fn while_it_runs(pass: &Pass, command: &Command) -> Result<(), StepError> {
    let mut heart = pass.ctx.guardian.state();
    let ended = heart.wait_for(|state| process_of(state.as_ref()) != Process::Running);
    tokio::select! {
        biased;
        done = with_the_server(pass, command) => done,
        _ = ended => Err(StepError::Ended),
    }
}

async fn with_the_server(pass: &Pass, command: &Command) -> Result<(), StepError> {
    let server = &pass.ctx.postgres;
    let limit = pass.ctx.settings.postgres.query_timeout;
    let done = match command {
        Command::AwaitAnswer => return await_answer(pass).await,
        Command::Reload => server.reload(postmaster(pass), limit).await,
        Command::ResumeReplay => server.resume_replay(limit).await,
        Command::AwaitProof => server.await_proof(SHORT_WAIT).await,
        Command::AwaitStreaming(source) => server.await_streaming(source, SHORT_WAIT).await,
        Command::CreateSlot(name) => server.create_slot(name, limit).await,
        Command::DropSlot(name) => server.drop_slot(name, limit).await,
        Command::AdvanceSlots { to } => server.advance_slots(*to, limit).await,
        Command::Promote { epoch } => return promote(pass, *epoch).await,
        Command::EndPredecessors(epoch) => {
            if !planted(Planted::R3PredecessorsLive) {
                server.end_predecessors(limit).await?;
            }
            pass.memory.lock().predecessors_ended = Some(*epoch);
            Ok(())
        }
        Command::TestWrite(epoch) => {
            server.test_write(*epoch, limit).await?;
            pass.memory.lock().written = Some(*epoch);
            Ok(())
        }
        Command::MakeRoles(epoch) => {
            server.make_roles(limit).await?;
            pass.memory.lock().roles_made = Some(*epoch);
            Ok(())
        }
        // The rest needs no server; `carry_out` does it.
        other => {
            tracing::error!(command = other.name(), "not a step with the server");
            Ok(())
        }
    };
    Ok(done?)
}

/// A start may take long (crash recovery); each look is short, so that the wish is read again in between.
async fn await_answer(pass: &Pass) -> Result<(), StepError> {
    match pass.ctx.postgres.await_answer(SHORT_WAIT).await {
        Ok(()) => Ok(()),
        Err(why) => {
            tracing::debug!(error = &why as &dyn std::error::Error, "PostgreSQL does not answer yet");
            Ok(())
        }
    }
}

fn postmaster(pass: &Pass) -> Option<u32> {
    match pass.heart()?.postgres {
        PostgresProcess::Running { pid, .. } => Some(pid),
        PostgresProcess::Gone | PostgresProcess::Ending { .. } => None,
    }
}

async fn start(pass: &Pass) -> Result<(), StepError> {
    {
        let mut memory = pass.memory.lock();
        memory.stood_at = None;
        forget_primary(&mut memory);
    }
    let request = pass.ctx.postgres.start_request()?;
    Ok(pass.ctx.guardian.start_postgres(request, HEART_ANSWERS).await?)
}

/// What was proven of a primary holds for one server run only.
fn forget_primary(memory: &mut leaderl_decision::replication_plan::Memory) {
    memory.predecessors_ended = None;
    memory.written = None;
    memory.roles_made = None;
    memory.checkpointed = None;
    memory.names_proven = None;
    memory.names_in_proof = None;
    memory.waiting_switched_on = false;
}

async fn stop(pass: &Pass, fast: bool) -> Result<(), StepError> {
    let ctx = &pass.ctx;
    let now = ctx.clock.now();
    let kill_at = if fast { now.plus(ctx.settings.postgres.stop_timeout) } else { now.plus(QUIT_GRACE) };
    let fence_at = pass.heart().and_then(|heart| heart.armed).map(|lease| lease.fence_at);
    let kill_at = fence_at.map_or(kill_at, |fence_at| fence_at.min(kill_at));
    let mode = if fast { StopMode::Fast } else { StopMode::Immediate };
    let mut heart = ctx.guardian.state();
    ctx.guardian.stop_postgres(PostgresStop { mode, kill_at }, HEART_ANSWERS).await?;
    let limit = kill_at.since(now) + REAP_GRACE;
    let gone = heart.wait_for(|state| process_of(state.as_ref()) == Process::Gone);
    match tokio::time::timeout(limit, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(StepError::NotGone(limit)),
    }
}

async fn promote(pass: &Pass, epoch: Epoch) -> Result<(), StepError> {
    let ctx = &pass.ctx;
    let armed = pass.heart().and_then(|heart| heart.armed);
    if armed.is_none_or(|lease| lease.epoch != epoch || lease.fence_at <= ctx.clock.now()) {
        return Err(StepError::NotArmed(epoch));
    }
    forget_primary(&mut pass.memory.lock());
    ctx.postgres.promote(ctx.settings.election.promote_deadline).await?;
    record(pass, "promoted", format!("PostgreSQL is promoted under epoch {epoch}"));
    Ok(())
}

async fn rewind(pass: &Pass, source: &Source) -> Result<(), StepError> {
    let server = &pass.ctx.postgres;
    pass.memory.lock().stood_at = None;
    let request = server.begin_rewind(source).await?;
    if let Err(failed) = tool(pass, "pg_rewind", request).await {
        let mark = UnsyncedMark { cause: failed.to_string(), work: RemakeWork::CopyNeeded, target: None };
        server.mark_unsynced(Some(&mark)).await?;
        return Err(failed);
    }
    server.finish_rewind().await?;
    record(pass, "rewound", format!("the copy is rewound to what {} has", source.address));
    Ok(())
}

async fn copy(pass: &Pass, source: &Source) -> Result<(), StepError> {
    let server = &pass.ctx.postgres;
    let request = server.begin_copy(source).await?;
    tool(pass, "pg_basebackup", request).await?;
    server.finish_copy().await?;
    record(pass, "copied", format!("a new base copy of {} is complete", source.address));
    Ok(())
}

async fn tool(pass: &Pass, name: &'static str, request: ToolRequest) -> Result<(), StepError> {
    let outcome = pass.ctx.guardian.run_tool(request, TOOL_LIMIT).await?;
    if outcome.exit_code == Some(0) {
        return Ok(());
    }
    let words = pass.ctx.postgres.tool_words().await;
    Err(StepError::Tool { tool: name, words })
}

fn forget_names(pass: &Pass, names: &SyncNames) {
    pass.memory.next_proof();
    let mut memory = pass.memory.lock();
    memory.names_proven = None;
    memory.names_in_proof = None;
    if names.names.is_empty() {
        memory.waiting_switched_on = false;
    }
}

/// Proves names in a task that outlives the pass; its result counts only if no names were written meanwhile.
fn prove_beside(pass: &Pass, names: SyncNames, checkpoint: bool) {
    let epoch = pass.memory.lock().predecessors_ended;
    let proof_number = pass.memory.next_proof();
    pass.memory.lock().names_in_proof = Some(names.clone());
    let (ctx, memory, myself) = (pass.ctx.clone(), pass.memory.clone(), pass.myself.clone());
    tokio::spawn(async move {
        let proof = ctx.postgres.prove_sync_names(&names, checkpoint, PROOF_LIMIT);
        let mut heart = ctx.guardian.state();
        let ended = heart.wait_for(|state| process_of(state.as_ref()) != Process::Running);
        let proven = tokio::select! {
            biased;
            proven = proof => proven.map_err(StepError::from),
            _ = ended => Err(StepError::Ended),
        };
        {
            let current = memory.proof();
            let mut memory = memory.lock();
            // Another write forgot this proof; the names may be the same again, but what was seen was seen too early.
            if current != proof_number || memory.predecessors_ended != epoch {
                return;
            }
            memory.names_in_proof = None;
            match proven {
                Ok(lsn) => {
                    if checkpoint {
                        memory.checkpointed = epoch;
                    }
                    memory.waiting_switched_on |= checkpoint && !names.names.is_empty();
                    memory.names_proven = Some((names, lsn));
                }
                Err(why) => {
                    tracing::warn!(error = &why as &dyn std::error::Error, "the names are not proven effective yet");
                }
            }
        }
        // An actor that ended needs no news.
        let _ = myself.cast(PgReplicationMessage::LookAgain);
    });
}

fn record(pass: &Pass, code: &str, text: String) {
    let epoch = pass.heart().and_then(|heart| heart.armed).map(|lease| lease.epoch).unwrap_or_default();
    let entry =
        JournalEntry { at: String::new(), actor: "postgres".into(), code: code.into(), epoch, text, after_ms: 0 };
    if pass.ctx.neighbours.journal.cast(JournalMessage::Record(entry)).is_err() {
        tracing::debug!("the journal is not running");
    }
}
