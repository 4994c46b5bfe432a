//! From the declared tree to one that can be started: every actor's start function, exhaustively.

use super::Neighbours;
use super::api::admin_socket::AdminSocketActor;
use super::api::control::Control;
use super::api::journal::JournalActor;
use super::api::status_http::StatusHttpActor;
use super::coordination::election::ElectionActor;
use super::coordination::etcd_session::EtcdSessionActor;
use super::coordination::heart_link::HeartLinkActor;
use super::coordination::membership::MembershipActor;
use super::coordination::voters::VotersActor;
use super::health::health::{HealthActor, HealthArguments};
use super::inside::BlackBoxes;
use super::network::vip::VipActor;
use super::postgres::pg_replication::PgReplicationActor;
use super::search::es::EsActor;
use crate::blackbox::{Named, Watched};
use crate::context::NodeContext;
use crate::tree::{Actor, Branch, Child, LEADERL, Surrender};
use leaderl_decision::model::ServiceName;
use std::sync::Arc;
use supervisors::{ChildRef, ChildSpec, Restart, StartChild, SupervisorSpec, restarts};

/// What start functions are made from.
#[derive(Clone)]
pub struct Start {
    /// The node.
    pub ctx: Arc<NodeContext>,
    /// What the daemon's main task shares with the admin socket.
    pub control: Arc<Control>,
    /// Where each actor's record is kept.
    pub boxes: Arc<BlackBoxes>,
}

impl Start {
    /// The whole tree, ready to be started.
    pub fn tree(&self) -> SupervisorSpec<Actor> {
        self.branch(&LEADERL)
    }

    fn branch(&self, branch: &'static Branch) -> SupervisorSpec<Actor> {
        let intensity = restarts(branch.restarts).within(branch.within);
        branch.children.iter().fold(SupervisorSpec::new(branch.strategy).intensity(intensity), |spec, child| {
            spec.child(match child {
                Child::Worker(actor, shutdown) => ChildSpec::worker(*actor, self.worker(*actor)).shutdown(*shutdown),
                Child::Supervisor(branch) => self.supervisor(branch),
            })
        })
    }

    fn supervisor(&self, branch: &'static Branch) -> ChildSpec<Actor> {
        // Only the root has no id, and the root is nobody's child.
        let id = branch.id.unwrap_or(Actor::Coordination);
        let restart = match branch.surrender {
            Surrender::Climbs => Restart::Permanent,
            // A supervisor that gives up ends with `shutdown`: an orderly end, after which a transient child stays down.
            Surrender::Rests(_) => Restart::Transient,
        };
        ChildSpec::supervisor(id, self.branch(branch)).restart(restart)
    }

    fn worker(&self, actor: Actor) -> StartChild<Actor> {
        let near: &Neighbours = &self.ctx.neighbours;
        let ctx = self.ctx.clone();
        let control = self.control.clone();
        match actor {
            Actor::EtcdSession => self.watched(actor, &near.etcd_session, move || (EtcdSessionActor, ctx.clone())),
            Actor::HeartLink => self.watched(actor, &near.heart_link, move || (HeartLinkActor, ctx.clone())),
            Actor::Membership => self.watched(actor, &near.membership, move || (MembershipActor, ctx.clone())),
            Actor::Election => self.watched(actor, &near.election, move || (ElectionActor, ctx.clone())),
            Actor::Voters => self.watched(actor, &near.voters, move || (VotersActor, ctx.clone())),
            Actor::Es => self.watched(actor, &near.search, move || (EsActor, ctx.clone())),
            Actor::PgReplication => self.watched(actor, &near.postgres, move || (PgReplicationActor, ctx.clone())),
            Actor::Vip => self.watched(actor, &near.vip, move || (VipActor, ctx.clone())),
            Actor::HealthOf(service) => {
                let reference = self.health(service);
                self.watched(actor, &reference, move || {
                    (HealthActor, HealthArguments { context: ctx.clone(), service })
                })
            }
            Actor::StatusHttp => self.watched(actor, &near.status_http, move || (StatusHttpActor, ctx.clone())),
            Actor::AdminSocket => {
                self.watched(actor, &near.admin_socket, move || (AdminSocketActor, (ctx.clone(), control.clone())))
            }
            Actor::Journal => self.watched(actor, &near.journal, move || (JournalActor, ctx.clone())),
            Actor::Coordination | Actor::Search | Actor::Postgres | Actor::Network | Actor::Health | Actor::Api => {
                nothing(actor)
            }
        }
    }

    /// The start function of an actor in its wrapper.
    fn watched<A>(
        &self,
        id: Actor,
        reference: &ChildRef<A::Msg>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> StartChild<Actor>
    where
        A: ractor::Actor,
        A::Msg: Named,
    {
        let kept_in = self.boxes.of(id);
        reference.starts(move || {
            let (actor, arguments) = make();
            (Watched::new(actor, kept_in.clone()), arguments)
        })
    }

    fn health(&self, service: ServiceName) -> ChildRef<super::health::health::HealthMessage> {
        let known = self.ctx.neighbours.health.get(&service).cloned();
        known.unwrap_or_else(|| ChildRef::new(format!("health({service})")))
    }
}

/// A supervisor declared as a worker is a mistake in `tree.rs`; it fails at the first start, so no test can miss it.
fn nothing(actor: Actor) -> StartChild<Actor> {
    StartChild::new(move |_context| async move {
        Err(supervisors::StartError::Failed(supervisors::ExitReason::Failed(format!("{actor} is a supervisor"))))
    })
}
