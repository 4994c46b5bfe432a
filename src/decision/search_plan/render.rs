//! The engine's own files for this node, and the fingerprint of what only a restart can change.

use super::Engine;
use crate::model::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// The node attribute that tells with which fingerprint a running engine was started.
pub const FINGERPRINT_ATTRIBUTE: &str = "leaderl_config";
/// The node attribute that tells with which quorum a running engine was started.
pub const QUORUM_ATTRIBUTE: &str = "leaderl_masters";

/// What the files of one node are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Which engine.
    pub engine: Engine,
    /// From the secrets: two clusters never share one.
    pub cluster_name: String,
    /// The node's identity is the engine's node name.
    pub me: NodeId,
    /// Publish address.
    pub address: IpAddr,
    /// Bound for HTTP as well; only when the kernel lets a process bind an address that is not here yet.
    pub vips: Vec<IpAddr>,
    /// HTTP.
    pub http_port: u16,
    /// Between the engine's nodes.
    pub transport_port: u16,
    /// `path.data`.
    pub data_dir: String,
    /// `path.logs`; the log itself goes to the service manager through stdout.
    pub log_dir: String,
    /// Heap in MiB.
    pub heap_mib: u64,
    /// Further JVM flags; they come last and win.
    pub jvm_opts: Vec<String>,
    /// Whether index files may be mapped; without it `vm.max_map_count` does not matter.
    pub mmap: bool,
    /// Transport addresses of the other members. The engine re-reads them while it runs.
    pub seeds: Vec<SocketAddr>,
    /// zen1: how many master-eligible nodes make a quorum when it starts.
    pub quorum: u32,
    /// Voting configuration: this start, and only this, may found the cluster.
    pub found_cluster: bool,
}

/// The files of the configuration directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineFiles {
    /// File name to content.
    pub files: BTreeMap<String, String>,
    /// Changes with everything that needs a restart, and with nothing else.
    pub fingerprint: String,
}

/// Renders everything.
pub fn render(config: &EngineConfig) -> EngineFiles {
    let settings = static_settings(config);
    let jvm = jvm_options(config);
    let fingerprint = fingerprint(&[&settings, &jvm, LOG4J]);
    let mut main =
        String::from("# Written by leaderl from leaderl.toml and the cluster's members; changes by hand are lost.\n");
    main.push_str(&settings);
    main.push_str("# Read at a start only, and no reason for one.\n");
    setting(&mut main, &format!("node.attr.{FINGERPRINT_ATTRIBUTE}"), &text(&fingerprint));
    setting(&mut main, &format!("node.attr.{QUORUM_ATTRIBUTE}"), &text(&config.quorum.to_string()));
    start_settings(&mut main, config);
    let files = [
        (config.engine.settings_file(), main),
        ("jvm.options", jvm),
        ("log4j2.properties", LOG4J.to_owned()),
        ("unicast_hosts.txt", config.seeds.iter().map(|seed| format!("{seed}\n")).collect()),
    ];
    EngineFiles { files: files.map(|(name, content)| (name.to_owned(), content)).into(), fingerprint }
}

fn static_settings(config: &EngineConfig) -> String {
    let mut out = String::new();
    setting(&mut out, "cluster.name", &text(&config.cluster_name));
    setting(&mut out, "node.name", &text(&config.me.0));
    setting(&mut out, "path.data", &text(&config.data_dir));
    setting(&mut out, "path.logs", &text(&config.log_dir));
    // Only HTTP answers on loopback and on the VIP: the engine's nodes know each other by their publish addresses.
    setting(&mut out, "transport.host", &text(&config.address.to_string()));
    setting(&mut out, "transport.port", &config.transport_port.to_string());
    // A new master applies its first state with the vanished one still in it, and does nothing else until connecting there
    // has failed: 45 s without a write were seen at the default of 30 s.
    setting(&mut out, "transport.connect_timeout", "3s");
    // The engine's own limits are shares of the disk: of 1 TB it would leave 50 GB unused and refuse to index, beside a
    // PostgreSQL that goes on. All three are free bytes; it gives way before the disk check makes the node unable to lead.
    for (mark, free) in [("low", "2gb"), ("high", "1gb"), ("flood_stage", "500mb")] {
        setting(&mut out, &format!("cluster.routing.allocation.disk.watermark.{mark}"), free);
    }
    setting(&mut out, "http.port", &config.http_port.to_string());
    setting(&mut out, "http.publish_host", &text(&config.address.to_string()));
    let hosts: Vec<String> = http_hosts(config).iter().map(|host| text(host)).collect();
    setting(&mut out, "http.bind_host", &format!("[{}]", hosts.join(", ")));
    // Containers and old kernels refuse the filter, and the engine would not start.
    setting(&mut out, "bootstrap.system_call_filter", "false");
    setting(&mut out, "node.store.allow_mmap", if config.mmap { "true" } else { "false" });
    match config.engine {
        Engine::Elasticsearch6 => {
            setting(&mut out, "discovery.zen.hosts_provider", "file");
            setting(&mut out, "discovery.zen.no_master_block", "write");
            // A closed connection is noticed at once; these are for the peer that vanished without closing any. Default: 90 s.
            setting(&mut out, "discovery.zen.fd.ping_timeout", "3s");
            setting(&mut out, "discovery.zen.publish_timeout", "5s");
            setting(&mut out, "discovery.zen.commit_timeout", "5s");
        }
        Engine::Elasticsearch7 => {
            setting(&mut out, "discovery.seed_providers", "file");
            setting(&mut out, "cluster.no_master_block", "write");
            fault_detection(&mut out);
        }
        Engine::Opensearch2 => {
            setting(&mut out, "discovery.seed_providers", "file");
            setting(&mut out, "cluster.no_cluster_manager_block", "write");
            fault_detection(&mut out);
        }
    }
    if config.engine != Engine::Opensearch2 {
        // Frontends speak plain HTTP without a login; the packet filter keeps strangers out.
        for feature in ["security", "ml", "watcher"] {
            setting(&mut out, &format!("xpack.{feature}.enabled"), "false");
        }
    }
    out
}

/// The same for a voting configuration: three checks of 3 s, not of 10 s, until a silent peer is given up.
fn fault_detection(out: &mut String) {
    for check in ["leader", "follower"] {
        setting(out, &format!("cluster.fault_detection.{check}_check.timeout"), "3s");
    }
}

fn start_settings(out: &mut String, config: &EngineConfig) {
    match config.engine {
        Engine::Elasticsearch6 => {
            setting(out, "discovery.zen.minimum_master_nodes", &config.quorum.to_string());
        }
        Engine::Elasticsearch7 if config.found_cluster => {
            setting(out, "cluster.initial_master_nodes", &format!("[{}]", text(&config.me.0)));
        }
        Engine::Opensearch2 if config.found_cluster => {
            setting(out, "cluster.initial_cluster_manager_nodes", &format!("[{}]", text(&config.me.0)));
        }
        Engine::Elasticsearch7 | Engine::Opensearch2 => {}
    }
}

fn http_hosts(config: &EngineConfig) -> Vec<String> {
    let mut hosts = vec![config.address.to_string()];
    if !config.address.is_loopback() {
        hosts.push("_local_".to_owned());
    }
    hosts.extend(config.vips.iter().filter(|vip| **vip != config.address).map(IpAddr::to_string));
    hosts
}

fn jvm_options(config: &EngineConfig) -> String {
    let mut out = format!("-Xms{0}m\n-Xmx{0}m\n", config.heap_mib);
    out.push_str(JVM_COMMON);
    out.push_str(match config.engine {
        Engine::Elasticsearch6 => JVM_ELASTICSEARCH6,
        Engine::Elasticsearch7 => "-Djava.io.tmpdir=${ES_TMPDIR}\n",
        Engine::Opensearch2 => JVM_OPENSEARCH2,
    });
    // The JVM's own crash report; its working directory is not writable.
    let _ = writeln!(out, "-XX:ErrorFile={}/hs_err_pid%p.log", config.log_dir);
    for flag in config.jvm_opts.iter().map(|flag| flag.trim()).filter(|flag| flag.starts_with('-')) {
        out.push_str(flag.lines().next().unwrap_or_default());
        out.push('\n');
    }
    out
}

fn setting(out: &mut String, name: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(out, "{name}: {value}");
}

/// YAML reads JSON's strings.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// FNV-1a: the same on every node, for every version of the compiler. It detects changes, it protects nothing.
fn fingerprint(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

// CMS is gone from Java 14 on; G1 is named because a machine with one core would choose the serial collector, which
// the engines' bootstrap checks refuse. An engine without memory ends, and its supervisor starts it again.
const JVM_COMMON: &str = "8-9:-XX:+UseConcMarkSweepGC
10-:-XX:+UseG1GC
-XX:+ExitOnOutOfMemoryError
-Djava.awt.headless=true
-Dfile.encoding=UTF-8
-Djna.nosys=true
-Dlog4j.shutdownHookEnabled=false
-Dlog4j2.disable.jmx=true
-Dlog4j2.formatMsgNoLookups=true
";

const JVM_ELASTICSEARCH6: &str = "-Xss1m
-XX:-OmitStackTraceInFastThrow
-Des.networkaddress.cache.ttl=60
-Des.networkaddress.cache.negative.ttl=10
-Dio.netty.noUnsafe=true
-Dio.netty.noKeySetOptimization=true
-Dio.netty.recycler.maxCapacityPerThread=0
9-:-Djava.locale.providers=COMPAT
-Djava.io.tmpdir=${ES_TMPDIR}
";

const JVM_OPENSEARCH2: &str = "18-:-Djava.security.manager=allow
-Djava.util.concurrent.ForkJoinPool.common.threadFactory=org.opensearch.secure_sm.SecuredForkJoinWorkerThreadFactory
-Djava.io.tmpdir=${OPENSEARCH_TMPDIR}
";

// The service manager keeps and rotates what is printed.
const LOG4J: &str = "status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %.-10000m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";
