//! The wrapper every supervised actor gets: it registers the child before it can end, publishes it before it can act,
//! and turns panics into typed reasons.

use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, Message, SupervisionEvent};
use tracing::{Instrument, Span};

use crate::child_ref::ChildRef;
use crate::exit_port::ExitPort;
use crate::exit_reason::ExitReason;
use crate::panics::caught;
use crate::process::{Fate, Process, Signals};
use crate::spec::Shutdown;

pub(crate) struct Supervised<A: Actor> {
    pub(crate) actor: A,
    pub(crate) fate: Arc<Fate>,
    /// How exit signals reach this kind of actor.
    pub(crate) signals: fn(&ActorRef<A::Msg>) -> Signals,
    pub(crate) shutdown: Shutdown,
    pub(crate) span: Span,
    pub(crate) port: ExitPort,
    pub(crate) published: Option<Publication<A::Msg>>,
}

impl<A: Actor> Supervised<A> {
    pub(crate) fn process(&self, actor: &ActorRef<A::Msg>) -> Process {
        Process::new(actor.get_cell(), self.fate.clone(), (self.signals)(actor), self.shutdown)
    }

    /// Runs a callback in the child's span. A panic becomes an error that carries the typed reason.
    ///
    /// The callback is pinned by who calls, not here: moved into another future it would take its room twice.
    async fn guarded<T>(
        &self,
        callback: Pin<&mut impl Future<Output = Result<T, ActorProcessingErr>>>,
    ) -> Result<T, ActorProcessingErr> {
        let result = if self.span.is_disabled() {
            caught(callback).await
        } else {
            caught(callback).instrument(self.span.clone()).await
        };
        result.unwrap_or_else(|panic| Err(ExitReason::Panicked(panic).into()))
    }
}

/// Takes the registration back unless the start succeeds, also when the start is cancelled half-way.
struct Registration<'a> {
    port: &'a ExitPort,
    id: ActorId,
    kept: bool,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.port.forget(self.id);
        }
    }
}

/// A reference to a child, taken back when the actor is dropped.
pub(crate) struct Publication<M: Message> {
    child: ChildRef<M>,
    id: OnceLock<ActorId>,
}

impl<M: Message> Publication<M> {
    pub(crate) fn new(child: ChildRef<M>) -> Self {
        Self { child, id: OnceLock::new() }
    }
}

impl<M: Message> Drop for Publication<M> {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            self.child.retract(*id);
        }
    }
}

impl<A: Actor> Actor for Supervised<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        arguments: A::Arguments,
    ) -> Result<A::State, ActorProcessingErr> {
        let id = myself.get_id();
        self.port.expect(self.process(&myself));
        let mut registration = Registration { port: &self.port, id, kept: false };
        if let Some(published) = &self.published {
            let _ = published.id.set(id);
            self.fate.vitals.count_sent(published.child.sent_counter());
            published.child.publish(myself.clone());
        }
        let state = self.guarded(pin!(self.actor.pre_start(myself, arguments))).await?;
        if let Some(published) = &self.published {
            published.child.mark_started(id);
        }
        registration.kept = true;
        Ok(state)
    }

    async fn post_start(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.guarded(pin!(self.actor.post_start(myself, state))).await
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        let pid = myself.get_id();
        let began = self.fate.begin_message(pid, &message);
        let result = self.guarded(pin!(self.actor.handle(myself, message, state))).await;
        self.fate.end_message(pid, began);
        result
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.guarded(pin!(self.actor.handle_supervisor_evt(myself, event, state))).await
    }

    async fn post_stop(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.fate.telling_why(self.guarded(pin!(self.actor.post_stop(myself, state)))).await
    }
}
