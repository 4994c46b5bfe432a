//! Trees of real actors: who is restarted, who is stopped, in which order.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{Child, Journal, LIMIT, Probe, ProbeMessage, probe, settle, slow_probe};
use supervisors::{
    CallError, ChildNow, ChildRef, ChildSpec, ExitReason, NotRunning, Restart, Shutdown, StartChild, StartError,
    Strategy, SupervisorSpec, restarts, start_root,
};

fn tree(strategy: Strategy, children: &[&Child]) -> SupervisorSpec<&'static str> {
    let children = children.iter().map(|child| child.spec.clone());
    SupervisorSpec::new(strategy).intensity(restarts(5).within(Duration::from_secs(30))).children(children)
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_runs_backwards_and_every_child_cleans_up() {
    let journal = Journal::default();
    let (a, b) = (probe("a", &journal), slow_probe("b", &journal, Duration::from_secs(2)));
    let root = start_root(tree(Strategy::OneForOne, &[&a, &b])).await.unwrap();
    assert_eq!(journal.take(), ["a started", "b started"]);
    assert_eq!(root.stop(ExitReason::ShutdownWith("upgrade".into())).await, ExitReason::ShutdownWith("upgrade".into()));
    assert_eq!(journal.take(), ["b stopping (shutdown)", "b dropped", "a stopping (shutdown)", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_takes_too_long_to_stop_is_killed() {
    let journal = Journal::default();
    let mut slow = slow_probe("slow", &journal, Duration::from_secs(100));
    slow.spec = slow.spec.shutdown(Shutdown::Within(Duration::from_secs(3)));
    let root = start_root(tree(Strategy::OneForOne, &[&slow])).await.unwrap();
    let began = tokio::time::Instant::now();
    root.stop(ExitReason::Shutdown).await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(journal.take(), ["slow started", "slow stopping (shutdown)", "slow dropped"]);
}

#[tokio::test(start_paused = true)]
async fn the_successor_starts_when_the_state_of_the_dead_one_is_dropped() {
    let journal = Journal::default();
    let a = probe("a", &journal);
    let _root = start_root(tree(Strategy::OneForOne, &[&a])).await.unwrap();
    for end in [
        ProbeMessage::Exit(ExitReason::Failed("boom".into())),
        ProbeMessage::Panic("boom"),
        ProbeMessage::StopSelf("normal"),
    ] {
        journal.take();
        a.reference.cast(end).unwrap();
        settle().await;
        let happened: Vec<String> = journal.take().into_iter().filter(|what| !what.contains("stopping")).collect();
        assert_eq!(happened, ["a dropped", "a started"]);
    }
    assert_eq!(a.reference.incarnation(), 4);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_stops_the_later_ones_backwards_and_starts_forwards() {
    let journal = Journal::default();
    let (a, b, c, d) = (probe("a", &journal), probe("b", &journal), probe("c", &journal), probe("d", &journal));
    let _root = start_root(tree(Strategy::RestForOne, &[&a, &b, &c, &d])).await.unwrap();
    journal.take();
    b.reference.cast(ProbeMessage::Panic("boom")).unwrap();
    settle().await;
    let expected = [
        "b dropped",
        "d stopping (shutdown)",
        "d dropped",
        "c stopping (shutdown)",
        "c dropped",
        "b started",
        "c started",
        "d started",
    ];
    assert_eq!(journal.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_kill_interrupts_a_handler_and_restarts_a_transient_child() {
    let journal = Journal::default();
    let mut a = probe("a", &journal);
    a.spec = a.spec.restart(Restart::Transient);
    let root = start_root(tree(Strategy::OneForOne, &[&a])).await.unwrap();
    a.reference.cast(ProbeMessage::Hang).unwrap();
    settle().await;
    root.kill(&"a").await.unwrap();
    settle().await;
    assert_eq!(a.reference.incarnation(), 2);
    let snapshot = root.snapshot().await.unwrap();
    assert_eq!(snapshot.children[0].last_exit, Some(ExitReason::Killed));
    assert_eq!(snapshot.children[0].recent_restarts[0].after, ExitReason::Killed);
    assert_eq!(snapshot.recent_restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_a_strange_reason_is_a_failure() {
    let journal = Journal::default();
    let mut a = probe("a", &journal);
    a.spec = a.spec.restart(Restart::Transient);
    let root = start_root(tree(Strategy::OneForOne, &[&a])).await.unwrap();
    a.reference.cast(ProbeMessage::StopSelf("disk full")).unwrap();
    settle().await;
    assert_eq!(a.reference.incarnation(), 2);
    a.reference.cast(ProbeMessage::StopSelf("shutdown: done")).unwrap();
    settle().await;
    let child = &root.snapshot().await.unwrap().children[0];
    assert_eq!(child.now, ChildNow::Down);
    assert_eq!(child.last_exit, Some(ExitReason::ShutdownWith("done".into())));
    assert_eq!(a.reference.cast(ProbeMessage::Hang), Err(NotRunning));
}

#[tokio::test(start_paused = true)]
async fn too_many_restarts_escalate_level_by_level_and_end_the_root_with_shutdown() {
    let journal = Journal::default();
    let (a, b) = (probe("a", &journal), probe("b", &journal));
    let inner = tree(Strategy::OneForOne, &[&b]).intensity(restarts(0));
    let spec = tree(Strategy::OneForOne, &[&a]).child(ChildSpec::supervisor("inner", inner)).intensity(restarts(1));
    let root = start_root(spec).await.unwrap();
    journal.take();
    b.reference.cast(ProbeMessage::Panic("boom")).unwrap();
    settle().await;
    assert_eq!(journal.take(), ["b dropped", "b started"]);
    b.reference.wait_started(LIMIT).await.unwrap();
    b.reference.cast(ProbeMessage::Panic("boom")).unwrap();
    assert_eq!(root.wait().await, ExitReason::Shutdown);
    assert_eq!(journal.take(), ["b dropped", "a stopping (shutdown)", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_leaves_nobody_behind_and_restarts_after_the_last_one() {
    let journal = Journal::default();
    let (a, b) = (slow_probe("a", &journal, Duration::from_secs(1)), probe("b", &journal));
    let inner = tree(Strategy::OneForOne, &[&a, &b]);
    let spec = tree(Strategy::OneForOne, &[]).child(ChildSpec::supervisor("inner", inner));
    let root = start_root(spec).await.unwrap();
    journal.take();
    root.kill(&"inner").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let happened = journal.take();
    assert!(happened[..4].contains(&"a stopping (killed)".to_owned()), "{happened:?}");
    assert_eq!(happened[happened.len() - 3..], ["a dropped", "a started", "b started"]);
}

#[tokio::test(start_paused = true)]
async fn a_reference_finds_the_next_incarnation() {
    let journal = Journal::default();
    let a = probe("a", &journal);
    assert_eq!(a.reference.call(ProbeMessage::GetIncarnation, LIMIT).await, Err(CallError::NotRunning));
    assert_eq!(a.reference.wait_started(Duration::from_secs(1)).await, Err(NotRunning));
    let _root = start_root(tree(Strategy::OneForOne, &[&a])).await.unwrap();
    assert_eq!(a.reference.call(ProbeMessage::GetIncarnation, LIMIT).await, Ok(1));
    a.reference.cast(ProbeMessage::Panic("boom")).unwrap();
    assert_eq!(a.reference.call(ProbeMessage::GetIncarnation, LIMIT).await, Err(CallError::Ended));
    a.reference.wait_started(LIMIT).await.unwrap();
    assert_eq!(a.reference.call(ProbeMessage::GetIncarnation, LIMIT).await, Ok(2));
    a.reference.cast(ProbeMessage::Hang).unwrap();
    assert_eq!(a.reference.call(ProbeMessage::GetIncarnation, LIMIT).await, Err(CallError::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_failing_first_start_stops_those_already_started_and_says_who() {
    let journal = Journal::default();
    let a = probe("a", &journal);
    let broken = StartChild::new(|_| async { Err(StartError::Failed(ExitReason::Failed("no disk".into()))) });
    let spec = tree(Strategy::OneForOne, &[&a]).child(ChildSpec::worker("broken", broken));
    let error = start_root(spec).await.err().unwrap();
    let source = Box::new(StartError::Failed(ExitReason::Failed("no disk".into())));
    assert_eq!(error, StartError::Child { id: "broken", source });
    assert_eq!(journal.take(), ["a started", "a stopping (shutdown)", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_start_function_is_a_failed_start() {
    let broken: StartChild<&str> = StartChild::new(|_| async { panic!("no config") });
    let error =
        start_root(tree(Strategy::OneForOne, &[]).child(ChildSpec::worker("broken", broken))).await.err().unwrap();
    let StartError::Child { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, StartError::Raised(panic) if panic.message == "no config"));
}

#[tokio::test(start_paused = true)]
async fn restart_on_request_touches_one_child_and_counts_nothing() {
    let journal = Journal::default();
    let (a, b) = (probe("a", &journal), probe("b", &journal));
    let inner = tree(Strategy::OneForAll, &[&a, &b]).intensity(restarts(0));
    let root = start_root(tree(Strategy::OneForOne, &[]).child(ChildSpec::supervisor("inner", inner))).await.unwrap();
    journal.take();
    root.restart(&"b").await.unwrap();
    assert_eq!(journal.take(), ["b stopping (shutdown)", "b dropped", "b started"]);
    let inner = &root.snapshot().await.unwrap().children[0];
    let subtree = inner.subtree.as_ref().unwrap();
    assert_eq!((subtree.children[1].incarnation, subtree.children[1].restarts), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_on_request_goes_on_without_the_asker_and_is_tried_again_when_it_fails() {
    let reference = ChildRef::new("a");
    let tries = Arc::new(AtomicU32::new(0));
    let (counted, published) = (tries.clone(), reference.clone());
    let flaky = StartChild::new(move |context| {
        let (number, published) = (counted.fetch_add(1, Ordering::SeqCst), published.clone());
        async move {
            // The second and the third start fail.
            if number == 1 || number == 2 {
                return Err(StartError::Failed(ExitReason::Failed("no disk".into())));
            }
            let incarnation = published.incarnation() + 1;
            let stopping_takes = Duration::from_secs(1);
            let actor = Probe { name: "a", journal: Journal::default(), incarnation, stopping_takes };
            context.spawn_published(&published, actor, ()).await
        }
    });
    let spec = tree(Strategy::OneForOne, &[]).intensity(restarts(5)).child(ChildSpec::worker("a", flaky));
    let root = start_root(spec).await.unwrap();
    let asked = root.clone();
    let asker = tokio::spawn(async move { asked.restart(&"a").await });
    settle().await;
    // In the middle of the child's stop.
    asker.abort();
    tokio::time::sleep(LIMIT).await;
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    assert_eq!(reference.call(ProbeMessage::GetIncarnation, LIMIT).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_tap_sees_what_goes_through_the_reference_and_the_snapshot_counts_it() {
    let journal = Journal::default();
    let seen = Journal::default();
    let told = seen.clone();
    let reference: ChildRef<ProbeMessage> = ChildRef::tapped("a", move |message: &ProbeMessage| {
        told.note(match message {
            ProbeMessage::GetIncarnation(_) => "question",
            _ => "order",
        });
    });
    let actor = move || (Probe { name: "a", journal: journal.clone(), incarnation: 1, stopping_takes: LIMIT }, ());
    let spec = tree(Strategy::OneForOne, &[]).child(ChildSpec::worker("a", reference.starts(actor)));
    assert_eq!(reference.cast(ProbeMessage::Hang), Err(NotRunning));
    let root = start_root(spec).await.unwrap();
    reference.call(ProbeMessage::GetIncarnation, LIMIT).await.unwrap();
    reference.cast(ProbeMessage::Hang).unwrap();
    reference.cast(ProbeMessage::Hang).unwrap();
    settle().await;
    assert_eq!(seen.take(), ["question", "order", "order"]);
    let child = &root.snapshot().await.unwrap().children[0];
    assert_eq!((child.sent, child.waiting, child.handled), (Some(3), Some(1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_by_ractor_itself_is_orderly_too() {
    let journal = Journal::default();
    let (a, b) = (probe("a", &journal), probe("b", &journal));
    let root = start_root(tree(Strategy::OneForOne, &[&a, &b])).await.unwrap();
    journal.take();
    root.supervisor().cell().stop(Some("boom".to_owned()));
    assert_eq!(root.wait().await, ExitReason::Failed("boom".into()));
    assert_eq!(journal.take(), ["b stopping (shutdown)", "b dropped", "a stopping (shutdown)", "a dropped"]);
}
