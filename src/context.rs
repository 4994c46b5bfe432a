//! What every actor of one node is given: identity, settings, clock, board, ports and the neighbours' references.

use crate::actors::Neighbours;
use crate::board::Board;
use crate::ports::{
    AddressTable, Clock, CoordinationStore, Disks, Doors, Guardian, PostgresProbe, PostgresServer, SearchEngine,
    ServiceControl, StateFiles,
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
    /// The daemon's own files.
    pub files: Arc<dyn StateFiles>,
    /// Where callers come in.
    pub doors: Arc<dyn Doors>,
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

/// The part of a node that the actors of the VIP and of health use; a test's node has nothing else.
pub trait NodeParts: Send + Sync {
    /// Settings, validated.
    fn settings(&self) -> &Settings;
    /// CLOCK_BOOTTIME.
    fn clock(&self) -> &dyn Clock;
    /// Published facts.
    fn board(&self) -> &Board;
    /// etcd.
    fn store(&self) -> &dyn CoordinationStore;
    /// heart.
    fn guardian(&self) -> &dyn Guardian;
    /// Links, addresses and their announcements.
    fn addresses(&self) -> &dyn AddressTable;
    /// Disks.
    fn disks(&self) -> &dyn Disks;
    /// A fresh connection to the local PostgreSQL.
    fn postgres_probe(&self) -> &dyn PostgresProbe;
    /// The other actors.
    fn neighbours(&self) -> &Neighbours;
}

impl NodeParts for NodeContext {
    fn settings(&self) -> &Settings {
        &self.settings
    }
    fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
    fn board(&self) -> &Board {
        &self.board
    }
    fn store(&self) -> &dyn CoordinationStore {
        self.store.as_ref()
    }
    fn guardian(&self) -> &dyn Guardian {
        self.guardian.as_ref()
    }
    fn addresses(&self) -> &dyn AddressTable {
        self.addresses.as_ref()
    }
    fn disks(&self) -> &dyn Disks {
        self.disks.as_ref()
    }
    fn postgres_probe(&self) -> &dyn PostgresProbe {
        self.postgres_probe.as_ref()
    }
    fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }
}
