//! The actors, folder by folder as in the supervision tree (`tree.rs`): folder = supervisor, file = actor.

pub mod api;
pub mod coordination;
pub mod health;
pub mod inside;
pub mod network;
pub mod postgres;
pub mod search;
pub mod start;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree_news;

use crate::blackbox::{self, Named};
use crate::tree::Actor;
use leaderl_decision::model::ServiceName;
use std::collections::BTreeMap;
use supervisors::ChildRef;

/// References to every actor of one node, made before the tree starts; each always reaches the current incarnation.
pub struct Neighbours {
    /// etcd session.
    pub etcd_session: ChildRef<coordination::etcd_session::EtcdSessionMessage>,
    /// Link to heart.
    pub heart_link: ChildRef<coordination::heart_link::HeartLinkMessage>,
    /// Membership and status posts.
    pub membership: ChildRef<coordination::membership::MembershipMessage>,
    /// The election.
    pub election: ChildRef<coordination::election::ElectionMessage>,
    /// The voter record, while leading.
    pub voters: ChildRef<coordination::voters::VotersMessage>,
    /// The search engine.
    pub search: ChildRef<search::es::EsMessage>,
    /// PostgreSQL.
    pub postgres: ChildRef<postgres::pg_replication::PgReplicationMessage>,
    /// The VIP.
    pub vip: ChildRef<network::vip::VipMessage>,
    /// One per service.
    pub health: BTreeMap<ServiceName, ChildRef<health::health::HealthMessage>>,
    /// HTTP.
    pub status_http: ChildRef<api::status_http::StatusHttpMessage>,
    /// Admin socket.
    pub admin_socket: ChildRef<api::admin_socket::AdminSocketMessage>,
    /// Journal.
    pub journal: ChildRef<api::journal::JournalMessage>,
}

impl Neighbours {
    /// References to actors that will be started.
    pub fn new() -> Self {
        let service = |name: ServiceName| (name, neighbour(Actor::HealthOf(name)));
        Self {
            etcd_session: neighbour(Actor::EtcdSession),
            heart_link: neighbour(Actor::HeartLink),
            membership: neighbour(Actor::Membership),
            election: neighbour(Actor::Election),
            voters: neighbour(Actor::Voters),
            search: neighbour(Actor::Es),
            postgres: neighbour(Actor::PgReplication),
            vip: neighbour(Actor::Vip),
            health: [ServiceName::Postgres, ServiceName::Search, ServiceName::Etcd, ServiceName::System]
                .into_iter()
                .map(service)
                .collect(),
            status_http: neighbour(Actor::StatusHttp),
            admin_socket: neighbour(Actor::AdminSocket),
            journal: neighbour(Actor::Journal),
        }
    }
}

/// A reference that notes, in the record of whoever sends, what is sent.
fn neighbour<M: Named + ractor::Message>(actor: Actor) -> ChildRef<M> {
    ChildRef::tapped(actor.word(), move |message: &M| blackbox::sent(actor.word(), message.kind().word))
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::new()
    }
}
