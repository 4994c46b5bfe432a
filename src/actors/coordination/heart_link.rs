//! HeartLinkActor: keeps this daemon attached to heart and tells the others what heart says.
//!
//! Hears:   `Reconcile` (changes of heart's state through its port, timer), `Renewed` (EtcdSessionActor).
//! Does:    casts `HeartChanged` to ElectionActor and PgReplicationActor; passes renewals on and reports a missing acknowledgement.
//! Restart: reads heart's last state again and casts it.

use crate::actors::coordination::election::ElectionMessage;
use crate::actors::postgres::pg_replication::PgReplicationMessage;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::context::NodeContext;
use crate::heart::protocol::HeartState;
use crate::ports::{ArmedLease, GuardianError};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often an unchanged state is told again.
const REPEAT: Duration = Duration::from_secs(1);
/// heart must acknowledge a renewal within this part of `leader_ttl`.
const ACKNOWLEDGED_WITHIN: u32 = 10;

/// What HeartLinkActor hears.
#[derive(Debug)]
pub enum HeartLinkMessage {
    /// A renewal was committed; heart's deadline moves. No acknowledgement within D/10: ElectionActor hears `HeartSilent`.
    Renewed(ArmedLease),
    /// Look at heart again.
    Reconcile,
}

impl Named for HeartLinkMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Renewed(_) => heard("renewed"),
            Self::Reconcile => own("reconcile"),
        }
    }
}

/// The actor.
#[derive(Debug, Default)]
pub struct HeartLinkActor;

/// Its state: two tasks that end with it.
pub struct HeartLinkActorState {
    context: Arc<NodeContext>,
    timer: JoinHandle<()>,
    watcher: JoinHandle<()>,
}

impl Drop for HeartLinkActorState {
    fn drop(&mut self) {
        self.timer.abort();
        self.watcher.abort();
    }
}

impl Actor for HeartLinkActor {
    type Msg = HeartLinkMessage;
    type State = HeartLinkActorState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<HeartLinkMessage>,
        context: Arc<NodeContext>,
    ) -> Result<HeartLinkActorState, ActorProcessingErr> {
        let timer_target = myself.clone();
        let timer = tokio::spawn(async move {
            let mut interval = tokio::time::interval(REPEAT);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                if timer_target.cast(HeartLinkMessage::Reconcile).is_err() {
                    return;
                }
            }
        });
        let mut states = context.guardian.state();
        let watcher = tokio::spawn(async move {
            while states.changed().await.is_ok() {
                if myself.cast(HeartLinkMessage::Reconcile).is_err() {
                    return;
                }
            }
        });
        Ok(HeartLinkActorState { context, timer, watcher })
    }

    async fn handle(
        &self,
        _myself: ActorRef<HeartLinkMessage>,
        message: HeartLinkMessage,
        state: &mut HeartLinkActorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HeartLinkMessage::Renewed(lease) => pass_on(&state.context, lease).await,
            HeartLinkMessage::Reconcile => tell(&state.context),
        }
        Ok(())
    }
}

/// A neighbour that is just being restarted is told by the next repetition.
fn tell(context: &NodeContext) {
    let heart: Option<HeartState> = context.guardian.state().borrow().clone();
    blackbox::became(match &heart {
        None => "detached",
        Some(state) if state.armed.is_some() => "armed",
        Some(_) => "attached",
    });
    let _restarting = context.neighbours.election.cast(ElectionMessage::HeartChanged(heart.clone()));
    let _restarting = context.neighbours.postgres.cast(PgReplicationMessage::HeartChanged(heart));
}

async fn pass_on(context: &NodeContext, lease: ArmedLease) {
    let limit = context.settings.election.leader_ttl / ACKNOWLEDGED_WITHIN;
    let (epoch, seq) = (lease.epoch, lease.seq);
    let armed = is_armed_for(context, &lease);
    match context.guardian.renewed(lease.clone(), limit).await {
        Ok(()) => {}
        // Before the election's `arm` got through, or after it was armed for the nonce of an election that began anew: the
        // election waits for that and knows. heart says its state before it answers.
        Err(GuardianError::Refused { reason }) if !(armed && is_armed_for(context, &lease)) => {
            tracing::debug!(%epoch, seq, %reason, "a renewal reached heart while it was not armed for it");
        }
        Err(error) => {
            tracing::warn!(%epoch, seq, %error, "heart did not acknowledge a renewal");
            let _restarting = context.neighbours.election.cast(ElectionMessage::HeartSilent);
        }
    }
}

/// Whether heart, as last heard, holds this very lease or has fenced it: then a refusal means that the deadline stays.
fn is_armed_for(context: &NodeContext, lease: &ArmedLease) -> bool {
    let heart = context.guardian.state();
    let heart = heart.borrow();
    heart.as_ref().is_some_and(|heart| {
        let held = |armed: &ArmedLease| armed.epoch == lease.epoch && armed.nonce == lease.nonce;
        heart.armed.as_ref().is_some_and(held) || heart.fenced.is_some_and(|fenced| lease.epoch <= fenced)
    })
}
