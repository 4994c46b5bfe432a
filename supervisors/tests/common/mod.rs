//! An actor that writes down what happens to it, for all tests of trees.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use supervisors::{ChildRef, ChildSpec, ExitReason};

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// What happened since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

pub enum ProbeMessage {
    Exit(ExitReason),
    Panic(&'static str),
    Hang,
    StopSelf(&'static str),
    GetIncarnation(RpcReplyPort<u64>),
}

pub struct Probe {
    pub name: &'static str,
    pub journal: Journal,
    pub incarnation: u64,
    /// What `post_stop` takes.
    pub stopping_takes: Duration,
}

/// Notes when it is dropped: the state is really gone.
pub struct Owned {
    what: String,
    journal: Journal,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.journal.note(format!("{} dropped", self.what));
    }
}

impl Actor for Probe {
    type Msg = ProbeMessage;
    type State = Owned;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ProbeMessage>, (): ()) -> Result<Owned, ActorProcessingErr> {
        self.journal.note(format!("{} started", self.name));
        Ok(Owned { what: self.name.to_owned(), journal: self.journal.clone() })
    }

    async fn handle(
        &self,
        myself: ActorRef<ProbeMessage>,
        message: ProbeMessage,
        _: &mut Owned,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProbeMessage::Exit(reason) => return Err(reason.into()),
            ProbeMessage::Panic(text) => panic!("{text}"),
            ProbeMessage::Hang => std::future::pending().await,
            ProbeMessage::StopSelf(text) => myself.stop(Some(text.to_owned())),
            ProbeMessage::GetIncarnation(reply) => reply.send(self.incarnation)?,
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ProbeMessage>, _: &mut Owned) -> Result<(), ActorProcessingErr> {
        let why = supervisors::stop_reason().map_or("itself".to_owned(), |reason| reason.to_string());
        self.journal.note(format!("{} stopping ({why})", self.name));
        tokio::time::sleep(self.stopping_takes).await;
        Ok(())
    }
}

/// A child of the test's tree, and the way to reach it.
pub struct Child {
    pub reference: ChildRef<ProbeMessage>,
    pub spec: ChildSpec<&'static str>,
}

pub fn probe(name: &'static str, journal: &Journal) -> Child {
    slow_probe(name, journal, Duration::ZERO)
}

pub fn slow_probe(name: &'static str, journal: &Journal, stopping_takes: Duration) -> Child {
    let reference = ChildRef::new(name);
    let (own, journal) = (reference.clone(), journal.clone());
    let start = reference.starts(move || {
        let incarnation = own.incarnation() + 1;
        (Probe { name, journal: journal.clone(), incarnation, stopping_takes }, ())
    });
    Child { reference, spec: ChildSpec::worker(name, start) }
}

/// Lets everything run that can run without time passing.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub const LIMIT: Duration = Duration::from_secs(60);
