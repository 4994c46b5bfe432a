//! The node whose runtime runs now on this thread: how far it is within its window, and how to make it stop at once.

use super::Time;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

thread_local! {
    static BEGAN: Cell<Option<(Instant, Time)>> = const { Cell::new(None) };
    static HALT: RefCell<Option<Arc<Notify>>> = const { RefCell::new(None) };
}

/// A drive of so long a window begins (called inside the runtime).
pub(crate) fn begin(window: Time, halt: Arc<Notify>) {
    BEGAN.set(Some((Instant::now(), window)));
    HALT.with(|it| *it.borrow_mut() = Some(halt));
}

/// It is over.
pub(crate) fn end() {
    BEGAN.set(None);
    HALT.with(|it| *it.borrow_mut() = None);
}

/// Whether a node's runtime runs now.
pub(crate) fn is_on() -> bool {
    BEGAN.get().is_some()
}

/// How far the node is within its window.
pub(crate) fn elapsed() -> Time {
    BEGAN.get().map_or(0, |(began, window)| u64::try_from(began.elapsed().as_nanos()).unwrap_or(window).min(window))
}

/// The node's process was stopped: its runtime shall not go on in time.
pub(crate) fn halt() {
    HALT.with(|it| {
        if let Some(halt) = it.borrow().as_ref() {
            halt.notify_one();
        }
    });
}
