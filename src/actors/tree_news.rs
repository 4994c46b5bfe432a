//! What the supervisors tell: ends of actors for their records, restarts and surrenders for the journal.

use super::api::journal::{JournalEntry, JournalMessage};
use super::inside::BlackBoxes;
use crate::context::NodeContext;
use crate::tree::Actor;
use std::sync::Arc;
use supervisors::{ChildExit, ExitReason, Telemetry};
use tokio::sync::Notify;

/// The tree's telemetry.
pub struct TreeNews {
    ctx: Arc<NodeContext>,
    boxes: Arc<BlackBoxes>,
    gave_up: Notify,
}

impl TreeNews {
    /// For one tree.
    pub fn new(ctx: Arc<NodeContext>, boxes: Arc<BlackBoxes>) -> Self {
        Self { ctx, boxes, gave_up: Notify::new() }
    }

    /// Waits until the root gives up: earlier than its end, because its children are stopped in between.
    pub async fn root_gave_up(&self) {
        self.gave_up.notified().await;
    }

    fn record(&self, code: &str, text: String) {
        let entry = JournalEntry {
            actor: "supervisor".to_owned(),
            code: code.to_owned(),
            epoch: self.ctx.board.election.borrow().epoch,
            text,
            ..JournalEntry::default()
        };
        // The journal may be what was restarted; the supervisor's own log line stays.
        let _not_running = self.ctx.neighbours.journal.cast(JournalMessage::Record(entry));
    }
}

impl Telemetry<Actor> for TreeNews {
    fn exited(&self, exit: &ChildExit<'_, Actor>) {
        if let Some(actor) = exit.path.last() {
            self.boxes.of(*actor).exited(exit.reason);
        }
    }

    fn restarted(&self, path: &[Actor], after: &ExitReason) {
        if let Some(actor) = path.last() {
            self.record("actor-restarted", format!("{actor} was started again after it ended: {after}"));
        }
    }

    fn gave_up(&self, path: &[Actor]) {
        match path.last() {
            Some(branch) => {
                self.record("gave-up", format!("restarting did not help: the supervisor {branch} gives up"));
            }
            None => self.gave_up.notify_one(),
        }
    }
}
