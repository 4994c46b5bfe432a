//! The search engine: REST over plain HTTP to the local node ([`rest`]), and its directories ([`files`]).

use crate::ports::{SearchEngine, SearchError, SearchHost, SearchPaths, search_engine_of};
use crate::settings::Settings;
use async_trait::async_trait;
use leaderl_decision::search_plan::render::EngineFiles;
use leaderl_decision::search_plan::{Engine, EngineState};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

mod files;
mod parse;
mod rest;

/// The engine of this node.
pub struct LocalSearchEngine {
    engine: Engine,
    paths: SearchPaths,
    rest: rest::Rest,
}

impl LocalSearchEngine {
    /// The engine that the settings describe; it is asked at the publish address. Fails when no HTTP client can be made.
    pub fn new(settings: &Settings) -> Result<Self, SearchError> {
        let address = settings.node.publish_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Self {
            engine: search_engine_of(&settings.search),
            paths: SearchPaths::new(settings),
            rest: rest::Rest::new(SocketAddr::new(address, settings.search.http_port))?,
        })
    }
}

#[async_trait]
impl SearchEngine for LocalSearchEngine {
    async fn observe(&self, limit: Duration) -> Result<EngineState, SearchError> {
        rest::observe(&self.rest, self.engine, limit).await
    }

    async fn set_quorum(&self, quorum: u32, limit: Duration) -> Result<(), SearchError> {
        rest::set_quorum(&self.rest, quorum, limit).await
    }

    async fn exclude_voters(&self, ids: &BTreeSet<String>, limit: Duration) -> Result<(), SearchError> {
        rest::exclude_voters(&self.rest, ids, limit).await
    }

    async fn clear_exclusions(&self, limit: Duration) -> Result<(), SearchError> {
        rest::clear_exclusions(&self.rest, limit).await
    }

    async fn host(&self, limit: Duration) -> Result<SearchHost, SearchError> {
        let (paths, engine) = (self.paths.clone(), self.engine);
        bounded(limit, move || Ok(files::host(&paths, engine))).await
    }

    async fn files_match(&self, files: &EngineFiles, limit: Duration) -> Result<bool, SearchError> {
        let (config, files) = (self.paths.config.clone(), files.clone());
        bounded(limit, move || files::matches(&config, &files)).await
    }

    async fn write_files(&self, files: &EngineFiles, limit: Duration) -> Result<(), SearchError> {
        let (paths, files) = (self.paths.clone(), files.clone());
        bounded(limit, move || files::write(&paths, &files)).await
    }
}

/// File work on a thread of its own: a hung disk costs the caller `limit`, not the runtime.
async fn bounded<T, F>(limit: Duration, work: F) -> Result<T, SearchError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, SearchError> + Send + 'static,
{
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) | Err(_) => Err(SearchError::Hung { limit }),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SearchError {
    let path = path.to_owned();
    move |source| SearchError::File { operation, path, source }
}

#[cfg(test)]
mod tests;
