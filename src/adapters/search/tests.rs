use super::*;
use leaderl_decision::model::NodeId;
use leaderl_decision::search_plan::Colour;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(2);

/// An HTTP server that answers each connection once; `answer` gets the request's first line.
async fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 8192];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
            let _ = stream.write_all(answer(request.lines().next().unwrap_or_default()).as_bytes()).await;
        }
    });
    address
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn three_nodes(request: &str) -> String {
    let body: Value = if request.contains("/_cluster/health") {
        json!({"status": "yellow"})
    } else if request.contains("/_cluster/state") {
        json!({"master_node": "id2", "nodes": {
            "id1": {"name": "n1", "attributes": {"leaderl_config": "f", "leaderl_masters": "2"}}, "id2": {"name": "n2"}},
            "metadata": {"cluster_uuid": "u", "cluster_coordination": {"last_committed_config": ["id1", "id2", "id3"],
            "voting_config_exclusions": [{"node_id": "id3", "node_name": "n3"}]}}})
    } else if request.contains("/_cluster/settings") {
        json!({"persistent": {"discovery.zen.minimum_master_nodes": "9"}, "transient": {"discovery.zen.minimum_master_nodes": "2"}})
    } else {
        json!({"name": "n1", "cluster_name": "c", "version": {"number": "6.8.23"}})
    };
    http("200 OK", &body.to_string())
}

#[tokio::test]
async fn a_state_is_put_together_from_the_engines_answers() {
    let rest = rest::Rest::new(serve(three_nodes).await).unwrap();
    let state = rest::observe(&rest, Engine::Elasticsearch6, LIMIT).await.unwrap();
    assert_eq!((state.colour, state.master), (Colour::Yellow, Some(NodeId("n2".to_owned()))));
    assert_eq!((state.fingerprint.as_deref(), state.start_quorum, state.quorum), (Some("f"), Some(2), Some(2)));
    assert_eq!((state.cluster_uuid.as_deref(), state.nodes.len()), (Some("u"), 2));
    assert_eq!(state.voting, None);
    let state = rest::observe(&rest, Engine::Elasticsearch7, LIMIT).await.unwrap();
    let voting = state.voting.unwrap();
    assert_eq!((voting.committed.len(), voting.excluded.len()), (3, 1));
    assert_eq!(state.quorum, None);
}

#[tokio::test]
async fn garbage_redirects_and_refusals_are_errors_and_never_more() {
    for answer in [
        http("200 OK", "{ not json"),
        http("302 Found", "{}").replace("content-type", "location: http://192.0.2.1/\r\ncontent-type"),
        http("500 Internal Server Error", "{\"error\": \"x\"}"),
        "not http at all\r\n\r\n".to_owned(),
    ] {
        let rest = rest::Rest::new(serve(move |_| answer.clone()).await).unwrap();
        assert!(rest::observe(&rest, Engine::Opensearch2, LIMIT).await.is_err());
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let rest = rest::Rest::new(serve(|_| http("200 OK", &" ".repeat(3 << 20))).await).unwrap();
    let why = rest::observe(&rest, Engine::Elasticsearch6, LIMIT).await.unwrap_err();
    assert!(matches!(why, SearchError::Unreadable { .. }), "{why}");
}

#[tokio::test]
async fn a_silent_engine_costs_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rest = rest::Rest::new(listener.local_addr().unwrap()).unwrap();
    let why = rest::observe(&rest, Engine::Elasticsearch6, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(why, SearchError::Silent { .. }), "{why}");
}

#[tokio::test]
async fn a_refused_quorum_names_the_engines_words() {
    let rest = rest::Rest::new(serve(|_| http("400 Bad Request", "{\"error\": \"too many\"}")).await).unwrap();
    let why = rest::set_quorum(&rest, 3, LIMIT).await.unwrap_err().to_string();
    assert!(why.contains("too many") && why.contains("400"), "{why}");
}
