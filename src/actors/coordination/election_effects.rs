//! What the election's commands do: transactions on the leader key, orders to the neighbours, lines of the journal.
//!
//! Everything slow runs in a task of its own, ends within its limit, and tells the election by `Happened`.

use super::election::ElectionMessage;
use super::etcd_session::EtcdSessionMessage;
use super::membership::MembershipMessage;
use super::voters::VotersMessage;
use crate::actors::api::journal::{JournalEntry, JournalMessage};
use crate::actors::network::vip::VipMessage;
use crate::actors::postgres::pg_replication::PgReplicationMessage;
use crate::context::NodeContext;
use leaderl_decision::election::{Command, Event};
use leaderl_decision::model::{Epoch, Nonce, Timestamp};
use leaderl_decision::records::{LeaderValue, RequestState};
use ractor::ActorRef;
use std::collections::BTreeMap;
use std::future::Future;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

use super::leader_key;

/// An unchanged order is repeated this often.
const REPEAT: Duration = Duration::from_millis(500);
/// While the VIP is to be gone, it is asked for this often.
const RELEASE_AGAIN: Duration = Duration::from_millis(20);
/// An unchanged order to the port gate, which stands between clients and the leader.
const DOOR_REPEAT: Duration = Duration::from_millis(100);

/// Carries out commands for one incarnation of the election.
pub(super) struct Effects {
    pub(super) ctx: Arc<NodeContext>,
    myself: ActorRef<ElectionMessage>,
    running: BTreeMap<&'static str, Running>,
    sent: Vec<Sent>,
}

/// What was ordered last, by kind.
struct Sent {
    kind: Discriminant<Command>,
    command: Command,
    at: Timestamp,
    /// Of whom it was told; a new one knows nothing of it.
    incarnation: u64,
}

/// An effect under way.
struct Running {
    task: JoinHandle<()>,
    /// Its outcome is in the election's mailbox, or there is none: another of its kind may begin.
    told: Arc<AtomicBool>,
}

impl Drop for Effects {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.task.abort();
        }
    }
}

impl Effects {
    pub(super) fn new(ctx: Arc<NodeContext>, myself: ActorRef<ElectionMessage>) -> Self {
        Self { ctx, myself, running: BTreeMap::new(), sent: Vec::new() }
    }

    /// The posted status shall follow soon.
    pub(super) fn post_status(&self) {
        if self.ctx.neighbours.membership.cast(MembershipMessage::PostNow).is_err() {
            tracing::debug!("membership is not running; it posts when it starts");
        }
    }

    /// Does it, or begins to.
    pub(super) fn carry_out(&mut self, command: Command, now: Timestamp, in_state: Duration) {
        match command {
            Command::Record { code, epoch, text } => self.record(code, epoch, text, in_state),
            Command::ReadLeader
            | Command::CreateVacancy(_)
            | Command::PutBid(_)
            | Command::Claim(_)
            | Command::Adopt { .. }
            | Command::SendVacancy { .. } => self.on_the_key(command),
            Command::Arm { .. }
            | Command::Disarm { .. }
            | Command::Checkpoint
            | Command::ReleaseVip
            | Command::SetDoor { .. }
            | Command::StopRenewing { .. }
            | Command::KillHeart
            | Command::UpdateRequest { .. } => self.in_a_task(command, now),
            Command::Renew { .. }
            | Command::OrderPostgres(_)
            | Command::AssignVip { .. }
            | Command::KeepVoters { .. }
            | Command::RestVoters => {
                if self.is_due(&command, now, REPEAT) {
                    self.order(command);
                }
            }
        }
    }

    /// Whether this very command was not sent within `period` to whoever is there now.
    fn is_due(&mut self, command: &Command, now: Timestamp, period: Duration) -> bool {
        let kind = discriminant(command);
        let incarnation = self.incarnation_ordered(command);
        let sent = || Sent { kind, command: command.clone(), at: now, incarnation };
        match self.sent.iter_mut().find(|last| last.kind == kind) {
            Some(last) => {
                let due = last.command != *command || last.incarnation != incarnation || now.since(last.at) >= period;
                if due {
                    *last = sent();
                }
                due
            }
            None => {
                self.sent.push(sent());
                true
            }
        }
    }

    /// The incarnation of the actor that carries the order out; 0 for what no actor does.
    fn incarnation_ordered(&self, command: &Command) -> u64 {
        let near = &self.ctx.neighbours;
        match command {
            Command::Renew { .. } | Command::StopRenewing { .. } => near.etcd_session.incarnation(),
            Command::OrderPostgres(_) => near.postgres.incarnation(),
            Command::AssignVip { .. } => near.vip.incarnation(),
            Command::KeepVoters { .. } | Command::RestVoters => near.voters.incarnation(),
            Command::ReadLeader
            | Command::CreateVacancy(_)
            | Command::PutBid(_)
            | Command::Claim(_)
            | Command::Adopt { .. }
            | Command::Arm { .. }
            | Command::Checkpoint
            | Command::ReleaseVip
            | Command::SetDoor { .. }
            | Command::SendVacancy { .. }
            | Command::KillHeart
            | Command::Disarm { .. }
            | Command::UpdateRequest { .. }
            | Command::Record { .. } => 0,
        }
    }

    /// Orders to neighbours; one that restarts hears it again at the next look.
    fn order(&self, command: Command) {
        let near = &self.ctx.neighbours;
        let heard = match command {
            Command::Renew { hold } => near.etcd_session.cast(EtcdSessionMessage::Hold {
                holder: leader_key::holder_of(&self.ctx, &hold),
                revision: hold.revision,
                t0: hold.t0,
            }),
            Command::OrderPostgres(order) => near.postgres.cast(PgReplicationMessage::Become(order)),
            Command::AssignVip { epoch } => near.vip.cast(VipMessage::Assign { epoch }),
            Command::KeepVoters { epoch, nonce } => near.voters.cast(VotersMessage::Keep { epoch, nonce }),
            Command::RestVoters => near.voters.cast(VotersMessage::Rest),
            Command::ReadLeader
            | Command::CreateVacancy(_)
            | Command::PutBid(_)
            | Command::Claim(_)
            | Command::Adopt { .. }
            | Command::Arm { .. }
            | Command::Checkpoint
            | Command::ReleaseVip
            | Command::SetDoor { .. }
            | Command::SendVacancy { .. }
            | Command::StopRenewing { .. }
            | Command::KillHeart
            | Command::Disarm { .. }
            | Command::UpdateRequest { .. }
            | Command::Record { .. } => Ok(()),
        };
        if heard.is_err() {
            tracing::debug!("an order found its actor not running; it is repeated");
        }
    }

    /// Runs one task per kind at a time; a second order of that kind waits for the next look.
    pub(super) fn spawn(&mut self, kind: &'static str, work: impl Future<Output = Option<Event>> + Send + 'static) {
        if self.is_running(kind) {
            return;
        }
        let myself = self.myself.clone();
        let told = Arc::new(AtomicBool::new(false));
        let tells = told.clone();
        let task = tokio::spawn(async move {
            let event = work.await;
            // Before it is told: whoever hears of it may order the next one at once, which must not be dropped.
            tells.store(true, Ordering::Release);
            if let Some(event) = event
                && myself.cast(ElectionMessage::Happened(event)).is_err()
            {
                tracing::debug!("the election ended before its effect did");
            }
        });
        self.running.insert(kind, Running { task, told });
    }

    fn is_running(&self, kind: &'static str) -> bool {
        self.running
            .get(kind)
            .is_some_and(|running| !running.told.load(Ordering::Acquire) && !running.task.is_finished())
    }

    /// A vacancy is under way.
    pub(super) fn is_resigning(&self) -> bool {
        self.is_running("resign")
    }

    fn on_the_key(&mut self, command: Command) {
        let ctx = self.ctx.clone();
        match command {
            Command::ReadLeader => self.spawn("read", async move { Some(leader_key::read_leader(&ctx).await) }),
            Command::CreateVacancy(vacancy) => self.spawn("vacancy", async move {
                leader_key::create(&ctx, LeaderValue::Vacancy(vacancy)).await;
                Some(Event::EffectEnded)
            }),
            Command::PutBid(bid) => self.spawn("bid", async move {
                leader_key::put_bid(&ctx, &bid).await;
                Some(Event::EffectEnded)
            }),
            Command::Claim(txn) => self.spawn("claim", async move { Some(leader_key::claim(&ctx, *txn).await) }),
            Command::Adopt { holder, revision } => {
                self.spawn("claim", async move { Some(leader_key::adopt(&ctx, holder, revision).await) });
            }
            Command::SendVacancy { hold, vacancy } => self.spawn("resign", async move {
                leader_key::resign(&ctx, &hold, vacancy).await;
                Some(Event::VacancySent)
            }),
            Command::Arm { .. }
            | Command::Disarm { .. }
            | Command::Checkpoint
            | Command::ReleaseVip
            | Command::SetDoor { .. }
            | Command::StopRenewing { .. }
            | Command::KillHeart
            | Command::UpdateRequest { .. }
            | Command::Renew { .. }
            | Command::OrderPostgres(_)
            | Command::AssignVip { .. }
            | Command::KeepVoters { .. }
            | Command::RestVoters
            | Command::Record { .. } => {}
        }
    }

    fn in_a_task(&mut self, command: Command, now: Timestamp) {
        let ctx = self.ctx.clone();
        match command {
            Command::Arm { hold } => self.arm(hold),
            Command::Disarm { epoch } => self.spawn("disarm", async move {
                let limit = ctx.settings.election.leader_ttl / 10;
                if let Err(why) = ctx.guardian.disarm(epoch, limit).await {
                    tracing::debug!(%epoch, %why, "not disarmed yet");
                }
                None
            }),
            Command::Checkpoint => self.spawn("checkpoint", async move {
                let limit = Duration::from_secs(10);
                let asked = |reply| PgReplicationMessage::CheckpointNow { reply };
                if let Err(why) = ctx.neighbours.postgres.call(asked, limit).await {
                    tracing::warn!(%why, "no checkpoint before the stop; the stop takes longer");
                }
                Some(Event::CheckpointEnded)
            }),
            // Its answer brings the next look, which asks again: unpaced, both actors would spin for as long as PostgreSQL takes.
            Command::ReleaseVip => {
                if self.is_due(&command, now, RELEASE_AGAIN) {
                    self.release_vip();
                }
            }
            Command::SetDoor { epoch, door } => {
                if self.is_due(&command, now, DOOR_REPEAT) {
                    // A kind each: shutting must not wait for an opening that is under way.
                    self.set_door(command.name(), epoch, door);
                }
            }
            Command::StopRenewing { ref nonce } => {
                let nonce = nonce.clone();
                if self.is_due(&command, now, REPEAT) {
                    self.stop_renewing(nonce);
                }
            }
            Command::KillHeart => self.kill_heart(),
            Command::UpdateRequest { ref id, state, ref detail } => {
                let (id, detail) = (id.clone(), detail.clone());
                if self.is_due(&command, now, Duration::from_secs(1)) {
                    self.update_request(id, state, detail);
                }
            }
            Command::ReadLeader
            | Command::CreateVacancy(_)
            | Command::PutBid(_)
            | Command::Claim(_)
            | Command::Adopt { .. }
            | Command::SendVacancy { .. }
            | Command::Renew { .. }
            | Command::OrderPostgres(_)
            | Command::AssignVip { .. }
            | Command::KeepVoters { .. }
            | Command::RestVoters
            | Command::Record { .. } => {}
        }
    }

    fn release_vip(&mut self) {
        let ctx = self.ctx.clone();
        self.spawn("release-vip", async move {
            let asked = |reply| VipMessage::Release { gone: Some(reply) };
            match ctx.neighbours.vip.call(asked, Duration::from_secs(2)).await {
                Ok(()) => Some(Event::VipGone),
                Err(why) => {
                    tracing::warn!(%why, "the VIP is not known to be gone yet");
                    None
                }
            }
        });
    }

    fn stop_renewing(&mut self, nonce: Nonce) {
        let ctx = self.ctx.clone();
        self.spawn("stop-renewing", async move {
            let asked = |reply| EtcdSessionMessage::StopRenewing { nonce, reply };
            if let Err(why) = ctx.neighbours.etcd_session.call(asked, REPEAT).await {
                tracing::debug!(%why, "the session does not say that it stopped renewing");
            }
            None
        });
    }

    fn update_request(&mut self, id: String, state: RequestState, detail: String) {
        let ctx = self.ctx.clone();
        self.spawn("request", async move {
            leader_key::update_request(&ctx, &id, state, &detail).await;
            None
        });
    }

    fn record(&self, code: &'static str, epoch: Epoch, text: String, in_state: Duration) {
        let entry = JournalEntry {
            at: String::new(),
            actor: "election".to_owned(),
            code: code.to_owned(),
            epoch,
            text,
            after_ms: u64::try_from(in_state.as_millis()).unwrap_or(u64::MAX),
        };
        if let Err(_not_running) = self.ctx.neighbours.journal.cast(JournalMessage::Record(entry.clone())) {
            tracing::info!(code, %epoch, text = %entry.text, after_ms = entry.after_ms, "election");
        }
    }
}
