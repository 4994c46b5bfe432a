//! VipActor: keeps the backend VIP on this node while, and only while, it is the leader.
//!
//! Hears:   `Assign`, `Release` (ElectionActor; repeated), `Reconcile` (own timer; changes of addresses, of heart, foreign claims).
//! Does:    observes the address table, `vip_plan::plan`; heart adds and refreshes, this actor removes stale copies, verifies,
//!          announces, publishes `VipView`, writes bound and released into the journal.
//! Restart: begins undecided: changes nothing until told under a live epoch (the kernel lifetime bounds the VIP meanwhile). Its
//!          stop removes nothing either, so that a restart of the daemon does not interrupt clients.

mod reconcile;

use crate::blackbox::{self, Kind, Named, heard, own};
use crate::context::NodeParts;
use crate::heart::protocol::HeartState;
use crate::ports::ForeignClaim;
use leaderl_decision::model::{Epoch, Reason, Timestamp};
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::vip_plan::{Announcing, Vip, VipWish, parse_vip};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A question to the kernel is answered in well under a millisecond; longer means that the machine is stuck.
const KERNEL_LIMIT: Duration = Duration::from_millis(500);
/// heart answers in microseconds. Longer must not make this actor deaf: it is asked again.
const HEART_LIMIT: Duration = Duration::from_millis(250);
/// Retry while something is not yet as wanted.
const RETRY: Duration = Duration::from_millis(100);
/// The same when nobody waits for it.
const LATER: Duration = Duration::from_secs(1);
/// Everything is looked at again this often although nothing was heard.
const FULL_CHECK: Duration = Duration::from_secs(5);
/// A foreign claim stays a problem for so long after it was last heard.
const CLAIM_MEMORY: Duration = Duration::from_secs(60);

/// What VipActor hears.
#[derive(Debug)]
pub enum VipMessage {
    /// Clients are let in here under this epoch (ElectionActor; repeated).
    Assign {
        /// Older epochs are refused.
        epoch: Epoch,
    },
    /// Nobody is served here; answered when the kernel shows no VIP.
    Release {
        /// Told when the addresses are gone and heart will not bring them back; `None` for the repeated order.
        gone: Option<RpcReplyPort<()>>,
    },
    /// Observe, plan, apply.
    Reconcile,
}

impl Named for VipMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Assign { .. } => heard("assign"),
            Self::Release { .. } => heard("release"),
            Self::Reconcile => own("reconcile"),
        }
    }
}

/// The actor; its arguments are the node's context.
pub struct VipActor;

/// What VipActor remembers; all of it is learnt again after a restart.
pub struct VipState {
    context: Arc<dyn NodeParts>,
    /// From the settings: those that can be used, and what is wrong with the others.
    configured: Vec<(IpAddr, u8)>,
    rejected: Vec<Reason>,
    /// Where they belong, as last resolved.
    interface: Option<String>,
    wish: VipWish,
    newest: Epoch,
    assigned: Option<Epoch>,
    released: bool,
    probed: Option<Epoch>,
    announcing: Announcing,
    waiting: Vec<RpcReplyPort<()>>,
    /// Copies of a configured address in the kernel, as last seen, and since when.
    bound: Option<BTreeSet<Vip>>,
    bound_since: Timestamp,
    /// Claims already taken into account, by their count.
    claims_known: BTreeMap<IpAddr, u64>,
    contested: BTreeMap<IpAddr, (ForeignClaim, Timestamp)>,
    /// The last look found everything as wanted.
    settled: bool,
    looked_at: Timestamp,
    changes: watch::Receiver<u64>,
    heart: watch::Receiver<Option<HeartState>>,
    claims: watch::Receiver<BTreeMap<IpAddr, ForeignClaim>>,
    timer: Timer,
    _listener: Timer,
}

/// A task that ends with the incarnation that started it.
#[derive(Default)]
struct Timer(Option<JoinHandle<()>>);

impl Timer {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(tokio::spawn(work)))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Actor for VipActor {
    type Msg = VipMessage;
    type State = VipState;
    type Arguments = Arc<dyn NodeParts>;

    async fn pre_start(
        &self,
        me: ActorRef<VipMessage>,
        context: Arc<dyn NodeParts>,
    ) -> Result<VipState, ActorProcessingErr> {
        me.cast(VipMessage::Reconcile)?;
        Ok(VipState::new(me, context))
    }

    async fn handle(
        &self,
        me: ActorRef<VipMessage>,
        message: VipMessage,
        state: &mut VipState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            VipMessage::Assign { epoch } => state.assign(epoch),
            VipMessage::Release { gone } => state.release(gone),
            VipMessage::Reconcile => {}
        }
        blackbox::became(match state.wish {
            VipWish::Undecided => "undecided",
            VipWish::Here { .. } => "here",
            VipWish::Elsewhere => "elsewhere",
        });
        if state.needs_a_look() {
            state.reconcile().await;
            state.arm_timer(me);
        }
        Ok(())
    }
}

impl VipState {
    fn new(me: ActorRef<VipMessage>, context: Arc<dyn NodeParts>) -> Self {
        let (configured, mut rejected) = usable_addresses(context.as_ref());
        let ips: Vec<IpAddr> = configured.iter().map(|(ip, _)| *ip).collect();
        if let Err(error) = context.addresses().listen_for(&ips) {
            rejected.push(reconcile::problem_of(&error));
        }
        let (changes, heart, claims) =
            (context.addresses().changes(), context.guardian().state(), context.addresses().claims());
        let listener = Timer::spawn(listen(me, changes.clone(), heart.clone(), claims.clone()));
        Self {
            configured,
            rejected,
            interface: None,
            wish: VipWish::Undecided,
            newest: Epoch(0),
            assigned: None,
            released: false,
            probed: None,
            announcing: Announcing::default(),
            waiting: Vec::new(),
            bound: None,
            bound_since: context.clock().now(),
            claims_known: BTreeMap::new(),
            contested: BTreeMap::new(),
            settled: false,
            looked_at: Timestamp(0),
            changes,
            heart,
            claims,
            timer: Timer::default(),
            _listener: listener,
            context,
        }
    }

    fn assign(&mut self, epoch: Epoch) {
        if epoch < self.newest && !planted(Planted::EpochIgnored) {
            tracing::warn!(%epoch, newest = %self.newest, "refused a VIP order of an older epoch");
            return;
        }
        self.newest = epoch;
        if self.wish != (VipWish::Here { epoch }) {
            self.wish = VipWish::Here { epoch };
            self.assigned = None;
            self.settled = false;
            // Whoever claimed the address until now was the leader then; only later claims contest this epoch.
            self.claims_known = self.claims.borrow().iter().map(|(ip, claim)| (*ip, claim.heard)).collect();
            self.contested.clear();
            // A waiting release was overtaken; its sender gave the newer order itself.
            self.waiting.clear();
        }
    }

    fn release(&mut self, gone: Option<RpcReplyPort<()>>) {
        if planted(Planted::VipKept) {
            return gone.into_iter().for_each(|gone| drop(gone.send(())));
        }
        if self.wish != VipWish::Elsewhere {
            self.wish = VipWish::Elsewhere;
            self.assigned = None;
            self.released = false;
            self.settled = false;
        }
        if let Some(gone) = gone {
            // "Gone" is said about a look that follows the question.
            self.settled = false;
            self.waiting.push(gone);
        }
    }

    /// False only while everything was as wanted at the last look and nothing was heard since.
    fn needs_a_look(&self) -> bool {
        let now = self.context.clock().now();
        let heard = |changed: Result<bool, watch::error::RecvError>| changed.unwrap_or(true);
        !self.settled
            || heard(self.changes.has_changed())
            || heard(self.heart.has_changed())
            || heard(self.claims.has_changed())
            || self.announcing.next_at().is_some_and(|at| at <= now)
            || now.since(self.looked_at) >= FULL_CHECK
    }

    fn arm_timer(&mut self, me: ActorRef<VipMessage>) {
        let now = self.context.clock().now();
        let pressing = !self.waiting.is_empty() || matches!(self.wish, VipWish::Here { .. });
        let wait = match (self.settled, pressing) {
            (true, _) => FULL_CHECK,
            (false, true) => RETRY,
            (false, false) => LATER,
        };
        let wait = self.announcing.next_at().map_or(wait, |at| wait.min(at.since(now)));
        self.timer = Timer::spawn(async move {
            tokio::time::sleep(wait).await;
            // The actor is ending: nothing left to remind of.
            let _ = me.cast(VipMessage::Reconcile);
        });
    }
}

/// Wakes the actor when the kernel's addresses or heart's state changed, or somebody else claims an address.
async fn listen(
    me: ActorRef<VipMessage>,
    mut changes: watch::Receiver<u64>,
    mut heart: watch::Receiver<Option<HeartState>>,
    mut claims: watch::Receiver<BTreeMap<IpAddr, ForeignClaim>>,
) {
    loop {
        let heard = tokio::select! {
            biased;
            heard = changes.changed() => heard,
            heard = heart.changed() => heard,
            heard = claims.changed() => heard,
        };
        // A closed cell means that the node's context is being taken down.
        if heard.is_err() || me.cast(VipMessage::Reconcile).is_err() {
            return;
        }
    }
}

/// The settings' addresses that may be bound and removed, and a reason for each other one.
fn usable_addresses(context: &dyn NodeParts) -> (Vec<(IpAddr, u8)>, Vec<Reason>) {
    let (mut usable, mut rejected) = (Vec::new(), Vec::new());
    for text in &context.settings().vip.addresses {
        match parse_vip(text) {
            // The original's sample sets both to the same value; releasing it would cut this node off.
            Ok((ip, _)) if Some(ip) == context.settings().node.publish_address => rejected.push(Reason::new(
                "vip-is-publish-address",
                format!("the VIP {ip} is this node's own publish address: it is never bound or removed; set another `vip.addresses`"),
            )),
            Ok(address) => usable.push(address),
            Err(error) => rejected.push(Reason::new("vip-bad-address", format!("vip.addresses: {error}"))),
        }
    }
    (usable, rejected)
}

#[cfg(test)]
mod tests;
