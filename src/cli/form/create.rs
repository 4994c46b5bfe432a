//! `create-cluster`: this node becomes the first of a new cluster, leads it and serves.

use super::node::{Forming, Node, is_filled};
use crate::adapters::etcd_service::config::{Beginning, member_record};
use crate::adapters::etcd_service::endpoints;
use crate::adapters::etcd_service::seed::seed_new_cluster;
use crate::adapters::postgres::init_database;
use crate::cli::args::CreateArgs;
use crate::cli::error::CliError;
use crate::cli::steps::Steps;
use crate::settings::identity::{NodeIdentity, random_hex};
use crate::settings::private_file::PrivateFileError;
use crate::settings::secrets::{Secrets, SecretsError};
use crate::settings::{RunMode, Settings};
use leaderl_decision::model::Nonce;
use leaderl_decision::records::{ClusterSettings, Keys, SCHEMA};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Does it, or says what stands in the way.
pub async fn run(config: &Path, args: &CreateArgs) -> Result<ExitCode, CliError> {
    let steps = Steps::new(args.manner);
    let result = create(config, args, steps).await;
    steps.end(result).map(|()| ExitCode::SUCCESS)
}

async fn create(config: &Path, args: &CreateArgs, steps: Steps) -> Result<String, CliError> {
    let node = Node { settings: Settings::load(config)?, config: config.to_owned(), steps };
    let settings = &node.settings;
    let begun = steps.step("Check settings, host and capabilities", async { check(&node) }).await?;
    let (nonce, mut system_identifier) = begun;
    let secrets = steps.step("Write or read the secrets", async { secrets(&settings.node.secrets_file) }).await?;
    let identity = steps.step("Give this node an identity", async { node.identity() }).await?;
    let store = endpoints::store(settings);
    let wait = Duration::from_secs(args.etcd_wait_time);
    let etcd = async {
        if settings.etcd.mode == RunMode::Managed {
            node.start_etcd(&secrets, &identity, Beginning::NewCluster).await?;
        }
        node.wait_etcd(&store, wait).await
    };
    steps.step("Start etcd", etcd).await?;
    if system_identifier.is_none() {
        let init = async { init_database(settings, &secrets).await.map_err(|why| CliError::from_chain(&why)) };
        let made = steps.step("Make PostgreSQL's data directory", init).await?;
        system_identifier = Some(made);
        node.remember(&Forming::Create { nonce: nonce.clone(), system_identifier: system_identifier.clone() })?;
    }
    let seeding = seed(&store, &node, &secrets, &identity, Nonce(nonce), system_identifier);
    steps.step("Write the cluster's first records", seeding).await?;
    steps.step("Start leaderl-heart and leaderl", node.start_leaderl()).await?;
    let limit = Duration::from_secs(args.leader_wait_time);
    let leads = node.wait_for("this node did not lead and serve", limit, |own| own.role == "leader" && own.serves);
    steps.step("Wait until this node leads and serves", leads).await?;
    if settings.search.mode != RunMode::Off {
        let limit = Duration::from_secs(args.elasticsearch_wait_time);
        let up =
            node.wait_for("the search engine did not answer", limit, |own| own.es != "offline" && !own.es.is_empty());
        steps.step("Wait until the search engine answers", up).await?;
    }
    node.finished()?;
    Ok(format!(
        "{} leads a new cluster. Copy {} to the other nodes, then run `leaderl join-cluster {}` there",
        identity.name,
        settings.node.secrets_file.display(),
        settings.node.publish_address.map(|ip| ip.to_string()).unwrap_or_default()
    ))
}

/// The nonce and the system identifier of an earlier attempt, or a fresh nonce.
fn check(node: &Node) -> Result<(String, Option<String>), CliError> {
    let begun = node.begun()?;
    node.check_host()?;
    let data_dir = &node.settings.postgres.data_dir;
    match begun {
        Some(Forming::Create { nonce, system_identifier }) => {
            if system_identifier.is_none() && is_filled(data_dir) {
                return Err(CliError::new(format!(
                    "an earlier create-cluster was interrupted while it made {}; remove that directory and run the \
                     command again",
                    data_dir.display()
                )));
            }
            node.steps.say("an earlier create-cluster did not end; going on with it");
            Ok((nonce, system_identifier))
        }
        Some(Forming::Join) => Err(CliError::new(
            "an earlier join-cluster did not end here; run `leaderl join-cluster PEER` again, which goes on with it",
        )),
        None => {
            node.refuse_foreign_data()?;
            let nonce = random_hex(16)?;
            node.remember(&Forming::Create { nonce: nonce.clone(), system_identifier: None })?;
            Ok((nonce, None))
        }
    }
}

/// Those that are there count; tools in the field write them beforehand.
fn secrets(file: &Path) -> Result<Secrets, CliError> {
    match Secrets::read(file) {
        Err(SecretsError::File(PrivateFileError::Missing(_))) => {
            let secrets = Secrets::generate()?;
            secrets.create(file)?;
            Ok(secrets)
        }
        other => Ok(other?),
    }
}

async fn seed(
    store: &crate::adapters::etcd::EtcdStore,
    node: &Node,
    secrets: &Secrets,
    identity: &NodeIdentity,
    nonce: Nonce,
    system_identifier: Option<String>,
) -> Result<(), CliError> {
    let settings = &node.settings;
    let cluster = ClusterSettings {
        schema: SCHEMA,
        cluster_id: secrets.cluster_id.clone(),
        system_identifier,
        leader_ttl_ms: u64::try_from(settings.election.leader_ttl.as_millis()).unwrap_or(u64::MAX),
        mode: settings.replication.mode,
    };
    let keys = Keys::new(&secrets.cluster_id);
    let creator = member_record(settings, &identity.guid).map_err(|why| CliError::from_chain(&why))?;
    let seeded = seed_new_cluster(store, &keys, &cluster, &creator, nonce, Duration::from_secs(10)).await;
    seeded.map_err(|why| CliError::from_chain(&why))
}
