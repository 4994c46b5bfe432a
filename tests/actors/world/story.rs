//! What happened in the world, in order, each with what clients were told at that moment.

use leaderl_decision::model::NodeId;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the story began.
    pub at_ms: u64,
    /// Where.
    pub node: NodeId,
    /// What.
    pub what: String,
    /// What `GET /leader` of that node said at this moment.
    pub leader: bool,
    /// Its tree ran.
    pub daemon: bool,
}

/// Looks at a node: what `/leader` says, and whether its tree runs.
pub type Look = Box<dyn Fn(&NodeId) -> (bool, bool) + Send + Sync>;

/// The story so far.
pub struct Story {
    began: Instant,
    moments: Mutex<Vec<Moment>>,
    look: Mutex<Option<Look>>,
}

impl Story {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), moments: Mutex::default(), look: Mutex::default() })
    }

    /// How a node looks is asked here from now on.
    pub fn looks_by(&self, look: Look) {
        *self.look.lock().unwrap() = Some(look);
    }

    pub fn tell(&self, node: &NodeId, what: impl Into<String>) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let (leader, daemon) = self.look.lock().unwrap().as_ref().map_or((false, false), |look| look(node));
        let moment = Moment { at_ms, node: node.clone(), what: what.into(), leader, daemon };
        self.moments.lock().unwrap().push(moment);
    }

    /// What happened on a node since the last call.
    pub fn take(&self, node: &NodeId) -> Vec<Moment> {
        let mut moments = self.moments.lock().unwrap();
        let (taken, kept) = std::mem::take(&mut *moments).into_iter().partition(|moment| moment.node == *node);
        *moments = kept;
        taken
    }
}
