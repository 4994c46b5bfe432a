//! The driver: every daemon in a runtime of its own on a paused clock, the world in between, window by window.
//!
//! In each window every daemon that is neither dead nor stopped runs to the window's end on its own clock; what it asked the
//! world is then done in the order of time, and the answers find it in the next window. A frozen daemon is a runtime that is
//! not driven, a killed one a runtime that is dropped.

use super::daemon::Process;
use super::{MS, Shared, Time, World, drive, lock, note};
use crate::clients::members::Errand;
use crate::oracles::writers::{poll_leader, says_leader_after_thaw};
use crate::ports::{self, Answers, SimClock};
use leaderl::actors::api::control::{Control, StopMode};
use leaderl::daemon::{DaemonError, run_node};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};

/// How often every node is asked for `/leader`.
const POLL: Time = 100 * MS;

type Outcome = Arc<Mutex<Option<Result<(), DaemonError>>>>;

/// One daemon's process.
struct Process_ {
    runtime: Runtime,
    clock: Arc<SimClock>,
    answers: Arc<Answers>,
    stop: Option<oneshot::Sender<()>>,
    control: Arc<Control>,
    halt: Arc<Notify>,
    outcome: Outcome,
    /// It was stopped by a signal, so its clock jumps when it goes on.
    stood: bool,
}

/// A run.
pub(crate) struct Sim {
    pub(crate) world: Shared,
    daemons: Vec<Option<Process_>>,
    polled: Time,
    windows: super::rng::Rng,
}

impl Sim {
    pub(crate) fn new(world: World) -> Self {
        let nodes = world.nodes.len();
        let seed = world.profile.seed;
        let daemons = (0..nodes).map(|_| None).collect();
        Self { world: Arc::new(Mutex::new(world)), daemons, polled: 0, windows: super::rng::Rng::new(seed, 4) }
    }

    /// Runs until then, or until an invariant breaks.
    pub(crate) fn run_until(&mut self, until: Time) {
        loop {
            let (now, broken) = {
                let w = lock(&self.world);
                (w.now, !w.truth.violations.is_empty())
            };
            if now >= until || broken {
                return;
            }
            let end = self.window_end(now, until);
            for id in 0..self.daemons.len() {
                self.drive(id, end);
            }
            self.happen(end);
            if end - self.polled >= POLL {
                self.polled = end;
                self.poll();
            }
        }
    }

    /// Short windows while somebody waits for an answer, long ones while nobody does.
    fn window_end(&mut self, now: Time, until: Time) -> Time {
        let waits = lock(&self.world).in_flight > 0;
        let length = if waits { self.windows.between(1, 8) } else { self.windows.between(6, 24) };
        (now + length * MS).min(until)
    }

    fn happen(&mut self, end: Time) {
        let mut w = lock(&self.world);
        while w.step(end) {
            w.counts.events += 1;
        }
        w.now = end;
    }

    /// Asks every running daemon for `/leader`.
    fn poll(&mut self) {
        let mut yes = Vec::new();
        for (id, daemon) in self.daemons.iter().enumerate() {
            // One that has just been continued has not looked at its clock yet.
            let Some(daemon) = daemon.as_ref().filter(|daemon| !daemon.stood) else { continue };
            let moves = lock(&self.world).daemon_moves(id);
            let Some(answers) = daemon.answers.http().filter(|_| moves) else { continue };
            if says_leader(&answers) {
                yes.push(id);
            }
        }
        poll_leader(&mut lock(&self.world), &yes);
    }

    fn drive(&mut self, id: usize, end: Time) {
        self.follow_orders(id);
        let (window, target, moves) = {
            let mut w = lock(&self.world);
            w.nodes[id].daemon.calls_in_window = 0;
            let node = &w.nodes[id];
            let moves = !node.daemon.frozen && node.is_running() && node.daemon.state == Process::Running;
            (end - w.now, node.clock.local(end), moves)
        };
        let Some(daemon) = self.daemons[id].as_mut() else { return };
        if !moves {
            daemon.stood = true;
            return;
        }
        let jumps = std::mem::take(&mut daemon.stood);
        let halt = daemon.halt.clone();
        let clock = daemon.clock.clone();
        let before = clock.instant(leaderl::ports::Clock::now(clock.as_ref()));
        daemon.clock.set_limit(target);
        // It is asked before any of its actors has run.
        let says_yes = jumps && daemon.answers.http().is_some_and(|answers| says_leader(&answers));
        daemon.runtime.block_on(async {
            let to = clock.instant(target);
            if jumps {
                // Everything that was due while it stood is due at once.
                let now = tokio::time::Instant::now().max(before);
                let from = to - Duration::from_nanos(window).min(to.saturating_duration_since(now));
                let stood = from.saturating_duration_since(tokio::time::Instant::now());
                tokio::time::advance(stood).await;
            }
            drive::begin(window, halt.clone());
            tokio::select! {
                biased;
                () = halt.notified() => {}
                () = tokio::time::sleep_until(to) => {}
            }
        });
        drive::end();
        if says_yes {
            says_leader_after_thaw(&mut lock(&self.world), id);
        }
        self.note_end(id);
    }

    /// What the world has decided about this process since the last window.
    fn follow_orders(&mut self, id: usize) {
        let (state, told, orders, errands, wall) = {
            let mut w = lock(&self.world);
            let told = w.nodes[id].daemon.told_to_stop.take();
            let (mine, others) = std::mem::take(&mut w.clients.orders).into_iter().partition(|(node, _)| *node == id);
            w.clients.orders = others;
            let mine: Vec<(usize, Vec<u8>)> = mine;
            let begun = std::mem::take(&mut w.clients.members.begun);
            let (errands, rest) = begun.into_iter().partition(|(node, _, _)| *node == id);
            w.clients.members.begun = rest;
            let errands: Vec<(usize, u64, Errand)> = errands;
            (w.nodes[id].daemon.state, told, mine, errands, w.nodes[id].clock.wall_step)
        };
        match state {
            Process::Dying => {
                self.end(id);
                lock(&self.world).daemon_is_gone(id);
            }
            Process::Starting => self.start(id),
            Process::None | Process::Running => {}
        }
        let Some(daemon) = self.daemons[id].as_mut() else { return };
        daemon.clock.set_wall_step(wall);
        if let Some(announced) = told {
            tell_to_stop(daemon, announced);
        }
        for (_, number, errand) in errands {
            let world = self.world.clone();
            daemon.runtime.spawn(async move {
                let ended = ports::operator::run(world.clone(), id, errand).await;
                lock(&world).clients.members.ended.insert(number, ended);
            });
        }
        for (_, line) in orders {
            if let Some(answers) = daemon.answers.admin() {
                let world = self.world.clone();
                daemon.runtime.spawn(async move {
                    let answer = answers(line, 0).await;
                    let mut w = lock(&world);
                    note!(w, "n{id} answers the operator: {}", String::from_utf8_lossy(&answer));
                });
            }
        }
    }

    fn start(&mut self, id: usize) {
        let mut builder = Builder::new_current_thread();
        let Ok(runtime) = builder.enable_time().start_paused(true).build() else { return };
        let world = self.world.clone();
        let parts = runtime.block_on(async { ports::context(&world, id) });
        let (stop, stopped) = oneshot::channel();
        let outcome: Outcome = Arc::default();
        let (put, ctx) = (outcome.clone(), parts.ctx.clone());
        let control = Arc::new(Control::new());
        let shared = control.clone();
        runtime.spawn(async move {
            let signal = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let ended = run_node(ctx, shared, signal).await;
            *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
            drive::halt();
        });
        lock(&self.world).nodes[id].daemon.state = Process::Running;
        self.daemons[id] = Some(Process_ {
            runtime,
            clock: parts.clock,
            answers: parts.answers,
            stop: Some(stop),
            control,
            halt: Arc::default(),
            outcome,
            stood: false,
        });
    }

    /// The process ended by itself: in order, or because its tree gave up.
    fn note_end(&mut self, id: usize) {
        let ended = self.daemons[id]
            .as_ref()
            .and_then(|daemon| daemon.outcome.lock().unwrap_or_else(PoisonError::into_inner).take());
        let dying = lock(&self.world).nodes[id].daemon.state == Process::Dying;
        if dying {
            self.end(id);
            lock(&self.world).daemon_is_gone(id);
            return;
        }
        let Some(ended) = ended else { return };
        self.end(id);
        let mut w = lock(&self.world);
        match ended {
            Ok(()) => note!(w, "n{id} daemon has ended in order"),
            Err(why) => {
                note!(w, "n{id} daemon has ended: {why}");
                if crate::oracles::writers::moves_as_primary(&w, id)
                    && w.nodes[id].heart.runs()
                    && !w.nodes[id].heart.frozen
                {
                    w.violate("I13", format!("n{id}: the tree gave up and its PostgreSQL still writes"));
                }
            }
        }
        w.daemon_is_gone(id);
        w.after_daemon(id);
    }

    fn end(&mut self, id: usize) {
        if let Some(daemon) = self.daemons[id].take() {
            daemon.runtime.shutdown_background();
        }
    }
}

fn says_leader(answers: &leaderl::ports::HttpAnswers) -> bool {
    let peer = std::net::IpAddr::from([127, 0, 0, 1]);
    answers(peer, &hyper::Method::GET, "/leader").status() == hyper::StatusCode::OK
}

fn tell_to_stop(daemon: &mut Process_, announced: bool) {
    if announced {
        daemon.control.announce(StopMode::Restart, leaderl::ports::Clock::now(daemon.clock.as_ref()));
    }
    if let Some(stop) = daemon.stop.take() {
        let _ended = stop.send(());
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for id in 0..self.daemons.len() {
            self.end(id);
        }
    }
}
