//! The two small configuration files that change while the server runs: `upstream.conf` and `sync.conf`.
//!
//! Each begins with a comment that says in JSON what it means; a file whose rest is not exactly what follows from that
//! comment counts as not written.

use super::layout::Layout;
use super::sentinel;
use leaderl_decision::model::{NodeId, Revision};
use leaderl_decision::replication_plan::{SyncNames, Upstream, slot_name};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a conninfo needs besides its target.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// This node; its standby's name.
    pub(super) guid: NodeId,
    /// The replication role.
    pub(super) user: String,
}

const MARK: &str = "# leaderl: ";

/// `primary_conninfo` and `primary_slot_name` for a target.
pub(super) fn render_upstream(upstream: &Upstream, layout: &Layout, identity: &Identity) -> String {
    let (conninfo, slot) = match upstream {
        Upstream::Unset => (String::new(), String::new()),
        Upstream::Sentinel { name, .. } => {
            let dir = layout.sentinel_dir.display();
            let port = sentinel::PORT;
            (format!("host={dir} port={port} user={} application_name={name}", identity.user), String::new())
        }
        Upstream::Node(source) => {
            let passfile = layout.conf_file("pgpass");
            let conninfo = format!(
                "host={} port={} user={} passfile={} application_name={} connect_timeout=5 keepalives=1 \
                 keepalives_idle=2 keepalives_interval=2 keepalives_count=3 tcp_user_timeout=10000 \
                 options=-cwal_sender_timeout=2500",
                source.address,
                source.port,
                identity.user,
                passfile.display(),
                identity.guid
            );
            (conninfo, slot_name(&identity.guid))
        }
    };
    with_mark(upstream, &format!("primary_conninfo = {}\nprimary_slot_name = {}\n", quoted(&conninfo), quoted(&slot)))
}

/// What a file says; [`Upstream::Unset`] when it says nothing of ours.
pub(super) fn parse_upstream(text: &str, layout: &Layout, identity: &Identity) -> Upstream {
    marked::<Upstream>(text).filter(|said| render_upstream(said, layout, identity) == text).unwrap_or_default()
}

/// A target that is our own listener, under a name nobody has used before.
pub(super) fn sentinel(revision: Revision) -> Upstream {
    let mut fresh = [0u8; 6];
    // Without randomness the clock must do: the name only has to differ from earlier ones of this node.
    if getrandom::fill(&mut fresh).is_err() {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        fresh.copy_from_slice(&since.as_nanos().to_le_bytes()[..6]);
    }
    Upstream::Sentinel { revision, name: format!("detached_r{revision}_{}", hex::encode(fresh)) }
}

/// `synchronous_standby_names` as PostgreSQL shows it.
pub(super) fn names_text(names: &SyncNames) -> String {
    if names.names.is_empty() {
        return String::new();
    }
    let list: Vec<String> = names.names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("ANY {} ({})", names.quorum.max(1), list.join(", "))
}

/// The file for the names.
pub(super) fn render_names(names: &SyncNames) -> String {
    with_mark(names, &format!("synchronous_standby_names = {}\n", quoted(&names_text(names))))
}

/// What that file says; `None` when it is not ours.
pub(super) fn parse_names(text: &str) -> Option<SyncNames> {
    marked::<SyncNames>(text).filter(|said| render_names(said) == text)
}

/// A value as postgresql.conf takes it.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn with_mark<T: Serialize>(said: &T, rest: &str) -> String {
    let json = serde_json::to_string(said).unwrap_or_default();
    format!("{MARK}{json}\n{rest}")
}

fn marked<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text.lines().next()?.strip_prefix(MARK)?).ok()
}
