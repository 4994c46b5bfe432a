//! Words that are accepted, words that are not, and the exit codes of a node without a cluster or a daemon.

use super::*;
use crate::settings::identity::NodeIdentity;

fn exit(words: &[&str]) -> Result<ExitCode, CliError> {
    dispatch(Cli::try_parse_from(words).unwrap())
}

fn usage(words: &[&str]) -> i32 {
    Cli::try_parse_from(words).map_or_else(|error| error.exit_code(), |_| 0)
}

#[test]
fn words_of_the_field_are_understood_under_both_names() {
    for program in ["leaderl", "chef-backend-ctl", "/usr/bin/chef-backend-ctl"] {
        for words in [
            &["create-cluster", "--elasticsearch-wait-time", "30", "--etcd-wait-time", "30", "-y", "--accept-license"]
                [..],
            &["create-cluster", "--quiet"],
            &["join-cluster", "10.0.0.1", "-p", "10.0.0.2", "-i", "eth1", "-s", "/tmp/s.json", "-y", "--verbose"],
            &["join-cluster", "b1", "--publish_address", "10.0.0.2"],
            &["remove-node", "b3", "-y"],
            &["cluster-status"],
            &["cluster-status", "--json"],
            &["cluster-status", "--format", "yaml"],
            &["status"],
            &["status", "postgresql"],
            &["status", "disk"],
            &["status", "--simple"],
            &["promote", "b2"],
            &["demote"],
            &["force-leader", "--accept-data-loss", "--i-have-checked", "2"],
            &["set-cluster-failover", "disabled"],
            &["set-node-failover", "on", "b2"],
            &["set-node-failover", "true"],
            &["events", "--last", "5", "--json"],
            &["actors", "tree"],
            &["actors", "tree", "--declared"],
            &["actors", "list", "--watch"],
            &["actors", "show", "health.etcd", "--format", "json"],
            &["actors", "trace", "election", "--last", "20"],
            &["actors", "top"],
            &["actors", "restart", "vip"],
            &["actors", "kill", "health(postgres)"],
            &["show-config", "--config", "/x"],
            &["--config", "/x", "run"],
            &["run", "--config", "/x"],
            &["heart"],
            &["announce-stop", "upgrade"],
        ] {
            let all: Vec<_> = [program].iter().chain(words).copied().collect();
            assert_eq!(usage(&all), 0, "{all:?}");
        }
    }
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for words in [
        &["leaderl"][..],
        &["leaderl", "promote"],
        &["leaderl", "promot", "b2"],
        &["leaderl", "set-cluster-failover", "maybe"],
        &["leaderl", "set-cluster-failover"],
        &["leaderl", "create-cluster", "--etcd-wait-time", "0"],
        &["leaderl", "create-cluster", "--quiet", "--verbose"],
        &["leaderl", "join-cluster"],
        &["leaderl", "join-cluster", "b1", "-p", "not-an-address"],
        &["leaderl", "demote", "b1"],
        &["leaderl", "cluster-status", "--format", "xml"],
        &["leaderl", "actors"],
        &["leaderl", "actors", "kill"],
        &["leaderl", "actors", "tree", "--declared", "--watch"],
    ] {
        assert_eq!(usage(words), 2, "{words:?}");
    }
    assert_eq!(usage(&["leaderl", "--help"]), 0);
    assert_eq!(usage(&["leaderl", "help", "promote"]), 0);
    assert_eq!(usage(&["leaderl", "--version"]), 0);
}

struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { directory: tempfile::tempdir().unwrap() };
        let at = |name: &str| host.path(name);
        // Ports of nobody: no test may meet a real etcd.
        let text = format!(
            "[node]\nname = \"n1\"\npublish_address = \"127.0.0.1\"\nstate_dir = \"{}\"\nruntime_dir = \"{}\"\n\
             runit_dir = \"{}\"\nsecrets_file = \"{}\"\n[etcd]\nclient_port = 1\npeer_port = 2\n",
            at("state"),
            at("run"),
            at("sv"),
            at("secrets.json")
        );
        std::fs::write(host.path("leaderl.toml"), text).unwrap();
        host
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn run(&self, words: &[&str]) -> Result<ExitCode, CliError> {
        let config = self.path("leaderl.toml");
        let all: Vec<_> = ["leaderl", "--config", &config].iter().chain(words).copied().collect();
        exit(&all)
    }
}

#[test]
fn a_node_without_a_cluster_is_1_and_says_what_to_run() {
    let host = Host::new();
    for words in [
        &["cluster-status"][..],
        &["cluster-status", "--json"],
        &["status"],
        &["promote", "b2"],
        &["demote"],
        &["force-leader"],
        &["set-cluster-failover", "off"],
        &["set-node-failover", "off"],
        &["remove-node", "b2", "-y"],
        &["run"],
    ] {
        let error = host.run(words).unwrap_err();
        assert_eq!(error.code, 1, "{words:?}");
        assert!(error.to_string().contains("leaderl create-cluster"), "{words:?}: {error}");
    }
    assert_eq!(host.run(&["show-config"]).unwrap(), ExitCode::SUCCESS);
    let missing = exit(&["leaderl", "--config", "/nonexistent", "cluster-status"]).unwrap_err();
    assert!(missing.code == 1 && missing.to_string().contains("--config"), "{missing}");
}

#[test]
fn without_a_daemon_an_order_fails_and_says_so() {
    let host = Host::new();
    let mut settings = Settings::default();
    settings.node.state_dir = host.path("state").into();
    NodeIdentity::generate(&settings).unwrap().create(&settings).unwrap();
    let error = host.run(&["actors", "tree"]).unwrap_err();
    assert!(error.code == 1 && error.to_string().contains("is its service `leaderl` running?"), "{error}");
    let again = host.run(&["create-cluster", "--quiet"]).unwrap_err();
    assert!(again.to_string().contains("configured already"), "{again}");
    let join = host.run(&["join-cluster", "127.0.0.9", "--quiet"]).unwrap_err();
    assert!(join.to_string().contains("configured already"), "{join}");
}

#[test]
fn data_of_somebody_else_is_refused_before_anything_is_changed() {
    let host = Host::new();
    let etcd = host.path("state/etcd");
    std::fs::create_dir_all(&etcd).unwrap();
    std::fs::write(format!("{etcd}/member"), "x").unwrap();
    for words in [&["create-cluster", "--quiet"][..], &["join-cluster", "127.0.0.9", "--quiet"]] {
        let error = host.run(words).unwrap_err();
        // On a machine that lacks PostgreSQL or a capability that is said first; either way nothing is written.
        assert_eq!(error.code, 1, "{error}");
        assert!(!std::path::Path::new(&host.path("state/node.json")).exists());
        assert!(!std::path::Path::new(&host.path("secrets.json")).exists());
    }
}
