//! The defaults, in one place.

use super::*;

const MIB: u64 = 1024 * 1024;

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            name: host_name(),
            publish_address: None,
            service_manager: ServiceManager::Runit,
            state_dir: "/var/lib/leaderl".into(),
            runtime_dir: "/run/leaderl".into(),
            log_dir: "/var/log/leaderl".into(),
            secrets_file: "/etc/leaderl/secrets.json".into(),
            runit_dir: "/etc/service".into(),
            priority: 100,
        }
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_lowercase()).unwrap_or_default()
}

impl Default for ElectionSettings {
    fn default() -> Self {
        Self {
            leader_ttl: Duration::from_secs(5),
            promote_deadline: Duration::from_secs(300),
            anti_flap_failovers: 3,
            anti_flap_window: Duration::from_secs(600),
            status_post_update: Duration::from_secs(2),
            control_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for ReplicationSettings {
    fn default() -> Self {
        Self { mode: ReplicationMode::Quorum, degrade_after: Duration::from_secs(2), max_bytes_behind_leader: 50 * MIB }
    }
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            bin_dir: "/usr/lib/postgresql/15/bin".into(),
            data_dir: "/var/lib/leaderl/postgresql/data".into(),
            os_user: "postgres".into(),
            port: 5432,
            superuser: "chef_pgsql".into(),
            replication_user: "replicator".into(),
            client_addresses: vec!["samehost".into(), "samenet".into()],
            max_connections: 350,
            max_wal_senders: 12,
            max_replication_slots: 12,
            wal_keep_size: "512MB".into(),
            max_slot_wal_keep_size: "4GB".into(),
            max_wal_size: "1GB".into(),
            shared_buffers: "128MB".into(),
            parameters: std::collections::BTreeMap::new(),
            query_timeout: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(20),
            start_timeout: Duration::from_secs(300),
            keep_old_copies: 1,
        }
    }
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            mode: RunMode::Managed,
            endpoints: Vec::new(),
            program: "/usr/bin/etcd".into(),
            os_user: "etcd".into(),
            client_port: 2379,
            peer_port: 2380,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(500),
            snapshot_count: 10_000,
            quota_bytes: 2048 * MIB,
        }
    }
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self {
            mode: RunMode::Managed,
            engine: SearchEngine::Elasticsearch6,
            home: "/opt/search".into(),
            os_user: "search".into(),
            http_port: 9200,
            transport_port: 9300,
            heap_mib: 0,
            jvm_opts: Vec::new(),
        }
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            max_postgres_failures: 5,
            max_search_failures: 5,
            max_etcd_failures: 5,
            fatal_system_checks: true,
            disk_paths: vec!["/var/log/leaderl".into(), "/var/lib/leaderl".into()],
            disk_min_space_mb: 250,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { port: 7331, required_active_followers: 0 }
    }
}

impl Default for ActorsSettings {
    fn default() -> Self {
        Self { flight_recorder: 256 }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}
