//! Real actors in their wrapper, under a real supervisor, in paused time.

use super::*;
use crate::blackbox::{self, Ended, Kind, Note, heard, own};
use std::time::Duration;
use supervisors::{ChildRef, ChildSpec, RootHandle, Strategy, SupervisorSpec, restarts, start_root};

const LIMIT: Duration = Duration::from_secs(60);

enum Order {
    Work(Duration),
    Fail,
    Panic,
    Tick,
    Chatter(usize),
}

impl Named for Order {
    fn kind(&self) -> Kind {
        match self {
            Self::Work(_) => heard("work"),
            Self::Fail => heard("fail"),
            Self::Panic => heard("panic"),
            Self::Tick => own("tick"),
            Self::Chatter(_) => heard("chatter"),
        }
    }
}

struct Worker;

impl Actor for Worker {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        blackbox::became("idle");
        Ok(())
    }

    async fn handle(&self, me: ActorRef<Order>, order: Order, _: &mut ()) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Work(time) => {
                blackbox::became("working");
                blackbox::command("dig");
                tokio::time::sleep(time).await;
                let _ = me.cast(Order::Tick);
                tokio::spawn(blackbox::carried("digger", async { blackbox::command("found") }));
                blackbox::became("idle");
            }
            Order::Fail => return Err("no shovel".into()),
            Order::Panic => {
                blackbox::command("fall");
                panic!("down the hole")
            }
            Order::Tick => {}
            Order::Chatter(notes) => (0..notes).for_each(|_| blackbox::said("word")),
        }
        Ok(())
    }
}

struct Pit {
    kept_in: Arc<BlackBox>,
    worker: ChildRef<Order>,
    root: RootHandle<&'static str>,
}

async fn pit() -> Pit {
    let kept_in = Arc::new(BlackBox::new(16));
    let worker = ChildRef::new("worker");
    let outlives = kept_in.clone();
    let start = worker.starts(move || (Watched::new(Worker, outlives.clone()), ()));
    let spec = SupervisorSpec::new(Strategy::OneForOne).intensity(restarts(5).within(LIMIT));
    let root = start_root(spec.child(ChildSpec::worker("worker", start))).await.unwrap();
    Pit { kept_in, worker, root }
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn told(pit: &Pit) -> Vec<(&'static str, Vec<Note>, Ended)> {
    pit.kept_in.trace(99).into_iter().map(|entry| (entry.event, entry.notes, entry.ended)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_entered_with_its_time_its_notes_and_the_states_it_led_through() {
    let pit = pit().await;
    pit.worker.cast(Order::Work(Duration::from_secs(2))).unwrap();
    pit.worker.cast(Order::Work(Duration::from_secs(4))).unwrap();
    settle().await;
    let busy = pit.kept_in.seen();
    assert_eq!(busy.in_hand.map(|(word, _)| word), Some("work"), "seen while it is handled");
    assert_eq!(busy.mail_taken, 1);
    tokio::time::sleep(LIMIT).await;
    let seen = pit.kept_in.seen();
    assert_eq!((seen.starts, seen.all.count, seen.mail_taken), (1, 4, 2), "two orders, two ticks of its own");
    assert_eq!(seen.state.unwrap().0, "idle");
    assert_eq!(seen.in_hand, None);
    let work = seen.kinds.iter().find(|kind| kind.kind.word == "work").unwrap();
    assert_eq!((work.count, work.max), (2, Duration::from_secs(4)));
    let steps = vec![Note::Became("working"), Note::Command("dig"), Note::Became("idle")];
    assert_eq!(told(&pit)[0], ("start", vec![Note::Became("idle")], Ended::Done));
    assert_eq!(told(&pit)[1], ("work", steps, Ended::Done));
    assert!(told(&pit).contains(&("digger", vec![Note::Command("found")], Ended::Done)), "{:?}", told(&pit));
    let child = &pit.root.snapshot().await.unwrap().children[0];
    assert_eq!(child.sent.map(|sent| sent - seen.mail_taken), Some(0), "nothing waits, whatever it sent itself");
}

#[tokio::test(start_paused = true)]
async fn the_message_that_ended_an_actor_is_entered_and_the_record_goes_on() {
    let pit = pit().await;
    pit.worker.cast(Order::Fail).unwrap();
    settle().await;
    pit.worker.cast(Order::Panic).unwrap();
    settle().await;
    pit.worker.cast(Order::Work(LIMIT)).unwrap();
    settle().await;
    pit.root.kill(&"worker").await.unwrap();
    settle().await;
    let entries = told(&pit);
    let of = |event: &str| entries.iter().find(|(known, ..)| *known == event).cloned().unwrap();
    assert_eq!(of("fail").2, Ended::Failed("no shovel".into()));
    assert_eq!((of("panic").1, of("panic").2), (vec![Note::Command("fall")], Ended::Panicked));
    assert_eq!((of("work").1, of("work").2), (vec![Note::Became("working"), Note::Command("dig")], Ended::CutShort));
    let seen = pit.kept_in.seen();
    assert_eq!((seen.starts, seen.all.count, seen.in_hand), (4, 3, None));
}

#[tokio::test(start_paused = true)]
async fn an_actor_never_waits_for_a_reader_and_an_entry_has_an_end() {
    let pit = pit().await;
    let ((reads, reading), (done, ended)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let read_by = pit.kept_in.clone();
    let reader = std::thread::spawn(move || {
        let book = read_by.book.lock().unwrap();
        reads.send(()).unwrap();
        let _dropped = ended.recv();
        drop(book);
    });
    reading.recv().unwrap();
    pit.worker.cast(Order::Tick).unwrap();
    settle().await;
    drop(done);
    reader.join().unwrap();
    let seen = pit.kept_in.seen();
    assert_eq!((seen.all.count, seen.missed), (0, 2), "both notes of the tick are missed, and it was handled");
    pit.worker.cast(Order::Chatter(1000)).unwrap();
    settle().await;
    let (_, notes, _) = told(&pit).pop().unwrap();
    assert_eq!((notes.len(), notes.last()), (33, Some(&Note::More(968))));
}
