//! A dynamic supervisor: one child per connection, each with its own argument:
//! `cargo run -p supervisors --example connections`.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use supervisors::{
    ChildPolicy, ChildRef, ChildSpec, DynamicSupervisor, ExitReason, Restart, Strategy, SupervisorSpec, restarts,
    start_root,
};

/// One connection to one peer.
struct Connection;

enum Event {
    /// The peer said good-bye: the work is done.
    Closed,
    /// The peer sent nonsense: nobody knows what the state is worth now.
    Garbled,
}

impl Actor for Connection {
    type Msg = Event;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Event>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Event>, event: Event, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match event {
            Event::Closed => Err(ExitReason::Normal.into()),
            Event::Garbled => panic!("not a word of it"),
        }
    }
}

pub async fn story() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    supervisors::install_panic_hook();
    let limit = Duration::from_secs(5);
    // Transient: one that fails comes back with the same argument, one that is done does not.
    let template = ChildPolicy::worker("connection").restart(Restart::Transient);
    let connections = DynamicSupervisor::new(template, |peer: ChildRef<Event>| peer.starts(|| (Connection, ())));
    let spec = connections.spec().intensity(restarts(3).within(Duration::from_secs(10)));
    let root =
        start_root(SupervisorSpec::new(Strategy::OneForOne).child(ChildSpec::supervisor("connections", spec))).await?;
    let mut told = Vec::new();

    let peers = ["ada", "ben", "cleo"].map(ChildRef::new);
    for peer in &peers {
        connections.start_child(peer.clone()).await?;
    }
    let supervisor = connections.supervisor().handle()?;
    told.push(format!("three peers: {} connections", supervisor.count_children().await?.active));

    let [ada, ben, cleo] = &peers;
    let closed = ben.actor()?;
    ben.cast(Event::Closed)?;
    closed.wait(Some(limit)).await?;
    ada.cast(Event::Garbled)?;
    ada.wait_incarnation(2, limit).await?;
    told.push(format!("{} failed and is back as incarnation {}", ada.name(), ada.incarnation()));
    // Exits are served in their order: the one of ben was before.
    told.push(format!(
        "{} was done and is gone: {} connections",
        ben.name(),
        supervisor.count_children().await?.active
    ));

    if let Some(actor) = cleo.cell() {
        connections.terminate_child(actor).await?;
    }
    told.push(format!("{} is sent away: {} connection", cleo.name(), supervisor.count_children().await?.active));

    let reason = root.stop(ExitReason::Shutdown).await;
    let left = peers.iter().filter(|peer| peer.actor().is_ok()).count();
    told.push(format!("the root ended ({reason}): {left} connections"));
    Ok(told)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in story().await? {
        println!("{line}");
    }
    Ok(())
}
