//! Renders postgresql.conf, pg_hba.conf, pg_ident.conf and the password file. All of them live outside PGDATA.

use super::layout::Layout;
use super::upstream::quoted;
use crate::settings::{PostgresSettings, Settings};
use leaderl_decision::model::NodeId;
use leaderl_decision::records::MemberRecord;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// Settings that only leaderl sets: stripped from postgresql.auto.conf, refused in the settings' further lines.
pub(super) const MANAGED: &[&str] = &[
    "primary_conninfo",
    "primary_slot_name",
    "synchronous_standby_names",
    "restore_command",
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "recovery_target_action",
    "recovery_min_apply_delay",
    "promote_trigger_file",
    "hot_standby",
    "wal_level",
    "wal_log_hints",
    "full_page_writes",
    "fsync",
    "restart_after_crash",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "wal_retrieve_retry_interval",
    "wal_receiver_status_interval",
    "wal_sender_timeout",
    "wal_receiver_timeout",
    "max_wal_senders",
    "max_replication_slots",
    "max_connections",
    "password_encryption",
    "ssl_passphrase_command",
];

/// The whole of postgresql.conf. `minima`: what recovery on this data directory needs at least; it overrides lower settings.
pub(super) fn main_file(settings: &Settings, layout: &Layout, listen: &str, minima: &[(&str, u32)]) -> String {
    let pg = &settings.postgres;
    let conf = |name: &str| layout.conf_file(name).display().to_string();
    let mut lines: Vec<(String, String)> = defaults(pg);
    lines.retain(|(key, _)| !pg.parameters.contains_key(key));
    lines.extend(pg.parameters.iter().map(|(key, value)| (key.clone(), value.clone())));
    lines.retain(|(key, _)| !MANAGED.contains(&key.to_lowercase().as_str()));
    let fixed: [(&str, String); 27] = [
        ("listen_addresses", listen.to_owned()),
        ("port", pg.port.to_string()),
        ("unix_socket_directories", layout.socket_dir.display().to_string()),
        ("unix_socket_permissions", "0700".into()),
        ("hba_file", conf("pg_hba.conf")),
        ("ident_file", conf("pg_ident.conf")),
        ("wal_level", "replica".into()),
        ("wal_log_hints", "on".into()),
        ("full_page_writes", "on".into()),
        ("fsync", "on".into()),
        ("hot_standby", "on".into()),
        ("restart_after_crash", "off".into()),
        ("recovery_target_timeline", "latest".into()),
        ("recovery_min_apply_delay", "0".into()),
        ("max_connections", pg.max_connections.to_string()),
        ("max_wal_senders", pg.max_wal_senders.to_string()),
        ("max_replication_slots", pg.max_replication_slots.to_string()),
        // A changed conninfo, a lost connection: the walreceiver tries again after this.
        ("wal_retrieve_retry_interval", "100ms".into()),
        ("wal_receiver_status_interval", "1s".into()),
        // A follower that is connected but dead must not hold a fast stop for longer.
        ("wal_sender_timeout", "5s".into()),
        ("wal_receiver_timeout", "10s".into()),
        ("password_encryption", "scram-sha-256".into()),
        ("superuser_reserved_connections", "10".into()),
        ("logging_collector", "off".into()),
        ("log_destination", "stderr".into()),
        // The daemon reads what a source answers to the walreceiver.
        ("lc_messages", "C".into()),
        ("synchronous_commit", "on".into()),
    ];
    let mut text = String::from(
        "# Written by leaderl; changes here are overwritten. Use [postgres.parameters] in leaderl.toml.\n",
    );
    for (key, value) in lines.iter().map(|(key, value)| (key.as_str(), value)).chain(fixed.iter().map(|(k, v)| (*k, v)))
    {
        text.push_str(&format!("{key} = {}\n", quoted(value)));
    }
    for (key, value) in raised(settings, minima) {
        text.push_str(&format!("# Raised to what the server that wrote the WAL had.\n{key} = {value}\n"));
    }
    for include in ["upstream.conf", "sync.conf"] {
        text.push_str(&format!("include {}\n", quoted(&conf(include))));
    }
    text
}

/// Those of `minima` that the settings stay below: recovery would refuse to go on.
fn raised(settings: &Settings, minima: &[(&str, u32)]) -> Vec<(String, u32)> {
    let pg = &settings.postgres;
    let configured = |key: &str| match key {
        "max_connections" => Some(pg.max_connections),
        "max_wal_senders" => Some(pg.max_wal_senders),
        // PostgreSQL's own defaults are the least that any server writes unless somebody lowered them.
        other => pg.parameters.get(other).and_then(|value| value.parse().ok()),
    };
    let raise = |(key, least): &(&str, u32)| {
        let low = configured(key).is_none_or(|value| value < *least);
        low.then(|| ((*key).to_owned(), *least))
    };
    minima.iter().filter_map(raise).collect()
}

/// What the operator's own parameters may replace.
fn defaults(pg: &PostgresSettings) -> Vec<(String, String)> {
    let pairs: [(&str, &str); 15] = [
        ("shared_buffers", &pg.shared_buffers),
        ("max_wal_size", &pg.max_wal_size),
        ("wal_keep_size", &pg.wal_keep_size),
        ("max_slot_wal_keep_size", &pg.max_slot_wal_keep_size),
        ("checkpoint_completion_target", "0.9"),
        ("max_standby_streaming_delay", "1s"),
        ("max_standby_archive_delay", "1s"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("log_line_prefix", "%m [%p] %q%u@%d/%a "),
        ("log_startup_progress_interval", "5s"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("archive_mode", "off"),
    ];
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What `listen_addresses` is, and why it is wider than wished, if it is.
pub(super) fn listen_addresses(settings: &Settings) -> (String, Option<String>) {
    let vips: Vec<IpAddr> =
        settings.vip.addresses.iter().filter_map(|vip| vip.split('/').next()?.trim().parse().ok()).collect();
    if let Some(family) = vips.iter().find_map(without_nonlocal_bind) {
        let reason = format!(
            "net.{family}.ip_nonlocal_bind cannot be switched on, so PostgreSQL listens on all addresses to answer on the VIP"
        );
        return ("*".into(), Some(reason));
    }
    let mut addresses: Vec<String> = settings.node.publish_address.iter().map(ToString::to_string).collect();
    addresses.extend(vips.iter().map(ToString::to_string));
    if !addresses.iter().any(|address| address == "127.0.0.1") {
        addresses.push("127.0.0.1".into());
    }
    (addresses.join(","), None)
}

/// Lets a server bind addresses that come later; names the family when the kernel does not allow it.
fn without_nonlocal_bind(vip: &IpAddr) -> Option<&'static str> {
    let family = if vip.is_ipv4() { "ipv4" } else { "ipv6" };
    let path = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
    let on = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    if on(&path) || (std::fs::write(&path, "1").is_ok() && on(&path)) { None } else { Some(family) }
}

/// The whole of pg_hba.conf.
pub(super) fn access_file(
    pg: &PostgresSettings,
    own: Option<IpAddr>,
    members: &BTreeMap<NodeId, MemberRecord>,
) -> String {
    let superuser = &pg.superuser;
    let replicator = &pg.replication_user;
    let mut text = String::from("# Written by leaderl; changes here are overwritten.\n");
    text.push_str(&format!("local all {superuser} peer map=leaderl\n"));
    text.push_str(&format!("local replication {superuser} peer map=leaderl\n"));
    let mut nodes: Vec<String> = members.values().map(|member| host(&member.address)).collect();
    nodes.extend(own.map(|own| host(&own.to_string())));
    nodes.sort();
    nodes.dedup();
    for node in &nodes {
        text.push_str(&format!("host replication {replicator} {node} scram-sha-256\n"));
        text.push_str(&format!("host postgres {replicator} {node} scram-sha-256\n"));
    }
    for client in pg.client_addresses.iter().chain(&nodes) {
        text.push_str(&format!("host all all {client} scram-sha-256\n"));
    }
    text
}

/// An address as a network of one; a name stays a name.
fn host(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("{ip}/32"),
        Ok(IpAddr::V6(ip)) => format!("{ip}/128"),
        Err(_) => address.to_owned(),
    }
}

/// The whole of pg_ident.conf: who may be the superuser over the local socket.
pub(super) fn ident_file(pg: &PostgresSettings, daemon: Option<&str>) -> String {
    let mut text = String::from("# Written by leaderl; changes here are overwritten.\n");
    let mut users = vec!["root", pg.os_user.as_str()];
    users.extend(daemon.filter(|user| *user != "root" && *user != pg.os_user));
    for user in users {
        text.push_str(&format!("leaderl {user} {}\n", pg.superuser));
    }
    text
}

/// The whole of the password file for streaming, copying and rewinding.
pub(super) fn password_file(user: &str, password: &str) -> String {
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:*:{user}:{escaped}\n")
}

/// postgresql.auto.conf without the settings that are ours; `None` when there is nothing to strip.
pub(super) fn stripped_auto_conf(text: &str) -> Option<String> {
    let managed = |line: &&str| {
        let key = line.trim_start().split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or_default();
        MANAGED.contains(&key.to_lowercase().as_str())
    };
    if !text.lines().any(|line| managed(&line)) {
        return None;
    }
    Some(text.lines().filter(|line| !managed(line)).map(|line| format!("{line}\n")).collect())
}

/// Whether a log line of the walreceiver says that the source cannot send what is asked for.
pub(super) fn refusal_in(line: &str) -> Option<leaderl_decision::replication_plan::UpstreamRefusal> {
    use leaderl_decision::replication_plan::UpstreamRefusal::{OtherHistory, WalMissing};
    let has = |part: &str| line.contains(part);
    if (has("requested WAL segment") && has("has already been removed"))
        || has("This slot has been invalidated because it exceeded the maximum reserved size")
        || (has("cannot read from") && has("replication slot"))
    {
        return Some(WalMissing);
    }
    if has("is not in this server's history") || has("current database system timeline") {
        return Some(OtherHistory);
    }
    None
}

/// Where the last part of a path is a file of ours.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_settings_are_stripped_and_others_stay() {
        let text = "# Do not edit\nprimary_conninfo = 'host=old'\nwork_mem = '8MB'\n  Synchronous_Standby_Names = ''\n";
        assert_eq!(stripped_auto_conf(text).as_deref(), Some("# Do not edit\nwork_mem = '8MB'\n"));
        assert_eq!(stripped_auto_conf("work_mem = '8MB'\n"), None);
    }

    #[test]
    fn a_password_cannot_break_out_of_its_field() {
        assert_eq!(password_file("replicator", r"a:b\c"), "*:*:*:replicator:a\\:b\\\\c\n");
    }

    #[test]
    fn clients_and_members_are_let_in_with_scram_only() {
        let pg = PostgresSettings { client_addresses: vec!["10.1.0.0/16".into()], ..PostgresSettings::default() };
        let text = access_file(&pg, Some("10.0.0.1".parse().unwrap()), &BTreeMap::new());
        assert!(text.contains("host replication replicator 10.0.0.1/32 scram-sha-256\n"));
        assert!(text.contains("host postgres replicator 10.0.0.1/32 scram-sha-256\n"));
        assert!(text.contains("host all all 10.1.0.0/16 scram-sha-256\n"));
        assert!(!text.contains("trust"));
    }
}
