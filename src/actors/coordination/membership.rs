//! MembershipActor: this node's entry in `members/`, its posted status in `nodes/`, and etcd's client addresses.
//!
//! Hears:   `PostNow` (anyone whose published facts changed), `Changed` (its task that watches the board), its own timer.
//! Does:    keeps `members/<guid>` right, posts `nodes/<guid>`, gives the store the members' client URLs.
//! Restart: posts again.
//!
//! It never creates `members/<guid>`: create-cluster and join-cluster do, so a removed node does not come back by itself.

use crate::adapters::etcd_service::config::member_record;
use crate::adapters::etcd_service::endpoints;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::context::NodeContext;
use crate::ports::{Compare, ENDPOINTS_FILE, StoreError, Txn, TxnAnswer, Write};
use crate::settings::RunMode;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Revision, Timestamp};
use leaderl_decision::records::NodeStatus;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

mod status;

/// How often the actor looks by itself, also when nothing changes.
const TICK: Duration = Duration::from_millis(500);
/// Changes within this long are posted together.
const COALESCE: Duration = Duration::from_millis(100);
/// One write.
const LIMIT: Duration = Duration::from_secs(1);

/// What MembershipActor hears.
#[derive(Debug)]
pub enum MembershipMessage {
    /// Post the status soon (coalesced).
    PostNow,
    /// A published fact changed (its own task), or a postponed post is due.
    Changed,
    /// Timer.
    Tick,
}

impl Named for MembershipMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::PostNow => heard("post-now"),
            Self::Changed => own("changed"),
            Self::Tick => own("tick"),
        }
    }
}

/// The actor.
pub struct MembershipActor;

/// What it keeps between messages.
pub struct MembershipState {
    context: Arc<NodeContext>,
    posted: Option<NodeStatus>,
    /// The last attempt, successful or not.
    tried_at: Option<Timestamp>,
    seq: u64,
    was_member: bool,
    others: Option<Vec<String>>,
    soon: Option<JoinHandle<()>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for MembershipState {
    fn drop(&mut self) {
        self.tasks.iter().chain(self.soon.iter()).for_each(JoinHandle::abort);
    }
}

impl Actor for MembershipActor {
    type Msg = MembershipMessage;
    type State = MembershipState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        me: ActorRef<MembershipMessage>,
        context: Arc<NodeContext>,
    ) -> Result<MembershipState, ActorProcessingErr> {
        let tasks = [tokio::spawn(ticks(me.clone())), tokio::spawn(changes(context.clone(), me))];
        Ok(MembershipState {
            context,
            posted: None,
            tried_at: None,
            seq: 0,
            was_member: false,
            others: None,
            soon: None,
            tasks,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<MembershipMessage>,
        message: MembershipMessage,
        state: &mut MembershipState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MembershipMessage::PostNow | MembershipMessage::Changed => {
                if !state.postpone(&me) {
                    state.post().await;
                }
            }
            MembershipMessage::Tick => {
                let view = state.context.board.cluster.borrow().clone();
                state.know_members(&view);
                state.keep_record(&view).await;
                state.post().await;
            }
        }
        Ok(())
    }
}

async fn ticks(me: ActorRef<MembershipMessage>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if me.cast(MembershipMessage::Tick).is_err() {
            return;
        }
    }
}

/// Every published fact that a status is made of.
async fn changes(context: Arc<NodeContext>, me: ActorRef<MembershipMessage>) {
    let board = &context.board;
    let mut election = board.election.subscribe();
    let mut postgres = board.postgres.subscribe();
    let mut search = board.search.subscribe();
    let mut health = board.health.subscribe();
    loop {
        let changed = tokio::select! {
            biased;
            changed = election.changed() => changed,
            changed = postgres.changed() => changed,
            changed = search.changed() => changed,
            changed = health.changed() => changed,
        };
        if changed.is_err() || me.cast(MembershipMessage::Changed).is_err() {
            return;
        }
    }
}

impl MembershipState {
    /// Whether the last attempt is too young; then this message comes again when it is not.
    fn postpone(&mut self, me: &ActorRef<MembershipMessage>) -> bool {
        if self.soon.as_ref().is_some_and(|task| !task.is_finished()) {
            return true;
        }
        let age = self.tried_at.map_or(COALESCE, |at| self.context.clock.now().since(at));
        let Some(left) = COALESCE.checked_sub(age).filter(|left| !left.is_zero()) else { return false };
        let me = me.clone();
        self.soon = Some(tokio::spawn(async move {
            tokio::time::sleep(left).await;
            let _ = me.cast(MembershipMessage::Changed);
        }));
        true
    }

    /// Tells the store where the members are, and remembers it for the next start.
    fn know_members(&mut self, view: &ClusterView) {
        let settings = &self.context.settings;
        if settings.etcd.mode == RunMode::External || view.members.is_empty() {
            return;
        }
        let of_others = view.members.iter().filter(|(guid, _)| **guid != self.context.guid);
        let others: Vec<String> = of_others.map(|(_, seen)| seen.record.etcd_client_url.clone()).collect();
        if self.others.as_ref() == Some(&others) {
            return;
        }
        self.context.store.set_endpoints(&endpoints::first(settings), &others);
        self.others = Some(others.clone());
        let context = self.context.clone();
        // Only the next start needs it; a disk that hangs must not hold this actor up.
        tokio::spawn(async move {
            let known = endpoints::document(&others);
            if let Err(error) = context.files.replace(ENDPOINTS_FILE, known).await {
                tracing::warn!(%error, "the members' etcd addresses could not be kept");
            }
        });
    }

    /// Rewrites an entry that does not say what the settings say; never creates one.
    async fn keep_record(&mut self, view: &ClusterView) {
        let guid = &self.context.guid;
        let Some(seen) = view.members.get(guid) else {
            if self.was_member && view.revision > Revision(0) {
                tracing::error!("this node was removed from the cluster: its entry in members/ is gone");
                self.was_member = false;
            }
            return;
        };
        self.was_member = true;
        let Ok(wanted) = member_record(&self.context.settings, guid) else { return };
        if seen.record == wanted {
            return;
        }
        let key = self.context.keys.member(guid);
        match self.write(key, serde_json::to_vec(&wanted), seen.revision).await {
            Ok(()) => {
                blackbox::command("correct-record");
                tracing::info!("members/ says what the settings say");
            }
            Err(error) => tracing::warn!(%error, "the entry in members/ could not be corrected"),
        }
    }

    async fn post(&mut self) {
        let context = self.context.clone();
        let now = context.clock.now();
        let view = context.board.cluster.borrow().clone();
        // Not seen yet, or not a member (any more).
        let Some(member) = view.members.get(&context.guid).map(|seen| seen.revision) else { return };
        let mut status = status::of(&context, &view, now);
        let regular = context.settings.election.status_post_update;
        let due = self.tried_at.is_none_or(|at| now.since(at) >= regular);
        let changed = self.posted.as_ref().is_none_or(|posted| status::differ(posted, &status));
        if !due && !changed {
            return;
        }
        let recorded = view.nodes.get(&context.guid).map(|seen| seen.record.seq).unwrap_or_default();
        self.seq = self.seq.max(recorded) + 1;
        status.seq = self.seq;
        self.tried_at = Some(now);
        match self.write(context.keys.node(&context.guid), serde_json::to_vec(&status), member).await {
            Ok(()) => {
                blackbox::command("post-status");
                self.posted = Some(status);
            }
            Err(error) => {
                blackbox::said(&error.to_string());
                self.posted = None;
                tracing::debug!(%error, "the status was not posted; it is tried again");
            }
        }
    }

    /// Puts a value if `members/<guid>` is still the entry that was seen.
    async fn write(
        &self,
        key: String,
        value: Result<Vec<u8>, serde_json::Error>,
        member: Revision,
    ) -> Result<(), StoreError> {
        let value = value.map_err(|error| StoreError::Refused { detail: error.to_string() })?;
        let guard = Compare { key: self.context.keys.member(&self.context.guid), mod_revision: member };
        let txn = Txn { compares: vec![guard], writes: vec![Write::Put { key, value }], else_reads: Vec::new() };
        match self.context.store.txn(txn, LIMIT).await? {
            TxnAnswer::Committed { .. } => Ok(()),
            TxnAnswer::Refused { .. } => {
                Err(StoreError::Refused { detail: "the entry in members/ is another one now".to_owned() })
            }
        }
    }
}
