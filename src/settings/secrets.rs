//! The secrets file: passwords and tokens, never printed.

use super::identity::{IdentityError, random_hex};
use super::private_file::{self, PrivateFileError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// A larger file is not ours, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

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

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Not the JSON it should be. The text is not shown: it may hold secrets.
    #[error("{} is no secrets file: line {line}, column {column}; copy it again from another node", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// A field breaks a rule.
    #[error("{}: `{key}` {rule}; copy the file again from another node", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// The field.
        key: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] IdentityError),
}

impl Secrets {
    /// Fresh ones for a new cluster; passwords are 100 hexadecimal digits, as the original's.
    pub fn generate() -> Result<Self, SecretsError> {
        Ok(Self {
            cluster_id: random_hex(16)?,
            etcd_token: random_hex(50)?,
            superuser_password: Secret(random_hex(50)?),
            replication_password: Secret(random_hex(50)?),
            search_cluster_name: format!("leaderl-{}", random_hex(4)?),
        })
    }

    /// Reads a file of mode 0600 without following links.
    pub fn read(file: &Path) -> Result<Self, SecretsError> {
        Self::parse(file, &private_file::read(file, MAX_BYTES)?)
    }

    /// Writes a new file durably; never over another.
    pub fn create(&self, file: &Path) -> Result<(), SecretsError> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        Ok(private_file::create(file, &text)?)
    }

    fn parse(file: &Path, bytes: &[u8]) -> Result<Self, SecretsError> {
        let secrets: Self = serde_json::from_slice(bytes).map_err(|why| SecretsError::Broken {
            file: file.to_owned(),
            line: why.line(),
            column: why.column(),
        })?;
        let refused = |key, rule| Err(SecretsError::Refused { file: file.to_owned(), key, rule });
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if secrets.cluster_id.len() != 32 || !hex(&secrets.cluster_id) {
            return refused("cluster_id", "is not 32 lowercase hexadecimal digits");
        }
        for (key, password) in [
            ("superuser_password", &secrets.superuser_password),
            ("replication_password", &secrets.replication_password),
        ] {
            if password.0.is_empty() || password.0.contains(['\n', '\r', '\0']) {
                return refused(key, "is empty or has a line break");
            }
        }
        if secrets.etcd_token.is_empty() || secrets.search_cluster_name.trim().is_empty() {
            return refused("etcd_token` or `search_cluster_name", "is empty");
        }
        Ok(secrets)
    }
}
