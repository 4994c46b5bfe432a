//! What every actor of one node is given: identity, settings, clock, board, ports and the neighbours' references.

use crate::actors::Neighbours;
use crate::board::Board;
use crate::ports::{
    AddressTable, Clock, CoordinationStore, Disks, Guardian, PostgresProbe, PostgresServer, SearchEngine,
    ServiceControl,
};
use crate::settings::Settings;
use crate::settings::secrets::Secrets;
use leaderl_decision::model::NodeId;
use leaderl_decision::records::Keys;
use std::sync::Arc;

/// One node's context; cheap to clone through `Arc`.
pub struct NodeContext {
    /// This node.
    pub guid: NodeId,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Key names.
    pub keys: Keys,
    /// Settings, validated.
    pub settings: Settings,
    /// Passwords and tokens.
    pub secrets: Secrets,
    /// CLOCK_BOOTTIME.
    pub clock: Arc<dyn Clock>,
    /// Published facts.
    pub board: Board,
    /// etcd.
    pub store: Arc<dyn CoordinationStore>,
    /// heart.
    pub guardian: Arc<dyn Guardian>,
    /// Links, addresses and their announcements.
    pub addresses: Arc<dyn AddressTable>,
    /// Disks.
    pub disks: Arc<dyn Disks>,
    /// The local PostgreSQL: its files and its sessions; its processes are heart's.
    pub postgres: Arc<dyn PostgresServer>,
    /// A fresh connection to the local PostgreSQL, for its health check.
    pub postgres_probe: Arc<dyn PostgresProbe>,
    /// The local search engine.
    pub search: Arc<dyn SearchEngine>,
    /// runit or systemd.
    pub services: Arc<dyn ServiceControl>,
    /// The other actors, always their current incarnation.
    pub neighbours: Neighbours,
}
