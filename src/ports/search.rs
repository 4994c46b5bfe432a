//! What EsActor acts through: the engine's REST interface and its files on this node.

use crate::settings::{SearchSettings, Settings};
use async_trait::async_trait;
use leaderl_decision::search_plan::render::EngineFiles;
use leaderl_decision::search_plan::{Engine, EngineState};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The directories of the engine on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPaths {
    /// The unpacked engine; never written.
    pub home: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Its data.
    pub data: PathBuf,
    /// Its temporary files.
    pub tmp: PathBuf,
    /// What it writes besides its standard output (crash reports).
    pub log: PathBuf,
    /// Who owns the last four.
    pub os_user: String,
}

impl SearchPaths {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        let state = settings.node.state_dir.join("search");
        Self {
            home: settings.search.home.clone(),
            config: state.join("config"),
            data: state.join("data"),
            tmp: state.join("tmp"),
            log: settings.node.log_dir.join("search-engine"),
            os_user: settings.search.os_user.clone(),
        }
    }

    /// The program that starts the engine.
    pub fn program(&self, engine: Engine) -> PathBuf {
        self.home.join("bin").join(match engine {
            Engine::Elasticsearch6 | Engine::Elasticsearch7 => "elasticsearch",
            Engine::Opensearch2 => "opensearch",
        })
    }
}

/// The settings' word for an engine, in the plan's terms.
pub fn search_engine_of(settings: &SearchSettings) -> Engine {
    match settings.engine {
        crate::settings::SearchEngine::Elasticsearch6 => Engine::Elasticsearch6,
        crate::settings::SearchEngine::Elasticsearch7 => Engine::Elasticsearch7,
        crate::settings::SearchEngine::Opensearch2 => Engine::Opensearch2,
    }
}

/// What this host offers the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchHost {
    /// Memory this host (or this container) may use, in bytes.
    pub memory_bytes: u64,
    /// `vm.max_map_count`; `None`: unreadable.
    pub max_map_count: Option<u64>,
    /// Whether an address may be bound that is not here yet (`net.ipv4.ip_nonlocal_bind`).
    pub binds_absent_addresses: bool,
    /// Where Java is.
    pub java_home: Option<PathBuf>,
    /// Whether the program is there.
    pub engine_present: bool,
    /// Whether an engine ever ran on this node's data directory.
    pub has_run: bool,
}

/// Why the engine or its files did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No answer in time, or no connection.
    #[error("the search engine does not answer ({detail})")]
    Silent {
        /// What happened.
        detail: String,
    },
    /// It answered with an error.
    #[error("the search engine refused {request} ({status}): {detail}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Its words, shortened.
        detail: String,
    },
    /// It answered something that is not an answer.
    #[error("the search engine's answer to {request} cannot be read: {detail}")]
    Unreadable {
        /// Method and path.
        request: String,
        /// Why.
        detail: String,
    },
    /// A file could not be read or written.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: std::io::Error,
    },
    /// The disk did not come back in time.
    #[error("the search engine's directories did not answer within {limit:?}")]
    Hung {
        /// The limit.
        limit: Duration,
    },
    /// The OS user is missing.
    #[error("there is no OS user `{user}` for the search engine (setting `search.os_user`)")]
    NoUser {
        /// Its name.
        user: String,
    },
}

/// The local search engine. Every call is bounded by the caller's limit, every answer by a size.
#[async_trait]
pub trait SearchEngine: Send + Sync {
    /// What the local engine itself knows, without asking its master.
    async fn observe(&self, limit: Duration) -> Result<EngineState, SearchError>;
    /// zen1: sets `minimum_master_nodes` for as long as the cluster lives; the files carry it over a restart.
    async fn set_quorum(&self, quorum: u32, limit: Duration) -> Result<(), SearchError>;
    /// Takes nodes (engine's ids) out of the voting configuration.
    async fn exclude_voters(&self, ids: &BTreeSet<String>, limit: Duration) -> Result<(), SearchError>;
    /// Forgets all exclusions.
    async fn clear_exclusions(&self, limit: Duration) -> Result<(), SearchError>;
    /// What the host offers.
    async fn host(&self, limit: Duration) -> Result<SearchHost, SearchError>;
    /// Whether the configuration directory holds exactly these contents.
    async fn files_match(&self, files: &EngineFiles, limit: Duration) -> Result<bool, SearchError>;
    /// Makes the engine's directories (owned by its OS user) and writes the files, each by a rename.
    async fn write_files(&self, files: &EngineFiles, limit: Duration) -> Result<(), SearchError>;
}
