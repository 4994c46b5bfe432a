//! A chain of three actors under `RestForOne`, a crash in the middle, and a crash too many:
//! `cargo run -p supervisors --example chain`.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use supervisors::{
    ChildNow, ChildRef, ChildSpec, ExitReason, RootHandle, Strategy, SupervisorSpec, restarts, start_root,
};

/// A step of a pipeline: needs those before it, serves those after it.
struct Step;

struct Item(&'static str);

impl Actor for Step {
    type Msg = Item;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Item>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Item>, Item(item): Item, (): &mut ()) -> Result<(), ActorProcessingErr> {
        // What an actor does not understand ends it: its supervisor knows what that means for the others.
        if item == "good" { Ok(()) } else { Err(ExitReason::Failed(format!("cannot digest `{item}`")).into()) }
    }
}

pub async fn story() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    supervisors::install_panic_hook();
    let limit = Duration::from_secs(5);
    let [reader, parser, writer] = ["reader", "parser", "writer"].map(ChildRef::new);
    let step = |child: &ChildRef<Item>, name| ChildSpec::worker(name, child.starts(|| (Step, ())));
    let spec = SupervisorSpec::new(Strategy::RestForOne)
        .intensity(restarts(2).within(Duration::from_secs(60)))
        .children([step(&reader, "reader"), step(&parser, "parser"), step(&writer, "writer")]);
    let root = start_root(spec).await?;
    let mut told = vec!["three steps, started in this order:".to_owned()];
    told.extend(look(&root).await);

    parser.cast(Item("rotten"))?;
    writer.wait_incarnation(2, limit).await?;
    told.push("the parser failed; the writer depends on it, the reader does not:".to_owned());
    told.extend(look(&root).await);

    reader.cast(Item("rotten"))?;
    writer.wait_incarnation(3, limit).await?;
    told.push("the reader failed, and all depend on it:".to_owned());
    told.extend(look(&root).await);

    writer.cast(Item("rotten"))?;
    told.push(format!("a third failure within a minute is one too many. The root ends: {}", root.wait().await));
    Ok(told)
}

async fn look(root: &RootHandle<&'static str>) -> Vec<String> {
    let children = root.snapshot().await.map(|tree| tree.children).unwrap_or_default();
    let line = |child: &supervisors::ChildSnapshot<&'static str>| {
        let now = match child.now {
            ChildNow::Running(_) => "running",
            ChildNow::Restarting => "restarting",
            ChildNow::Down => "down",
        };
        let failure = child.recent_restarts.last().map(|restart| format!(", restarted after: {}", restart.after));
        format!("  {} {now}, incarnation {}{}", child.id, child.incarnation, failure.unwrap_or_default())
    };
    children.iter().map(line).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in story().await? {
        println!("{line}");
    }
    Ok(())
}
