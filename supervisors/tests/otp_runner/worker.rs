//! The worker of the scenarios: it ends on command and records that it is being stopped.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde_json::{Value, json};
use supervisors::{ExitReason, stop_reason};
use tokio::sync::mpsc;

use super::terms::{reason_of, term_of};
use super::world::World;

pub struct Worker {
    pub world: World,
    pub path: String,
    /// `on_shutdown` of its spec.
    pub on_shutdown: Value,
    /// Its init ends it with this reason.
    pub init_exit: Option<Value>,
}

/// The process ends itself with this reason.
pub struct Exit(pub Value);

impl Actor for Worker {
    type Msg = Exit;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Exit>, (): ()) -> Result<(), ActorProcessingErr> {
        match &self.init_exit {
            Some(reason) => end(reason),
            None => Ok(()),
        }
    }

    async fn handle(&self, _: ActorRef<Exit>, Exit(reason): Exit, (): &mut ()) -> Result<(), ActorProcessingErr> {
        end(&reason)
    }

    async fn post_stop(&self, myself: ActorRef<Exit>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let why = stop_reason().unwrap_or(ExitReason::Normal);
        {
            let mut world = self.world.lock();
            let name = world.of(myself.get_id()).unwrap().name.clone();
            world.note(false, "terminating", &name, Some(term_of(&why)));
        }
        match &self.on_shutdown {
            Value::String(how) if how == "ignore" => {
                let (order, mut orders) = mpsc::unbounded_channel();
                self.world.lock().stubborn.insert(myself.get_id(), order);
                let reason = orders.recv().await.unwrap_or(json!("normal"));
                end(&reason)
            }
            Value::Object(how) if how.contains_key("delay_ms") => {
                let _delaying = Delaying::new(&self.world);
                tokio::time::sleep(Duration::from_millis(how["delay_ms"].as_u64().unwrap())).await;
                Ok(())
            }
            Value::Object(how) => end(&how["exit"]),
            _ => Ok(()),
        }
    }
}

fn end(reason: &Value) -> Result<(), ActorProcessingErr> {
    match reason.get("raised") {
        Some(raised) => panic!("{raised}"),
        None => Err(reason_of(reason).into()),
    }
}

/// Counts the workers for which time must pass.
struct Delaying(World);

impl Delaying {
    fn new(world: &World) -> Self {
        world.lock().delaying += 1;
        Self(world.clone())
    }
}

impl Drop for Delaying {
    fn drop(&mut self) {
        self.0.lock().delaying -= 1;
    }
}
