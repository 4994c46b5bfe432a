//! HealthActor: checks one service at a fixed tick and counts failures in a row. One instance per service.
//!
//! Hears:   `Tick` (own timer), `Checked` (its own check, which runs beside it so that a slow one does not make it deaf).
//! Does:    checks, counts (`decision::health_counter`), publishes its entry of `board.health`, casts `Health` to ElectionActor
//!          after every check and at every tick, writes tripped and recovered into the journal.
//! Restart: goes on counting from its entry of the board and checks at once: a failing service does not recover by it.

mod checks;

use crate::actors::api::journal::{JournalEntry, JournalMessage};
use crate::actors::coordination::election::ElectionMessage;
use crate::blackbox::{self, Kind, Named, own};
use crate::board::HealthView;
use crate::context::NodeParts;
use leaderl_decision::health_counter::{CheckOutcome, HealthCounter, counts_against_leading};
use leaderl_decision::model::{ServiceName, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// What HealthActor hears.
#[derive(Debug)]
pub enum HealthMessage {
    /// Check now, unless a check runs already.
    Tick,
    /// The running check has ended.
    Checked(CheckOutcome),
}

impl Named for HealthMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Tick => own("tick"),
            Self::Checked(_) => own("checked"),
        }
    }
}

/// The actor.
pub struct HealthActor;

/// Which service of which node.
#[derive(Clone)]
pub struct HealthArguments {
    /// The node.
    pub context: Arc<dyn NodeParts>,
    /// The service.
    pub service: ServiceName,
}

/// What one HealthActor remembers.
pub struct HealthState {
    context: Arc<dyn NodeParts>,
    service: ServiceName,
    counter: HealthCounter,
    checked_at: Timestamp,
    tripped_since: Option<Timestamp>,
    check: Option<Task>,
    _ticker: Task,
}

/// A task that ends with the incarnation that started it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for HealthActor {
    type Msg = HealthMessage;
    type State = HealthState;
    type Arguments = HealthArguments;

    async fn pre_start(
        &self,
        me: ActorRef<HealthMessage>,
        HealthArguments { context, service }: HealthArguments,
    ) -> Result<HealthState, ActorProcessingErr> {
        let ticker = Task(tokio::spawn(tick(me, context.settings().health.interval)));
        let before = context.board().health.borrow().get(&service).cloned().unwrap_or_default();
        let allowed = allowed(context.as_ref(), service);
        Ok(HealthState {
            counter: HealthCounter::resumed(allowed, before.failures, before.tripped, &before.detail),
            checked_at: before.checked_at,
            tripped_since: before.tripped.then_some(before.checked_at),
            check: None,
            _ticker: ticker,
            service,
            context,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<HealthMessage>,
        message: HealthMessage,
        state: &mut HealthState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HealthMessage::Tick if state.is_checking() => state.tell_election(),
            HealthMessage::Tick => state.begin_check(me),
            HealthMessage::Checked(outcome) => state.take(outcome),
        }
        Ok(())
    }
}

impl HealthState {
    /// A check that ended without a word (it panicked) does not count as running.
    fn is_checking(&self) -> bool {
        self.check.as_ref().is_some_and(|check| !check.0.is_finished())
    }

    fn begin_check(&mut self, me: ActorRef<HealthMessage>) {
        let (context, service) = (self.context.clone(), self.service);
        self.check = Some(Task(tokio::spawn(async move {
            let outcome = checks::check(context.as_ref(), service).await;
            // The actor is ending: nobody needs the outcome.
            let _ = me.cast(HealthMessage::Checked(outcome));
        })));
    }

    fn take(&mut self, outcome: CheckOutcome) {
        self.check = None;
        self.checked_at = self.context.clock().now();
        self.counter.record(outcome);
        blackbox::became(match (self.counter.tripped(), self.counter.failures()) {
            (true, _) => "tripped",
            (false, 0) => "passing",
            (false, _) => "failing",
        });
        if !self.counter.detail().is_empty() {
            blackbox::said(self.counter.detail());
        }
        self.publish();
        self.note_turn();
        self.tell_election();
    }

    fn publish(&self) {
        let view = HealthView {
            failures: self.counter.failures(),
            tripped: self.counter.tripped(),
            detail: self.counter.detail().to_owned(),
            checked_at: self.checked_at,
        };
        self.context.board().health.send_modify(|services| {
            services.insert(self.service, view);
        });
    }

    /// A service that only informs is never reported as tripped, whatever the board shows.
    fn tell_election(&self) {
        let counts = counts_against_leading(self.service, self.context.settings().health.fatal_system_checks);
        let message = ElectionMessage::Health {
            service: self.service,
            tripped: counts && self.counter.tripped(),
            detail: self.counter.detail().to_owned(),
        };
        if self.context.neighbours().election.cast(message).is_err() {
            tracing::debug!(service = %self.service, "the election does not run; it hears of this at the next tick");
        }
    }

    fn note_turn(&mut self) {
        let now = self.checked_at;
        match (self.counter.tripped(), self.tripped_since) {
            (true, None) => {
                self.tripped_since = Some(now);
                let text = format!(
                    "{} counts as failed after {} failures in a row: {}",
                    self.service,
                    self.counter.failures(),
                    self.counter.detail()
                );
                tracing::warn!("{text}");
                self.record("health-tripped", text, 0);
            }
            (false, Some(since)) => {
                self.tripped_since = None;
                let lasted = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
                tracing::info!(service = %self.service, lasted_ms = lasted, "recovered");
                self.record("health-recovered", format!("{} passes its check again", self.service), lasted);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn record(&self, code: &str, text: String, after_ms: u64) {
        let epoch = self.context.board().election.borrow().epoch;
        let (at, actor, code) = (String::new(), "health".to_owned(), code.to_owned());
        let entry = JournalEntry { at, actor, code, epoch, text, after_ms };
        if self.context.neighbours().journal.cast(JournalMessage::Record(entry)).is_err() {
            tracing::debug!("the journal does not run; this entry is only logged");
        }
    }
}

/// Failures in a row that are tolerated.
fn allowed(context: &dyn NodeParts, service: ServiceName) -> u32 {
    /// A durable write that hangs once is a busy disk. What the disk itself refuses, and a full one, trip at once.
    const SYSTEM: u32 = 2;
    let settings = &context.settings().health;
    match service {
        ServiceName::Postgres => settings.max_postgres_failures,
        ServiceName::Search => settings.max_search_failures,
        ServiceName::Etcd => settings.max_etcd_failures,
        ServiceName::System => SYSTEM,
    }
}

async fn tick(me: ActorRef<HealthMessage>, interval: std::time::Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if me.cast(HealthMessage::Tick).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
