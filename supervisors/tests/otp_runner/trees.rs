//! The scenarios' specs as the crate's specs, and the start function of every child.

use std::task::Poll;

use serde_json::{Value, json};
use supervisors::{
    ChildSpec, ChildWords, SpecError, StartChild, StartContext, StartError, Started, SupervisorFlags, SupervisorSpec,
    SupervisorWords,
};
use tokio::sync::oneshot;

use super::terms::{Failed, reason_of, start_error};
use super::worker::Worker;
use super::world::World;

/// The start function of the child at `path`: runs inside the supervisor's turn and follows the plan.
pub fn starts(world: &World, path: String, spec: Value) -> StartChild<String> {
    let world = world.clone();
    StartChild::new(move |context| start(world.clone(), path.clone(), spec.clone(), context))
}

async fn start(
    world: World,
    path: String,
    spec: Value,
    context: StartContext<String>,
) -> Result<Started<String>, Failed> {
    world.lock().specs.insert(path.clone(), spec.clone());
    let is_supervisor = spec.get("sup").is_some();
    let mut outcome = world.lock().next_outcome(&path);
    while let Some(then) = outcome.get("hold").cloned() {
        let (release, released) = oneshot::channel();
        {
            let mut world = world.lock();
            world.note(is_supervisor, "start_held", &path, None);
            world.held = Some(release);
        }
        let _ = released.await;
        outcome = then;
    }
    if let Some(raised) = outcome.get("raise") {
        let term = json!(["EXIT", { "raised": raised }]);
        world.lock().note(is_supervisor, "start_failed", &path, Some(term));
        panic!("{raised}");
    }
    let result = carry_out(&world, &path, &spec, &outcome, context).await;
    record(&world, &path, is_supervisor, &result);
    if is_supervisor {
        hand_over().await;
    }
    match outcome.get("ok_info") {
        Some(info) => result.map(|started| started.with_info(info.clone())),
        None => result,
    }
}

fn record(world: &World, path: &str, is_supervisor: bool, result: &Result<Started<String>, Failed>) {
    let mut world = world.lock();
    match result {
        Ok(started) => match started.cell() {
            Some(cell) => world.started(path, cell, started.supervisor().cloned()),
            None => world.note(is_supervisor, "start_ignored", path, None),
        },
        Err(error) => world.note(is_supervisor, "start_failed", path, Some(start_error(error))),
    }
}

/// In Erlang a supervisor that has started runs on while its parent is woken, and first handles what happened to its
/// children during the start. Here the parent would run on; so it gives way: to the supervisor, to the child that this
/// one stops, and to the supervisor's exit port.
async fn hand_over() {
    for _ in 0..3 {
        let mut woken = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

async fn carry_out(
    world: &World,
    path: &str,
    spec: &Value,
    outcome: &Value,
    context: StartContext<String>,
) -> Result<Started<String>, Failed> {
    if let Some(reason) = outcome.get("error") {
        return Err(StartError::Failed(reason_of(reason)));
    }
    if outcome == "ignore" {
        return Ok(Started::ignore());
    }
    let init_exit = outcome.get("init_exit").cloned();
    let Some(sup) = spec.get("sup") else {
        let on_shutdown = spec.get("on_shutdown").cloned().unwrap_or(json!("obey"));
        let worker = Worker { world: world.clone(), path: path.to_owned(), on_shutdown, init_exit };
        return if spec.get("trap_exit") == Some(&json!(false)) {
            context.spawn_untrapped(worker, ()).await
        } else {
            context.spawn(worker, ()).await
        };
    };
    match init_exit {
        Some(reason) => Err(StartError::Failed(reason_of(&reason))),
        None if sup.get("init") == Some(&json!("ignore")) => Ok(Started::ignore()),
        None => context.supervise(supervisor(world, path, sup).map_err(StartError::Spec)?).await,
    }
}

fn supervisor(world: &World, path: &str, sup: &Value) -> Result<SupervisorSpec<String>, SpecError<String>> {
    let flags = flags(sup)?;
    let children = sup.get("children").and_then(Value::as_array).cloned().unwrap_or_default();
    let words: Vec<Words> = children.iter().map(Words::of_child).collect();
    flags.spec(children.iter().zip(&words).map(|(spec, words)| {
        let id = words.id.clone();
        let start = starts(world, format!("{path}/{id}"), spec.clone());
        (id, words.of_policy(), start)
    }))
}

fn flags(sup: &Value) -> Result<SupervisorFlags, SpecError<String>> {
    let [strategy, intensity, period, auto_shutdown] =
        ["strategy", "intensity", "period", "auto_shutdown"].map(|key| word(sup, key));
    SupervisorWords {
        strategy: strategy.as_deref(),
        intensity: intensity.as_deref(),
        period: period.as_deref(),
        auto_shutdown: auto_shutdown.as_deref(),
    }
    .read()
}

/// The spec of a child that is added to the supervisor `above`, which lives at `path`.
pub fn child(world: &World, path: &str, above: &Value, spec: &Value) -> Result<ChildSpec<String>, SpecError<String>> {
    let words = Words::of_child(spec);
    let policy = words.of_policy().read(words.id.clone(), flags(above)?.auto_shutdown)?;
    let start = starts(world, format!("{path}/{}", policy.id), spec.clone());
    Ok(ChildSpec::new(policy, start))
}

/// The words of a child, numbers and booleans as texts.
struct Words {
    id: String,
    restart: Option<String>,
    significant: Option<String>,
    kind: Option<String>,
    shutdown: Option<String>,
}

impl Words {
    fn of_child(spec: &Value) -> Self {
        Self {
            id: word(spec, "id").unwrap(),
            restart: word(spec, "restart"),
            significant: word(spec, "significant"),
            kind: word(spec, "type"),
            shutdown: word(spec, "shutdown"),
        }
    }

    fn of_policy(&self) -> ChildWords<'_> {
        ChildWords {
            restart: self.restart.as_deref(),
            significant: self.significant.as_deref(),
            kind: self.kind.as_deref(),
            shutdown: self.shutdown.as_deref(),
        }
    }
}

fn word(spec: &Value, key: &str) -> Option<String> {
    spec.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
