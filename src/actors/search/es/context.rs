//! What this actor needs of its node: a small part, so that it can be tried out alone.

use crate::actors::api::journal::JournalMessage;
use crate::board::SearchView;
use crate::context::NodeContext;
use crate::ports::{Clock, CoordinationStore, SearchEngine, ServiceControl};
use crate::settings::Settings;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::NodeId;
use leaderl_decision::records::Keys;
use std::sync::Arc;
use supervisors::ChildRef;
use tokio::sync::watch;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct SearchContext {
    pub(super) guid: NodeId,
    pub(super) keys: Keys,
    pub(super) settings: Arc<Settings>,
    pub(super) cluster_name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cluster: watch::Receiver<Arc<ClusterView>>,
    pub(super) published: watch::Sender<SearchView>,
    pub(super) store: Arc<dyn CoordinationStore>,
    pub(super) engine: Arc<dyn SearchEngine>,
    pub(super) services: Arc<dyn ServiceControl>,
    pub(super) journal: ChildRef<JournalMessage>,
}

impl SearchContext {
    pub(super) fn of(node: &NodeContext) -> Self {
        Self {
            guid: node.guid.clone(),
            keys: node.keys.clone(),
            settings: Arc::new(node.settings.clone()),
            cluster_name: node.secrets.search_cluster_name.clone(),
            clock: node.clock.clone(),
            cluster: node.board.cluster.subscribe(),
            published: node.board.search.clone(),
            store: node.store.clone(),
            engine: node.search.clone(),
            services: node.services.clone(),
            journal: node.neighbours.journal.clone(),
        }
    }
}
