//! Dynamic children, several trees in one process, telemetry; and threads: nothing is held twice, nothing hangs.

#![allow(clippy::unwrap_used)]

mod common;

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Journal, LIMIT, ProbeMessage, probe, settle};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use supervisors::{
    ChildExit, ChildNow, ChildPolicy, ChildRef, ChildSpec, DynamicSupervisor, ExitReason, Restart, StartChildError,
    Strategy, SupervisorRef, SupervisorSpec, Telemetry, restarts, start_actor, start_root, start_root_with,
};

/// Owns one of something of which there must never be two.
struct Owner;

struct OwnerArguments {
    owners: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Ownership(Arc<AtomicUsize>);

impl Drop for Ownership {
    fn drop(&mut self) {
        // Long enough for an early successor to be seen.
        std::thread::sleep(Duration::from_micros(50));
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum OwnerMessage {
    Fail,
    Panic,
}

impl Actor for Owner {
    type Msg = OwnerMessage;
    type State = Ownership;
    type Arguments = OwnerArguments;

    async fn pre_start(
        &self,
        _: ActorRef<OwnerMessage>,
        arguments: OwnerArguments,
    ) -> Result<Ownership, ActorProcessingErr> {
        let now = arguments.owners.fetch_add(1, Ordering::SeqCst) + 1;
        arguments.most.fetch_max(now, Ordering::SeqCst);
        Ok(Ownership(arguments.owners))
    }

    async fn handle(
        &self,
        _: ActorRef<OwnerMessage>,
        message: OwnerMessage,
        _: &mut Ownership,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            OwnerMessage::Fail => Err("failed".into()),
            OwnerMessage::Panic => panic!("panicked"),
        }
    }
}

#[derive(Clone, Default)]
struct Most {
    owners: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Most {
    fn arguments(&self) -> OwnerArguments {
        OwnerArguments { owners: self.owners.clone(), most: self.most.clone() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_threads_nothing_is_ever_held_twice() {
    supervisors::install_panic_hook();
    let (kept, held) = (Most::default(), ChildRef::new("owner"));
    let most = kept.clone();
    let owner = ChildSpec::worker("owner", held.starts(move || (Owner, most.arguments())));
    let other = Most::default();
    let inner_most = other.clone();
    let inner_owner = ChildSpec::worker("inner owner", start_actor(move || (Owner, inner_most.arguments())));
    let often = restarts(1_000_000).within(Duration::from_secs(1));
    let inner = SupervisorSpec::new(Strategy::OneForAll).intensity(often).children([inner_owner]);
    let spec = SupervisorSpec::new(Strategy::OneForAll)
        .intensity(often)
        .children([owner, ChildSpec::supervisor("inner", inner)]);
    let root = start_root(spec).await.unwrap();
    for round in 0..500 {
        held.wait_started(LIMIT).await.unwrap();
        let before = held.incarnation();
        let sent = match round % 4 {
            0 => held.cast(OwnerMessage::Fail).is_ok(),
            1 => held.cast(OwnerMessage::Panic).is_ok(),
            2 => root.kill(&"owner").await.is_ok(),
            _ => root.kill(&"inner").await.is_ok(),
        };
        if sent {
            held.wait_incarnation(before + 1, LIMIT).await.unwrap();
        }
    }
    root.stop(ExitReason::Shutdown).await;
    for most in [kept, other] {
        assert_eq!((most.most.load(Ordering::SeqCst), most.owners.load(Ordering::SeqCst)), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn dynamic_children_come_go_and_keep_their_arguments() {
    let journal = Journal::default();
    let noted = journal.clone();
    let probes = DynamicSupervisor::new(ChildPolicy::worker("probe").restart(Restart::Transient), move |name| {
        let journal = noted.clone();
        start_actor(move || {
            let stopping_takes = Duration::from_secs(1);
            (common::Probe { name, journal: journal.clone(), incarnation: 0, stopping_takes }, ())
        })
    });
    assert!(matches!(probes.start_child("early").await, Err(StartChildError::NoSupervisor(_))));
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(ChildSpec::supervisor("probes", probes.spec()));
    let root = start_root(spec).await.unwrap();
    let one = probes.start_child("one").await.unwrap().actor.unwrap();
    let two = probes.start_child("two").await.unwrap().actor.unwrap();
    one.kill();
    settle().await;
    assert_eq!(journal.take(), ["one started", "two started", "one dropped", "one started"]);
    probes.terminate_child(two).await.unwrap();
    assert_eq!(journal.take(), ["two stopping (shutdown)", "two dropped"]);
    for name in ["three", "four"] {
        probes.start_child(name).await.unwrap();
    }
    let began = tokio::time::Instant::now();
    root.stop(ExitReason::Shutdown).await;
    assert_eq!(began.elapsed(), Duration::from_secs(1), "they are stopped together");
}

#[tokio::test(start_paused = true)]
async fn three_trees_with_the_same_ids_do_not_see_each_other() {
    let journal = Journal::default();
    let mut trees = Vec::new();
    for _ in 0..3 {
        let a = probe("a", &journal);
        let root = start_root(SupervisorSpec::new(Strategy::OneForOne).child(a.spec.clone())).await.unwrap();
        trees.push((root, a.reference));
    }
    trees[1].0.kill(&"a").await.unwrap();
    settle().await;
    trees[2].0.stop(ExitReason::Shutdown).await;
    let incarnations: Vec<u64> = trees.iter().map(|(_, a)| a.incarnation()).collect();
    assert_eq!(incarnations, [1, 2, 1]);
    assert!(trees[0].1.actor().is_ok() && trees[1].1.actor().is_ok() && trees[2].1.actor().is_err());
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Telemetry<&'static str> for Heard {
    fn exited(&self, exit: &ChildExit<'_, &'static str>) {
        self.0.lock().unwrap().push(format!("{:?} exited: {}", exit.path, exit.reason));
    }

    fn handling(&self, path: &[&'static str], _: ActorId, message: &dyn Any) {
        if let Some(ProbeMessage::Exit(_)) = message.downcast_ref() {
            self.0.lock().unwrap().push(format!("{path:?} handles Exit"));
        }
    }

    fn restarted(&self, path: &[&'static str], after: &ExitReason) {
        self.0.lock().unwrap().push(format!("{path:?} restarted after: {after}"));
    }

    fn gave_up(&self, path: &[&'static str]) {
        self.0.lock().unwrap().push(format!("{path:?} gave up"));
    }
}

#[tokio::test(start_paused = true)]
async fn telemetry_hears_of_every_end() {
    let (journal, heard) = (Journal::default(), Arc::new(Heard::default()));
    let a = probe("a", &journal);
    let inner = SupervisorSpec::new(Strategy::OneForOne).intensity(restarts(1)).child(a.spec.clone());
    let spec = SupervisorSpec::new(Strategy::OneForOne).intensity(restarts(0)).child(ChildSpec::supervisor("s", inner));
    let root = start_root_with(spec.starts(), Some(heard.clone())).await.unwrap().unwrap();
    for reason in ["boom", "bang"] {
        a.reference.cast(ProbeMessage::Exit(ExitReason::Failed(reason.into()))).unwrap();
        settle().await;
    }
    assert_eq!(root.wait().await, ExitReason::Shutdown);
    let expected = [
        r#"["s", "a"] handles Exit"#,
        r#"["s", "a"] exited: boom"#,
        r#"["s", "a"] restarted after: boom"#,
        r#"["s", "a"] handles Exit"#,
        r#"["s", "a"] exited: bang"#,
        r#"["s"] gave up"#,
        r#"["s"] exited: shutdown"#,
        "[] gave up",
        "[] exited: shutdown",
    ];
    assert_eq!(*heard.0.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_knows_what_waits_and_for_how_long() {
    let journal = Journal::default();
    let a = probe("a", &journal);
    let root = start_root(SupervisorSpec::new(Strategy::OneForOne).child(a.spec.clone())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for message in [ProbeMessage::Hang, ProbeMessage::Hang, ProbeMessage::Panic("never read")] {
        a.reference.cast(message).unwrap();
    }
    settle().await;
    let child = &root.snapshot().await.unwrap().children[0];
    assert_eq!((child.handled, child.busy, child.waiting), (0, true, Some(2)));
    assert_eq!((child.in_state, child.incarnation), (Duration::from_secs(3), 1));
    assert!(matches!(child.now, ChildNow::Running(_)));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_reference_follows_the_incarnations() {
    let journal = Journal::default();
    let (a, inner_ref) = (probe("a", &journal), SupervisorRef::new("inner"));
    let inner = SupervisorSpec::new(Strategy::OneForOne).published_as(&inner_ref);
    let root = start_root(SupervisorSpec::new(Strategy::OneForOne).child(ChildSpec::supervisor("inner", inner)))
        .await
        .unwrap();
    inner_ref.handle().unwrap().start_child(a.spec.clone()).await.unwrap();
    root.kill(&"inner").await.unwrap();
    settle().await;
    let children = inner_ref.handle().unwrap().which_children().await.unwrap();
    assert!(children.is_empty(), "added children do not survive the restart of their supervisor");
    assert!(a.reference.actor().is_err());
}
