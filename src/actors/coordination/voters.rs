//! VotersActor: while this node leads, keeps the voter record and PostgreSQL's synchronous names in their safe order.
//!
//! Hears:   `Keep`, `Rest` (ElectionActor; repeated), its own timer.
//! Does:    `decision::voters::plan` over the board, then one step: a guarded put in etcd, or `SetSyncNames` to PostgreSQL.
//! Restart: rests until told; then puts the record once itself before it changes any name (rule R2). What it was waiting for
//!          goes on from the board.

use crate::actors::api::journal::{JournalEntry, JournalMessage};
use crate::actors::postgres::pg_replication::PgReplicationMessage;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::board::VotersView;
use crate::context::NodeContext;
use crate::ports::{Compare, Txn, TxnAnswer, Write};
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Epoch, NodeId, Nonce, Revision};
use leaderl_decision::postgres_report::{PostgresState, PrimaryReport};
use leaderl_decision::records::VotersRecord;
use leaderl_decision::voters::{VoterStep, VotersFacts, VotersState, all_must_be_remade, may_vote, plan, put_compares};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the followers are looked at while leading.
const TICK: Duration = Duration::from_millis(100);
/// How long one put may take.
const PUT_LIMIT: Duration = Duration::from_secs(1);

/// What VotersActor hears.
#[derive(Debug)]
pub enum VotersMessage {
    /// Keep the record under this epoch (ElectionActor; repeated).
    Keep {
        /// The epoch held.
        epoch: Epoch,
        /// The acquisition's nonce.
        nonce: Nonce,
    },
    /// This node does not lead (ElectionActor).
    Rest,
    /// The put that was under way ended (its own task).
    PutEnded {
        /// The epoch it was sent under.
        epoch: Epoch,
        /// The record's mod_revision when committed; `None`: refused or unknown.
        committed: Option<Revision>,
        /// Whether it may still commit late.
        unknown: bool,
    },
    /// Timer.
    Tick,
}

impl Named for VotersMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Keep { .. } => heard("keep"),
            Self::Rest => heard("rest"),
            Self::PutEnded { .. } => own("put-ended"),
            Self::Tick => own("tick"),
        }
    }
}

/// The actor.
pub struct VotersActor;

/// What it keeps between messages.
pub struct VotersActorState {
    ctx: Arc<NodeContext>,
    kept: Option<Kept>,
    ticker: JoinHandle<()>,
}

/// The epoch whose record is kept.
struct Kept {
    epoch: Epoch,
    nonce: Nonce,
    plan: VotersState,
    put: Option<JoinHandle<()>>,
    seen_from: Revision,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(put) = &self.put {
            put.abort();
        }
    }
}

impl Drop for VotersActorState {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

impl Actor for VotersActor {
    type Msg = VotersMessage;
    type State = VotersActorState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<VotersMessage>,
        ctx: Arc<NodeContext>,
    ) -> Result<VotersActorState, ActorProcessingErr> {
        let ticker = myself.send_interval(TICK, || VotersMessage::Tick);
        Ok(VotersActorState { ctx, kept: None, ticker })
    }

    async fn handle(
        &self,
        myself: ActorRef<VotersMessage>,
        message: VotersMessage,
        state: &mut VotersActorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            VotersMessage::Keep { epoch, nonce } => state.keep(epoch, nonce),
            VotersMessage::Rest => state.kept = None,
            VotersMessage::PutEnded { epoch, committed, unknown } => state.put_ended(epoch, committed, unknown),
            VotersMessage::Tick => {}
        }
        blackbox::became(if state.kept.is_some() { "keeping" } else { "resting" });
        state.look(&myself);
        Ok(())
    }
}

impl VotersActorState {
    fn keep(&mut self, epoch: Epoch, nonce: Nonce) {
        if self.kept.as_ref().is_some_and(|kept| kept.epoch == epoch && kept.nonce == nonce) {
            return;
        }
        let before = self.ctx.board.voters.borrow().clone();
        let mut plan = VotersState::default();
        if before.epoch == epoch {
            (plan.missing_since, plan.lonely_since) = (before.missing_since, before.lonely_since);
        }
        self.kept = Some(Kept { epoch, nonce, plan, put: None, seen_from: Revision(0) });
    }

    fn put_ended(&mut self, epoch: Epoch, committed: Option<Revision>, unknown: bool) {
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.epoch == epoch) else { return };
        kept.put = None;
        match committed {
            Some(revision) => {
                kept.plan.own_put = true;
                kept.seen_from = revision;
            }
            None if unknown => kept.plan.own_put = false,
            None => {}
        }
    }

    fn look(&mut self, myself: &ActorRef<VotersMessage>) {
        let ctx = self.ctx.clone();
        let Some(kept) = self.kept.as_mut() else { return };
        if kept.put.as_ref().is_some_and(|put| !put.is_finished()) {
            return;
        }
        let view = ctx.board.cluster.borrow().clone();
        let report = ctx.board.postgres.borrow().clone();
        let PostgresState::Primary(primary) = &report.state else { return };
        let step = kept.next_step(&ctx, &view, primary);
        kept.publish(&ctx);
        if let Some(step) = step {
            carry_out(&ctx, kept, step, myself);
        }
    }
}

impl Kept {
    fn publish(&self, ctx: &NodeContext) {
        let VotersState { missing_since, lonely_since, .. } = &self.plan;
        let (missing_since, lonely_since) = (missing_since.clone(), *lonely_since);
        let view = VotersView { epoch: self.epoch, missing_since, lonely_since };
        ctx.board.voters.send_if_modified(|shown| {
            let changed = *shown != view;
            *shown = view;
            changed
        });
    }

    fn next_step(&mut self, ctx: &NodeContext, view: &ClusterView, primary: &PrimaryReport) -> Option<VoterStep> {
        let record = view.voters.as_ref()?;
        let ours = view.epoch.as_ref().filter(|seen| seen.record.epoch == self.epoch)?;
        if record.revision < self.seen_from || primary.epoch != self.epoch {
            return None;
        }
        let may_vote = may_vote(view, &ctx.guid);
        let facts = VotersFacts {
            now: ctx.clock.now(),
            epoch: self.epoch,
            epoch_revision: ours.revision,
            record,
            primary,
            may_vote: &may_vote,
            mode: ctx.settings.replication.mode,
            degrade_after: ctx.settings.replication.degrade_after,
            may_give_up: ctx.board.election.borrow().awaits_voters == Some(self.epoch)
                || all_must_be_remade(view, &record.record),
        };
        plan(&mut self.plan, &facts)
    }
}

fn carry_out(ctx: &Arc<NodeContext>, kept: &mut Kept, step: VoterStep, myself: &ActorRef<VotersMessage>) {
    match step {
        VoterStep::SetNames { names, why } => {
            blackbox::command("set-names");
            blackbox::said(&why);
            tracing::info!(epoch = %kept.epoch, names = ?names, why, "synchronous names");
            let order = PgReplicationMessage::SetSyncNames { epoch: kept.epoch, names, quorum: 1 };
            if ctx.neighbours.postgres.cast(order).is_err() {
                tracing::debug!("PgReplicationActor is not running; the names are ordered again");
            }
        }
        VoterStep::Put { record, voters_revision, epoch_revision, why } => {
            blackbox::command("put-record");
            blackbox::said(&why);
            let (ctx, epoch, myself) = (ctx.clone(), kept.epoch, myself.clone());
            kept.put = Some(tokio::spawn(async move {
                let (committed, unknown) = put(&ctx, &record, voters_revision, epoch_revision).await;
                if committed.is_some() {
                    note(&ctx, &record, &why);
                }
                if myself.cast(VotersMessage::PutEnded { epoch, committed, unknown }).is_err() {
                    tracing::debug!("VotersActor ended before its put did");
                }
            }));
        }
    }
}

async fn put(ctx: &NodeContext, record: &VotersRecord, voters: Revision, epoch: Revision) -> (Option<Revision>, bool) {
    let value = match serde_json::to_vec(record) {
        Ok(value) => value,
        Err(why) => {
            tracing::error!(%why, "the voter record cannot be written as JSON");
            return (None, false);
        }
    };
    let key = ctx.keys.voters();
    let compares = put_compares(&ctx.keys, voters, epoch);
    let txn = Txn {
        compares: compares.into_iter().map(|(key, mod_revision)| Compare { key, mod_revision }).collect(),
        writes: vec![Write::Put { key, value }],
        else_reads: Vec::new(),
    };
    match ctx.store.txn(txn, PUT_LIMIT).await {
        Ok(TxnAnswer::Committed { revision }) => (Some(revision), false),
        Ok(TxnAnswer::Refused { .. }) => (None, false),
        Err(why) => {
            tracing::warn!(%why, "the voter record may not be written");
            (None, true)
        }
    }
}

fn note(ctx: &NodeContext, record: &VotersRecord, why: &str) {
    let names: Vec<&str> = record.voters.iter().map(NodeId::short).collect();
    let text = if names.is_empty() {
        format!("nobody but the leader is known to be complete ({why})")
    } else {
        format!("any {} of {} ({why})", record.quorum, names.join(", "))
    };
    let entry = JournalEntry {
        at: String::new(),
        actor: "voters".to_owned(),
        code: "voters".to_owned(),
        epoch: record.epoch,
        text,
        after_ms: 0,
    };
    if ctx.neighbours.journal.cast(JournalMessage::Record(entry)).is_err() {
        tracing::debug!("the journal is not running");
    }
}
