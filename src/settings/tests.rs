//! What the settings, secrets and identity files accept and refuse.

use super::load::SettingsError;
use super::private_file::PrivateFileError;
use super::secrets::{Secrets, SecretsError};
use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ADDRESS: &str = "[node]\nname = \"n1\"\npublish_address = \"10.0.0.1\"\n";

fn parse(text: &str) -> Result<Settings, SettingsError> {
    Settings::from_text(Path::new("leaderl.toml"), text, |_| {})
}

fn refusal(more: &str) -> String {
    parse(&format!("{ADDRESS}{more}")).expect_err(more).to_string()
}

#[test]
fn an_address_is_enough_and_the_rest_are_the_defaults() {
    let settings = parse(ADDRESS).unwrap();
    let mut expected = Settings::default();
    expected.node.name = "n1".into();
    expected.node.publish_address = Some("10.0.0.1".parse().unwrap());
    assert_eq!(settings, expected);
    assert!(settings.warnings().is_empty());
}

#[test]
fn each_refusal_names_line_key_rule_and_next_step() {
    let table: &[(&str, &str)] = &[
        ("[election]\nleader_ttl = \"3s\"\n", "line 5: `election.leader_ttl`: 3s is less than 4s; set at least 4s"),
        ("[etcd]\nelection_timeout = \"2s\"\n", "`election.leader_ttl`: half of 5s is less than"),
        ("[election]\nleader_tll = \"5s\"\n", "line 5: `election.leader_tll`: unknown field `leader_tll`"),
        ("[election]\nleader_ttl = 5\n", "line 5: `election.leader_ttl`: invalid type: integer"),
        ("[election]\nleader_ttl = \"5 sheep\"\n", "line 5: `election.leader_ttl`:"),
        ("[electoin]\n", "line 4: `electoin`: unknown field"),
        ("[http]\nport = 5432\n", "line 5: `http.port`: 5432 is `postgres.port` already"),
        ("[http]\nport = 70000\n", "line 5: `http.port`:"),
        ("[http]\nport = 0\n", "0 is no port"),
        ("[postgres.parameters]\nfsync = \"off\"\n", "line 5: `postgres.parameters.fsync`: is set by leaderl itself"),
        ("[postgres.parameters]\nwork_mem = \"8MB\\nfsync=off\"\n", "its value has a line break"),
        ("[postgres]\ndata_dir = \"data\"\n", "line 5: `postgres.data_dir`: `data` is not an absolute path"),
        ("[postgres]\nos_user = \"root\"\n", "`root` cannot be this service's user"),
        ("[postgres]\nsuperuser = \"replicator\"\n", "give replication a role of its own"),
        ("[postgres]\nclient_addresses = [\"10.0.0.0/33\"]\n", "line 5: `postgres.client_addresses`"),
        ("[postgres]\nwal_keep_size = \"many\"\n", "`many` is no size"),
        ("[etcd]\nmode = \"external\"\n", "`etcd.endpoints`: an external etcd has none"),
        ("[etcd]\nmode = \"off\"\n", "line 5: `etcd.mode`"),
        ("[etcd]\nendpoints = [\"http://a:2379\"]\n", "a managed etcd has its own"),
        ("[etcd]\nmode = \"external\"\nendpoints = [\"a\"]\n", "line 6: `etcd.endpoints`: `a` is no client URL"),
        ("[vip]\naddresses = [\"10.0.0.300/32\"]\n", "line 5: `vip.addresses`: `10.0.0.300` is not an IP address"),
        ("[vip]\naddresses = [\"10.0.0.3/33\"]\n", "prefix length between 1 and 32"),
        ("[vip]\naddresses = [\"10.0.0.1/32\"]\n", "is this node's publish address"),
        ("[vip]\ninterface = \"a/b\"\n", "`a/b` is no interface name"),
        ("[health]\ninterval = \"1ms\"\n", "`health.interval`"),
        ("[log]\nfilter = \"a=b=c\"\n", "line 5: `log.filter`"),
        ("[search]\nengine = \"solr\"\n", "line 5: `search.engine`: unknown variant `solr`"),
        ("[replication]\nmode = \"none\"\n", "line 5: `replication.mode`"),
        ("[search]\njvm_opts = [\"Xmx1g\"]\n", "`Xmx1g` is no JVM option"),
        ("= 5\n", "line 4"),
    ];
    for (text, expected) in table {
        let said = refusal(text);
        assert!(
            said.contains(expected) && said.starts_with("leaderl.toml:"),
            "{text:?} gave {said:?}, not {expected:?}"
        );
    }
}

#[test]
fn a_name_that_could_be_an_option_or_a_command_is_refused() {
    for name in ["", "-rf", "N1", "$(id)", "a b", "a\nb", ".a", &"a".repeat(64)] {
        assert!(!validate::is_node_name(name), "{name:?}");
    }
    for name in ["n1", "backend-1.example.org", "1"] {
        assert!(validate::is_node_name(name), "{name:?}");
    }
}

#[test]
fn the_original_ttl_of_thirty_seconds_is_accepted() {
    let text = format!(
        "{ADDRESS}[election]\nleader_ttl = \"30s\"\n[etcd]\nheartbeat_interval = \"500ms\"\nelection_timeout = \"5s\"\n"
    );
    parse(&text).unwrap();
}

#[test]
fn without_an_address_the_next_step_is_named_and_the_command_line_can_give_one() {
    let text = "[node]\nname = \"n1\"\n";
    let said = parse(text).unwrap_err().to_string();
    assert!(said.contains("not in the file: `node.publish_address`: there is none; set the address"), "{said}");
    let given = Settings::from_text(Path::new("f"), text, |s| s.node.publish_address = "10.0.0.2".parse().ok());
    assert_eq!(given.unwrap().node.publish_address, "10.0.0.2".parse().ok());
    let missing = Settings::load(Path::new("/nonexistent/leaderl.toml")).unwrap_err();
    assert!(matches!(missing, SettingsError::Unreadable { .. }));
}

#[test]
fn secrets_are_read_only_from_a_plain_private_file_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secrets.json");
    let secrets = Secrets::generate().unwrap();
    assert!(matches!(Secrets::read(&file), Err(SecretsError::File(PrivateFileError::Missing(_)))));
    secrets.create(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(Secrets::read(&file).unwrap(), secrets);
    assert!(matches!(secrets.create(&file), Err(SecretsError::File(PrivateFileError::Present(_)))));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    assert!(!format!("{secrets:?}").contains(&secrets.superuser_password.0));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let said = Secrets::read(&file).unwrap_err().to_string();
    assert!(said.contains("its mode is 0640") && said.contains("chmod 0600"), "{said}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let link = directory.path().join("link.json");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(Secrets::read(&link).unwrap_err().to_string().contains("symbolic link"));
    std::fs::hard_link(&file, directory.path().join("second")).unwrap();
    assert!(Secrets::read(&file).unwrap_err().to_string().contains("second hard link"));
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert!(Secrets::read(&pipe).unwrap_err().to_string().contains("not a plain file"));
    let large = directory.path().join("large");
    private_file::create(&large, &vec![b' '; 70_000]).unwrap();
    assert!(Secrets::read(&large).unwrap_err().to_string().contains("larger than"));
    let broken = directory.path().join("broken");
    private_file::create(&broken, b"{\"cluster_id\": \"hunter2").unwrap();
    assert!(!Secrets::read(&broken).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn an_identity_is_written_once_and_its_absence_means_not_configured() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.node.state_dir = directory.path().join("state");
    let said = identity::NodeIdentity::read(&settings).unwrap_err().to_string();
    assert!(said.contains("create-cluster") && said.contains("join-cluster"), "{said}");
    let identity = identity::NodeIdentity::generate(&settings).unwrap();
    assert!(identity.guid.is_well_formed());
    identity.create(&settings).unwrap();
    assert_eq!(identity::NodeIdentity::read(&settings).unwrap(), identity);
    assert!(identity.create(&settings).is_err());
}
