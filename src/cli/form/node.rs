//! What creating and joining have in common: checks, directories, services, and waiting for the daemon.

use crate::actors::api::admin_protocol::AdminRequest;
use crate::actors::api::cluster_report::{ClusterReport, NodeReport};
use crate::adapters::etcd_service::config::{Beginning, EtcdServiceConfig};
use crate::adapters::services::{daemon_service, heart_service, service_control};
use crate::cli::client::{AskError, Client};
use crate::cli::error::CliError;
use crate::cli::steps::{Steps, Told};
use crate::ports::{CoordinationStore, DAEMON_SERVICE, ETCD_SERVICE, HEART_SERVICE, ServiceDefinition};
use crate::settings::identity::NodeIdentity;
use crate::settings::load::DEFAULT_FILE;
use crate::settings::secrets::Secrets;
use crate::settings::{Settings, host, private_file};
use nix::unistd::{Gid, Uid, User, chown};
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How long the service manager may take for one thing.
pub(super) const SERVICE_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// What was begun on this node and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "forming")]
pub(super) enum Forming {
    /// `create-cluster`.
    Create {
        /// Recognises our own seeding.
        nonce: String,
        /// After initdb.
        system_identifier: Option<String>,
    },
    /// `join-cluster`.
    Join,
}

/// A node that is being formed.
pub(super) struct Node {
    pub(super) settings: Settings,
    pub(super) config: PathBuf,
    pub(super) steps: Steps,
}

impl Node {
    fn forming_file(&self) -> PathBuf {
        self.settings.node.state_dir.join("forming.json")
    }

    /// What was begun before; an error when this node is configured.
    pub(super) fn begun(&self) -> Result<Option<Forming>, CliError> {
        use crate::settings::identity::IdentityError;
        use crate::settings::private_file::PrivateFileError;
        let begun = match private_file::read(&self.forming_file(), 65_536) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes)?),
            Err(PrivateFileError::Missing(_)) => None,
            Err(other) => return Err(other.into()),
        };
        match (NodeIdentity::read(&self.settings), &begun) {
            (Ok(identity), None) => Err(CliError::new(format!(
                "this node is configured already (as {} in {}); nothing was changed",
                identity.name,
                NodeIdentity::path(&self.settings).display()
            ))),
            (Ok(_) | Err(IdentityError::NotConfigured(_)), _) => Ok(begun),
            (Err(other), _) => Err(other.into()),
        }
    }

    /// Durable before anything is done that would need it.
    pub(super) fn remember(&self, forming: &Forming) -> Result<(), CliError> {
        Ok(private_file::replace(&self.forming_file(), &serde_json::to_vec(forming)?, 0o600)?)
    }

    /// All is done.
    pub(super) fn finished(&self) -> Result<(), CliError> {
        Ok(std::fs::remove_file(self.forming_file())?)
    }

    /// Everything about this host that can be checked before anything is changed.
    pub(super) fn check_host(&self) -> Result<(), CliError> {
        let problems = [host::check_host(&self.settings), host::check_capabilities(&self.settings)].concat();
        if problems.is_empty() {
            return Ok(());
        }
        Err(CliError::new(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
    }

    /// Data of somebody else is never touched.
    pub(super) fn refuse_foreign_data(&self) -> Result<(), CliError> {
        for directory in [self.settings.postgres.data_dir.clone(), self.etcd_dir()] {
            if is_filled(&directory) {
                return Err(CliError::new(format!(
                    "{} is not empty and was not made by this command; move it away (it may be the last copy of \
                     something), then run the command again",
                    directory.display()
                )));
            }
        }
        Ok(())
    }

    /// The identity of an earlier attempt, or a fresh one, on disk.
    pub(super) fn identity(&self) -> Result<NodeIdentity, CliError> {
        use crate::settings::identity::IdentityError;
        match NodeIdentity::read(&self.settings) {
            Ok(identity) => Ok(identity),
            Err(IdentityError::NotConfigured(_)) => {
                let identity = NodeIdentity::generate(&self.settings)?;
                identity.create(&self.settings)?;
                Ok(identity)
            }
            Err(other) => Err(other.into()),
        }
    }

    pub(super) fn etcd_dir(&self) -> PathBuf {
        self.settings.node.state_dir.join("etcd")
    }

    /// Installs and starts the local etcd member.
    pub(super) async fn start_etcd(
        &self,
        secrets: &Secrets,
        identity: &NodeIdentity,
        beginning: Beginning,
    ) -> Result<(), CliError> {
        let member = EtcdServiceConfig::new(&self.settings, secrets, &identity.guid, beginning)
            .map_err(|why| CliError::from_chain(&why))?;
        let user = &self.settings.etcd.os_user;
        let owner = User::from_name(user).ok().flatten();
        let owner = owner.ok_or_else(|| CliError::new(format!("this host has no user `{user}`")))?;
        make_owned(&member.data_dir, owner.uid, owner.gid)?;
        let mut argv = vec![member.program.display().to_string()];
        argv.extend(member.arguments());
        let definition = ServiceDefinition {
            name: ETCD_SERVICE.to_owned(),
            argv,
            env: member.environment().into_iter().collect(),
            user: Some(user.clone()),
            log_dir: self.settings.node.log_dir.clone(),
            at_boot: true,
            open_files: Some(65_536),
            write_paths: vec![member.data_dir.clone()],
        };
        let services = service_control(&self.settings);
        if services.install(&definition, SERVICE_LIMIT).await? {
            self.steps.say("the service leaderl-etcd is installed");
        }
        Ok(services.start(ETCD_SERVICE, SERVICE_LIMIT).await?)
    }

    /// A failed first attempt leaves data that would make the member ignore what it is told now.
    pub(super) async fn clear_etcd(&self) -> Result<(), CliError> {
        if is_filled(&self.etcd_dir()) {
            let services = service_control(&self.settings);
            // Not installed yet: nothing to stop.
            let _ = services.stop(ETCD_SERVICE, SERVICE_LIMIT).await;
            std::fs::remove_dir_all(self.etcd_dir())?;
        }
        Ok(())
    }

    /// Waits until the local member knows a raft leader.
    pub(super) async fn wait_etcd(&self, store: &dyn CoordinationStore, limit: Duration) -> Result<(), CliError> {
        let deadline = Instant::now() + limit;
        let mut last;
        loop {
            match store.local_status(Duration::from_secs(2)).await {
                Ok(status) if status.has_leader => return Ok(()),
                Ok(_) => last = "the member runs and knows no leader".to_owned(),
                Err(why) => last = why.to_string(),
            }
            if Instant::now() >= deadline {
                let logs = self.settings.node.log_dir.join(ETCD_SERVICE);
                return Err(CliError::new(format!(
                    "etcd was not healthy within {}: {last}; see {}",
                    humantime::format_duration(limit),
                    logs.display()
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Installs and starts the guardian, then the daemon.
    pub(super) async fn start_leaderl(&self) -> Result<(), CliError> {
        let services = service_control(&self.settings);
        let (mut heart, mut daemon) = (heart_service(&self.settings)?, daemon_service(&self.settings, true)?);
        if self.config != Path::new(DEFAULT_FILE) {
            let path = std::path::absolute(&self.config)?.display().to_string();
            for service in [&mut heart, &mut daemon] {
                service.argv.extend(["--config".to_owned(), path.clone()]);
            }
        }
        for (service, name) in [(heart, HEART_SERVICE), (daemon, DAEMON_SERVICE)] {
            services.install(&service, SERVICE_LIMIT).await?;
            services.start(name, SERVICE_LIMIT).await?;
        }
        Ok(())
    }

    /// Asks the daemon until this node's entry is as wanted.
    pub(super) async fn wait_for(
        &self,
        wanted: &str,
        limit: Duration,
        is_there: impl Fn(&NodeReport) -> bool,
    ) -> Result<NodeReport, CliError> {
        let guid = NodeIdentity::read(&self.settings)?.guid.0;
        let client = Client::new(&self.settings);
        let deadline = Instant::now() + limit;
        let mut told = Told::default();
        loop {
            let asked: Result<ClusterReport, AskError> = client.ask(&AdminRequest::ClusterStatus).await;
            let now = match asked {
                Ok(report) => match report.nodes.into_iter().find(|node| node.guid == guid) {
                    Some(node) if is_there(&node) => return Ok(node),
                    Some(node) => describe(&node),
                    None => "this node is not in the cluster's records yet".to_owned(),
                },
                Err(why) => why.to_string(),
            };
            if told.is_news(&now, Instant::now().into_std()) {
                self.steps.say(&now);
            }
            if Instant::now() >= deadline {
                return Err(CliError::new(format!(
                    "{wanted} within {}: {now}; see `leaderl cluster-status` and {}. The services go on trying",
                    humantime::format_duration(limit),
                    self.settings.node.log_dir.join(DAEMON_SERVICE).display()
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn describe(node: &NodeReport) -> String {
    let reasons: Vec<_> = node.reasons.iter().map(|aged| aged.reason.text.clone()).collect();
    let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
    format!("this node is {}, PostgreSQL is {}, search is {}{why}", node.role, node.pg, node.es)
}

pub(super) fn is_filled(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

fn make_owned(directory: &Path, uid: Uid, gid: Gid) -> Result<(), CliError> {
    if !directory.exists() {
        if let Some(parent) = directory.parent() {
            std::fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(directory)?;
    }
    chown(directory, Some(uid), Some(gid)).map_err(|why| CliError::new(format!("{}: {why}", directory.display())))
}
