//! HeartLinkActor: keeps this daemon attached to heart and tells the others what heart says.
//!
//! Hears:   `Reconcile` (changes of heart's state through its port, timer), `Renewed` (EtcdSessionActor).
//! Does:    casts `HeartChanged` to ElectionActor and PgReplicationActor; passes renewals on and reports a missing acknowledgement;
//!          tells heart the members' addresses, which pass its port gate.
//! Restart: reads heart's last state again and casts it.

use crate::actors::coordination::election::ElectionMessage;
use crate::actors::postgres::pg_replication::PgReplicationMessage;
use crate::blackbox::{self, Kind, Named, heard, own};
use crate::board::GateView;
use crate::context::NodeContext;
use crate::heart::protocol::{GateState, HeartState};
use crate::ports::{ArmedLease, GuardianError};
use crate::stop_points::{StopPoint, reach};
use leaderl_decision::cluster::ClusterView;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::net::IpAddr;
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
            HeartLinkMessage::Reconcile => {
                tell(&state.context);
                introduce(&state.context).await;
            }
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
    let gate = heart.as_ref().map(|heart| gate_view(&heart.gate)).unwrap_or_default();
    context.board.gate.send_if_modified(|shown| {
        let differs = *shown != gate;
        *shown = gate;
        differs
    });
    let _restarting = context.neighbours.election.cast(ElectionMessage::HeartChanged(heart.clone().map(Box::new)));
    let _restarting = context.neighbours.postgres.cast(PgReplicationMessage::HeartChanged(heart));
}

fn gate_view(gate: &GateState) -> GateView {
    let view = |state: &str, reason: &str| GateView { state: state.to_owned(), reason: reason.to_owned() };
    match (&gate.off, &gate.failure, gate.open_for) {
        (Some(why), _, _) => view("off", why),
        (None, Some(why), _) => view("missing", why),
        (None, None, Some(_)) => view("open", ""),
        (None, None, None) => view("shut", ""),
    }
}

/// Tells heart whose packets may pass its port gate: the nodes that stream from this one. An empty list is no news: etcd has
/// not been heard yet, and heart goes on with what the daemon before this one told it.
async fn introduce(context: &NodeContext) {
    let members = others(&context.board.cluster.borrow(), context.settings.node.publish_address);
    let known = context.guardian.state().borrow().as_ref().map(|heart| heart.gate.members.clone());
    if members.is_empty() || known.is_none_or(|known| known == members) {
        return;
    }
    let limit = context.settings.election.leader_ttl / ACKNOWLEDGED_WITHIN;
    if let Err(error) = context.guardian.set_members(members, limit).await {
        tracing::warn!(%error, "heart was not told the members' addresses; they are repeated");
    }
}

/// Every member's address but this node's own.
fn others(view: &ClusterView, own: Option<IpAddr>) -> Vec<IpAddr> {
    let addresses = view.members.values().filter_map(|seen| seen.record.address.parse::<IpAddr>().ok());
    let others: BTreeSet<IpAddr> = addresses.filter(|address| Some(*address) != own).collect();
    others.into_iter().collect()
}

async fn pass_on(context: &NodeContext, lease: ArmedLease) {
    let limit = context.settings.election.leader_ttl / ACKNOWLEDGED_WITHIN;
    let (epoch, seq) = (lease.epoch, lease.seq);
    let armed = is_armed_for(context, &lease);
    reach(StopPoint::GuardFeed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use leaderl_decision::cluster::Seen;
    use leaderl_decision::model::{Epoch, NodeId, Revision, Timestamp};
    use leaderl_decision::records::{MemberRecord, SCHEMA};

    #[test]
    fn heart_is_told_every_member_but_this_node_and_nothing_that_is_no_address() {
        let mut view = ClusterView::default();
        for (which, address) in ["10.0.0.1", "10.0.0.3", "10.0.0.2", "n4.example"].into_iter().enumerate() {
            let guid = NodeId(format!("{which:032x}"));
            let record = MemberRecord {
                schema: SCHEMA,
                guid: guid.clone(),
                name: format!("n{which}"),
                address: address.to_owned(),
                version: "0".into(),
                postgres_port: 5432,
                etcd_client_url: String::new(),
                etcd_peer_url: String::new(),
                search_ports: None,
            };
            view.members.insert(guid, Seen { record, revision: Revision(1), at: Timestamp(0) });
        }
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(others(&view, Some(own)), ["10.0.0.2".parse::<IpAddr>().unwrap(), "10.0.0.3".parse().unwrap()]);
        assert_eq!(others(&ClusterView::default(), Some(own)), Vec::<IpAddr>::new());
    }

    #[test]
    fn what_is_shown_of_the_gate() {
        let shown = |gate: GateState| gate_view(&gate).state;
        assert_eq!(shown(GateState { open_for: Some(Epoch(1)), ..GateState::default() }), "open");
        assert_eq!(shown(GateState::default()), "shut");
        let failing = GateState { failure: Some("busy".into()), open_for: Some(Epoch(1)), ..GateState::default() };
        assert_eq!((shown(failing.clone()), gate_view(&failing).reason), ("missing".to_owned(), "busy".to_owned()));
        assert_eq!(shown(GateState { off: Some("by hand".into()), ..failing }), "off");
    }
}
