//! The rules that settings must obey among themselves. Nothing here looks at the host.

mod services;

pub use services::MANAGED_PARAMETERS;

use crate::settings::load::Problem;
use crate::settings::*;
use std::collections::{BTreeMap, BTreeSet};

/// Collects broken rules.
struct Rules {
    broken: Vec<Problem>,
}

impl Rules {
    fn require(&mut self, holds: bool, key: &str, rule: impl Into<String>, next: impl Into<String>) {
        if !holds {
            self.broken.push(Problem { line: None, key: key.to_owned(), rule: rule.into(), next: next.into() });
        }
    }

    fn at_least(&mut self, key: &str, value: Duration, least: Duration) {
        let rule = format!("{} is less than {}", show(value), show(least));
        self.require(value >= least, key, rule, format!("set at least {}", show(least)));
    }

    fn at_most(&mut self, key: &str, value: Duration, most: Duration) {
        let rule = format!("{} is more than {}", show(value), show(most));
        self.require(value <= most, key, rule, format!("set at most {}", show(most)));
    }

    fn absolute(&mut self, key: &str, path: &std::path::Path) {
        let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        let rule = format!("`{}` is not an absolute path without `..`", path.display());
        self.require(path.is_absolute() && plain, key, rule, "write the full path from /");
    }

    fn user(&mut self, key: &str, user: &str) {
        let good = is_word(user, 32) && user != "root";
        self.require(good, key, format!("`{user}` cannot be this service's user"), "name an unprivileged system user");
    }
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `[a-z_][a-z0-9_-]*`, at most `most` characters.
fn is_word(text: &str, most: usize) -> bool {
    text.len() <= most
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

/// `[a-z0-9][a-z0-9.-]{0,62}`: may become part of a command line, a URL and a table row.
pub fn is_node_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-')
}

/// Address and prefix length of `10.0.0.100/32`; without a prefix the whole address counts.
pub fn parse_vip(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let ip: IpAddr = address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) => digits.parse::<u8>().ok().filter(|bits| (1..=whole).contains(bits)),
        None => Some(whole),
    };
    let prefix = prefix.ok_or_else(|| format!("`{text}` has no prefix length between 1 and {whole}"))?;
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return Err(format!("`{ip}` cannot be a VIP"));
    }
    Ok((ip, prefix))
}

impl Settings {
    /// Every broken rule, in the order of the sections; empty when all hold.
    pub fn validate(&self) -> Vec<Problem> {
        let mut rules = Rules { broken: Vec::new() };
        self.node.check(&mut rules);
        self.check_election(&mut rules);
        self.check_ports(&mut rules);
        self.postgres.check(&mut rules);
        self.etcd.check(&mut rules);
        self.search.check(&mut rules);
        self.check_vip(&mut rules);
        self.check_health_log_and_actors(&mut rules);
        rules.broken
    }

    /// What is allowed but deserves a word at every start.
    pub fn warnings(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.election.status_post_update > self.election.leader_ttl {
            words.push(
                "`election.status_post_update` is longer than `election.leader_ttl`: nodes will look stale".into(),
            );
        }
        if self.http.required_active_followers > 1 {
            words.push(
                "`http.required_active_followers` above 1: with one follower lost, frontends see no leader at all"
                    .into(),
            );
        }
        if self.replication.mode == ReplicationMode::Async {
            words.push("`replication.mode` is `async`: a failover may lose acknowledged commits".into());
        }
        if self.health.interval * (self.health.max_postgres_failures + 1) > secs(120) {
            words.push(
                "`health.interval` times `health.max_postgres_failures`: a sick PostgreSQL leads for minutes".into(),
            );
        }
        words
    }

    fn check_election(&self, rules: &mut Rules) {
        let election = &self.election;
        let ttl = election.leader_ttl;
        rules.at_least("election.leader_ttl", ttl, secs(4));
        rules.at_most("election.leader_ttl", ttl, secs(600));
        let needed = self.etcd.election_timeout * 2 + ttl / 10 + Duration::from_millis(400);
        rules.require(
            ttl / 2 >= needed,
            "election.leader_ttl",
            format!(
                "half of {} is less than 2 x etcd.election_timeout + leader_ttl/10 + 400ms = {}",
                show(ttl),
                show(needed)
            ),
            "raise election.leader_ttl or lower etcd.election_timeout",
        );
        rules.at_least("election.promote_deadline", election.promote_deadline, ttl);
        rules.require(
            election.anti_flap_failovers > 0,
            "election.anti_flap_failovers",
            "0 forbids every failover",
            "set at least 1; to forbid failovers use `leaderl set-cluster-failover off`",
        );
        rules.at_least("election.anti_flap_window", election.anti_flap_window, secs(1));
        rules.at_least("election.status_post_update", election.status_post_update, Duration::from_millis(200));
        rules.at_least("election.control_timeout", election.control_timeout, secs(5));
        rules.at_least("replication.degrade_after", self.replication.degrade_after, Duration::from_millis(500));
        rules.require(
            self.replication.max_bytes_behind_leader > 0,
            "replication.max_bytes_behind_leader",
            "0 lets no follower lead",
            "set a number of bytes, such as 52428800",
        );
    }

    fn check_ports(&self, rules: &mut Rules) {
        let mut ports = vec![("postgres.port", self.postgres.port), ("http.port", self.http.port)];
        if self.etcd.mode == RunMode::Managed {
            ports.extend([("etcd.client_port", self.etcd.client_port), ("etcd.peer_port", self.etcd.peer_port)]);
        }
        if self.search.mode != RunMode::Off {
            ports.push(("search.http_port", self.search.http_port));
            ports.push(("search.transport_port", self.search.transport_port));
        }
        let mut taken = BTreeMap::new();
        for (key, port) in ports {
            rules.require(port != 0, key, "0 is no port", "set a port from 1 to 65535");
            if let Some(other) = taken.insert(port, key) {
                rules.require(false, key, format!("{port} is `{other}` already"), "give each its own port");
            }
        }
    }

    fn check_vip(&self, rules: &mut Rules) {
        let mut seen = BTreeSet::new();
        for text in &self.vip.addresses {
            match parse_vip(text) {
                Err(rule) => rules.require(false, "vip.addresses", rule, "write it as 10.0.0.100/32 or fd00::100/128"),
                Ok((ip, _)) => {
                    rules.require(seen.insert(ip), "vip.addresses", format!("`{ip}` is there twice"), "keep one");
                    let own = self.node.publish_address == Some(ip);
                    rules.require(
                        !own,
                        "vip.addresses",
                        format!("`{ip}` is this node's publish address"),
                        "use an address that belongs to no node",
                    );
                }
            }
        }
        if let Some(interface) = &self.vip.interface {
            let good = (1..=15).contains(&interface.len())
                && interface.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':');
            rules.require(
                good,
                "vip.interface",
                format!("`{interface}` is no interface name"),
                "name an interface as `ip link` shows it",
            );
        }
    }

    fn check_health_log_and_actors(&self, rules: &mut Rules) {
        rules.at_least("health.interval", self.health.interval, Duration::from_millis(200));
        for path in &self.health.disk_paths {
            rules.absolute("health.disk_paths", path);
        }
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.filter);
        rules.require(
            filter.is_ok(),
            "log.filter",
            format!("`{}` is no log filter", self.log.filter),
            "write a level such as `info`, or `info,leaderl::actors=debug`",
        );
        let kept = self.actors.flight_recorder;
        rules.require(
            (16..=65_536).contains(&kept),
            "actors.flight_recorder",
            format!("{kept} is not between 16 and 65536"),
            "set a number of entries such as 256",
        );
    }
}

impl NodeSettings {
    fn check(&self, rules: &mut Rules) {
        rules.require(
            is_node_name(&self.name),
            "node.name",
            format!("`{}` is not [a-z0-9][a-z0-9.-]{{0,62}}", self.name),
            "choose a lower-case host name",
        );
        match self.publish_address {
            None => rules.require(
                false,
                "node.publish_address",
                "there is none",
                "set the address that other nodes use for this one",
            ),
            Some(ip) => rules.require(
                !ip.is_unspecified() && !ip.is_multicast(),
                "node.publish_address",
                format!("`{ip}` is not one host's address"),
                "set the address that other nodes use for this one",
            ),
        }
        rules.absolute("node.state_dir", &self.state_dir);
        rules.absolute("node.runtime_dir", &self.runtime_dir);
        rules.absolute("node.log_dir", &self.log_dir);
        rules.absolute("node.secrets_file", &self.secrets_file);
        rules.absolute("node.runit_dir", &self.runit_dir);
        // The longest socket below it is `detached/.s.PGSQL.5499`; the kernel takes 107 bytes.
        rules.require(
            self.runtime_dir.as_os_str().len() <= 80,
            "node.runtime_dir",
            "is longer than 80 characters, so sockets inside cannot be named",
            "choose a shorter path",
        );
    }
}
