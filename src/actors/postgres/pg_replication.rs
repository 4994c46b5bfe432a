//! PgReplicationActor: makes PostgreSQL lead, follow, detach or stop, and reports what it is.
//!
//! Hears:   `Become` (ElectionActor, repeated), `SetSyncNames` (VotersActor), `HeartChanged` (HeartLinkActor), `CheckpointNow`
//!          (ElectionActor), its own passes, its own timer.
//! Does:    one pass at a time (`pass.rs`): observe, `replication_plan::plan`, carry out; a wish of another kind aborts it. Casts
//!          every changed report, and each tick's, to ElectionActor, and puts it on the board.
//! Restart: begins undecided: observes, then reports, changes nothing; ends an earlier life's sessions before it changes a primary.

use super::pass::{Pass, PassNews, SharedMemory, Wish, process_of};
use crate::actors::coordination::election::ElectionMessage;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::context::NodeContext;
use crate::heart::protocol::HeartState;
use leaderl_decision::model::{Epoch, NodeId, Reason};
use leaderl_decision::postgres_report::{PostgresOrder, PostgresReport, PostgresState};
use leaderl_decision::replication_plan::{NamesWish, Observed, Process, SyncNames, describe};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often PostgreSQL is looked at when nothing else asks for it; a leader's followers are reported this often.
const TICK: Duration = Duration::from_millis(250);

/// How long a checkpoint ahead of a planned stop may take.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(10);

/// What PgReplicationActor hears.
#[derive(Debug)]
pub enum PgReplicationMessage {
    /// The whole wish (ElectionActor; repeated).
    Become(PostgresOrder),
    /// `synchronous_standby_names` = ANY `quorum` (names) under this epoch (VotersActor, already ordered safely); repeated.
    SetSyncNames {
        /// Refused when older than the epoch led.
        epoch: Epoch,
        /// Empty: acknowledge alone (degraded).
        names: BTreeSet<NodeId>,
        /// q.
        quorum: u32,
    },
    /// heart's state changed (HeartLinkActor).
    HeartChanged(Option<HeartState>),
    /// Complete a checkpoint, so that the stop that follows is short.
    CheckpointNow {
        /// Told when it ended, whatever became of it.
        reply: RpcReplyPort<()>,
    },
    /// Something beside the passes changed what a plan sees (its own tasks).
    LookAgain,
    /// News of a pass (its own task).
    FromPass {
        /// Which pass; news of an aborted one count for nothing.
        number: u64,
        /// The news.
        news: PassNews,
    },
    /// Timer.
    Tick,
}

impl Named for PgReplicationMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Become(_) => heard("become"),
            Self::SetSyncNames { .. } => heard("set-sync-names"),
            Self::HeartChanged(_) => heard("heart-changed"),
            Self::CheckpointNow { .. } => heard("checkpoint-now"),
            Self::LookAgain => own("look-again"),
            Self::FromPass { news, .. } => own(news.name()),
            Self::Tick => own("tick"),
        }
    }
}

/// The actor.
pub struct PgReplicationActor;

/// What it keeps between messages.
pub struct PgReplicationState {
    ctx: Arc<NodeContext>,
    myself: ActorRef<PgReplicationMessage>,
    wish: watch::Sender<Wish>,
    memory: SharedMemory,
    newest_epoch: Epoch,
    pass: Option<JoinHandle<()>>,
    /// Aborted, perhaps not ended yet: the next pass waits for its end.
    aborted: Option<JoinHandle<()>>,
    pass_number: u64,
    /// Something came while a pass ran that its last observation may have missed.
    again: bool,
    /// The first pass has looked, or could not: before that nothing is reported, because half of what is known reads like a
    /// primary that is none any more.
    looked: bool,
    seen: Observed,
    problems: Vec<Reason>,
    doing: Option<&'static str>,
    refused_epoch: Option<Epoch>,
    report: PostgresReport,
    ticker: JoinHandle<()>,
}

impl Drop for PgReplicationState {
    fn drop(&mut self) {
        self.ticker.abort();
        self.abort_pass();
        self.memory.next_proof();
    }
}

impl Actor for PgReplicationActor {
    type Msg = PgReplicationMessage;
    type State = PgReplicationState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<PgReplicationMessage>,
        ctx: Arc<NodeContext>,
    ) -> Result<PgReplicationState, ActorProcessingErr> {
        Ok(PgReplicationState {
            ticker: ticker(myself.clone()),
            ctx,
            myself,
            wish: watch::Sender::default(),
            memory: SharedMemory::default(),
            newest_epoch: Epoch::default(),
            pass: None,
            aborted: None,
            pass_number: 0,
            again: false,
            looked: false,
            seen: Observed::default(),
            problems: Vec::new(),
            doing: None,
            refused_epoch: None,
            report: PostgresReport::default(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<PgReplicationMessage>,
        message: PgReplicationMessage,
        state: &mut PgReplicationState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PgReplicationMessage::Become(order) => state.ordered(order),
            PgReplicationMessage::SetSyncNames { epoch, names, quorum } => {
                state.names_ordered(NamesWish { epoch, names: SyncNames { names, quorum } });
            }
            PgReplicationMessage::HeartChanged(heart) => state.heart_changed(heart.as_ref()),
            PgReplicationMessage::CheckpointNow { reply } => state.checkpoint(reply),
            PgReplicationMessage::LookAgain => state.look(),
            PgReplicationMessage::FromPass { number, news } if number == state.pass_number => state.note(news),
            PgReplicationMessage::FromPass { .. } => {}
            PgReplicationMessage::Tick => {
                if state.pass.is_none() {
                    state.look();
                }
                state.publish(true);
            }
        }
        Ok(())
    }
}

fn ticker(myself: ActorRef<PgReplicationMessage>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if myself.cast(PgReplicationMessage::Tick).is_err() {
                return;
            }
        }
    })
}

impl PgReplicationState {
    fn ordered(&mut self, order: PostgresOrder) {
        let epoch = epoch_of(&order);
        if let Some(epoch) = epoch.filter(|epoch| *epoch < self.newest_epoch) {
            tracing::warn!(%epoch, newest = %self.newest_epoch, "an order of an older epoch is refused");
            self.refused_epoch = Some(epoch);
            return self.publish(false);
        }
        self.newest_epoch = epoch.unwrap_or_default().max(self.newest_epoch);
        self.refused_epoch = None;
        let present = self.wish.borrow().order.clone();
        if present == order {
            return;
        }
        let changes_course = !same_course(&present, &order);
        self.wish.send_modify(|wish| wish.order = order);
        if changes_course {
            self.abort_pass();
        }
        self.look();
    }

    fn names_ordered(&mut self, names: NamesWish) {
        if names.epoch < self.newest_epoch {
            self.refused_epoch = Some(names.epoch);
            return self.publish(false);
        }
        if self.wish.borrow().names.as_ref() != Some(&names) {
            self.wish.send_modify(|wish| wish.names = Some(names));
            self.look();
        }
    }

    /// The end of PostgreSQL is known at once; a pass that needed it ends by itself.
    fn heart_changed(&mut self, heart: Option<&HeartState>) {
        let armed = heart.and_then(|heart| heart.armed.as_ref()).map(|lease| (lease.epoch, lease.fence_at));
        let newly_armed = armed.map(|(epoch, _)| epoch) != self.seen.armed.map(|(epoch, _)| epoch);
        self.seen.armed = armed;
        if self.note_process(process_of(heart)) || newly_armed {
            self.publish(false);
            self.look();
        }
    }

    /// Takes over heart's word; whether it says more than the last observation.
    ///
    /// "Gone" counts with the next observation only: the files seen so far are from before the end, and where PostgreSQL ended
    /// (or that it did not end cleanly) is read from them.
    fn note_process(&mut self, process: Process) -> bool {
        if self.seen.process == process {
            return false;
        }
        self.seen.process = if process == Process::Gone { Process::Ending } else { process };
        if process != Process::Running {
            self.seen.server = None;
        }
        true
    }

    fn checkpoint(&self, reply: RpcReplyPort<()>) {
        let ctx = self.ctx.clone();
        tokio::spawn(async move {
            if let Err(why) = ctx.postgres.checkpoint(CHECKPOINT_LIMIT).await {
                tracing::warn!(error = &why as &dyn std::error::Error, "no checkpoint ahead of the stop");
            }
            if reply.send(()).is_err() {
                tracing::debug!("nobody waits for the checkpoint any more");
            }
        });
    }

    fn note(&mut self, news: PassNews) {
        self.looked |= match news {
            PassNews::Seen { .. } | PassNews::Ended => true,
            PassNews::Begins(_) => false,
        };
        match news {
            PassNews::Seen { seen, problems } => {
                self.seen = *seen;
                self.problems = problems;
                self.doing = None;
                // heart may have said more since.
                let heart = self.ctx.guardian.state().borrow().clone();
                self.again |= self.note_process(process_of(heart.as_ref()));
                self.publish(false);
            }
            PassNews::Begins(step) => {
                self.doing = Some(step);
                self.publish(false);
            }
            PassNews::Ended => {
                self.pass = None;
                self.doing = None;
                if self.again {
                    self.look();
                }
                self.publish(false);
            }
        }
    }

    /// Starts a pass; one that runs is followed by another.
    fn look(&mut self) {
        if self.pass.is_some() {
            self.again = true;
            return;
        }
        self.again = false;
        self.pass_number += 1;
        let pass = Pass {
            number: self.pass_number,
            ctx: self.ctx.clone(),
            wish: self.wish.subscribe(),
            memory: self.memory.clone(),
            myself: self.myself.clone(),
        };
        self.pass = Some(tokio::spawn(blackbox::carried("pass", pass.run(self.aborted.take()))));
    }

    fn abort_pass(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass.abort();
            self.aborted = Some(pass);
        }
        // News that it has sent already are about a course that was left.
        self.pass_number += 1;
        self.doing = None;
    }

    /// Tells the election and the board; `always`: also when nothing changed.
    fn publish(&mut self, always: bool) {
        let report = self.describe();
        if !self.looked || report == self.report && !always {
            return;
        }
        if report != self.report {
            self.ctx.board.postgres.send_replace(report.clone());
            self.report = report.clone();
        }
        if self.ctx.neighbours.election.cast(ElectionMessage::Postgres(Box::new(report))).is_err() {
            tracing::debug!("ElectionActor is not running; the report is repeated");
        }
    }

    fn describe(&self) -> PostgresReport {
        let wish = self.wish.borrow();
        let (members, promoting) = match &wish.order {
            PostgresOrder::Follow(follow) => (follow.members.clone(), None),
            PostgresOrder::Lead(lead) => (lead.members.clone(), (self.doing == Some("promote")).then_some(lead.epoch)),
            PostgresOrder::Undecided | PostgresOrder::Detach { .. } | PostgresOrder::Stop { .. } => Default::default(),
        };
        // What was proven since the last observation counts with the next one only.
        let mut report = describe(&self.seen, &members, promoting);
        let stops = matches!(wish.order, PostgresOrder::Stop { .. }) || self.doing == Some("stop");
        if stops && self.seen.process == Process::Running {
            report.state = PostgresState::Stopping;
        }
        report.busy = self.doing.map(str::to_owned);
        report.problems = self.problems.clone();
        report.refused_epoch = self.refused_epoch;
        report
    }
}

fn epoch_of(order: &PostgresOrder) -> Option<Epoch> {
    match order {
        PostgresOrder::Follow(follow) => Some(follow.epoch),
        PostgresOrder::Lead(lead) => Some(lead.epoch),
        PostgresOrder::Undecided | PostgresOrder::Detach { .. } | PostgresOrder::Stop { .. } => None,
    }
}

/// Whether the work done for one order is also right for the other.
///
/// Each renewal brings a new `leader_revision`, each join new members: neither may interrupt a base copy.
fn same_course(one: &PostgresOrder, other: &PostgresOrder) -> bool {
    match (one, other) {
        (PostgresOrder::Follow(one), PostgresOrder::Follow(other)) => {
            let essence = |order: &leaderl_decision::postgres_report::FollowOrder| {
                (
                    order.leader.clone(),
                    order.address.clone(),
                    order.port,
                    order.epoch,
                    order.named_voter,
                    order.catch_up,
                )
            };
            essence(one) == essence(other)
        }
        (PostgresOrder::Lead(one), PostgresOrder::Lead(other)) => one.epoch == other.epoch && one.nonce == other.nonce,
        (
            PostgresOrder::Undecided
            | PostgresOrder::Detach { .. }
            | PostgresOrder::Follow(_)
            | PostgresOrder::Lead(_)
            | PostgresOrder::Stop { .. },
            _,
        ) => one == other,
    }
}
