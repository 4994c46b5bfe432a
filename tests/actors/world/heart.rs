//! heart in memory: the real [`Guard`] decides; what its shell does to processes and addresses happens to those of the world.

use super::host::Kernel;
use super::postgres::{Copies, End};
use super::story::Story;
use async_trait::async_trait;
use leaderl::heart::guard::{Asker, ConnectionId, Effect, Event, Guard};
use leaderl::heart::protocol::*;
use leaderl::ports::*;
use leaderl_decision::model::{Epoch, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};

/// How long PostgreSQL takes to end.
const FAST_STOP: Duration = Duration::from_millis(30);
const IMMEDIATE_STOP: Duration = Duration::from_millis(5);

/// One node's guardian process; it outlives every daemon.
pub struct Heart {
    node: NodeId,
    guard: Mutex<Guard>,
    clock: Arc<dyn Clock>,
    copies: Arc<Copies>,
    kernel: Arc<Kernel>,
    story: Arc<Story>,
    daemons: Mutex<Daemons>,
    next_pid: Mutex<u32>,
    woken: Notify,
}

#[derive(Default)]
struct Daemons {
    /// heart itself is dead: it hears nothing.
    dead: bool,
    last_connection: ConnectionId,
    last_request: u64,
    states: BTreeMap<ConnectionId, watch::Sender<Option<HeartState>>>,
    waiting: BTreeMap<u64, oneshot::Sender<Option<String>>>,
}

impl Heart {
    /// Starts it: its timers run until the test ends.
    pub fn start(
        node: NodeId,
        clock: Arc<dyn Clock>,
        copies: Arc<Copies>,
        kernel: Arc<Kernel>,
        story: Arc<Story>,
    ) -> Arc<Self> {
        let heart = Arc::new(Self {
            guard: Mutex::new(Guard::new(1, clock.now())),
            node,
            clock,
            copies,
            kernel,
            story,
            daemons: Mutex::default(),
            next_pid: Mutex::new(1000),
            woken: Notify::new(),
        });
        tokio::spawn(heart.clone().beat());
        heart
    }

    async fn beat(self: Arc<Self>) {
        loop {
            let now = self.clock.now();
            let (wants, wake) = {
                let guard = self.guard.lock().unwrap();
                (guard.wants_census(now), guard.next_wake())
            };
            if wants {
                self.happens(self.census());
                continue;
            }
            let pause = wake.map_or(Duration::from_secs(3600), |at| at.since(now));
            tokio::select! {
                biased;
                () = self.woken.notified() => {}
                () = tokio::time::sleep(pause) => self.happens(Event::Tick),
            }
        }
    }

    /// The postmaster dies by itself.
    pub fn postgres_crashes(self: &Arc<Self>) {
        let runs = self.guard.lock().unwrap().postmaster_pid();
        if let Some(pid) = runs {
            let event = self.ended(pid, End::Crash);
            self.happens(event);
        }
    }

    /// SIGKILL: the kernel sends SIGQUIT to the postmaster, and nobody refreshes the VIP any more.
    fn die(&self) {
        self.story.tell(&self.node, "heart is killed");
        self.copies.end(&self.node, End::Crash);
        let mut daemons = self.daemons.lock().unwrap();
        daemons.dead = true;
        daemons.states.values().for_each(|state| drop(state.send_replace(None)));
        daemons.waiting.clear();
    }

    fn census(&self) -> Event {
        let runs = self.guard.lock().unwrap().postmaster_pid().is_some();
        Event::Census { postgres: u32::from(runs), tool: 0 }
    }

    /// One event and everything that follows from it at once.
    fn happens(self: &Arc<Self>, event: Event) {
        if self.daemons.lock().unwrap().dead {
            return self.daemons.lock().unwrap().waiting.clear();
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.guard.lock().unwrap().step(event, self.clock.now());
            for effect in effects {
                events.extend(self.carry_out(effect));
            }
        }
        self.woken.notify_one();
    }

    fn carry_out(self: &Arc<Self>, effect: Effect) -> Option<Event> {
        match effect {
            Effect::CloseGate => self.story.tell(&self.node, "heart fences"),
            Effect::RemoveVips(vips) => {
                self.kernel.remove(&vips);
                self.story.tell(&self.node, "VIP off");
            }
            Effect::RefreshVips { vips, valid_s, asked } => {
                self.kernel.refresh(&vips, Duration::from_secs(u64::from(valid_s)));
                return Some(Event::VipsRefreshed { asked, valid_s, failed: None });
            }
            Effect::SignalPostmaster { pid, mode } => self.signal(pid, mode),
            Effect::KillPostgres => {
                let left = self.guard.lock().unwrap().postmaster_pid();
                return left.map(|pid| self.ended(pid, End::Crash));
            }
            Effect::KillDaemon => {
                self.story.tell(&self.node, "heart kills the daemon");
                return Some(Event::DaemonEnded);
            }
            Effect::StartPostmaster { asked, .. } => {
                let result = self.copies.start(&self.node).map(|()| self.fresh_pid());
                if result.is_ok() {
                    self.story.tell(&self.node, "PostgreSQL starts");
                }
                return Some(Event::PostmasterStarted { asked, result });
            }
            Effect::StartTool { tool, asked } => {
                let result = Err(format!("{} is not installed here", tool.program.display()));
                return Some(Event::ToolStarted { asked, tool: tool.id, result });
            }
            Effect::Push => self.push(),
            Effect::Reply { to, refused } => {
                if let Some(asker) = self.daemons.lock().unwrap().waiting.remove(&to.id) {
                    // Whoever asked may have given up.
                    let _given_up = asker.send(refused);
                }
            }
            Effect::CloseConnection(id) => drop(self.daemons.lock().unwrap().states.remove(&id)),
            Effect::Adopt(_) | Effect::KillTool | Effect::Exit => {}
        }
        None
    }

    fn signal(self: &Arc<Self>, pid: u32, mode: StopMode) {
        let (what, takes, end) = match mode {
            StopMode::Fast => ("PostgreSQL is told to stop", FAST_STOP, End::Fast),
            StopMode::Immediate => ("PostgreSQL is told to quit", IMMEDIATE_STOP, End::Crash),
        };
        self.story.tell(&self.node, what);
        let heart = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            // Killed meanwhile: then there is another postmaster, or none.
            if heart.guard.lock().unwrap().postmaster_pid() == Some(pid) {
                let event = heart.ended(pid, end);
                heart.happens(event);
            }
        });
    }

    fn ended(&self, pid: u32, how: End) -> Event {
        self.copies.end(&self.node, how);
        self.story.tell(&self.node, "PostgreSQL is gone");
        Event::Reaped { pid, exit_code: (how == End::Fast).then_some(0) }
    }

    fn push(&self) {
        let guard = self.guard.lock().unwrap();
        let attached = guard.attached();
        let daemons = self.daemons.lock().unwrap();
        if let Some(state) = attached.and_then(|id| daemons.states.get(&id)) {
            state.send_replace(Some(guard.view()));
        }
    }

    fn fresh_pid(&self) -> u32 {
        let mut pid = self.next_pid.lock().unwrap();
        *pid += 1;
        *pid
    }

    /// What heart knows.
    pub fn view(&self) -> HeartState {
        self.guard.lock().unwrap().view()
    }

    /// A daemon connects; it is attached when heart says so.
    pub fn connect(self: &Arc<Self>) -> Arc<Link> {
        let pid = self.fresh_pid();
        let (sender, state) = watch::channel(None);
        let connection = {
            let mut daemons = self.daemons.lock().unwrap();
            daemons.last_connection += 1;
            let id = daemons.last_connection;
            daemons.states.insert(id, sender);
            id
        };
        let link = Arc::new(Link { heart: self.clone(), connection, pid, state });
        let _answer = link.send(HeartOrder::Attach { version: "test".to_owned() });
        link
    }
}

/// A daemon's end of the socket.
pub struct Link {
    heart: Arc<Heart>,
    connection: ConnectionId,
    pid: u32,
    state: watch::Receiver<Option<HeartState>>,
}

impl Link {
    fn send(&self, order: HeartOrder) -> oneshot::Receiver<Option<String>> {
        let (asker, answer) = oneshot::channel();
        let id = {
            let mut daemons = self.heart.daemons.lock().unwrap();
            daemons.last_request += 1;
            let id = daemons.last_request;
            daemons.waiting.insert(id, asker);
            id
        };
        let _to: Asker = Asker { connection: self.connection, id };
        let request = HeartRequest { id, order };
        self.heart.happens(Event::Request { connection: self.connection, pid: self.pid, request });
        answer
    }

    async fn ask(&self, order: HeartOrder, limit: Duration) -> Result<(), GuardianError> {
        let silent = |detail: &str| GuardianError::Silent { detail: detail.to_owned() };
        match tokio::time::timeout(limit, self.send(order)).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(reason))) => Err(GuardianError::Refused { reason }),
            Ok(Err(_)) => Err(silent("the connection was lost")),
            Err(_) => Err(silent("no answer in time")),
        }
    }
}

impl Link {
    /// The daemon's process has ended, whoever still holds this.
    pub fn end(&self) {
        self.heart.daemons.lock().unwrap().states.remove(&self.connection);
        let attached = self.heart.guard.lock().unwrap().attached() == Some(self.connection);
        self.heart.happens(Event::Disconnected { connection: self.connection });
        if attached {
            self.heart.happens(Event::DaemonEnded);
        }
    }
}

#[async_trait]
impl Guardian for Link {
    fn state(&self) -> watch::Receiver<Option<HeartState>> {
        self.state.clone()
    }
    async fn arm(&self, lease: ArmedLease, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::Arm { lease }, limit).await
    }
    async fn renewed(&self, lease: ArmedLease, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::Renewed { lease }, limit).await
    }
    async fn disarm(&self, epoch: Epoch, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::Disarm { epoch }, limit).await
    }
    async fn start_postgres(&self, start: PostgresStart, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::StartPostgres { start }, limit).await
    }
    async fn stop_postgres(&self, stop: PostgresStop, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::StopPostgres { stop }, limit).await
    }
    async fn run_tool(&self, tool: ToolRequest, limit: Duration) -> Result<ToolOutcome, GuardianError> {
        self.ask(HeartOrder::RunTool { tool }, limit).await?;
        Err(GuardianError::Silent { detail: "no tool is installed here, and yet one was started".to_owned() })
    }
    async fn cancel_tool(&self, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::CancelTool, limit).await
    }
    async fn assign_vips(&self, epoch: Epoch, vips: Vec<VipAddress>, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::AssignVips { epoch, vips }, limit).await
    }
    async fn kill(&self) -> Result<(), GuardianError> {
        self.heart.die();
        Ok(())
    }
    async fn release_vips(&self, limit: Duration) -> Result<(), GuardianError> {
        self.ask(HeartOrder::ReleaseVips, limit).await
    }
}
