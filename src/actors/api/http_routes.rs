//! The answers of port 7331, each made from memory alone.

use super::cluster_report::ClusterReport;
use super::facts::Facts;
use super::metrics;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::postgres_report::PostgresState;
use std::net::IpAddr;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Whether `/leader` says 200 now: the election says so, its word has not expired, and enough followers stream.
pub fn is_serving_leader(facts: &dyn Facts) -> bool {
    let board = facts.board();
    let promised = {
        let election = board.election.borrow();
        election.serves && (facts.now() < election.serves_until || planted(Planted::StaleLeaderAnswer))
    };
    promised && streaming_followers(facts) >= facts.settings().http.required_active_followers as usize
}

fn streaming_followers(facts: &dyn Facts) -> usize {
    match &facts.board().postgres.borrow().state {
        PostgresState::Primary(primary) => primary.followers.values().filter(|follower| follower.streaming).count(),
        PostgresState::Unknown
        | PostgresState::Down { .. }
        | PostgresState::Starting
        | PostgresState::Standby { .. }
        | PostgresState::Promoting { .. }
        | PostgresState::Stopping => 0,
    }
}

/// The answer to one request. `peer` decides about `/status` and `/metrics`.
pub fn answer(facts: &dyn Facts, peer: IpAddr, method: &Method, path: &str) -> Answer {
    if !matches!(path, "/leader" | "/health" | "/status" | "/metrics") {
        return plain(StatusCode::NOT_FOUND, "not found\n");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/leader" if is_serving_leader(facts) => plain(StatusCode::OK, "leader\n"),
        "/leader" => plain(StatusCode::SERVICE_UNAVAILABLE, "not the leader\n"),
        "/health" => plain(StatusCode::OK, "ok\n"),
        _ if !is_trusted(facts, peer) => plain(StatusCode::FORBIDDEN, "only for members and this host\n"),
        "/status" => status(facts),
        _ => typed("text/plain; version=0.0.4", metrics::render(facts)),
    }
}

/// Loopback, this node, or an address of a member.
fn is_trusted(facts: &dyn Facts, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    if peer.is_loopback() || facts.settings().node.publish_address == Some(peer) {
        return true;
    }
    let view = facts.board().cluster.borrow().clone();
    view.members.values().any(|member| member.record.address.parse() == Ok(peer))
}

fn status(facts: &dyn Facts) -> Answer {
    let report = ClusterReport::from_facts(facts);
    let own = report.nodes.iter().find(|node| node.guid == facts.guid().0);
    let board = facts.board();
    let vip = board.vip.borrow().clone();
    let gate = board.gate.borrow().clone();
    let search = board.search.borrow().clone();
    let busy = board.postgres.borrow().busy.clone();
    let body = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_secs": facts.now().since(board.started_at).as_secs(),
        "state": board.election.borrow().state,
        "node": own,
        "postgres_busy": busy,
        "vip": {"configured": vip.configured, "bound": vip.bound, "problems": vip.problems},
        "port_gate": {"state": gate.state, "reason": gate.reason},
        "search": {"health": search.health, "nodes": search.nodes, "has_master": search.has_master,
                   "problems": search.problems},
        "cluster": report.cluster,
        "nodes": report.nodes,
    });
    typed("application/json", format!("{body:#}\n"))
}

fn plain(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn typed(kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FakeNode, three_nodes};
    use super::*;
    use leaderl_decision::model::Timestamp;
    use std::sync::Arc;

    #[test]
    fn status_and_metrics_are_for_members_and_this_host() {
        let node = FakeNode::new();
        node.board.cluster.send_replace(Arc::new(three_nodes(node.now())));
        let ask =
            |peer: &str, path: &str| answer(&node, peer.parse().unwrap(), &hyper::Method::GET, path).status().as_u16();
        for (peer, expected) in [
            ("127.0.0.1", 200),
            ("::1", 200),
            ("10.0.0.12", 200),
            ("::ffff:10.0.0.12", 200),
            ("10.0.0.99", 403),
            ("fd00::1", 403),
        ] {
            assert_eq!(ask(peer, "/status"), expected, "{peer}");
            assert_eq!(ask(peer, "/metrics"), expected, "{peer}");
            assert_eq!(ask(peer, "/health"), 200, "{peer}");
        }
    }

    #[test]
    fn required_followers_hold_the_200_back() {
        let mut node = FakeNode::new();
        node.settings.http.required_active_followers = 1;
        node.board.election.send_modify(|view| {
            view.serves = true;
            view.serves_until = Timestamp(u64::MAX);
        });
        assert!(!is_serving_leader(&node));
        let mut primary = leaderl_decision::postgres_report::PrimaryReport::default();
        let row = leaderl_decision::postgres_report::FollowerReport { streaming: true, ..Default::default() };
        primary.followers.insert(super::super::testing::guid(2), row);
        node.board
            .postgres
            .send_modify(|report| report.state = leaderl_decision::postgres_report::PostgresState::Primary(primary));
        assert!(is_serving_leader(&node));
    }
}
