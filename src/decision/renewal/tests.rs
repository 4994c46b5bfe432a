use super::*;
use crate::model::{Epoch, NodeId};
use crate::records::{SCHEMA, Vacancy};
use proptest::prelude::*;

const D: Duration = Duration::from_secs(5);

fn at(ms: u64) -> Timestamp {
    Timestamp(ms * 1_000_000)
}

fn holder(seq: u64) -> Holder {
    Holder {
        schema: SCHEMA,
        guid: NodeId("a".repeat(32)),
        boot_id: "boot".into(),
        nonce: Nonce("n1".into()),
        epoch: Epoch(7),
        seq,
    }
}

fn renewal() -> Renewal {
    Renewal::new(holder(3), Revision(100), at(10_000), "task-1".into(), D)
}

fn ours(seq: u64, by_me: bool, revision: i64) -> KeyHolds {
    KeyHolds::Ours { seq, by_me, revision: Revision(revision) }
}

#[test]
fn a_commit_carries_the_t0_of_the_first_sending_through_every_retry() {
    let mut renewal = renewal();
    assert_eq!(renewal.due_at(), at(10_500));
    let first = renewal.send(at(10_500)).unwrap();
    assert_eq!((first.seq, first.compare), (4, Revision(100)));
    assert_eq!(renewal.due_at(), at(10_750), "unanswered: again after D/20");
    let second = renewal.send(at(10_750)).unwrap();
    assert_eq!(first, second, "the very same transaction again");
    let verdict = renewal.answered(4, Outcome::Committed(Revision(101)));
    assert_eq!(verdict, Verdict::Confirmed(Confirmed { seq: 4, revision: Revision(101), t0: at(10_500) }));
    assert_eq!(renewal.due_at(), at(11_250), "the next one D/10 after the last sending");
    assert_eq!(renewal.answered(4, Outcome::Unclear), Verdict::Wait, "the other copy's refusal means nothing");
}

#[test]
fn an_unclear_answer_is_settled_by_a_read() {
    let mut renewal = renewal();
    renewal.send(at(10_500)).unwrap();
    assert_eq!(renewal.answered(4, Outcome::Unclear), Verdict::Read);
    assert_eq!(renewal.read(&ours(3, false, 100)), Verdict::Wait, "not committed so far");
    assert_eq!(renewal.due_at(), at(10_550), "at once again");
    assert_eq!(renewal.send(at(10_560)).unwrap().seq, 4);
    assert_eq!(renewal.answered(4, Outcome::Unclear), Verdict::Read);
    let expected = Confirmed { seq: 4, revision: Revision(105), t0: at(10_500) };
    assert_eq!(renewal.read(&ours(4, true, 105)), Verdict::Confirmed(expected));
}

#[test]
fn a_predecessors_late_commit_moves_the_revision_but_never_t0() {
    let mut renewal = renewal();
    renewal.send(at(10_500)).unwrap();
    // Same nonce and same seq, but sent by another task at an unknown time.
    let expected = Confirmed { seq: 4, revision: Revision(104), t0: at(10_000) };
    assert_eq!(renewal.read(&ours(4, false, 104)), Verdict::Confirmed(expected));
    let next = renewal.send(at(10_600)).unwrap();
    assert_eq!((next.seq, next.compare), (5, Revision(104)));
    assert_eq!(renewal.answered(4, Outcome::Committed(Revision(106))), Verdict::Wait, "an older seq's answer");
}

#[test]
fn a_foreign_key_ends_the_hold_for_good() {
    let mut renewal = renewal();
    renewal.send(at(10_500)).unwrap();
    assert_eq!(renewal.read(&KeyHolds::Foreign), Verdict::Lost);
    assert_eq!(renewal.send(at(10_600)), None);
    assert_eq!(renewal.answered(4, Outcome::Committed(Revision(101))), Verdict::Wait, "never revived");
}

#[test]
fn values_are_recognised_by_nonce_seq_and_sender() {
    let mut renewal = renewal();
    let value = renewal.send(at(10_500)).unwrap().value;
    let text = String::from_utf8(value.clone()).unwrap();
    assert!(text.contains("\"kind\":\"holder\"") && text.contains("\"seq\":4"), "{text}");
    assert_eq!(renewal.recognise(Some((&value, Revision(9)))), ours(4, true, 9));
    let plain = serde_json::to_vec(&LeaderValue::Holder(holder(3))).unwrap();
    assert_eq!(renewal.recognise(Some((&plain, Revision(9)))), ours(3, false, 9));
    let other = serde_json::to_vec(&LeaderValue::Holder(Holder { nonce: Nonce("n2".into()), ..holder(4) })).unwrap();
    let vacancy = LeaderValue::Vacancy(Vacancy {
        schema: SCHEMA,
        left_by: None,
        epoch: Epoch(7),
        final_position: None,
        designated: None,
        cause: "x".into(),
        nonce: Nonce("n1".into()),
    });
    let vacancy = serde_json::to_vec(&vacancy).unwrap();
    for foreign in [Some((&other[..], Revision(9))), Some((&vacancy[..], Revision(9))), Some((b"{", Revision(9))), None]
    {
        assert_eq!(renewal.recognise(foreign), KeyHolds::Foreign);
    }
}

#[test]
fn nothing_sent_means_hurry_but_never_a_busy_loop() {
    let mut renewal = renewal();
    renewal.send(at(10_500)).unwrap();
    assert_eq!(renewal.answered(4, Outcome::NotSent), Verdict::Wait);
    assert_eq!(renewal.due_at(), at(10_550));
    assert_eq!(renewal.attempt_limit(), Duration::from_secs(1));
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    Deliver(usize),
    Lose(usize),
    Answer(usize),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Send),
        (0usize..8).prop_map(Step::Deliver),
        (0usize..8).prop_map(Step::Lose),
        (0usize..8).prop_map(Step::Answer),
        Just(Step::Read),
    ]
}

/// etcd's leader key and two tasks of one daemon that do not know of each other (a predecessor and its successor).
struct World {
    now: u64,
    revision: i64,
    value: Vec<u8>,
    committed_at: Timestamp,
    flights: Vec<(usize, Attempt, Option<Outcome>)>,
    tasks: Vec<Renewal>,
}

impl World {
    fn apply(&mut self, task: usize, step: &Step) {
        self.now += 7;
        match *step {
            Step::Send => {
                if let Some(attempt) = self.tasks[task].send(at(self.now)) {
                    self.flights.push((task, attempt, None));
                }
            }
            Step::Deliver(n) => {
                let Some((_, attempt, outcome)) = self.flights.get_mut(n) else { return };
                // A copy may be delivered again after it was answered: etcd compares again.
                if attempt.compare == Revision(self.revision) {
                    self.revision += 1;
                    self.value = attempt.value.clone();
                    self.committed_at = at(self.now);
                    *outcome = Some(Outcome::Committed(Revision(self.revision)));
                } else {
                    outcome.get_or_insert(Outcome::Unclear);
                }
            }
            Step::Lose(n) => {
                if let Some((_, _, outcome)) = self.flights.get_mut(n) {
                    *outcome = Some(Outcome::Unclear);
                }
            }
            Step::Answer(n) => {
                let Some((owner, attempt, Some(outcome))) = self.flights.get(n).cloned() else { return };
                self.tasks[owner].answered(attempt.seq, outcome);
            }
            Step::Read => {
                let seen = self.tasks[task].recognise(Some((&self.value, Revision(self.revision))));
                self.tasks[task].read(&seen);
            }
        }
    }
}

proptest! {
    /// No task ever believes in a t0 later than the commit from which everybody else counts.
    #[test]
    fn t0_is_never_later_than_the_newest_commit(steps in prop::collection::vec((0usize..2, step()), 1..200)) {
        let start = Renewal::new(holder(3), Revision(100), at(0), "task-1".into(), D);
        let successor = Renewal { sender: "task-2".into(), ..start.clone() };
        let value = serde_json::to_vec(&LeaderValue::Holder(holder(3))).unwrap();
        let mut world = World { now: 1, revision: 100, value, committed_at: at(0), flights: vec![], tasks: vec![start, successor] };
        for (task, step) in &steps {
            world.apply(*task, step);
            for task in &world.tasks {
                prop_assert!(task.confirmed().t0 <= world.committed_at, "{:?} against {:?}", task.confirmed(), world.committed_at);
                prop_assert!(task.confirmed().revision <= Revision(world.revision));
                prop_assert!(!task.lost, "only a foreign value loses the hold");
            }
        }
    }
}
