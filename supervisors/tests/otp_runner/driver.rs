//! Carries out a scenario's steps, one at a time, and brings the tree to rest after each.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use serde_json::{Map, Value, json};
use supervisors::{ExitReason, RootHandle, start_root_with};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::normal_form::{has_no_order, of_dynamic};
use super::requests;
use super::terms::{reason_of, start_error};
use super::worker::Exit;
use super::world::{Instance, World};
use super::{Scenario, trees};

type Step = Map<String, Value>;

pub struct Driver {
    world: World,
    sup: Value,
    /// The running top supervisor, put there by its start.
    root: Arc<tokio::sync::Mutex<Option<RootHandle<String>>>>,
    /// A live process that is no child.
    stranger: ActorCell,
    /// Requests without an answer so far.
    open: Vec<(String, JoinHandle<Value>)>,
    /// The supervisors count restarts in whole seconds since then.
    began: Instant,
}

/// What a step's action leaves to wait for.
enum Action {
    Done(Option<Value>),
    Wait(JoinHandle<Value>),
}

impl Driver {
    pub async fn new(scenario: &Scenario) -> Self {
        let world = World::default();
        for (path, starts) in &scenario.plan {
            world.lock().plan(path, starts);
        }
        let (stranger, _) = Actor::spawn(None, Stranger, ()).await.unwrap();
        Self {
            world,
            sup: json!({ "id": "top", "sup": scenario.sup }),
            root: Arc::default(),
            stranger: stranger.get_cell(),
            open: Vec::new(),
            began: Instant::now(),
        }
    }

    /// One step: its entry of the trace.
    pub async fn step(&mut self, step: &Step) -> Value {
        let operation = text(step, "op");
        let mut entry = Map::new();
        match (self.act(operation, step).await, step.get("async")) {
            (Action::Wait(answer), Some(tag)) => self.open.push((tag.as_str().unwrap().to_owned(), answer)),
            (Action::Wait(answer), None) => drop(entry.insert("result".to_owned(), answer.await.unwrap())),
            (Action::Done(Some(result)), _) => drop(entry.insert("result".to_owned(), result)),
            (Action::Done(None), _) => {}
        }
        self.come_to_rest(operation).await;
        let arrived = self.arrived().await;
        if !arrived.is_empty() {
            entry.insert("async".to_owned(), Value::Array(arrived));
        }
        let events = std::mem::take(&mut self.world.lock().log);
        if has_no_order(&events) {
            entry.insert("order".to_owned(), json!("any"));
            entry.insert("events".to_owned(), Value::Array(events));
        } else {
            entry.insert("events".to_owned(), Value::Array(of_dynamic(events, self.dynamic())));
        }
        Value::Object(entry)
    }

    async fn act(&mut self, operation: &str, step: &Step) -> Action {
        match operation {
            "start_top" => self.start_top(),
            "shutdown_top" => self.shutdown_top(step).await,
            "exit" | "kill" | "signal" => {
                let current = self.world.lock().current(text(step, "path")).cloned();
                match current.filter(|instance| instance.ended.is_none()) {
                    Some(instance) => self.end(operation, step, instance).await,
                    None => return Action::Done(Some(json!("not_alive"))),
                }
                Action::Done(None)
            }
            "plan" => {
                self.world.lock().plan(text(step, "path"), &step["starts"]);
                Action::Done(None)
            }
            "release" => {
                let held = self.world.lock().held.take();
                if let Some(release) = held {
                    let _ = release.send(());
                }
                Action::Done(None)
            }
            "advance" => {
                sleep(Duration::from_millis(step["ms"].as_u64().unwrap())).await;
                Action::Done(None)
            }
            "align" => {
                let second = Duration::from_secs(self.began.elapsed().as_secs() + 1);
                let phase = Duration::from_millis(step.get("ms").and_then(Value::as_u64).unwrap_or(50));
                sleep_until(self.began + second + phase).await;
                Action::Done(None)
            }
            "observe" => Action::Done(Some(requests::observe(&self.world).await)),
            request => self.request(request, step),
        }
    }

    fn start_top(&mut self) -> Action {
        self.began = Instant::now();
        let (world, root) = (self.world.clone(), self.root.clone());
        let start = trees::starts(&world, "top".to_owned(), self.sup.clone());
        Action::Wait(tokio::spawn(async move {
            match start_root_with(start, Some(Arc::new(world.clone()))).await {
                Ok(Some(handle)) => {
                    let name = world.lock().name_of(&handle.supervisor().cell());
                    *root.lock().await = Some(handle);
                    json!(["ok", name])
                }
                Ok(None) => json!("ignore"),
                Err(error) => json!(["error", start_error(&error)]),
            }
        }))
    }

    async fn shutdown_top(&self, step: &Step) -> Action {
        let alive = self.world.lock().current("top").is_some_and(|top| top.ended.is_none());
        let Some(root) = self.root.lock().await.clone().filter(|_| alive) else {
            return Action::Done(Some(json!("not_alive")));
        };
        let reason = step.get("reason").map_or(ExitReason::Shutdown, reason_of);
        Action::Wait(tokio::spawn(async move {
            root.stop(reason).await;
            json!("ok")
        }))
    }

    async fn end(&self, operation: &str, step: &Step, instance: Instance) {
        let reason = step.get("reason").cloned().unwrap_or_default();
        match (operation, &instance.supervisor) {
            ("signal", _) => {
                let (stranger, _) = Actor::spawn(None, Stranger, ()).await.unwrap();
                stranger.link(instance.cell);
                stranger.send_message(Exit(reason)).unwrap();
                return;
            }
            ("kill", _) => instance.cell.kill(),
            (_, Some(supervisor)) => supervisor.exit(reason_of(&reason)).unwrap(),
            (_, None) => {
                let stubborn = self.world.lock().stubborn.get(&instance.cell.get_id()).cloned();
                match stubborn {
                    Some(orders) => orders.send(reason).unwrap(),
                    // One that is stopping already hears nothing and ends as it was going to.
                    None => drop(instance.cell.send_message(Exit(reason))),
                }
            }
        }
        while self.world.lock().of(instance.cell.get_id()).is_some_and(|instance| instance.ended.is_none()) {
            settle().await;
            if self.world.lock().of(instance.cell.get_id()).is_some_and(|instance| instance.ended.is_none()) {
                sleep(TICK).await;
            }
        }
    }

    fn request(&self, operation: &str, step: &Step) -> Action {
        let path = step.get("sup").and_then(Value::as_str).unwrap_or("top");
        let Some(supervisor) = self.world.lock().current(path).cloned() else {
            return Action::Done(Some(json!(["exit", "noproc"])));
        };
        let process = match step.get("pid_of").and_then(Value::as_str) {
            Some("driver") => Some(self.stranger.clone()),
            Some(path) => self.world.lock().current(path).map(|instance| instance.cell.clone()),
            None => None,
        };
        let question = requests::Question { world: self.world.clone(), supervisor, process };
        Action::Wait(tokio::spawn(question.ask(operation.to_owned(), step.clone())))
    }

    /// No runnable work and, unless a start is held or a request is open, no supervisor that waits for time to pass.
    async fn come_to_rest(&self, operation: &str) {
        // Also if it has been answered by now: it was open when the step was carried out.
        let open = !self.open.is_empty();
        loop {
            settle().await;
            let held = self.world.lock().held.is_some();
            if held || (open && operation != "release") {
                return;
            }
            let before = self.world.lock().log.len();
            if requests::all_idle(&self.world).await {
                settle().await;
                let world = self.world.lock();
                if world.delaying == 0 && world.log.len() == before {
                    return;
                }
            }
            sleep(TICK).await;
        }
    }

    async fn arrived(&mut self) -> Vec<Value> {
        let mut arrived = Vec::new();
        let mut waiting = Vec::new();
        for (tag, answer) in self.open.drain(..) {
            if answer.is_finished() {
                arrived.push(json!({ "tag": tag, "result": answer.await.unwrap() }));
            } else {
                waiting.push((tag, answer));
            }
        }
        self.open = waiting;
        arrived
    }

    /// The paths of the dynamic supervisors.
    fn dynamic(&self) -> Vec<String> {
        let world = self.world.lock();
        let dynamic = world.specs.iter().filter(|(_, spec)| spec["sup"]["strategy"] == "simple_one_for_one");
        dynamic.map(|(path, _)| path.clone()).collect()
    }
}

const TICK: Duration = Duration::from_millis(1);

/// Lets everything run that can run without time passing. A task that yields wakes up after all runnable ones ran.
pub async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

fn text<'a>(step: &'a Step, key: &str) -> &'a str {
    let text = step.get(key).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("a step needs the text `{key}`: {}", Value::Object(step.clone())))
}

/// A process outside the tree.
struct Stranger;

impl Actor for Stranger {
    type Msg = Exit;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Exit>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Exit>, Exit(reason): Exit, (): &mut ()) -> Result<(), ActorProcessingErr> {
        Err(reason_of(&reason).into())
    }
}
