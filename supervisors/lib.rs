//! Placeholder of the references' API until the crate's first landing replaces this file.

use ractor::{ActorRef, RpcReplyPort};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// Reaches the current incarnation of a child.
pub struct ChildRef<M: Send + 'static> {
    slot: Arc<RwLock<Option<ActorRef<M>>>>,
}

impl<M: Send + 'static> Clone for ChildRef<M> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

/// The child does not run now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the actor is not running")]
pub struct NotRunning;

/// A call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The child does not run.
    #[error("the actor is not running")]
    NotRunning,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The child ended before it answered.
    #[error("the actor ended before it answered")]
    Ended,
}

impl<M: Send + 'static> ChildRef<M> {
    /// A reference to a child that has not been started yet.
    pub fn new(_name: &str) -> Self {
        Self { slot: Arc::new(RwLock::new(None)) }
    }

    /// Called from `pre_start` by the start function of this crate.
    pub fn publish(&self, actor: ActorRef<M>) {
        *self.slot.write().unwrap_or_else(|e| e.into_inner()) = Some(actor);
    }

    /// Sends a message.
    pub fn cast(&self, message: M) -> Result<(), NotRunning> {
        let actor = self.slot.read().unwrap_or_else(|e| e.into_inner()).clone().ok_or(NotRunning)?;
        actor.cast(message).map_err(|_| NotRunning)
    }

    /// Asks and waits for the answer.
    pub async fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(RpcReplyPort<T>) -> M,
        limit: Duration,
    ) -> Result<T, CallError> {
        let actor = self.slot.read().unwrap_or_else(|e| e.into_inner()).clone().ok_or(CallError::NotRunning)?;
        match actor.call(question, Some(limit)).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            Ok(ractor::rpc::CallResult::Timeout) => Err(CallError::Timeout),
            Ok(ractor::rpc::CallResult::SenderError) => Err(CallError::Ended),
            Err(_) => Err(CallError::NotRunning),
        }
    }
}
