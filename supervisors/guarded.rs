//! The callbacks of a supervised actor, run so that their panics become typed reasons.
//!
//! These are futures of their own and not `async` blocks: one of them runs for every message, and an `async` block keeps
//! what it was given twice, before and after it begins to wait for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use ractor::ActorProcessingErr;
use tokio::time::Instant;
use tracing::Span;

use crate::exit_reason::ExitReason;
use crate::panics::caught_now;
use crate::process::Fate;

pin_project! {
    /// A callback, in the child's span. A panic becomes an error that carries the typed reason.
    pub(crate) struct Guarded<'a, F> {
        #[pin]
        callback: F,
        span: &'a Span,
    }
}

impl<'a, F> Guarded<'a, F> {
    pub(crate) fn new(callback: F, span: &'a Span) -> Self {
        Self { callback, span }
    }
}

impl<T, F: Future<Output = Result<T, ActorProcessingErr>>> Future for Guarded<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let callback = this.callback;
        caught_now(|| callback.poll(cx)).unwrap_or_else(|panic| Poll::Ready(Err(ExitReason::Panicked(panic).into())))
    }
}

pin_project! {
    /// The handling of one message: counted, and told to the telemetry if there is one.
    pub(crate) struct Handling<'a, F> {
        #[pin]
        callback: Guarded<'a, F>,
        fate: &'a Fate,
        began: Option<Instant>,
    }
}

impl<'a, F> Handling<'a, F> {
    pub(crate) fn new(callback: Guarded<'a, F>, fate: &'a Fate, began: Option<Instant>) -> Self {
        Self { callback, fate, began }
    }
}

impl<F: Future<Output = Result<(), ActorProcessingErr>>> Future for Handling<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.callback.poll(cx));
        this.fate.end_message(*this.began);
        Poll::Ready(result)
    }
}
