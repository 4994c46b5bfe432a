//! What the supervisors tell: ends of actors for their records, restarts and surrenders for the journal.

use super::api::journal::{JournalEntry, JournalMessage};
use super::inside::BlackBoxes;
use crate::board::SearchView;
use crate::context::NodeContext;
use crate::tree::{self, Actor};
use leaderl_decision::model::Reason;
use std::sync::Arc;
use std::time::Duration;
use supervisors::{ChildExit, ExitReason, Telemetry};
use tokio::sync::{Mutex, Notify, mpsc};

/// The tree's telemetry.
pub struct TreeNews {
    ctx: Arc<NodeContext>,
    boxes: Arc<BlackBoxes>,
    gave_up: Notify,
    rests: mpsc::UnboundedSender<(Actor, Duration)>,
    resting: Mutex<mpsc::UnboundedReceiver<(Actor, Duration)>>,
}

impl TreeNews {
    /// For one tree.
    pub fn new(ctx: Arc<NodeContext>, boxes: Arc<BlackBoxes>) -> Self {
        let (rests, resting) = mpsc::unbounded_channel();
        Self { ctx, boxes, gave_up: Notify::new(), rests, resting: Mutex::new(resting) }
    }

    /// The next branch that gave up and is to rest, and for how long.
    pub async fn next_to_rest(&self) -> Option<(Actor, Duration)> {
        self.resting.lock().await.recv().await
    }

    /// Waits until the root gives up: earlier than its end, because its children are stopped in between.
    pub async fn root_gave_up(&self) {
        self.gave_up.notified().await;
    }

    fn lay_to_rest(&self, branch: Actor) {
        let Some(rest) = tree::resting().into_iter().find(|(resting, _)| *resting == branch) else { return };
        if branch == Actor::Search {
            // What its actor said last must not be taken for the present.
            let text = format!("the search engine's actor failed again and again; it is tried again in {:?}", rest.1);
            let problems = vec![Reason::new("search-actor-down", text)];
            let view = SearchView { role: "offline".to_owned(), problems, ..SearchView::default() };
            self.ctx.board.search.send_replace(view);
        }
        // The daemon ends: nothing is tried again.
        let _ending = self.rests.send(rest);
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
                self.lay_to_rest(*branch);
            }
            None => self.gave_up.notify_one(),
        }
    }
}
