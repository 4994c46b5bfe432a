//! The steps that ask a supervisor something, and its answers as Erlang spells them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ractor::ActorCell;
use serde_json::{Map, Value, json};
use supervisors::{
    ChildCounts, ChildInfo, ChildKey, ChildKind, ChildNow, ChildPolicy, ChildSpecError, DeleteChildError, NoSupervisor,
    Restart, RestartChildError, Shutdown, StartChildError, StartedChild, SupervisorHandle, TerminateChildError,
};

use super::driver::settle;
use super::terms::{spec_error, start_error, term_of};
use super::trees;
use super::world::{Instance, World};

/// A request to one incarnation of a supervisor.
pub struct Question {
    pub world: World,
    pub supervisor: Instance,
    /// The process that the step names.
    pub process: Option<ActorCell>,
}

impl Question {
    pub async fn ask(self, operation: String, step: Map<String, Value>) -> Value {
        match self.answer(&operation, &step).await {
            Ok(answer) => answer,
            Err(NoSupervisor) => json!(["exit", self.why_gone().await]),
        }
    }

    async fn answer(&self, operation: &str, step: &Map<String, Value>) -> Result<Value, NoSupervisor> {
        let supervisor = self.supervisor.supervisor.as_ref().ok_or(NoSupervisor)?;
        Ok(match operation {
            "start_child" => self.start_child(supervisor, step).await?,
            "terminate_child" => match supervisor.terminate_child(self.key(step)).await {
                Ok(()) => json!("ok"),
                Err(TerminateChildError::NoSupervisor(gone)) => return Err(gone),
                Err(TerminateChildError::NotFound) => json!(["error", "not_found"]),
                Err(TerminateChildError::Dynamic) => json!(["error", "simple_one_for_one"]),
            },
            "restart_child" => match supervisor.restart_child(self.key(step)).await {
                Ok(started) => self.started(&started),
                Err(RestartChildError::NoSupervisor(gone)) => return Err(gone),
                Err(RestartChildError::NotFound) => json!(["error", "not_found"]),
                Err(RestartChildError::Running) => json!(["error", "running"]),
                Err(RestartChildError::Restarting) => json!(["error", "restarting"]),
                Err(RestartChildError::Dynamic) => json!(["error", "simple_one_for_one"]),
                Err(RestartChildError::Failed(error)) => json!(["error", start_error(&error)]),
            },
            "delete_child" => match supervisor.delete_child(self.key(step)).await {
                Ok(()) => json!("ok"),
                Err(DeleteChildError::NoSupervisor(gone)) => return Err(gone),
                Err(DeleteChildError::NotFound) => json!(["error", "not_found"]),
                Err(DeleteChildError::Running) => json!(["error", "running"]),
                Err(DeleteChildError::Restarting) => json!(["error", "restarting"]),
                Err(DeleteChildError::Dynamic) => json!(["error", "simple_one_for_one"]),
            },
            "get_childspec" => match supervisor.get_childspec(self.key(step)).await {
                Ok(policy) => json!(["ok", policy_term(&policy)]),
                Err(ChildSpecError::NoSupervisor(gone)) => return Err(gone),
                Err(ChildSpecError::NotFound) => json!(["error", "not_found"]),
            },
            "which_children" => which(&self.world, &supervisor.which_children().await?),
            "count_children" => counts(supervisor.count_children().await?),
            unknown => panic!("unknown operation {unknown}"),
        })
    }

    async fn start_child(
        &self,
        supervisor: &SupervisorHandle<String>,
        step: &Map<String, Value>,
    ) -> Result<Value, NoSupervisor> {
        let path = &self.supervisor.path;
        let above = self.world.lock().specs[path]["sup"].clone();
        let spec = step.get("spec").unwrap_or(&Value::Null);
        let (result, refused, child) = match step.get("label").and_then(Value::as_str) {
            Some(label) => {
                let start = trees::starts(&self.world, format!("{path}/{label}"), above["children"][0].clone());
                let refused = json!(["invalid_child_spec", { "list": [label] }]);
                (supervisor.start_dynamic(start).await, refused, None)
            }
            None => match trees::child(&self.world, path, &above, spec) {
                Ok(child) => {
                    let refused = json!(["EXIT", { "raised": "badarg" }]);
                    (supervisor.start_child(child).await, refused, Some(json!({ "child": spec["id"] })))
                }
                Err(error) => {
                    // In Erlang the supervisor itself reads the words, in its turn.
                    supervisor.count_children().await?;
                    return Ok(json!(["error", spec_error(&error)]));
                }
            },
        };
        Ok(match result {
            Ok(started) => self.started(&started),
            Err(StartChildError::NoSupervisor(gone)) => return Err(gone),
            Err(StartChildError::AlreadyStarted(actor)) => {
                json!(["error", ["already_started", self.world.lock().name_of(&actor)]])
            }
            Err(StartChildError::AlreadyPresent) => json!(["error", "already_present"]),
            Err(StartChildError::Spec(error)) => json!(["error", spec_error(&error)]),
            Err(StartChildError::Failed(error)) => match child {
                Some(child) => json!(["error", [start_error(&error), child]]),
                None => json!(["error", start_error(&error)]),
            },
            Err(StartChildError::WrongKind) => json!(["error", refused]),
        })
    }

    fn started(&self, started: &StartedChild) -> Value {
        let name = started.actor.as_ref().map_or(json!("undefined"), |actor| self.world.lock().name_of(actor));
        match started.info.as_ref().and_then(|info| info.downcast_ref::<Value>()) {
            Some(info) => json!(["ok", name, info]),
            None => json!(["ok", name]),
        }
    }

    fn key(&self, step: &Map<String, Value>) -> ChildKey<String> {
        match (&self.process, step.get("id").and_then(Value::as_str)) {
            (Some(process), _) => ChildKey::Actor(process.clone()),
            (None, Some(id)) => ChildKey::Id(id.to_owned()),
            // The process of a path that never lived.
            (None, None) => ChildKey::Id("none".to_owned()),
        }
    }

    /// Dead before the question was asked, or dead of this reason with the question in its queue.
    async fn why_gone(&self) -> Value {
        if self.supervisor.ended.is_some() {
            return json!("noproc");
        }
        let ended = || self.world.lock().of(self.supervisor.cell.get_id()).and_then(|instance| instance.ended.clone());
        // Its queue is dropped a moment before its end is told.
        while ended().is_none() {
            tokio::task::yield_now().await;
        }
        ended().as_ref().map_or(json!("unknown"), term_of)
    }
}

/// `which_children` and `count_children` of every live supervisor.
pub async fn observe(world: &World) -> Value {
    let mut observed = Map::new();
    let mut live = world.lock().live_supervisors();
    live.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, supervisor) in live {
        let (Ok(children), Ok(count)) = (supervisor.which_children().await, supervisor.count_children().await) else {
            continue;
        };
        observed.insert(path, json!({ "which": which(world, &children), "count": counts(count) }));
    }
    Value::Object(observed)
}

/// Whether every live supervisor has served everything: it answers without time passing.
pub async fn all_idle(world: &World) -> bool {
    let live = world.lock().live_supervisors();
    let (asked, answered) = (live.len(), Arc::new(AtomicUsize::new(0)));
    let mut probes = tokio::task::JoinSet::new();
    for (_, supervisor) in live {
        let answered = answered.clone();
        probes.spawn(async move {
            let _ = supervisor.count_children().await;
            answered.fetch_add(1, Ordering::Relaxed);
        });
    }
    settle().await;
    answered.load(Ordering::Relaxed) == asked
}

fn which(world: &World, children: &[ChildInfo<String>]) -> Value {
    let entry = |info: &ChildInfo<String>| {
        let child = match &info.child {
            ChildNow::Running(actor) => world.lock().name_of(actor),
            ChildNow::Restarting => json!("restarting"),
            ChildNow::Down => json!("undefined"),
        };
        json!([info.id.as_deref().unwrap_or("undefined"), child, kind(info.kind)])
    };
    let mut entries: Vec<Value> = children.iter().map(entry).collect();
    if children.iter().all(|info| info.id.is_none()) {
        entries.sort_by_key(|entry| {
            let texts = entry.as_array().unwrap().iter();
            texts.map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        });
    }
    Value::Array(entries)
}

fn counts(counts: ChildCounts) -> Value {
    json!([counts.specs, counts.active, counts.supervisors, counts.workers])
}

fn kind(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Worker => "worker",
        ChildKind::Supervisor => "supervisor",
    }
}

fn policy_term(policy: &ChildPolicy<String>) -> Value {
    let restart = match policy.restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    };
    let shutdown = match policy.shutdown {
        Shutdown::BrutalKill => json!("brutal_kill"),
        Shutdown::Within(limit) => json!(u64::try_from(limit.as_millis()).unwrap()),
        Shutdown::Infinity => json!("infinity"),
    };
    let (id, significant) = (&policy.id, policy.significant);
    json!({ "id": id, "restart": restart, "shutdown": shutdown, "type": kind(policy.kind), "significant": significant })
}
