//! What only this host can answer: are the addresses, interfaces, users, programs and capabilities there?

use super::{RunMode, Settings};
use nix::unistd::User;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// A need of the settings that this host does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {what}; {next}")]
pub struct HostProblem {
    /// The setting, or `capabilities`.
    pub key: String,
    /// What is missing.
    pub what: String,
    /// What to do.
    pub next: String,
}

fn problem(key: &str, what: String, next: &str) -> HostProblem {
    HostProblem { key: key.to_owned(), what, next: next.to_owned() }
}

/// Every address and interface of this host.
pub fn addresses() -> std::io::Result<Vec<(String, IpAddr)>> {
    let found = nix::ifaddrs::getifaddrs()?;
    Ok(found
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let v6 = address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
            Some((interface.interface_name, v4.or(v6)?))
        })
        .collect())
}

/// Whether the publish address, the VIP's interface, the users and the programs exist here. Empty: all do.
pub fn check_host(settings: &Settings) -> Vec<HostProblem> {
    let found = match addresses() {
        Ok(found) => found,
        Err(why) => {
            return vec![problem("node.publish_address", format!("the addresses cannot be read ({why})"), "retry")];
        }
    };
    let mut problems = check_addresses(settings, &found);
    let mut users = vec![("postgres.os_user", &settings.postgres.os_user)];
    let mut programs = vec![("postgres.bin_dir", settings.postgres.bin_dir.join("postgres"))];
    if settings.etcd.mode == RunMode::Managed {
        users.push(("etcd.os_user", &settings.etcd.os_user));
        programs.push(("etcd.program", settings.etcd.program.clone()));
    }
    if settings.search.mode == RunMode::Managed {
        users.push(("search.os_user", &settings.search.os_user));
        programs.push(("search.home", settings.search.home.join("bin")));
    }
    for (key, user) in users {
        if !matches!(User::from_name(user), Ok(Some(_))) {
            problems.push(problem(key, format!("this host has no user `{user}`"), "create it or name another"));
        }
    }
    for (key, program) in programs {
        if !program.exists() {
            problems.push(problem(
                key,
                format!("`{}` is not there", program.display()),
                "install it or correct the path",
            ));
        }
    }
    problems
}

fn check_addresses(settings: &Settings, found: &[(String, IpAddr)]) -> Vec<HostProblem> {
    let mut problems = Vec::new();
    if let Some(wanted) = settings.node.publish_address
        && !found.iter().any(|(_, ip)| *ip == wanted)
    {
        let here: BTreeSet<_> =
            found.iter().filter(|(_, ip)| !ip.is_loopback()).map(|(_, ip)| ip.to_string()).collect();
        let here = here.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!("{wanted} is not on this host (it has {here})");
        problems.push(problem("node.publish_address", what, "set one of this host's addresses"));
    }
    if let Some(interface) = &settings.vip.interface
        && !settings.vip.addresses.is_empty()
        && !Path::new("/sys/class/net").join(interface).exists()
    {
        let what = format!("this host has no interface `{interface}`");
        problems.push(problem("vip.interface", what, "name an interface as `ip link` shows it"));
    }
    problems
}

/// A capability by its bit, and what it is for.
const ALWAYS: &[(u32, &str, &str)] = &[
    (5, "CAP_KILL", "to end PostgreSQL's processes"),
    (6, "CAP_SETGID", "to start PostgreSQL as its own user"),
    (7, "CAP_SETUID", "to start PostgreSQL as its own user"),
    (14, "CAP_IPC_LOCK", "so that the guardian is never swapped out"),
    (23, "CAP_SYS_NICE", "so that the guardian runs on a busy machine"),
];
const FOR_VIP: &[(u32, &str, &str)] =
    &[(12, "CAP_NET_ADMIN", "to bind the VIP"), (13, "CAP_NET_RAW", "to announce the VIP")];

/// Capabilities that the settings need and this process does not have, by name.
pub fn check_capabilities(settings: &Settings) -> Vec<HostProblem> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_capabilities(settings, &status)
}

fn missing_capabilities(settings: &Settings, proc_status: &str) -> Vec<HostProblem> {
    let line = proc_status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let have = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let for_vip = if settings.vip.addresses.is_empty() { &[] } else { FOR_VIP };
    let missing = ALWAYS.iter().chain(for_vip).filter(|(bit, _, _)| have & (1 << bit) == 0);
    missing
        .map(|(_, name, why)| {
            let next = "run as root with it (containers: cap_add; systemd: AmbientCapabilities)";
            problem("capabilities", format!("{name} is missing, needed {why}"), next)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named_and_the_network_ones_only_matter_with_a_vip() {
        let mut settings = Settings::default();
        let docker_default = "Name:\tx\nCapEff:\t00000000a80425fb\n";
        let named = |settings: &Settings| {
            missing_capabilities(settings, docker_default).iter().map(|p| p.what.clone()).collect::<Vec<_>>().join("; ")
        };
        assert!(named(&settings).contains("CAP_IPC_LOCK") && named(&settings).contains("CAP_SYS_NICE"));
        assert!(!named(&settings).contains("NET_ADMIN"));
        settings.vip.addresses = vec!["10.9.9.9/32".into()];
        assert!(named(&settings).contains("CAP_NET_ADMIN") && !named(&settings).contains("NET_RAW"));
        assert!(missing_capabilities(&settings, "CapEff:\t000001ffffffffff\n").is_empty());
        assert!(missing_capabilities(&settings, "garbage").len() >= 5);
    }

    #[test]
    fn an_address_that_is_not_here_is_named_with_those_that_are() {
        let found = vec![("lo".to_owned(), "127.0.0.1".parse().unwrap()), ("e0".into(), "10.1.1.1".parse().unwrap())];
        let mut settings = Settings::default();
        settings.node.publish_address = Some("10.1.1.2".parse().unwrap());
        let problems = check_addresses(&settings, &found);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("10.1.1.2 is not on this host (it has 10.1.1.1)"), "{problems:?}");
        settings.node.publish_address = Some("10.1.1.1".parse().unwrap());
        assert!(check_addresses(&settings, &found).is_empty());
    }
}
