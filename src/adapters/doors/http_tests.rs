//! Port 7331 on a real loopback listener, over a board that is only memory.

use super::*;
use crate::actors::api::facts::Facts;
use crate::actors::api::http_routes;
use crate::actors::api::testing::FakeNode;
use leaderl_decision::model::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Server {
    node: Arc<FakeNode>,
    address: SocketAddr,
    _listener: JoinSet<()>,
}

async fn server() -> Server {
    let node = Arc::new(FakeNode::new());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut listener = JoinSet::new();
    let facts = node.clone();
    let answers: HttpAnswers =
        Arc::new(move |peer, method, path| http_routes::answer(facts.as_ref(), peer, method, path));
    listener.spawn(accept(socket, answers, Arc::default()));
    Server { node, address, _listener: listener }
}

impl Server {
    /// Sends the bytes and reads until the answer is there in full.
    async fn say(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn status(&self, method: &str, path: &str) -> u16 {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost:7331\r\nConnection: close\r\n\r\n");
        self.say(&request).await.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn lead(&self, until: Duration) {
        let until = self.node.now().plus(until);
        self.node.board.election.send_modify(|view| {
            view.serves = true;
            view.serves_until = until;
        });
    }
}

#[tokio::test]
async fn every_route_and_method_has_its_answer_and_nothing_else_is_there() {
    let server = server().await;
    let table = [
        ("GET", "/leader", 503),
        ("HEAD", "/leader", 503),
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/status", 200),
        ("GET", "/metrics", 200),
        ("POST", "/leader", 405),
        ("PUT", "/health", 405),
        ("DELETE", "/status", 405),
        ("OPTIONS", "/metrics", 405),
        ("GET", "/", 404),
        ("POST", "/", 404),
        ("GET", "/leader/", 404),
        ("GET", "/Leader", 404),
        ("GET", "/events", 404),
        ("GET", "/../leader", 404),
    ];
    for (method, path, expected) in table {
        assert_eq!(server.status(method, path).await, expected, "{method} {path}");
    }
    server.lead(Duration::from_secs(1));
    assert_eq!(server.status("GET", "/leader").await, 200);
    assert_eq!(server.status("HEAD", "/leader").await, 200);
}

#[tokio::test]
async fn the_answer_has_a_length_and_a_tiny_body_and_head_has_none() {
    let server = server().await;
    let got = server.say("GET /leader HTTP/1.1\r\nHost: localhost:7331\r\nConnection: close\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{got}");
    assert!(
        got.to_lowercase().contains("content-length: 15\r\n") && got.ends_with("\r\n\r\nnot the leader\n"),
        "{got}"
    );
    let head = server.say("HEAD /leader HTTP/1.1\r\nHost: localhost:7331\r\nConnection: close\r\n\r\n").await;
    assert!(head.to_lowercase().contains("content-length: 15\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn leader_expires_by_itself_at_its_instant() {
    let server = server().await;
    server.lead(Duration::from_millis(2500));
    server.node.later(Duration::from_millis(2499));
    assert_eq!(server.status("GET", "/leader").await, 200);
    server.node.later(Duration::from_millis(1));
    assert_eq!(server.status("GET", "/leader").await, 503, "nobody has to run for the answer to expire");
    server.node.board.election.send_modify(|view| view.serves_until = Timestamp(u64::MAX));
    assert_eq!(server.status("GET", "/leader").await, 200);
    server.node.board.election.send_modify(|view| view.serves = false);
    assert_eq!(server.status("GET", "/leader").await, 503);
}

#[tokio::test]
async fn pollers_of_all_ages_are_answered() {
    let server = server().await;
    // The old form: the host hidden in the version string and a stray empty line after the head.
    for request in [
        "GET /leader HTTP/1.1\r\nHost: localhost:7331\r\n\r\n\r\n",
        "GET /leader HTTP/1.0\r\n\r\n",
        "\r\nGET /leader HTTP/1.1\r\nHost: localhost:7331\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0u8; 12];
        tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(&head[9..], b"503", "{request:?}");
        // The poller resets as soon as it has read the status line.
        abandon(stream);
    }
    assert_eq!(server.status("GET", "/health").await, 200);
}

/// Closing with unread data makes the kernel send a reset.
fn abandon(stream: TcpStream) {
    drop(stream);
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let server = server().await;
    let request = format!("GET /leader HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close before everything is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap();
    let said = String::from_utf8_lossy(&answer);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
}

#[test]
fn one_address_cannot_take_all_connections() {
    let guests = Arc::new(Guests::default());
    let stranger: IpAddr = "10.0.0.7".parse().unwrap();
    let taken: Vec<_> = (0..CONNECTIONS_PER_ADDRESS).map(|_| guests.admit(stranger).unwrap()).collect();
    assert!(guests.admit(stranger).is_none());
    assert!(guests.admit("10.0.0.8".parse().unwrap()).is_some());
    drop(taken);
    assert!(guests.admit(stranger).is_some());
}
