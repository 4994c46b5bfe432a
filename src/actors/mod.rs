//! The actors, folder by folder as in the supervision tree (`tree.rs`): folder = supervisor, file = actor.

pub mod api;
pub mod coordination;
pub mod health;
pub mod network;
pub mod postgres;
pub mod search;
pub mod start;
#[cfg(test)]
pub(crate) mod testing;

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
        let service = |name: ServiceName| (name, ChildRef::new(format!("health({name})")));
        Self {
            etcd_session: ChildRef::new("etcd-session"),
            heart_link: ChildRef::new("heart-link"),
            membership: ChildRef::new("membership"),
            election: ChildRef::new("election"),
            voters: ChildRef::new("voters"),
            search: ChildRef::new("search"),
            postgres: ChildRef::new("pg-replication"),
            vip: ChildRef::new("vip"),
            health: [ServiceName::Postgres, ServiceName::Search, ServiceName::Etcd, ServiceName::System]
                .into_iter()
                .map(service)
                .collect(),
            status_http: ChildRef::new("status-http"),
            admin_socket: ChildRef::new("admin-socket"),
            journal: ChildRef::new("journal"),
        }
    }
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::new()
    }
}
