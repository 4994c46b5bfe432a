//! etcd without the daemon: for commands that must work while it is down.

use super::error::CliError;
use crate::actors::api::cluster_report::{ClusterReport, Freshness};
use crate::adapters::etcd::EtcdStore;
use crate::ports::CoordinationStore;
use crate::settings::secrets::Secrets;
use crate::settings::{RunMode, Settings};
use leaderl_decision::cluster::{ClusterView, Entry};
use leaderl_decision::model::Timestamp;
use leaderl_decision::records::Keys;
use std::time::{Duration, Instant};

/// How long a read may take.
const READ_LIMIT: Duration = Duration::from_secs(3);

/// The node's etcd: its own member, or the external one.
pub fn open(settings: &Settings) -> EtcdStore {
    match (settings.etcd.mode, settings.etcd.endpoints.split_first()) {
        (RunMode::External, Some((first, others))) => EtcdStore::new(first, others),
        (RunMode::External | RunMode::Managed | RunMode::Off, _) => {
            EtcdStore::new(&format!("http://127.0.0.1:{}", settings.etcd.client_port), &[])
        }
    }
}

/// Two readings, so far apart that a living node has posted in between: who has not changed counts as offline.
pub async fn report(settings: &Settings) -> Result<ClusterReport, CliError> {
    let secrets = Secrets::read(&settings.node.secrets_file)?;
    let keys = Keys::new(&secrets.cluster_id);
    let store = open(settings);
    let began = Instant::now();
    let now = || Timestamp(1).plus(began.elapsed());
    let first = read(&store, &keys, &ClusterView::default(), now()).await?;
    let between = settings.election.status_post_update * 2 + Duration::from_millis(500);
    tokio::time::sleep(between).await;
    let second = read(&store, &keys, &first, now()).await?;
    let stale_after = now().since(first.heard_at);
    let leader_ttl = settings.election.leader_ttl.min(stale_after);
    Ok(ClusterReport::from_view(&second, Freshness { now: now(), leader_ttl, stale_after }, "etcd"))
}

async fn read(
    store: &dyn CoordinationStore,
    keys: &Keys,
    before: &ClusterView,
    now: Timestamp,
) -> Result<ClusterView, CliError> {
    let answer = store.range_prefix(keys.prefix(), READ_LIMIT).await?;
    let entries = answer.entries.iter();
    let entries = entries.map(|kv| Entry { key: &kv.key, value: &kv.value, revision: kv.mod_revision });
    Ok(before.after_list(keys, answer.store_id, answer.revision, entries, now))
}
