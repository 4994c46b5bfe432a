//! What a scenario's processes share: the log of events, the plans of starts, the processes by path.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ractor::{ActorCell, ActorId};
use serde_json::{Value, json};
use supervisors::{ChildExit, ExitReason, SupervisorHandle, Telemetry};
use tokio::sync::{mpsc, oneshot};

use super::terms::term_of;

#[derive(Clone, Default)]
pub struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub log: Vec<Value>,
    pub plans: HashMap<String, VecDeque<Value>>,
    /// The spec of every path that was ever started.
    pub specs: BTreeMap<String, Value>,
    pub held: Option<oneshot::Sender<()>>,
    /// Workers that clean up for a while.
    pub delaying: usize,
    /// How to end a worker whose termination callback does not return.
    pub stubborn: HashMap<ActorId, mpsc::UnboundedSender<Value>>,
    instances: Vec<Instance>,
    counts: HashMap<String, usize>,
}

/// A process that was started.
#[derive(Clone)]
pub struct Instance {
    pub path: String,
    /// `path#n`.
    pub name: String,
    pub cell: ActorCell,
    pub supervisor: Option<SupervisorHandle<String>>,
    pub ended: Option<ExitReason>,
}

impl World {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    pub fn next_outcome(&mut self, path: &str) -> Value {
        self.plans.get_mut(path).and_then(VecDeque::pop_front).unwrap_or_else(|| json!("ok"))
    }

    pub fn plan(&mut self, path: &str, starts: &Value) {
        self.plans.insert(path.to_owned(), starts.as_array().unwrap().iter().cloned().collect());
    }

    /// Counts a process that was started, and logs it.
    pub fn started(&mut self, path: &str, cell: ActorCell, supervisor: Option<SupervisorHandle<String>>) {
        let count = self.counts.entry(path.to_owned()).or_default();
        *count += 1;
        let name = format!("{path}#{count}");
        let event = json!([format!("{}_started", noun(supervisor.is_some())), name]);
        self.log.push(event);
        self.instances.push(Instance { path: path.to_owned(), name, cell, supervisor, ended: None });
    }

    pub fn note(&mut self, is_supervisor: bool, what: &str, path: &str, more: Option<Value>) {
        let mut event = vec![json!(format!("{}_{what}", noun(is_supervisor))), json!(path)];
        event.extend(more);
        self.log.push(Value::Array(event));
    }

    /// The latest process of a path.
    pub fn current(&self, path: &str) -> Option<&Instance> {
        self.instances.iter().rev().find(|instance| instance.path == path)
    }

    pub fn of(&self, pid: ActorId) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.cell.get_id() == pid)
    }

    pub fn name_of(&self, cell: &ActorCell) -> Value {
        self.of(cell.get_id()).map_or(json!("pid"), |instance| json!(instance.name))
    }

    pub fn live_supervisors(&self) -> Vec<(String, SupervisorHandle<String>)> {
        let live = self.instances.iter().filter(|instance| instance.ended.is_none());
        live.filter_map(|instance| Some((instance.path.clone(), instance.supervisor.clone()?))).collect()
    }
}

/// The crate's own report of every end, made before the supervisor can know.
impl Telemetry<String> for World {
    fn exited(&self, exit: &ChildExit<'_, String>) {
        let mut inner = self.lock();
        let Some(instance) = inner.instances.iter_mut().find(|instance| instance.cell.get_id() == exit.pid) else {
            return;
        };
        instance.ended = Some(exit.reason.clone());
        let event =
            json!([format!("{}_down", noun(instance.supervisor.is_some())), instance.name, term_of(exit.reason)]);
        inner.log.push(event);
    }
}

fn noun(is_supervisor: bool) -> &'static str {
    if is_supervisor { "supervisor" } else { "child" }
}
