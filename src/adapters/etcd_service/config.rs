//! How the local etcd member is started.

use crate::settings::secrets::Secrets;
use crate::settings::{RunMode, Settings};
use leaderl_decision::model::NodeId;
use leaderl_decision::records::{MemberRecord, SCHEMA};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// `http://10.0.0.1:2379`, with brackets around IPv6.
pub fn url(address: IpAddr, port: u16) -> String {
    format!("http://{}", std::net::SocketAddr::new(address, port))
}

/// Where this node's daemon reaches its own member: also when the publish address is gone.
pub fn local_url(client_port: u16) -> String {
    url(IpAddr::V4(Ipv4Addr::LOCALHOST), client_port)
}

/// How a member without data begins; one with data ignores this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The only member of a new cluster.
    NewCluster,
    /// A member of a cluster that exists: `name=peer URL` of every member, comma-separated.
    Join {
        /// From [`super::join::JoinTicket`].
        initial_cluster: String,
    },
    /// Quorum loss: keep the data, forget every other member. Once; the next start must be an ordinary one.
    ForceNewCluster,
}

/// Everything the local member's command line is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdServiceConfig {
    /// The member's name.
    pub guid: NodeId,
    /// The program.
    pub program: PathBuf,
    /// Its data; 0700, owned by its OS user.
    pub data_dir: PathBuf,
    /// The address other nodes use.
    pub address: IpAddr,
    /// Client port.
    pub client_port: u16,
    /// Peer port.
    pub peer_port: u16,
    /// Raft heartbeat.
    pub heartbeat: Duration,
    /// Raft election timeout.
    pub election: Duration,
    /// Raft entries between snapshots.
    pub snapshot_count: u64,
    /// Database quota.
    pub quota_bytes: u64,
    /// Initial cluster token.
    pub token: String,
    /// What it does without data.
    pub beginning: Beginning,
}

/// The settings lack something the member needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`node.publish_address` is not set: etcd needs the address that other nodes use")]
pub struct NoPublishAddress;

impl EtcdServiceConfig {
    /// The member of this node.
    pub fn new(
        settings: &Settings,
        secrets: &Secrets,
        guid: &NodeId,
        beginning: Beginning,
    ) -> Result<Self, NoPublishAddress> {
        let etcd = &settings.etcd;
        Ok(Self {
            guid: guid.clone(),
            program: etcd.program.clone(),
            data_dir: settings.node.state_dir.join("etcd"),
            address: settings.node.publish_address.ok_or(NoPublishAddress)?,
            client_port: etcd.client_port,
            peer_port: etcd.peer_port,
            heartbeat: etcd.heartbeat_interval,
            election: etcd.election_timeout,
            snapshot_count: etcd.snapshot_count,
            quota_bytes: etcd.quota_bytes,
            token: secrets.etcd_token.clone(),
            beginning,
        })
    }

    /// The client URL that others use.
    pub fn client_url(&self) -> String {
        url(self.address, self.client_port)
    }

    /// The peer URL.
    pub fn peer_url(&self) -> String {
        url(self.address, self.peer_port)
    }

    /// The program's arguments.
    pub fn arguments(&self) -> Vec<String> {
        let peer = self.peer_url();
        let own = format!("{}={peer}", self.guid);
        let (cluster, state) = match &self.beginning {
            Beginning::NewCluster | Beginning::ForceNewCluster => (own, "new"),
            Beginning::Join { initial_cluster } => (initial_cluster.clone(), "existing"),
        };
        let mut listen = vec![self.client_url(), local_url(self.client_port)];
        listen.dedup();
        let mut arguments = vec![
            format!("--name={}", self.guid),
            format!("--data-dir={}", self.data_dir.display()),
            format!("--listen-client-urls={}", listen.join(",")),
            format!("--advertise-client-urls={}", self.client_url()),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={cluster}"),
            format!("--initial-cluster-state={state}"),
            format!("--heartbeat-interval={}", self.heartbeat.as_millis()),
            format!("--election-timeout={}", self.election.as_millis()),
            format!("--snapshot-count={}", self.snapshot_count),
            format!("--quota-backend-bytes={}", self.quota_bytes),
            // The daemon compacts: it knows how much history its watches need.
            "--auto-compaction-retention=0".to_owned(),
            "--strict-reconfig-check=true".to_owned(),
            // Frontends list the members by GET /v2/members.
            "--enable-v2=true".to_owned(),
            // Our pings are more frequent than the 5 s it allows by default; it would end our watches.
            "--grpc-keepalive-min-time=200ms".to_owned(),
            "--logger=zap".to_owned(),
            "--log-outputs=stderr".to_owned(),
        ];
        if self.beginning == Beginning::ForceNewCluster {
            arguments.push("--force-new-cluster=true".to_owned());
        }
        arguments
    }

    /// The program's environment: what must not be seen in the process list.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![("ETCD_INITIAL_CLUSTER_TOKEN".to_owned(), self.token.clone())]
    }
}

/// This node's entry in `members/`, as its settings say.
pub fn member_record(settings: &Settings, guid: &NodeId) -> Result<MemberRecord, NoPublishAddress> {
    let address = settings.node.publish_address.ok_or(NoPublishAddress)?;
    let search_ports = match settings.search.mode {
        RunMode::Managed | RunMode::External => Some((settings.search.http_port, settings.search.transport_port)),
        RunMode::Off => None,
    };
    Ok(MemberRecord {
        schema: SCHEMA,
        guid: guid.clone(),
        name: settings.node.name.clone(),
        address: address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        postgres_port: settings.postgres.port,
        etcd_client_url: url(address, settings.etcd.client_port),
        etcd_peer_url: url(address, settings.etcd.peer_port),
        search_ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str, beginning: Beginning) -> EtcdServiceConfig {
        EtcdServiceConfig {
            guid: NodeId("a".repeat(32)),
            program: "/usr/bin/etcd".into(),
            data_dir: "/var/lib/leaderl/etcd".into(),
            address: address.parse().unwrap(),
            client_port: 2379,
            peer_port: 2380,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            snapshot_count: 10_000,
            quota_bytes: 1 << 31,
            token: "secret-token".into(),
            beginning,
        }
    }

    #[test]
    fn a_member_listens_on_its_publish_address_and_loopback_only() {
        let arguments = config("10.0.0.1", Beginning::NewCluster).arguments();
        assert!(arguments.contains(&"--listen-client-urls=http://10.0.0.1:2379,http://127.0.0.1:2379".to_owned()));
        assert!(arguments.contains(&"--listen-peer-urls=http://10.0.0.1:2380".to_owned()));
        assert!(arguments.contains(&format!("--initial-cluster={}=http://10.0.0.1:2380", "a".repeat(32))));
        assert!(!arguments.iter().any(|argument| argument.contains("secret-token") || argument.contains("0.0.0.0:")));
        let loopback = config("127.0.0.1", Beginning::NewCluster).arguments();
        assert!(loopback.contains(&"--listen-client-urls=http://127.0.0.1:2379".to_owned()), "not twice");
        assert_eq!(config("fd00::1", Beginning::NewCluster).peer_url(), "http://[fd00::1]:2380");
    }

    #[test]
    fn a_joining_member_names_the_others() {
        let initial_cluster = "b=http://10.0.0.2:2380,a=http://10.0.0.1:2380".to_owned();
        let arguments = config("10.0.0.1", Beginning::Join { initial_cluster: initial_cluster.clone() }).arguments();
        assert!(arguments.contains(&format!("--initial-cluster={initial_cluster}")));
        assert!(arguments.contains(&"--initial-cluster-state=existing".to_owned()));
    }
}
