//! Rules of the sections `[postgres]`, `[etcd]` and `[search]`.

use super::*;

/// Lines of postgresql.conf that leaderl writes itself; they are refused in `postgres.parameters`.
pub const MANAGED_PARAMETERS: &[&str] = &[
    "allow_system_table_mods",
    "application_name",
    "archive_cleanup_command",
    "cluster_name",
    "config_file",
    "data_directory",
    "data_sync_retry",
    "external_pid_file",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "logging_collector",
    "max_connections",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_wal_size",
    "password_encryption",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
    "recovery_min_apply_delay",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restart_after_crash",
    "restore_command",
    "shared_buffers",
    "superuser_reserved_connections",
    "synchronous_commit",
    "synchronous_standby_names",
    "unix_socket_directories",
    "unix_socket_permissions",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_receiver_create_temp_slot",
    "zero_damaged_pages",
];

impl PostgresSettings {
    pub(super) fn check(&self, rules: &mut Rules) {
        rules.absolute("postgres.bin_dir", &self.bin_dir);
        rules.absolute("postgres.data_dir", &self.data_dir);
        let deep = self.data_dir.components().count() > 2;
        rules.require(
            deep,
            "postgres.data_dir",
            "has no parent directory of its own for kept copies",
            "use a directory such as /var/lib/leaderl/postgresql/data",
        );
        rules.user("postgres.os_user", &self.os_user);
        for (key, role) in
            [("postgres.superuser", &self.superuser), ("postgres.replication_user", &self.replication_user)]
        {
            rules.require(
                is_word(role, 63) && !role.starts_with("pg_"),
                key,
                format!("`{role}` is no role name"),
                "use lower-case letters, digits and _, not beginning with pg_",
            );
        }
        rules.require(
            self.superuser != self.replication_user,
            "postgres.replication_user",
            "is the superuser as well",
            "give replication a role of its own",
        );
        for entry in &self.client_addresses {
            rules.require(
                is_client_address(entry),
                "postgres.client_addresses",
                format!("`{entry}` is neither CIDR nor samehost, samenet or all"),
                "write it as 10.1.0.0/16",
            );
        }
        rules.require(self.max_connections >= 20, "postgres.max_connections", "fewer than 20", "set at least 20");
        rules.require(self.max_wal_senders >= 4, "postgres.max_wal_senders", "fewer than 4", "set at least 4");
        rules.require(
            self.max_replication_slots >= 4,
            "postgres.max_replication_slots",
            "fewer than 4",
            "set at least 4",
        );
        for (key, size) in [
            ("postgres.wal_keep_size", &self.wal_keep_size),
            ("postgres.max_slot_wal_keep_size", &self.max_slot_wal_keep_size),
            ("postgres.max_wal_size", &self.max_wal_size),
            ("postgres.shared_buffers", &self.shared_buffers),
        ] {
            rules.require(is_size(size), key, format!("`{size}` is no size"), "write it as 512MB or 4GB");
        }
        self.check_parameters(rules);
        rules.at_least("postgres.query_timeout", self.query_timeout, Duration::from_millis(100));
        rules.at_least("postgres.stop_timeout", self.stop_timeout, secs(1));
        rules.at_least("postgres.start_timeout", self.start_timeout, secs(5));
    }

    fn check_parameters(&self, rules: &mut Rules) {
        for (name, value) in &self.parameters {
            let key = format!("postgres.parameters.{name}");
            let lower = name.to_lowercase();
            let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            rules.require(good, &key, "is no parameter name", "correct it");
            rules.require(
                !MANAGED_PARAMETERS.contains(&lower.as_str()),
                &key,
                "is set by leaderl itself",
                "remove the line; where leaderl offers a setting of its own, use that",
            );
            rules.require(!value.contains(['\n', '\r', '\0']), &key, "its value has a line break", "write one line");
        }
    }
}

fn is_client_address(entry: &str) -> bool {
    let cidr = |text: &str| {
        text.split_once('/').is_some_and(|(address, bits)| {
            let most = address.parse::<IpAddr>().map(|ip| if ip.is_ipv4() { 32 } else { 128 });
            matches!((most, bits.parse::<u8>()), (Ok(most), Ok(bits)) if bits <= most)
        })
    };
    matches!(entry, "samehost" | "samenet" | "all") || cidr(entry)
}

fn is_size(text: &str) -> bool {
    ["kB", "MB", "GB", "TB"]
        .iter()
        .any(|unit| text.strip_suffix(unit).is_some_and(|digits| digits.parse::<u32>().is_ok_and(|number| number > 0)))
}

impl EtcdSettings {
    pub(super) fn check(&self, rules: &mut Rules) {
        match self.mode {
            RunMode::Off => rules.require(
                false,
                "etcd.mode",
                "`off`: without etcd there is no election",
                "use `managed`, or `external` with etcd.endpoints",
            ),
            RunMode::External => {
                rules.require(
                    !self.endpoints.is_empty(),
                    "etcd.endpoints",
                    "an external etcd has none",
                    "list its client URLs, such as http://10.0.0.5:2379",
                );
            }
            RunMode::Managed => rules.require(
                self.endpoints.is_empty(),
                "etcd.endpoints",
                "a managed etcd has its own",
                "remove them or set etcd.mode = \"external\"",
            ),
        }
        for url in &self.endpoints {
            let good = ["http://", "https://"].iter().any(|scheme| {
                url.strip_prefix(scheme).is_some_and(|rest| {
                    rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
                })
            });
            rules.require(
                good,
                "etcd.endpoints",
                format!("`{url}` is no client URL"),
                "write it as http://10.0.0.5:2379",
            );
        }
        rules.absolute("etcd.program", &self.program);
        rules.user("etcd.os_user", &self.os_user);
        rules.at_least("etcd.heartbeat_interval", self.heartbeat_interval, Duration::from_millis(10));
        rules.at_least("etcd.election_timeout", self.election_timeout, self.heartbeat_interval * 5);
        rules.require(self.snapshot_count >= 1000, "etcd.snapshot_count", "fewer than 1000", "set 10000");
        let mib = 1024 * 1024;
        rules.require(
            (64 * mib..=8192 * mib).contains(&self.quota_bytes),
            "etcd.quota_bytes",
            "is not between 64 MiB and 8 GiB",
            "set 2147483648",
        );
    }
}

impl SearchSettings {
    pub(super) fn check(&self, rules: &mut Rules) {
        rules.absolute("search.home", &self.home);
        rules.user("search.os_user", &self.os_user);
        rules.require(
            self.heap_mib == 0 || (128..=32_768).contains(&self.heap_mib),
            "search.heap_mib",
            "is neither 0 nor between 128 and 32768",
            "set 0 for a third of the memory",
        );
        for option in &self.jvm_opts {
            rules.require(
                option.starts_with('-') && !option.contains(['\n', '\r']),
                "search.jvm_opts",
                format!("`{option}` is no JVM option"),
                "each begins with -",
            );
        }
    }
}
