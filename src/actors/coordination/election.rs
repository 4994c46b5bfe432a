//! ElectionActor: decides whether this node leads.
//!
//! Hears:   the cluster's records and its own renewals (EtcdSessionActor), heart's state (HeartLinkActor), PostgreSQL's report
//!          (PgReplicationActor), tripped services (HealthActor), `StepDownAndStop` (the daemon's end), its own timer.
//! Does:    `decision::election::step`, then the commands it returns (`election_effects`).
//! Restart: begins undecided with what the node's memory holds, so it decides at its first look: it adopts an own hold that
//!          heart still guards, and otherwise observes. Until then `/leader` says what the incarnation before had promised.

use super::election_effects::Effects;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::context::NodeContext;
use crate::heart::protocol::{HeartState, PostgresProcess};
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::election::{self, Event, Facts, HeartFacts, State, Timing};
use leaderl_decision::failover_policy::OwnFaults;
use leaderl_decision::health_counter::counts_against_leading;
use leaderl_decision::model::{ByteLag, Nonce, Reason, Revision, ServiceName, Timestamp};
use leaderl_decision::postgres_report::PostgresReport;
use publishing::Promised;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

mod publishing;

/// How often the election looks at the clock. The shortest delay it decides about is the rank delay of 150 ms.
const TICK: Duration = Duration::from_millis(50);
/// So many steps may follow each other without a new observation.
const MOST_STEPS: usize = 6;

/// What ElectionActor hears. Every message carries a whole value and is repeated by its sender's timer.
#[derive(Debug)]
pub enum ElectionMessage {
    /// The cluster's records changed (EtcdSessionActor).
    ClusterSeen(Arc<ClusterView>),
    /// A renewal of our hold was committed (EtcdSessionActor).
    Renewed {
        /// The hold.
        nonce: Nonce,
        /// Its newest committed seq.
        seq: u64,
        /// Read before that seq's first sending.
        t0: Timestamp,
        /// The leader key's mod_revision.
        revision: Revision,
    },
    /// The leader key is surely not ours any more (EtcdSessionActor, after a linearizable read).
    HoldLost {
        /// The hold.
        nonce: Nonce,
    },
    /// heart's state changed, or heart went away (`None`) (HeartLinkActor).
    HeartChanged(Option<HeartState>),
    /// heart did not acknowledge a renewal in time (HeartLinkActor).
    HeartSilent,
    /// PostgreSQL's report (PgReplicationActor).
    Postgres(Box<PostgresReport>),
    /// A service tripped or recovered (HealthActor).
    Health {
        /// The service.
        service: ServiceName,
        /// Failed more often in a row than allowed.
        tripped: bool,
        /// The last failure.
        detail: String,
    },
    /// The daemon stops for good (SIGTERM): step down and hand over, then answer.
    StepDownAndStop(RpcReplyPort<()>),
    /// An effect ended (its own tasks).
    Happened(Event),
    /// Timer.
    Tick,
}

impl Named for ElectionMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::ClusterSeen(_) => heard("cluster-seen"),
            Self::Renewed { .. } => heard("renewed"),
            Self::HoldLost { .. } => heard("hold-lost"),
            Self::HeartChanged(_) => heard("heart-changed"),
            Self::HeartSilent => heard("heart-silent"),
            Self::Postgres(_) => heard("postgres"),
            Self::Health { .. } => heard("health"),
            Self::StepDownAndStop(_) => heard("step-down-and-stop"),
            Self::Happened(event) => own(event.name()),
            Self::Tick => own("tick"),
        }
    }
}

/// The actor.
pub struct ElectionActor;

/// What it keeps between messages.
pub struct ElectionActorState {
    ctx: Arc<NodeContext>,
    decided: State,
    since: Timestamp,
    cluster: Option<Arc<ClusterView>>,
    heart: Option<HeartFacts>,
    postgres: PostgresReport,
    tripped: BTreeMap<ServiceName, String>,
    faults: Vec<Timestamp>,
    reasons: Vec<(Reason, Timestamp)>,
    promised: Option<Promised>,
    effects: Effects,
    stopping: Option<RpcReplyPort<()>>,
    stopped: bool,
    ticker: JoinHandle<()>,
}

impl Drop for ElectionActorState {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

impl Actor for ElectionActor {
    type Msg = ElectionMessage;
    type State = ElectionActorState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<ElectionMessage>,
        ctx: Arc<NodeContext>,
    ) -> Result<ElectionActorState, ActorProcessingErr> {
        let ticker = ticker(myself.clone());
        blackbox::became(State::Undecided.name());
        Ok(ElectionActorState::new(ctx, myself, ticker))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ElectionMessage>,
        message: ElectionMessage,
        state: &mut ElectionActorState,
    ) -> Result<(), ActorProcessingErr> {
        let event = state.note(message);
        state.advance(event);
        Ok(())
    }
}

fn ticker(myself: ActorRef<ElectionMessage>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if myself.cast(ElectionMessage::Tick).is_err() {
                return;
            }
        }
    })
}

impl ElectionActorState {
    /// Undecided, and knowing what others have published: waiting for them to repeat it would cost a second.
    fn new(ctx: Arc<NodeContext>, myself: ActorRef<ElectionMessage>, ticker: JoinHandle<()>) -> Self {
        let board = &ctx.board;
        let before = board.election.borrow().clone();
        let view = board.cluster.borrow().clone();
        let heart = ctx.guardian.state().borrow().as_ref().map(heart_facts);
        let health = board.health.borrow().clone();
        let mut state = Self {
            effects: Effects::new(ctx.clone(), myself),
            decided: State::Undecided,
            since: ctx.clock.now(),
            cluster: (view.revision > Revision(0)).then_some(view),
            heart,
            postgres: board.postgres.borrow().clone(),
            tripped: BTreeMap::new(),
            promised: Promised::by(&before),
            faults: before.faults,
            reasons: before.reasons,
            stopping: None,
            stopped: false,
            ticker,
            ctx: ctx.clone(),
        };
        for (service, seen) in health {
            state.note_health(service, seen.tripped, seen.detail);
        }
        state
    }

    /// Keeps the fact; says which event it is for the decision.
    fn note(&mut self, message: ElectionMessage) -> Event {
        match message {
            ElectionMessage::ClusterSeen(view) => {
                self.cluster = Some(view);
                self.look()
            }
            ElectionMessage::Renewed { nonce, seq, t0, revision } => Event::Renewed { nonce, seq, t0, revision },
            ElectionMessage::HoldLost { nonce } => Event::HoldLost { nonce },
            ElectionMessage::HeartChanged(heart) => {
                self.heart = heart.as_ref().map(heart_facts);
                self.look()
            }
            ElectionMessage::HeartSilent => Event::HeartSilent,
            ElectionMessage::Postgres(report) => {
                self.postgres = *report;
                self.look()
            }
            ElectionMessage::Health { service, tripped, detail } => {
                self.note_health(service, tripped, detail);
                self.look()
            }
            ElectionMessage::StepDownAndStop(reply) => {
                self.stopping = Some(reply);
                Event::StopForGood
            }
            ElectionMessage::Happened(event) => event,
            ElectionMessage::Tick => self.look(),
        }
    }

    /// While the daemon stops, every look is about that.
    fn look(&self) -> Event {
        if self.stopping.is_some() { Event::StopForGood } else { Event::Look }
    }

    fn note_health(&mut self, service: ServiceName, tripped: bool, detail: String) {
        let counts = counts_against_leading(service, self.ctx.settings.health.fatal_system_checks);
        if tripped && counts {
            self.tripped.insert(service, detail);
        } else {
            self.tripped.remove(&service);
        }
    }

    fn note_fault(&mut self, after: &State, now: Timestamp) {
        if let State::SteppingDown(down) = after
            && down.by_fault()
        {
            let window = self.ctx.settings.election.anti_flap_window;
            self.faults.retain(|at| now.since(*at) < window);
            self.faults.push(now);
        }
    }

    /// Steps until nothing changes; then publishes.
    fn advance(&mut self, first: Event) {
        let mut event = first;
        for _ in 0..MOST_STEPS {
            if self.stopped {
                return;
            }
            let now = self.ctx.clock.now();
            let nonce = fresh_nonce();
            let before = self.decided.clone();
            let name = before.name();
            let (after, commands) = election::step(before.clone(), &event, &self.facts(now, &nonce));
            let moved = after.name() != name;
            let in_state = now.since(self.since);
            if moved {
                self.since = now;
                self.note_fault(&after, now);
            }
            let changed = after != before;
            if moved || !commands.is_empty() {
                blackbox::decided(event.name(), name, after.name(), commands.iter().map(election::Command::name));
            }
            self.decided = after;
            for command in commands {
                self.effects.carry_out(command, now, in_state);
            }
            self.finish_if_stopping();
            if !changed {
                break;
            }
            event = self.look();
        }
        self.publish();
    }

    fn finish_if_stopping(&mut self) {
        let idle = match &self.decided {
            // A vacancy under way would be lost with this actor.
            State::Observing(_) => !self.effects.is_resigning(),
            // Before it has decided only heart knows whether there is a hold to hand over.
            State::Undecided => self.heart.as_ref().is_some_and(|heart| heart.armed.is_none()),
            State::Claiming(_) | State::Holding(_) | State::SteppingDown(_) => false,
        };
        if idle && let Some(reply) = self.stopping.take() {
            self.stopped = true;
            if reply.send(()).is_err() {
                tracing::debug!("nobody waits for the end of the election any more");
            }
        }
    }

    fn facts<'a>(&'a self, now: Timestamp, fresh_nonce: &'a Nonce) -> Facts<'a> {
        let settings = &self.ctx.settings;
        Facts {
            now,
            me: &self.ctx.guid,
            boot_id: &self.ctx.boot_id,
            timing: Timing { ttl: settings.election.leader_ttl },
            mode: settings.replication.mode,
            priority: settings.node.priority,
            max_lag: ByteLag(settings.replication.max_bytes_behind_leader),
            promote_deadline: settings.election.promote_deadline,
            cluster: self.cluster.as_deref(),
            heart: self.heart.as_ref(),
            postgres: &self.postgres,
            tripped: &self.tripped,
            faults: OwnFaults {
                ended_at: &self.faults,
                most: settings.election.anti_flap_failovers,
                window: settings.election.anti_flap_window,
            },
            fresh_nonce,
        }
    }
}

fn heart_facts(state: &HeartState) -> HeartFacts {
    HeartFacts {
        armed: state.armed.as_ref().map(|lease| (lease.epoch, lease.nonce.clone(), lease.fence_at)),
        fenced: state.fenced,
        postgres_gone: state.postgres == PostgresProcess::Gone,
        vip_held: !state.vips.is_empty(),
    }
}

/// 128 random bits in hexadecimal.
pub fn fresh_nonce() -> Nonce {
    let mut bytes = [0_u8; 16];
    if let Err(why) = getrandom::fill(&mut bytes) {
        // Two hashers with keys of their own: still unlike any other nonce, and the log says what happened.
        tracing::error!(%why, "the kernel gives no random bytes");
        for half in bytes.chunks_mut(8) {
            let hash = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), half.len());
            half.copy_from_slice(&hash.to_le_bytes());
        }
    }
    Nonce(hex::encode(bytes))
}
