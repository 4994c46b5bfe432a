//! One pass of PgReplicationActor: observe, plan, carry out, and again until nothing is left to do.
//!
//! Runs in a task of its own, so that the actor stays free to hear; may be aborted after any command. It reads the newest wish
//! before each plan.

use super::carry_out::{self, StepError};
use super::pg_replication::PgReplicationMessage;
use crate::blackbox;
use crate::context::NodeContext;
use crate::heart::protocol::{HeartState, PostgresProcess};
use leaderl_decision::model::{Epoch, Reason, Timeline};
use leaderl_decision::postgres_report::PostgresOrder;
use leaderl_decision::replication_plan::{Command, Memory, NamesWish, Observed, Process, plan};
use ractor::ActorRef;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A plan that asks for more after so many rounds waits for the next tick: nothing may spin.
const MOST_ROUNDS: usize = 64;

/// What the actor is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) order: PostgresOrder,
    pub(super) names: Option<NamesWish>,
}

/// What a pass tells the actor.
#[derive(Debug)]
pub enum PassNews {
    /// An observation, and what stands in the way.
    Seen { seen: Box<Observed>, problems: Vec<Reason> },
    /// A step that takes its time begins.
    Begins(&'static str),
    /// Nothing more to do, or a step failed.
    Ended,
}

impl PassNews {
    /// In one word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Seen { .. } => "pass-seen",
            Self::Begins(_) => "pass-begins",
            Self::Ended => "pass-ended",
        }
    }
}

/// The memory that one life of the actor, its passes and its proofs share.
#[derive(Clone, Default)]
pub(super) struct SharedMemory {
    memory: Arc<Mutex<Memory>>,
    proof: Arc<AtomicU64>,
}

impl SharedMemory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest proof of names, or of the write that made the one before worthless.
    pub(super) fn proof(&self) -> u64 {
        self.proof.load(Ordering::SeqCst)
    }

    /// Makes every earlier proof worthless.
    pub(super) fn next_proof(&self) -> u64 {
        self.proof.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// All that a pass works with.
pub(super) struct Pass {
    pub(super) number: u64,
    pub(super) ctx: Arc<NodeContext>,
    pub(super) wish: watch::Receiver<Wish>,
    pub(super) memory: SharedMemory,
    pub(super) myself: ActorRef<PgReplicationMessage>,
}

impl Pass {
    /// Runs to the end and says so; begins when the aborted pass before it has let go.
    pub(super) async fn run(mut self, aborted: Option<JoinHandle<()>>) {
        if let Some(aborted) = aborted {
            // Cancelled or ended: either way it does nothing any more.
            let _ = aborted.await;
        }
        self.cancel_orphaned_tool().await;
        for _ in 0..MOST_ROUNDS {
            if !self.round().await {
                break;
            }
        }
        self.say(PassNews::Ended);
    }

    /// One observation and its plan; `false` when there is nothing to go on with.
    async fn round(&mut self) -> bool {
        let wish = self.wish.borrow_and_update().clone();
        let Some(seen) = self.observed(&wish.order).await else { return false };
        let planned = plan(&wish.order, wish.names.as_ref(), &seen);
        let mut problems = planned.problems;
        if let Some((failed, _)) = &seen.memory.failed {
            problems.push(Reason::new("step-failed", format!("`{failed}` failed; see the log")));
        }
        self.say(PassNews::Seen { seen: Box::new(seen), problems: problems.clone() });
        let go_on = !planned.commands.is_empty();
        for (done_before, command) in planned.commands.into_iter().enumerate() {
            if carry_out::takes_time(&command) {
                // Tells what the commands before it have changed. A mark put ahead of a base copy was reported an hour later,
                // when the copy streamed, and until then the leader took the node for a complete one.
                if done_before > 0
                    && matches!(command, Command::Rewind(_) | Command::CopyBase(_))
                    && let Some(seen) = self.observed(&wish.order).await
                {
                    self.say(PassNews::Seen { seen: Box::new(seen), problems: problems.clone() });
                }
                self.say(PassNews::Begins(command.name()));
            }
            blackbox::command(command.name());
            tracing::debug!(?command, "carrying out");
            if let Err(why) = carry_out::carry_out(self, &command).await {
                self.note_failure(command.name(), &why);
                return false;
            }
            let mut memory = self.memory.lock();
            if memory.failed.as_ref().is_some_and(|(failed, _)| failed == command.name()) {
                memory.failed = None;
            }
        }
        go_on
    }

    async fn observed(&mut self, order: &PostgresOrder) -> Option<Observed> {
        match self.observe(order).await {
            Ok(seen) => Some(seen),
            Err(why) => {
                tracing::warn!(error = &why as &dyn std::error::Error, "PostgreSQL's files cannot be looked at");
                None
            }
        }
    }

    fn note_failure(&self, step: &'static str, why: &StepError) {
        let error: &dyn std::error::Error = why;
        blackbox::said(&format!("{step} failed: {error}"));
        tracing::warn!(step, error, "a step with PostgreSQL failed; it is tried again");
        let pause = match step {
            "rewind" | "base-copy" => Duration::from_secs(3),
            "start" | "await-answer" | "prepare-start" => Duration::from_secs(1),
            _ => Duration::from_millis(100),
        };
        self.memory.lock().failed = Some((step.to_owned(), self.ctx.clock.now().plus(pause)));
    }

    /// A tool that an aborted pass left behind works on files that the plan may now see differently.
    async fn cancel_orphaned_tool(&self) {
        let running = self.heart().is_some_and(|heart| heart.tool_running.is_some());
        if running && let Err(why) = self.ctx.guardian.cancel_tool(Duration::from_secs(5)).await {
            tracing::warn!(%why, "a tool that nobody waits for could not be ended");
        }
    }

    pub(super) fn heart(&self) -> Option<HeartState> {
        self.ctx.guardian.state().borrow().clone()
    }

    pub(super) fn say(&self, news: PassNews) {
        // An actor that ended needs no news.
        let _ = self.myself.cast(PgReplicationMessage::FromPass { number: self.number, news });
    }

    async fn observe(&self, order: &PostgresOrder) -> Result<Observed, crate::ports::PostgresError> {
        let ctx = &self.ctx;
        // heart first: when PostgreSQL is gone by then, the files seen next are those it left.
        let heart = self.heart();
        let files = ctx.postgres.files().await?;
        let epochs = self.epochs(order).await?;
        let process = process_of(heart.as_ref());
        // A stop must not wait for a server that may be frozen.
        let ask = process == Process::Running && !matches!(order, PostgresOrder::Stop { .. });
        let server = if ask {
            ctx.postgres.server(ctx.settings.postgres.query_timeout).await.unwrap_or_else(|why| {
                tracing::warn!(error = &why as &dyn std::error::Error, "PostgreSQL runs but does not answer");
                None
            })
        } else {
            None
        };
        let mut memory = self.memory.lock();
        if let Some(server) = &server {
            memory.stood_at = Some((server.timeline, server.position));
        }
        Ok(Observed {
            now: ctx.clock.now(),
            process,
            armed: heart.and_then(|heart| heart.armed).map(|lease| (lease.epoch, lease.fence_at)),
            files,
            server,
            memory: memory.clone(),
            expected_system_identifier: expected_system_identifier(ctx),
            epochs,
        })
    }

    /// What is kept on disk, what the records say and what the order says; kept on disk when it grew.
    async fn epochs(&self, order: &PostgresOrder) -> Result<BTreeMap<Timeline, Epoch>, crate::ports::PostgresError> {
        let kept = self.ctx.postgres.epochs().await?;
        let mut epochs = kept.clone();
        let view = self.ctx.board.cluster.borrow().clone();
        epochs.extend(view.history.values().map(|record| (record.timeline, record.epoch)));
        match order {
            PostgresOrder::Follow(follow) => {
                epochs.extend(follow.lineage.iter().map(|record| (record.timeline, record.epoch)));
            }
            PostgresOrder::Lead(lead) => {
                epochs.insert(lead.timeline, lead.epoch);
            }
            PostgresOrder::Undecided | PostgresOrder::Detach { .. } | PostgresOrder::Stop { .. } => {}
        }
        if epochs != kept {
            self.ctx.postgres.remember_epochs(&epochs).await?;
        }
        Ok(epochs)
    }
}

/// heart's word, in the plan's.
pub(super) fn process_of(heart: Option<&HeartState>) -> Process {
    match heart.map(|heart| &heart.postgres) {
        None => Process::Unknown,
        Some(PostgresProcess::Gone) => Process::Gone,
        Some(PostgresProcess::Running { .. }) => Process::Running,
        Some(PostgresProcess::Ending { .. }) => Process::Ending,
    }
}

fn expected_system_identifier(ctx: &NodeContext) -> Option<String> {
    let view = ctx.board.cluster.borrow();
    view.settings.as_ref().and_then(|seen| seen.record.system_identifier.clone())
}
