//! An operator's longer commands, by the code of the CLI. They run on a node's machine and end with its daemon, as a shell would.

use super::store::SimStore;
use crate::clients::members::Errand;
use crate::world::node::CLUSTER_ID;
use crate::world::reply::Line;
use crate::world::{Shared, lock};
use leaderl::adapters::etcd_service::endpoints::{self, document};
use leaderl::adapters::etcd_service::join::{JoinError, abandon_join, finish_join, join_as_learner};
use leaderl::adapters::etcd_service::remove::remove_patiently;
use leaderl::ports::{CoordinationStore, ENDPOINTS_FILE};
use leaderl::settings::Settings;
use leaderl_decision::model::Nonce;
use leaderl_decision::records::Keys;
use std::sync::Arc;
use std::time::Duration;

const JOIN_LIMIT: Duration = Duration::from_secs(30);

/// Does it; says how it ended.
pub(crate) async fn run(world: Shared, at: usize, errand: Errand) -> Result<String, String> {
    let (line, settings, others) = {
        let w = lock(&world);
        let line = Line { world: world.clone(), node: at, incarnation: w.nodes[at].daemon.incarnation };
        let others: Vec<String> = w.nodes.iter().map(|node| node.member().etcd_client_url).collect();
        (line, w.nodes[at].settings(&w.profile), others)
    };
    let store = SimStore::new(line.clone());
    store.set_endpoints(&endpoints::first(&settings), &others);
    match errand {
        Errand::Remove { name } => remove(&line, &store, &settings, &name).await,
        Errand::Join { node, number } => join(&line, Arc::new(store), node, number).await,
    }
}

async fn remove(line: &Line, store: &SimStore, settings: &Settings, name: &str) -> Result<String, String> {
    let own = line.with(|w| w.nodes[line.node].guid.clone());
    let observe = settings.election.status_post_update * 2 + Duration::from_secs(1);
    let patience = settings.election.control_timeout;
    let keys = Keys::new(CLUSTER_ID);
    let removed = remove_patiently(store, &keys, name, &own, observe, patience, &mut |_| {}).await;
    removed.map_err(|why| why.to_string())
}

async fn join(line: &Line, store: Arc<SimStore>, node: usize, number: u64) -> Result<String, String> {
    let record = line.with(|w| w.nodes[node].member());
    let keys = Keys::new(CLUSTER_ID);
    let nonce = Nonce(format!("join-{number}"));
    let begun = join_as_learner(store.clone(), &keys, &record, nonce, JOIN_LIMIT, &mut |_| {}).await;
    let mut ticket = match begun {
        Ok(ticket) => ticket,
        Err(JoinError::AlreadyMember) => return Ok(record.name),
        Err(why) => return Err(why.to_string()),
    };
    line.with(|w| w.etcd_learner_starts(node));
    match finish_join(store.as_ref(), &keys, &mut ticket, &record, JOIN_LIMIT).await {
        Ok(()) => {
            line.with(|w| w.nodes[node].files.insert(ENDPOINTS_FILE.to_owned(), document(&ticket.others)));
            Ok(record.name)
        }
        Err(why) => {
            let left = abandon_join(store.as_ref(), ticket).await;
            Err(format!("{why} ({left:?})"))
        }
    }
}
