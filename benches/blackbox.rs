//! What the wrapper around every actor costs per message: `cargo bench --bench blackbox`.
//!
//! Calls the actor's handler with and without the wrapper, in one task, and prints nanoseconds per message.
#![allow(clippy::unwrap_used)]

use leaderl::blackbox::{self, BlackBox, Kind, Named, Watched, heard, own};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const MESSAGES: u32 = 1_000_000;
const ROUNDS: usize = 5;

#[derive(Clone, Copy)]
enum Work {
    /// A timer that changes nothing.
    Tick,
    /// An election's usual look: the same commands as before, one of them sent.
    Look,
    /// As `Look`, and every one moves the state: nothing can be counted together.
    Move(u32),
}

impl Named for Work {
    fn kind(&self) -> Kind {
        match self {
            Self::Tick => own("tick"),
            Self::Look => own("look"),
            Self::Move(_) => heard("move"),
        }
    }
}

struct Nothing;

impl Actor for Nothing {
    type Msg = Work;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Work>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(&self, _: ActorRef<Work>, work: Work, state: &mut u64) -> Result<(), ActorProcessingErr> {
        *state = black_box(*state + 1);
        let commands = ["renew", "order-postgres", "keep-voters", "assign-vip"];
        match work {
            Work::Tick => {}
            Work::Look => {
                blackbox::decided("look", "leading", "leading", commands.into_iter());
                blackbox::sent("vip", "assign");
            }
            Work::Move(number) => {
                let (from, to) = if number % 2 == 0 { ("claiming", "promoting") } else { ("promoting", "claiming") };
                blackbox::decided("claim-won", from, to, commands.into_iter());
                blackbox::sent("vip", "assign");
            }
        }
        Ok(())
    }
}

async fn round<A: Actor<Msg = Work, State = u64>>(actor: &A, me: &ActorRef<Work>, work: impl Fn(u32) -> Work) -> f64 {
    let mut state = 0;
    let began = Instant::now();
    for number in 0..MESSAGES {
        actor.handle(me.clone(), work(number), &mut state).await.unwrap();
    }
    assert_eq!(state, u64::from(MESSAGES));
    began.elapsed().as_secs_f64() * 1e9 / f64::from(MESSAGES)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (me, _task) = Actor::spawn(None, Nothing, ()).await.unwrap();
    let wrapped = Watched::new(Nothing, Arc::new(BlackBox::new(256)));
    println!("{:<44}{:>10}{:>10}{:>10}", "nanoseconds per message, the best of 5", "bare", "wrapped", "cost");
    let works = [
        ("a tick that changes nothing", Work::Tick),
        ("a look with four commands and a message", Work::Look),
        ("the same, moving the state each time", Work::Move(0)),
    ];
    for (name, of_its_kind) in works {
        let work = |number| match of_its_kind {
            Work::Tick => Work::Tick,
            Work::Look => Work::Look,
            Work::Move(_) => Work::Move(number),
        };
        let (mut bare, mut kept) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            bare = bare.min(round(&Nothing, &me, work).await);
            kept = kept.min(round(&wrapped, &me, work).await);
        }
        println!("{name:<44}{bare:>10.0}{kept:>10.0}{:>10.0}", kept - bare);
    }
    me.stop(None);
}
