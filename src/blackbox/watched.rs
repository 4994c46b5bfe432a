//! The wrapper that every actor of the tree runs in: it keeps the actor's [`BlackBox`], whatever the actor does.

use super::scope::{Leg, flight};
use super::{BlackBox, Named};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;

/// An actor and its record; to everybody else it is that actor.
pub struct Watched<A> {
    actor: A,
    kept_in: Arc<BlackBox>,
}

impl<A> Watched<A> {
    /// One incarnation of `actor`; `kept_in` outlives it.
    pub fn new(actor: A, kept_in: Arc<BlackBox>) -> Self {
        Self { actor, kept_in }
    }
}

impl<A: Actor> Actor for Watched<A>
where
    A::Msg: Named,
{
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        arguments: A::Arguments,
    ) -> Result<A::State, ActorProcessingErr> {
        flight(&self.kept_in, Leg::Start, self.actor.pre_start(myself, arguments)).await
    }

    async fn post_start(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.actor.post_start(myself, state).await
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        let leg = Leg::Message(message.kind());
        flight(&self.kept_in, leg, self.actor.handle(myself, message, state)).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.actor.handle_supervisor_evt(myself, event, state).await
    }

    async fn post_stop(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.actor.post_stop(myself, state).await
    }
}

#[cfg(test)]
mod tests;
