//! `node.json`: this node's lasting identity. A node that has none is not configured.

use super::Settings;
use super::private_file::{self, PrivateFileError};
use leaderl_decision::model::NodeId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// Chosen once; names the etcd member, the standby and the slot.
    pub guid: NodeId,
    /// `node.name` when the node was created.
    pub name: String,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Neither created nor joined.
    #[error("this node belongs to no cluster yet ({} is missing); run `leaderl create-cluster` or `leaderl join-cluster PEER`", .0.display())]
    NotConfigured(PathBuf),
    /// The file cannot be used.
    #[error("{} is broken; restore it, or remove this node from the cluster and join again", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The identity is not 32 lowercase hexadecimal digits.
    #[error("{}: `{guid}` is no identity (32 lowercase hexadecimal digits)", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What stands there.
        guid: String,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// No random numbers.
    #[error("the kernel gave no random numbers")]
    NoRandom,
}

/// So many random bytes in hexadecimal.
pub fn random_hex(bytes: usize) -> Result<String, IdentityError> {
    let mut random = vec![0u8; bytes];
    getrandom::fill(&mut random).map_err(|_| IdentityError::NoRandom)?;
    Ok(hex::encode(random))
}

impl NodeIdentity {
    /// Where it is kept.
    pub fn path(settings: &Settings) -> PathBuf {
        settings.node.state_dir.join("node.json")
    }

    /// A fresh one.
    pub fn generate(settings: &Settings) -> Result<Self, IdentityError> {
        Ok(Self { guid: NodeId(random_hex(16)?), name: settings.node.name.clone() })
    }

    /// Reads it; [`IdentityError::NotConfigured`] when the node is neither created nor joined.
    pub fn read(settings: &Settings) -> Result<Self, IdentityError> {
        let file = Self::path(settings);
        let bytes = match private_file::read(&file, 4096) {
            Err(PrivateFileError::Missing(file)) => return Err(IdentityError::NotConfigured(file)),
            other => other?,
        };
        let identity: Self =
            serde_json::from_slice(&bytes).map_err(|source| IdentityError::Broken { file: file.clone(), source })?;
        if !identity.guid.is_well_formed() {
            return Err(IdentityError::Malformed { file, guid: identity.guid.0 });
        }
        Ok(identity)
    }

    /// Writes it durably; never over another.
    pub fn create(&self, settings: &Settings) -> Result<(), IdentityError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        Ok(private_file::create(&Self::path(settings), &text)?)
    }
}
