//! From settings, members and host to the engine's configuration and its service.

use super::context::SearchContext;
use crate::ports::{SEARCH_SERVICE, SearchHost, SearchPaths, ServiceDefinition, search_engine_of};
use crate::settings::Settings;
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::model::Reason;
use leaderl_decision::search_plan::render::EngineConfig;
use leaderl_decision::search_plan::{Engine, quorum_of};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What the engines ask of `vm.max_map_count` before they map index files.
const WANTED_MAPS: u64 = 262_144;
/// Above this the JVM needs wider pointers, and a larger heap holds less.
const LARGEST_HEAP_MIB: u64 = 31 * 1024;
/// The engines' own bootstrap check.
const OPEN_FILES: u64 = 65_536;

pub(super) fn engine_config(
    context: &SearchContext,
    cluster: &ClusterView,
    host: &SearchHost,
    found_cluster: bool,
) -> EngineConfig {
    let settings = &context.settings;
    let paths = SearchPaths::new(settings);
    let others = cluster.members.values().map(|seen| &seen.record).filter(|member| member.guid != context.guid);
    EngineConfig {
        engine: search_engine_of(&settings.search),
        cluster_name: context.cluster_name.clone(),
        me: context.guid.clone(),
        address: settings.node.publish_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        vips: if host.binds_absent_addresses { vips(settings) } else { Vec::new() },
        http_port: settings.search.http_port,
        transport_port: settings.search.transport_port,
        data_dir: paths.data.display().to_string(),
        log_dir: paths.log.display().to_string(),
        heap_mib: heap_mib(settings, host),
        jvm_opts: settings.search.jvm_opts.clone(),
        mmap: maps_enough(host),
        seeds: others
            .filter_map(|member| {
                let port = member.search_ports.map_or(settings.search.transport_port, |(_, transport)| transport);
                Some(SocketAddr::new(member.address.parse().ok()?, port))
            })
            .collect(),
        quorum: quorum_of(cluster.members.len().max(1)),
        found_cluster,
    }
}

fn vips(settings: &Settings) -> Vec<IpAddr> {
    let address = |vip: &String| vip.split('/').next().and_then(|ip| ip.parse().ok());
    settings.vip.addresses.iter().filter_map(address).collect()
}

fn heap_mib(settings: &Settings, host: &SearchHost) -> u64 {
    match u64::from(settings.search.heap_mib) {
        0 => (host.memory_bytes / 3 / (1 << 20)).clamp(128, LARGEST_HEAP_MIB),
        chosen => chosen,
    }
}

fn maps_enough(host: &SearchHost) -> bool {
    host.max_map_count.is_none_or(|count| count >= WANTED_MAPS)
}

/// What the host lacks, each with the command that helps.
pub(super) fn host_problems(host: &SearchHost, settings: &Settings) -> Vec<Reason> {
    let mut problems = Vec::new();
    if !host.engine_present {
        problems.push(Reason::new(
            "search-missing",
            format!(
                "there is no search engine in {} (setting `search.home`); install it, or set `search.mode = \"off\"`",
                settings.search.home.display()
            ),
        ));
    }
    if !maps_enough(host) {
        let count = host.max_map_count.unwrap_or_default();
        problems.push(Reason::new(
            "search-few-maps",
            format!("vm.max_map_count is {count}; below {WANTED_MAPS} the search engine runs without mapped files, more slowly: `sysctl -w vm.max_map_count={WANTED_MAPS}` on the host"),
        ));
    }
    if !settings.vip.addresses.is_empty() && !host.binds_absent_addresses {
        problems.push(Reason::new(
            "search-not-on-vip",
            "the search engine does not answer on the VIP: that needs `sysctl -w net.ipv4.ip_nonlocal_bind=1` on every node",
        ));
    }
    problems
}

/// The engine's service.
pub(super) fn service_definition(settings: &Settings, host: &SearchHost) -> ServiceDefinition {
    let engine = search_engine_of(&settings.search);
    let paths = SearchPaths::new(settings);
    let prefix = match engine {
        Engine::Elasticsearch6 | Engine::Elasticsearch7 => "ES",
        Engine::Opensearch2 => "OPENSEARCH",
    };
    let mut env = BTreeMap::from([
        (format!("{prefix}_PATH_CONF"), paths.config.display().to_string()),
        (format!("{prefix}_TMPDIR"), paths.tmp.display().to_string()),
    ]);
    if let Some(java) = &host.java_home {
        let name = match engine {
            Engine::Elasticsearch6 => "JAVA_HOME",
            Engine::Elasticsearch7 => "ES_JAVA_HOME",
            Engine::Opensearch2 => "OPENSEARCH_JAVA_HOME",
        };
        env.insert(name.to_owned(), java.display().to_string());
    }
    ServiceDefinition {
        name: SEARCH_SERVICE.to_owned(),
        argv: vec![paths.program(engine).display().to_string()],
        env,
        user: Some(paths.os_user.clone()),
        log_dir: settings.node.log_dir.clone(),
        at_boot: true,
        open_files: Some(OPEN_FILES),
        write_paths: vec![settings.node.state_dir.join("search"), paths.log],
    }
}
