//! `join-cluster PEER`: this node becomes a member and a synced follower.

use super::node::{Forming, Node};
use crate::adapters::etcd::EtcdStore;
use crate::adapters::etcd_service::config::{Beginning, member_record, url};
use crate::adapters::etcd_service::endpoints;
use crate::adapters::etcd_service::join::{JoinError, JoinTicket, abandon_join, finish_join, join_as_learner};
use crate::cli::args::JoinArgs;
use crate::cli::error::CliError;
use crate::cli::steps::Steps;
use crate::ports::CoordinationStore;
use crate::settings::identity::{NodeIdentity, random_hex};
use crate::settings::private_file::PrivateFileError;
use crate::settings::secrets::{Secrets, SecretsError};
use crate::settings::{RunMode, Settings, edit};
use leaderl_decision::model::Nonce;
use leaderl_decision::records::{ClusterSettings, Keys, MemberRecord, read};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Does it, or says what stands in the way.
pub async fn run(config: &Path, args: &JoinArgs) -> Result<ExitCode, CliError> {
    let steps = Steps::new(args.manner);
    let result = join(config, args, steps).await;
    steps.end(result).map(|()| ExitCode::SUCCESS)
}

async fn join(config: &Path, args: &JoinArgs, steps: Steps) -> Result<String, CliError> {
    let limit = Duration::from_secs(args.wait_time);
    edit::write_address(config, args.publish_address, args.vip_interface.as_deref())?;
    let node = Node { settings: Settings::load(config)?, config: config.to_owned(), steps };
    let settings = &node.settings;
    let continued = steps.step("Check settings, host and capabilities", async { check(&node) }).await?;
    let secrets = secrets(&settings.node.secrets_file, args.secrets_file_path.as_deref());
    let secrets = steps.step("Read the secrets", async { secrets }).await?;
    let keys = Keys::new(&secrets.cluster_id);
    let store: Arc<dyn CoordinationStore> = Arc::new(peer_store(settings, &args.peer)?);
    let compared = compare(store.as_ref(), &keys, settings);
    steps.step("Compare with the cluster's settings", compared).await?;
    if !continued {
        node.remember(&Forming::Join)?;
    }
    let identity = steps.step("Give this node an identity", async { node.identity() }).await?;
    let record = member_record(settings, &identity.guid).map_err(|why| CliError::from_chain(&why))?;
    let entered = enter(&node, store, &keys, &secrets, &identity, &record, limit);
    let entered = steps.step("Join etcd (one node at a time)", entered).await;
    if let Err(error) = entered {
        return Err(undo_if_untouched(&node, continued, error));
    }
    steps.step("Start leaderl-heart and leaderl", node.start_leaderl()).await?;
    let synced = node.wait_for("this node was not a synced follower", limit, |own| {
        let follows = own.role == "follower" && own.pg == "synced" && !own.partially_synced;
        follows || (own.role == "leader" && own.serves)
    });
    steps.step("Copy the data and follow the leader", synced).await?;
    if settings.search.mode != RunMode::Off {
        let up =
            node.wait_for("the search engine did not answer", limit, |own| own.es != "offline" && !own.es.is_empty());
        steps.step("Wait until the search engine answers", up).await?;
    }
    node.finished()?;
    Ok(format!("{} has joined the cluster as a synced follower", identity.name))
}

/// Whether an earlier attempt is gone on with.
fn check(node: &Node) -> Result<bool, CliError> {
    let begun = node.begun()?;
    node.check_host()?;
    match begun {
        Some(Forming::Join) => {
            node.steps.say("an earlier join-cluster did not end; going on with it");
            Ok(true)
        }
        Some(Forming::Create { .. }) => Err(CliError::new(
            "an earlier create-cluster did not end here; run `leaderl create-cluster` again, or clean this node first",
        )),
        None => node.refuse_foreign_data().map(|()| false),
    }
}

/// The file in place, or the given one put in place; never one over another.
fn secrets(place: &Path, given: Option<&Path>) -> Result<Secrets, CliError> {
    let there = match Secrets::read(place) {
        Ok(secrets) => Some(secrets),
        Err(SecretsError::File(PrivateFileError::Missing(_))) => None,
        Err(other) => return Err(other.into()),
    };
    let given = given.map(Secrets::read).transpose()?;
    match (there, given) {
        (Some(there), Some(given)) if there != given => Err(CliError::new(format!(
            "{} is there already and differs from the given file; remove the wrong one",
            place.display()
        ))),
        (Some(there), Some(_) | None) => Ok(there),
        (None, Some(given)) => {
            given.create(place)?;
            Ok(given)
        }
        (None, None) => Err(CliError::new(format!(
            "{} is not there; copy it from a member of the cluster (mode 0600), or name a copy with -s",
            place.display()
        ))),
    }
}

fn peer_store(settings: &Settings, peer: &str) -> Result<EtcdStore, CliError> {
    if settings.etcd.mode == RunMode::External {
        return Ok(endpoints::store(settings));
    }
    let port = settings.etcd.client_port;
    let found: Vec<IpAddr> = match peer.parse() {
        Ok(ip) => vec![ip],
        Err(_) => (peer, port)
            .to_socket_addrs()
            .map_err(|why| {
                CliError::new(format!("`{peer}` is neither an address nor a host that can be found ({why})"))
            })?
            .map(|address| address.ip())
            .collect(),
    };
    let own = settings.node.publish_address;
    let urls: Vec<_> =
        found.iter().filter(|ip| Some(**ip) != own && !ip.is_loopback()).map(|ip| url(*ip, port)).collect();
    let (first, others) = urls
        .split_first()
        .ok_or_else(|| CliError::new(format!("`{peer}` is this node itself; name a member of the cluster")))?;
    Ok(EtcdStore::new(first, others))
}

/// What must be equal on all nodes.
async fn compare(store: &dyn CoordinationStore, keys: &Keys, settings: &Settings) -> Result<(), CliError> {
    let answer = store.get(&keys.settings(), Duration::from_secs(5)).await?;
    let Some(entry) = answer.entries.first() else {
        return Err(JoinError::NoSuchCluster.into());
    };
    let cluster: ClusterSettings = read(&entry.key, &entry.value)?;
    let ttl = Duration::from_millis(cluster.leader_ttl_ms);
    if ttl != settings.election.leader_ttl {
        return Err(CliError::new(format!(
            "`election.leader_ttl` is {} here and {} in the cluster; it must be equal on all nodes",
            humantime::format_duration(settings.election.leader_ttl),
            humantime::format_duration(ttl)
        )));
    }
    if cluster.mode != settings.replication.mode {
        return Err(CliError::new(format!(
            "`replication.mode` is {:?} here and {:?} in the cluster; it must be equal on all nodes",
            settings.replication.mode, cluster.mode
        )));
    }
    Ok(())
}

/// Learner, caught up, voter, member.
async fn enter(
    node: &Node,
    store: Arc<dyn CoordinationStore>,
    keys: &Keys,
    secrets: &Secrets,
    identity: &NodeIdentity,
    record: &MemberRecord,
    limit: Duration,
) -> Result<(), CliError> {
    let nonce = Nonce(random_hex(16)?);
    let steps = node.steps;
    let mut progress = move |words: String| steps.say(&words);
    let mut ticket = match join_as_learner(store.clone(), keys, record, nonce, limit, &mut progress).await {
        Ok(ticket) => ticket,
        // An earlier attempt came this far; its member has its data and needs nothing but its service.
        Err(JoinError::AlreadyMember) => {
            return node.start_etcd(secrets, identity, Beginning::Join { initial_cluster: String::new() }).await;
        }
        Err(other) => return Err(other.into()),
    };
    match finish(node, store.as_ref(), keys, secrets, identity, record, &mut ticket, limit).await {
        Ok(()) => Ok(endpoints::save(&node.settings, &ticket.others)?),
        Err(error) => {
            // The next node must not wait for us; a second try begins anew.
            let abandoned = abandon_join(store.as_ref(), ticket).await;
            let more = abandoned.err().map(|why| format!("\nthe half-joined etcd member is still there: {why}"));
            Err(CliError::new(format!("{error}{}", more.unwrap_or_default())))
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "a step of one operation, with everything the operation has")]
async fn finish(
    node: &Node,
    store: &dyn CoordinationStore,
    keys: &Keys,
    secrets: &Secrets,
    identity: &NodeIdentity,
    record: &MemberRecord,
    ticket: &mut JoinTicket,
    limit: Duration,
) -> Result<(), CliError> {
    if node.settings.etcd.mode == RunMode::Managed {
        node.clear_etcd().await?;
        let beginning = Beginning::Join { initial_cluster: ticket.initial_cluster.clone() };
        node.start_etcd(secrets, identity, beginning).await?;
    }
    Ok(finish_join(store, keys, ticket, record, limit).await?)
}

/// A refusal that changed nothing (a name that is taken, say) leaves nothing behind either.
fn undo_if_untouched(node: &Node, continued: bool, error: CliError) -> CliError {
    if !continued && !super::node::is_filled(&node.etcd_dir()) {
        let _ = std::fs::remove_file(NodeIdentity::path(&node.settings));
        let _ = node.finished();
    }
    error
}

impl From<JoinError> for CliError {
    fn from(error: JoinError) -> Self {
        Self::from_chain(&error)
    }
}
