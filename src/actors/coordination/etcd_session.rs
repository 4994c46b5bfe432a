//! EtcdSessionActor: one session with etcd: watches everything of this cluster, and renews the leader key while ordered to.
//!
//! Hears:   `Hold`, `StopRenewing` (ElectionActor), `Relist` (anyone who knows that the view is behind), `AcceptControlState`
//!          (operator).
//! Does:    publishes the `ClusterView` on the board and casts it to ElectionActor; renews each D/10 by a hedged transaction;
//!          compacts and defragments etcd.
//! Restart: begins with a fresh list; renews nothing until ordered again.
//!
//! Watching, renewing and housekeeping are tasks of their own, so that none delays another; they end with the actor.

use crate::actors::coordination::election::ElectionMessage;
use crate::actors::coordination::heart_link::HeartLinkMessage;
use crate::context::NodeContext;
use crate::ports::ArmedLease;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::{Nonce, Revision, Timestamp};
use leaderl_decision::records::Holder;
use leaderl_decision::renewal::Renewal;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub mod high_water_file;
pub mod housekeeping;
pub mod renewing;
pub mod watching;

/// What EtcdSessionActor hears.
#[derive(Debug)]
pub enum EtcdSessionMessage {
    /// Renew this hold until told otherwise; repeated by the election's tick (same nonce: no effect).
    Hold {
        /// The holder as last committed (its `seq` is the last one known to be committed).
        holder: Holder,
        /// The leader key's mod_revision after that commit.
        revision: Revision,
        /// t0 of that seq.
        t0: Timestamp,
    },
    /// Send no further renewal of this nonce, ever. Answered after the last one in flight was given up or answered.
    StopRenewing {
        /// The hold's nonce.
        nonce: Nonce,
        /// Told the mod_revision of the leader key as last known to be ours; 0 when this nonce was never renewed here.
        reply: RpcReplyPort<Revision>,
    },
    /// Read everything again.
    Relist,
    /// The operator confirms a control state that is older than what this node had seen.
    AcceptControlState,
    /// Own task: the control state went back; renewing ends and the fences act by their timetable.
    WentBack,
    /// Own task: renewing this nonce has ended.
    RenewingEnded {
        /// The hold's nonce.
        nonce: Nonce,
        /// The leader key's mod_revision as last known to be ours.
        revision: Revision,
        /// A read proved that the key is not ours any more.
        lost: bool,
    },
    /// Own task: one of the tasks died; the actor ends with it.
    TaskDied(&'static str),
}

/// The actor; all its state is in [`EtcdSessionState`].
pub struct EtcdSessionActor;

/// What the running actor keeps.
pub struct EtcdSessionState {
    context: Arc<NodeContext>,
    watching: watching::Handle,
    hold: Option<Hold>,
    /// Holds that ended, newest last: a repeated order of one of them must not begin it again.
    ended: VecDeque<Ended>,
    _tasks: Vec<AbortOnDrop>,
}

struct Hold {
    nonce: Nonce,
    stops: mpsc::UnboundedSender<renewing::StopReply>,
    stopping: bool,
    _task: AbortOnDrop,
}

struct Ended {
    nonce: Nonce,
    revision: Revision,
    lost: bool,
}

/// How many ended holds are remembered; the election repeats only its newest.
const REMEMBERED: usize = 16;

/// A task that ends with its owner.
pub(crate) struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the actor when its task ends by a panic, so that the supervisor may start both again.
struct DeathNotice {
    actor: ActorRef<EtcdSessionMessage>,
    task: &'static str,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        // An abort or an orderly end drops this too, and neither is a death.
        if std::thread::panicking() {
            let _ = self.actor.cast(EtcdSessionMessage::TaskDied(self.task));
        }
    }
}

fn spawn(
    actor: &ActorRef<EtcdSessionMessage>,
    task: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> AbortOnDrop {
    let notice = DeathNotice { actor: actor.clone(), task };
    AbortOnDrop(tokio::spawn(async move {
        let _notice = notice;
        work.await;
    }))
}

impl Actor for EtcdSessionActor {
    type Msg = EtcdSessionMessage;
    type State = EtcdSessionState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        me: ActorRef<EtcdSessionMessage>,
        context: Arc<NodeContext>,
    ) -> Result<EtcdSessionState, ActorProcessingErr> {
        let settings = &context.settings;
        let water = high_water_file::path(&settings.node.state_dir);
        let (handle, watching) = watching::Watching::new(
            watching::Parts {
                store: context.store.clone(),
                clock: context.clock.clone(),
                keys: context.keys.clone(),
                ttl: settings.election.leader_ttl,
                high_water: water,
            },
            publisher(context.clone(), me.clone()),
        );
        let chores = housekeeping::run(context.clone());
        let tasks = vec![spawn(&me, "watching", watching.run()), spawn(&me, "housekeeping", chores)];
        Ok(EtcdSessionState { context, watching: handle, hold: None, ended: VecDeque::new(), _tasks: tasks })
    }

    async fn handle(
        &self,
        me: ActorRef<EtcdSessionMessage>,
        message: EtcdSessionMessage,
        state: &mut EtcdSessionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EtcdSessionMessage::Hold { holder, revision, t0 } => state.begin(&me, holder, revision, t0),
            EtcdSessionMessage::StopRenewing { nonce, reply } => state.stop(&nonce, reply),
            EtcdSessionMessage::Relist => state.watching.relist(),
            EtcdSessionMessage::AcceptControlState => state.watching.accept(),
            EtcdSessionMessage::WentBack => state.hold = None,
            EtcdSessionMessage::RenewingEnded { nonce, revision, lost } => state.end(nonce, revision, lost),
            EtcdSessionMessage::TaskDied(task) => return Err(format!("the task `{task}` died").into()),
        }
        Ok(())
    }
}

/// Where a new view goes: the board, the election, and (went back) the actor itself.
fn publisher(context: Arc<NodeContext>, me: ActorRef<EtcdSessionMessage>) -> watching::Publish {
    Box::new(move |view: Arc<ClusterView>| {
        if view.went_back.is_some() {
            let _ = me.cast(EtcdSessionMessage::WentBack);
        }
        context.board.cluster.send_replace(view.clone());
        // Not running now: it gets the next one, at the latest after D/10.
        let _ = context.neighbours.election.cast(ElectionMessage::ClusterSeen(view));
    })
}

impl EtcdSessionState {
    fn begin(&mut self, me: &ActorRef<EtcdSessionMessage>, holder: Holder, revision: Revision, t0: Timestamp) {
        if self.hold.as_ref().is_some_and(|hold| hold.nonce == holder.nonce) {
            return;
        }
        if let Some(ended) = self.ended.iter().find(|ended| ended.nonce == holder.nonce) {
            if ended.lost {
                let _ = self.context.neighbours.election.cast(ElectionMessage::HoldLost { nonce: holder.nonce });
            }
            return;
        }
        if self.context.board.cluster.borrow().went_back.is_some() {
            return;
        }
        let (stops, orders) = mpsc::unbounded_channel();
        let nonce = holder.nonce.clone();
        let ttl = self.context.settings.election.leader_ttl;
        let sender = sender_mark();
        let report = reporter(self.context.clone(), me.clone(), &holder);
        let task = renewing::Renewing {
            store: self.context.store.clone(),
            clock: self.context.clock.clone(),
            leader_key: self.context.keys.leader(),
            renewal: Renewal::new(holder, revision, t0, sender, ttl),
            report,
            stops: orders,
        };
        self.hold = Some(Hold { nonce, stops, stopping: false, _task: spawn(me, "renewing", task.run()) });
    }

    fn stop(&mut self, nonce: &Nonce, reply: RpcReplyPort<Revision>) {
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.nonce == *nonce) {
            hold.stopping = true;
            let answer: renewing::StopReply = Box::new(move |revision| drop(reply.send(revision)));
            // The task ends by itself only after it has reported; its report is then already in our mailbox.
            if let Err(refused) = hold.stops.send(answer) {
                (refused.0)(Revision(0));
            }
            return;
        }
        let known = self.ended.iter().find(|ended| ended.nonce == *nonce).map(|ended| ended.revision);
        if known.is_none() {
            // Never begun here: remember that it must not be.
            self.remember(Ended { nonce: nonce.clone(), revision: Revision(0), lost: false });
        }
        let _ = reply.send(known.unwrap_or_default());
    }

    fn end(&mut self, nonce: Nonce, revision: Revision, lost: bool) {
        if self.hold.as_ref().is_some_and(|hold| hold.nonce == nonce) {
            self.hold = None;
        }
        self.remember(Ended { nonce, revision, lost });
    }

    fn remember(&mut self, ended: Ended) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }
}

/// Where a renewal's news goes.
fn reporter(context: Arc<NodeContext>, me: ActorRef<EtcdSessionMessage>, holder: &Holder) -> renewing::Report {
    let (nonce, epoch) = (holder.nonce.clone(), holder.epoch);
    let two_thirds = context.settings.election.leader_ttl * 2 / 3;
    Box::new(move |news| match news {
        renewing::News::Confirmed(confirmed) => {
            let (seq, t0, revision) = (confirmed.seq, confirmed.t0, confirmed.revision);
            let lease = ArmedLease { epoch, nonce: nonce.clone(), seq, t0, fence_at: t0.plus(two_thirds) };
            let _ = context.neighbours.heart_link.cast(HeartLinkMessage::Renewed(lease));
            let renewed = ElectionMessage::Renewed { nonce: nonce.clone(), seq, t0, revision };
            let _ = context.neighbours.election.cast(renewed);
        }
        renewing::News::Ended { revision, lost } => {
            if lost {
                let _ = context.neighbours.election.cast(ElectionMessage::HoldLost { nonce: nonce.clone() });
            }
            let _ = me.cast(EtcdSessionMessage::RenewingEnded { nonce: nonce.clone(), revision, lost });
        }
    })
}

/// Fresh for every renewing task: tells its commits from those of a predecessor.
fn sender_mark() -> String {
    let mut bytes = [0_u8; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        // Without randomness an empty mark matches nobody's: every commit then counts as a predecessor's, t0 stands still and
        // the node fences itself, which is the safe end of this.
        Err(_) => String::new(),
    }
}
