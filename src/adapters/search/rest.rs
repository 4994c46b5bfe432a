//! Requests to the local engine: bounded in time and size, without proxy, redirect or compression.

use super::parse;
use crate::ports::SearchError;
use leaderl_decision::search_plan::{Engine, EngineState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// An answer may have so many bytes; the largest asked for has a few hundred per node.
const LARGEST_ANSWER: usize = 1 << 20;
/// So much of an error's text is kept.
const LARGEST_DETAIL: usize = 300;

/// A client for one engine.
pub(super) struct Rest {
    client: reqwest::Client,
    base: String,
}

impl Rest {
    /// Connects nowhere yet.
    pub(super) fn new(engine: SocketAddr) -> Result<Self, SearchError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(4)
            .build()
            .map_err(silent)?;
        Ok(Self { client, base: format!("http://{engine}") })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        limit: Duration,
    ) -> Result<Value, SearchError> {
        let (status, bytes) = match tokio::time::timeout(limit, self.exchange(&method, path, body)).await {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(SearchError::Silent { detail: format!("{method} {path} took longer than {limit:?}") });
            }
        };
        let request = || format!("{method} {}", path.split('?').next().unwrap_or_default());
        // Without a master some versions answer questions about themselves with 503 or 408 and a whole body.
        let own_words = method == Method::GET
            && (status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::REQUEST_TIMEOUT);
        let parsed: Result<Value, _> = serde_json::from_slice(&bytes);
        match parsed {
            Ok(value) if status.is_success() || (own_words && value.get("error").is_none()) => Ok(value),
            Err(_) if status.is_success() && bytes.is_empty() => Ok(Value::Null),
            Err(why) if status.is_success() => {
                Err(SearchError::Unreadable { request: request(), detail: why.to_string() })
            }
            Ok(_) | Err(_) => {
                let detail = String::from_utf8_lossy(&bytes).chars().take(LARGEST_DETAIL).collect();
                Err(SearchError::Refused { request: request(), status: status.as_u16(), detail })
            }
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Vec<u8>), SearchError> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let mut response = request.send().await.map_err(silent)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if bytes.len() + chunk.len() > LARGEST_ANSWER {
                return Err(SearchError::Unreadable {
                    request: format!("{method} {}", path.split('?').next().unwrap_or_default()),
                    detail: format!("more than {LARGEST_ANSWER} bytes"),
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((response.status(), bytes))
    }
}

/// The causes in one line: a connection refused is three errors deep.
fn silent(why: reqwest::Error) -> SearchError {
    let why = why.without_url();
    let mut detail = why.to_string();
    let mut cause = std::error::Error::source(&why);
    while let Some(inner) = cause {
        detail = format!("{detail}: {inner}");
        cause = inner.source();
    }
    SearchError::Silent { detail }
}

/// What the engine knows without asking its master; the questions are asked side by side.
pub(super) async fn observe(rest: &Rest, engine: Engine, limit: Duration) -> Result<EngineState, SearchError> {
    let master = match engine {
        Engine::Elasticsearch6 | Engine::Elasticsearch7 => "master_node",
        Engine::Opensearch2 => "cluster_manager_node",
    };
    // An index that does not exist keeps the indices' metadata out of the answer.
    let state = format!(
        "/_cluster/state/{master},nodes,metadata/.leaderl-none?local=true&ignore_unavailable=true&allow_no_indices=true\
         &filter_path=cluster_name,cluster_uuid,master_node,cluster_manager_node,nodes.*.name,nodes.*.attributes,\
         metadata.cluster_uuid,metadata.cluster_coordination"
    );
    let (about, health, state, settings) = futures::try_join!(
        rest.ask(Method::GET, "/", None, limit),
        rest.ask(Method::GET, "/_cluster/health?local=true&timeout=500ms&master_timeout=500ms", None, limit),
        rest.ask(Method::GET, &state, None, limit),
        async {
            if !engine.has_quorum_setting() {
                return Ok(Value::Null);
            }
            let path = "/_cluster/settings?local=true&flat_settings=true&master_timeout=500ms";
            rest.ask(Method::GET, path, None, limit).await
        },
    )?;
    Ok(parse::state(engine, &about, &health, &state, &settings))
}

/// zen1's quorum, as a transient setting: after a full restart the files' value holds again, so a quorum that was kept
/// in the engine's own state can never outlive the members it was made for.
pub(super) async fn set_quorum(rest: &Rest, quorum: u32, limit: Duration) -> Result<(), SearchError> {
    let body = json!({ "transient": { "discovery.zen.minimum_master_nodes": quorum } });
    rest.ask(Method::PUT, "/_cluster/settings?master_timeout=1s&timeout=1s", Some(body), limit).await.map(drop)
}

/// Takes voters out by the engine's ids: a name is of no use once its node has gone.
pub(super) async fn exclude_voters(rest: &Rest, ids: &BTreeSet<String>, limit: Duration) -> Result<(), SearchError> {
    let safe = |id: &&String| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let ids: Vec<&str> = ids.iter().filter(safe).map(String::as_str).collect();
    let path = format!("/_cluster/voting_config_exclusions?node_ids={}&timeout=1s", ids.join(","));
    rest.ask(Method::POST, &path, None, limit).await.map(drop)
}

/// Forgets the exclusions without waiting for anybody to leave.
pub(super) async fn clear_exclusions(rest: &Rest, limit: Duration) -> Result<(), SearchError> {
    let path = "/_cluster/voting_config_exclusions?wait_for_removal=false";
    rest.ask(Method::DELETE, path, None, limit).await.map(drop)
}
