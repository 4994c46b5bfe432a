//! Typed settings: one struct per actor, every default documented with the original's name and value.

use leaderl_decision::model::ReplicationMode;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything in `leaderl.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub struct Settings {
    /// This node.
    pub node: NodeSettings,
    /// Leadership.
    pub election: ElectionSettings,
    /// What an acknowledged commit is promised.
    pub replication: ReplicationSettings,
    /// PostgreSQL.
    pub postgres: PostgresSettings,
    /// etcd.
    pub etcd: EtcdSettings,
    /// The search engine.
    pub search: SearchSettings,
    /// The backend VIP.
    pub vip: VipSettings,
    /// Health checks.
    pub health: HealthSettings,
    /// HTTP interface.
    pub http: HttpSettings,
    /// What is kept for looking into the daemon's actors.
    pub actors: ActorsSettings,
    /// Logs.
    pub log: LogSettings,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Unique in the cluster. Default: the host name. Source: `fqdn`.
    pub name: String,
    /// The address other nodes use; must be on this host. No default. Source: `publish_address`.
    pub publish_address: Option<IpAddr>,
    /// `runit`, `systemd`. Default `runit`.
    pub service_manager: ServiceManager,
    /// Default `/var/lib/leaderl`.
    pub state_dir: PathBuf,
    /// Default `/run/leaderl`.
    pub runtime_dir: PathBuf,
    /// Default `/var/log/leaderl`.
    pub log_dir: PathBuf,
    /// Default `/etc/leaderl/secrets.json`; 0600.
    pub secrets_file: PathBuf,
    /// Where runit's service directories are. Default `/etc/service`.
    pub runit_dir: PathBuf,
    /// Higher goes first among equal copies. Default 100.
    pub priority: u32,
}

/// Who starts and stops services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceManager {
    /// Debian's runit.
    #[default]
    Runit,
    /// systemd.
    Systemd,
}

/// Leadership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElectionSettings {
    /// D. Default 5 s, at least 4 s. Source: `leaderl.leader_ttl_seconds` (30 s).
    #[serde(with = "humantime_serde")]
    pub leader_ttl: Duration,
    /// How long a slow promotion may keep the key. Default 5 min. Source: the original's fixed 5 minutes.
    #[serde(with = "humantime_serde")]
    pub promote_deadline: Duration,
    /// A node whose leadership ended by a fault so often within `anti_flap_window` keeps it through lesser faults and lets
    /// others go first. Default 3.
    pub anti_flap_failovers: u32,
    /// Default 10 min.
    #[serde(with = "humantime_serde")]
    pub anti_flap_window: Duration,
    /// Node status is posted at least this often. Default 2 s. Source: `status_post_update_interval_seconds` (10 s).
    #[serde(with = "humantime_serde")]
    pub status_post_update: Duration,
    /// How long one control operation (promote, demote) may take. Default 30 s. Source: `control_worker_timeout_seconds`.
    #[serde(with = "humantime_serde")]
    pub control_timeout: Duration,
}

/// What an acknowledged commit is promised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicationSettings {
    /// `quorum` (default), `strict` or `async`.
    pub mode: ReplicationMode,
    /// With no streaming follower for this long, `quorum` degrades. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub degrade_after: Duration,
    /// `async`: a copy further behind does not lead. Bytes. Default 52428800. Source: `health_check.max_bytes_behind_leader`.
    pub max_bytes_behind_leader: u64,
}

/// PostgreSQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresSettings {
    /// Where `postgres`, `initdb`, ... are. Default `/usr/lib/postgresql/15/bin`.
    pub bin_dir: PathBuf,
    /// PGDATA. Default `<state_dir>/postgresql/data`. Source: `postgresql.data_dir`.
    pub data_dir: PathBuf,
    /// OS user. Default `postgres`. Source: `postgresql.username`.
    pub os_user: String,
    /// Default 5432. Source: `postgresql.port`.
    pub port: u16,
    /// Superuser role. Default `chef_pgsql`. Source: `postgresql.db_superuser`.
    pub superuser: String,
    /// Replication role. Default `replicator`. Source: `postgresql.replication_user`.
    pub replication_user: String,
    /// Who may log in besides the members: CIDR, `samehost`, `samenet`. Default both. Source: `md5_auth_cidr_addresses`.
    pub client_addresses: Vec<String>,
    /// Default 350. Source: `postgresql.max_connections`.
    pub max_connections: u32,
    /// Default 12. Source: `postgresql.max_wal_senders`.
    pub max_wal_senders: u32,
    /// Default 12. Source: `postgresql.max_replication_slots`.
    pub max_replication_slots: u32,
    /// Default `512MB`. Source: `postgresql.wal_keep_segments` (32 segments).
    pub wal_keep_size: String,
    /// What a dead member's slot may pin. Default `4GB`.
    pub max_slot_wal_keep_size: String,
    /// Default `1GB`. Source: `postgresql.max_wal_size` (64 segments).
    pub max_wal_size: String,
    /// Default `128MB` (the original: a quarter of the memory). Source: `postgresql.shared_buffers`.
    pub shared_buffers: String,
    /// Further lines for postgresql.conf; those leaderl manages are refused.
    pub parameters: std::collections::BTreeMap<String, String>,
    /// How long an own query may take. Default 2 s. Source: `leaderl.db_timeout`.
    #[serde(with = "humantime_serde")]
    pub query_timeout: Duration,
    /// How long a fast stop may take outside a lost lease. Default 20 s.
    #[serde(with = "humantime_serde")]
    pub stop_timeout: Duration,
    /// How long a start may take before it counts as failed. Default 5 min.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
    /// How many old data directories are kept beside the present one. Default 1.
    pub keep_old_copies: u32,
}

/// etcd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdSettings {
    /// `managed` (default) or `external`.
    pub mode: RunMode,
    /// Client URLs when external.
    pub endpoints: Vec<String>,
    /// Default `/usr/bin/etcd`.
    pub program: PathBuf,
    /// Default `etcd`.
    pub os_user: String,
    /// Default 2379. Source: `etcd.client_port`.
    pub client_port: u16,
    /// Default 2380. Source: `etcd.peer_port`.
    pub peer_port: u16,
    /// Default 100 ms. Source: `etcd.heartbeat_interval` (500).
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    /// Default 500 ms. Source: `etcd.election_timeout` (5000).
    #[serde(with = "humantime_serde")]
    pub election_timeout: Duration,
    /// Default 10000. Source: `etcd.snapshot_count`.
    pub snapshot_count: u64,
    /// Default 2 GiB in bytes.
    pub quota_bytes: u64,
}

/// Who runs a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunMode {
    /// leaderl configures, starts and watches it.
    #[default]
    Managed,
    /// Somebody else runs it; leaderl watches it.
    External,
    /// There is none on this node.
    Off,
}

/// Which search engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchEngine {
    /// Elasticsearch 6.8 (zen1).
    #[default]
    Elasticsearch6,
    /// Elasticsearch 7 (zen2).
    Elasticsearch7,
    /// OpenSearch 2 (zen2).
    Opensearch2,
}

/// The search engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSettings {
    /// `managed` (default), `external` or `off`.
    pub mode: RunMode,
    /// Default `elasticsearch6`.
    pub engine: SearchEngine,
    /// Default `/opt/search`.
    pub home: PathBuf,
    /// OS user. Default `search`.
    pub os_user: String,
    /// Default 9200. Source: `elasticsearch.port`.
    pub http_port: u16,
    /// Default 9300.
    pub transport_port: u16,
    /// Heap in MiB; 0 (default) = a third of the memory, at most 32 GiB. Source: `elasticsearch.heap_size`.
    pub heap_mib: u32,
    /// Further JVM flags. Source: `elasticsearch.jvm_opts`.
    pub jvm_opts: Vec<String>,
}

/// The backend VIP; without addresses there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VipSettings {
    /// `10.0.0.100/32`, `fd00::100/128`, ... Default: none. Source: `vip`.
    pub addresses: Vec<String>,
    /// Default: the interface that carries the publish address. Source: `vip_interface`.
    pub interface: Option<String>,
}

/// Health checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// Tick. Default 5 s. Source: `health_check.interval_seconds`.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Failures allowed in a row; one more trips. Default 5. Source: `max_pgsql_failures`.
    pub max_postgres_failures: u32,
    /// Default 5. Source: `max_elasticsearch_failures`.
    pub max_search_failures: u32,
    /// Default 5. Source: `max_etcd_failures`; informs only.
    pub max_etcd_failures: u32,
    /// Whether a full disk makes the node ineligible. Default true (the original: false). Source: `fatal_system_checks`.
    pub fatal_system_checks: bool,
    /// Default: log_dir, state_dir. Source: `disk_paths`.
    pub disk_paths: Vec<PathBuf>,
    /// Default 250. Source: `disk_min_space_mb`.
    pub disk_min_space_mb: u64,
}

/// HTTP interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Default 7331. Source: `leaderl.http_port`.
    pub port: u16,
    /// Followers that must stream before `/leader` says 200. Default 0. Source: `required_active_followers`.
    pub required_active_followers: u32,
}

/// What is kept for looking into the daemon's actors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActorsSettings {
    /// Entries of each actor's flight recorder. Default 256, 16 to 65536; one takes about 200 bytes.
    pub flight_recorder: u32,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `text` (default) or `json`.
    pub format: LogFormat,
    /// tracing's filter. Default `info`.
    pub filter: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

mod defaults;
#[cfg(test)]
mod documented;
pub mod edit;
pub mod host;
pub mod identity;
pub mod load;
pub mod private_file;
pub mod secrets;
#[cfg(test)]
mod tests;
pub mod validate;
