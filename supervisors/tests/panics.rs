//! A panic becomes a typed reason with its place, and one log line; and callbacks run in the child's span. Alone in its
//! file: the hook is the process's.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use common::{Journal, ProbeMessage, probe, settle};
use supervisors::{ExitReason, Strategy, SupervisorSpec, install_panic_hook, start_root};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata};

/// Keeps every error as a line, and every span of a child that is entered.
struct Errors(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "child" || (metadata.is_event() && *metadata.level() == Level::ERROR)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut line = Line("span ".to_owned());
        attributes.record(&mut line);
        let mut lines = self.0.lock().unwrap();
        lines.push(line.0);
        Id::from_u64(lines.len() as u64)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, span: &Id) {
        let mut lines = self.0.lock().unwrap();
        let entered = format!("in {}", lines[span.into_u64() as usize - 1]);
        lines.push(entered);
    }

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_once_with_its_place() {
    install_panic_hook();
    let lines = Arc::default();
    let _guard = tracing::subscriber::set_default(Errors(Arc::clone(&lines)));
    let journal = Journal::default();
    let a = probe("a", &journal);
    let root = start_root(SupervisorSpec::new(Strategy::OneForOne).child(a.spec.clone())).await.unwrap();

    a.reference.cast(ProbeMessage::Panic("the disk is on fire")).unwrap();
    settle().await;

    let last_exit = root.snapshot().await.unwrap().children[0].last_exit.clone().unwrap();
    let ExitReason::Panicked(panic) = last_exit else { panic!("{last_exit:?}") };
    assert_eq!(panic.message, "the disk is on fire");
    assert!(panic.location.unwrap().contains("common/mod.rs:"));
    let told: Vec<String> = lines.lock().unwrap().iter().filter(|line| line.contains("on fire")).cloned().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("common/mod.rs:") && told[0].contains("child=a"), "{told:?}");

    let spans = lines.lock().unwrap().iter().filter(|line| line.starts_with("in span path=/a")).count();
    assert!(spans >= 3, "two starts and one message in the span of the child, not {spans}");

    let elsewhere = tokio::spawn(async { panic!("not an actor") });
    assert!(elsewhere.await.is_err());
    assert!(lines.lock().unwrap().last().unwrap().contains("not an actor"));
}
