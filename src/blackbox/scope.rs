//! How an actor's own code reaches its record: through the task it runs in, so that no actor carries a handle about.
//!
//! Outside of a watched actor (in a test of a single state, say) every function here does nothing.

use super::recorder::{Ended, Entry, MOST_NOTES, Note};
use super::{BlackBox, Kind};
use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    static HERE: Scope;
}

struct Scope {
    kept_in: Arc<BlackBox>,
    place: Place,
}

enum Place {
    /// A message is being handled: its notes belong together.
    Flight(RefCell<Vec<Note>>),
    /// A task beside the messages: each note is an entry of its own.
    Task(&'static str),
}

/// What is being flown.
pub(super) enum Leg {
    /// A message.
    Message(Kind),
    /// `pre_start`.
    Start,
}

fn note(note: Note) {
    // Not watched: nobody wants to know.
    let _outside = HERE.try_with(|scope| match &scope.place {
        Place::Flight(notes) => {
            let mut notes = notes.borrow_mut();
            if let Some(Note::More(more)) = notes.last_mut() {
                *more += 1;
            } else if notes.len() >= MOST_NOTES {
                notes.push(Note::More(1));
            } else {
                notes.push(note);
            }
        }
        Place::Task(task) => {
            scope.kept_in.did(Entry::new(task, Instant::now(), Duration::ZERO, vec![note], Ended::Done));
        }
    });
}

/// A decision was made: on this event, from this state to that one, with these commands.
pub fn decided(on: &'static str, from: &'static str, to: &'static str, commands: impl Iterator<Item = &'static str>) {
    note(Note::Decided { on, from, to });
    commands.for_each(command);
}

/// A command of a decision, or a step of a plan, is carried out.
pub fn command(name: &'static str) {
    note(Note::Command(name));
}

/// A message goes to another actor.
pub fn sent(to: &'static str, what: &'static str) {
    note(Note::Sent { to, what });
}

/// The actor's state has this name from now on; what it is called already is no news.
pub fn became(state: &'static str) {
    note(Note::Became(state));
}

/// A sentence, for what no word was made for.
pub fn said(text: &str) {
    note(Note::said(text));
}

/// The same future, its notes kept in the record of the actor that calls this, as those of `task`.
pub fn carried<F: Future>(task: &'static str, work: F) -> impl Future<Output = F::Output> {
    let kept_in = HERE.try_with(|scope| scope.kept_in.clone()).ok();
    async move {
        match kept_in {
            Some(kept_in) => HERE.scope(Scope { kept_in, place: Place::Task(task) }, work).await,
            None => work.await,
        }
    }
}

/// Runs a callback of an actor and enters what came of it, also when it panics or is killed half-way.
pub(super) async fn flight<T, E: std::fmt::Display>(
    kept_in: &Arc<BlackBox>,
    leg: Leg,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let scope = Scope { kept_in: kept_in.clone(), place: Place::Flight(RefCell::default()) };
    HERE.scope(scope, async {
        let mut flying = Flying::begin(kept_in, leg);
        let result = work.await;
        flying.ended = Some(match &result {
            Ok(_) => Ended::Done,
            Err(why) => Ended::Failed(why.to_string().into()),
        });
        result
    })
    .await
}

/// Lands when it is dropped: in order, by unwinding, or because the actor was killed and its future dropped.
struct Flying<'a> {
    kept_in: &'a BlackBox,
    leg: Leg,
    began: Instant,
    ended: Option<Ended>,
}

impl<'a> Flying<'a> {
    fn begin(kept_in: &'a BlackBox, leg: Leg) -> Self {
        let began = Instant::now();
        match leg {
            Leg::Message(kind) => kept_in.taken(kind, began),
            Leg::Start => kept_in.starting(),
        }
        Self { kept_in, leg, began, ended: None }
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        let notes = HERE.try_with(|scope| match &scope.place {
            Place::Flight(notes) => notes.take(),
            Place::Task(_) => Vec::new(),
        });
        let otherwise = if std::thread::panicking() { Ended::Panicked } else { Ended::CutShort };
        let ended = self.ended.take().unwrap_or(otherwise);
        let entry = |event| Entry::new(event, self.began, self.began.elapsed(), notes.unwrap_or_default(), ended);
        match self.leg {
            Leg::Message(kind) => self.kept_in.handled(kind, entry(kind.word)),
            Leg::Start => self.kept_in.started(entry("start")),
        }
    }
}
