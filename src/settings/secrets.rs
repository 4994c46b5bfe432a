//! The secrets file: passwords and tokens, never printed.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A text that does not show itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `secrets.json`, 0600.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// 32 hexadecimal digits; names the cluster in etcd.
    pub cluster_id: String,
    /// etcd's initial cluster token.
    pub etcd_token: String,
    /// Password of the superuser role.
    pub superuser_password: Secret,
    /// Password of the replication role.
    pub replication_password: Secret,
    /// The search engine's cluster name.
    pub search_cluster_name: String,
}
