//! The members' client URLs as last known, so that a daemon finds the others also while its own member is down.

use super::config::local_url;
use crate::adapters::etcd::EtcdStore;
use crate::ports::ENDPOINTS_FILE;
use crate::settings::private_file::{self, PrivateFileError};
use crate::settings::{RunMode, Settings};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `etcd-endpoints.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownEndpoints {
    /// The other members' client URLs.
    pub others: Vec<String>,
}

fn path(settings: &Settings) -> PathBuf {
    settings.node.state_dir.join(ENDPOINTS_FILE)
}

/// What was last known; nothing when the file is absent or broken: the local member knows.
pub fn load(settings: &Settings) -> KnownEndpoints {
    let bytes = private_file::read(&path(settings), 65_536).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The file's contents for these URLs.
pub fn document(others: &[String]) -> Vec<u8> {
    serde_json::json!(KnownEndpoints { others: others.to_vec() }).to_string().into_bytes()
}

/// Remembers the others' URLs.
pub fn save(settings: &Settings, others: &[String]) -> Result<(), PrivateFileError> {
    private_file::replace(&path(settings), &document(others), 0o600)
}

/// The URL asked first: the local member's, or the first of an external etcd.
pub fn first(settings: &Settings) -> String {
    match settings.etcd.mode {
        RunMode::Managed | RunMode::Off => local_url(settings.etcd.client_port),
        RunMode::External => {
            settings.etcd.endpoints.first().cloned().unwrap_or_else(|| local_url(settings.etcd.client_port))
        }
    }
}

/// The store of this node's daemon and CLI, with every member known so far.
pub fn store(settings: &Settings) -> EtcdStore {
    let others = match settings.etcd.mode {
        RunMode::Managed | RunMode::Off => load(settings).others,
        RunMode::External => settings.etcd.endpoints.iter().skip(1).cloned().collect(),
    };
    EtcdStore::new(&first(settings), &others)
}
