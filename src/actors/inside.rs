//! The daemon's inside, as operators see it and reach into it: the supervisors' word joined with each actor's record.
//!
//! Nothing here asks an actor, so one that hangs is shown as well. What is ordered goes on although whoever ordered it is
//! gone: the admin socket itself may be what is restarted.

use super::api::actor_report::{ActorDetail, ActorNode, Clocks, TraceEntry};
use crate::actors::api::admin_protocol::Intervention;
use crate::blackbox::BlackBox;
use crate::tree::{self, Actor};
use leaderl_decision::model::Reason;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use supervisors::{InterventionError, RootHandle};

/// The tree answers within about a second per level; a supervisor that is busy longer is shown without its children.
const TREE_LIMIT: Duration = Duration::from_secs(5);
/// An orderly stop and a start; what takes longer is watched from outside.
const INTERVENTION_LIMIT: Duration = Duration::from_secs(12);

/// The record of every actor below the root; made before the tree, and outlives every incarnation.
pub struct BlackBoxes {
    all: BTreeMap<Actor, Arc<BlackBox>>,
    kept: usize,
}

impl BlackBoxes {
    /// Empty records whose flight recorders hold `kept` entries.
    pub fn new(kept: u32) -> Self {
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        let all = tree::known().into_iter().map(|actor| (actor, Arc::new(BlackBox::new(kept)))).collect();
        Self { all, kept }
    }

    /// One actor's record.
    pub fn of(&self, actor: Actor) -> Arc<BlackBox> {
        self.all.get(&actor).cloned().unwrap_or_else(|| Arc::new(BlackBox::new(self.kept)))
    }
}

/// A running tree and its records.
pub struct Inside {
    root: RootHandle<Actor>,
    boxes: Arc<BlackBoxes>,
}

impl Inside {
    /// The inside of a daemon whose tree runs.
    pub fn new(root: RootHandle<Actor>, boxes: Arc<BlackBoxes>) -> Self {
        Self { root, boxes }
    }

    /// Everything, as a tree.
    pub async fn tree(&self) -> Result<ActorNode, Reason> {
        let asked = tokio::time::timeout(TREE_LIMIT, self.root.snapshot()).await;
        let tree = asked.ok().flatten().ok_or_else(silent)?;
        Ok(ActorNode::root(&tree, &|actor| self.boxes.of(actor).seen(), Clocks::now()))
    }

    /// One actor, with all that is known of it but the flight recorder.
    pub async fn show(&self, word: &str) -> Result<ActorDetail, Reason> {
        let actor = find(word)?;
        let tree = self.tree().await?;
        let node = tree.find(actor.word()).ok_or_else(|| {
            let text = format!("`{actor}` is below a supervisor that does not answer now; try again in a moment");
            Reason::new("tree-silent", text)
        })?;
        Ok(ActorDetail::of(node.clone(), &self.boxes.of(actor).seen(), Clocks::now()))
    }

    /// The newest entries of one actor's flight recorder, the oldest first; needs no answer of anybody.
    pub fn trace(&self, word: &str, last: usize) -> Result<Vec<TraceEntry>, Reason> {
        let clocks = Clocks::now();
        let entries = self.boxes.of(find(word)?).trace(last);
        Ok(entries.iter().map(|entry| TraceEntry::of(entry, clocks)).collect())
    }

    /// Stops the actor in order and starts it again, or kills it; its supervisor does the rest. Whether it runs again is
    /// seen by [`Self::show`]: it has another pid then.
    pub async fn intervene(&self, word: &str, how: Intervention) -> Result<(), Reason> {
        let actor = find(word)?;
        let root = self.root.clone();
        // On a task of its own: the asker's may end with what is restarted.
        let work = tokio::spawn(async move {
            match how {
                Intervention::Restart => root.restart(&actor).await,
                Intervention::Kill => root.kill(&actor).await,
            }
        });
        match tokio::time::timeout(INTERVENTION_LIMIT, work).await {
            Ok(Ok(Ok(()))) | Err(_) => Ok(()),
            Ok(Ok(Err(why))) => Err(refusal(actor, &why)),
            Ok(Err(why)) => Err(Reason::new("intervention-failed", why.to_string())),
        }
    }
}

fn find(word: &str) -> Result<Actor, Reason> {
    if word == "leaderl" {
        let text =
            "`leaderl` is the whole tree: restart the service `leaderl` instead, after `leaderl announce-stop restart`";
        return Err(Reason::new("the-root", text));
    }
    word.parse().map_err(|unknown: tree::UnknownActor| Reason::new("unknown-actor", unknown.to_string()))
}

fn silent() -> Reason {
    Reason::new("tree-silent", "the supervision tree does not answer; try again in a moment")
}

fn refusal(actor: Actor, why: &InterventionError) -> Reason {
    match why {
        InterventionError::NotFound => {
            Reason::new("tree-silent", format!("`{actor}`: {why}; try again, or see `leaderl actors tree`"))
        }
        InterventionError::NotRunning => {
            Reason::new("not-running", format!("`{actor}` does not run now; see `leaderl actors show {actor}`"))
        }
        InterventionError::NotStarted(_) => Reason::new("not-started", format!("`{actor}`: {why}")),
    }
}
