//! StatusHttpActor: serves `GET /leader`, `/health`, `/status`, `/metrics` from memory only.
//!
//! Hears:   `Tick` (timer).
//! Does:    listens on the publish address and on 127.0.0.1, never on all addresses; opens again what has died.
//! Restart: listens anew; the facts are on the board, so nothing is forgotten.

use super::facts::Facts;
use super::http_routes;
use crate::blackbox::{Kind, Named, own};
use crate::context::NodeContext;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Time for a request's head, and for an idle connection (security.md H04).
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// No connection lives longer, whatever it does.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 8 * 1024;
/// Headers of a request.
const HEADERS: usize = 64;
/// Connections at once, and from one address that is not loopback.
const CONNECTIONS: usize = 256;
const CONNECTIONS_PER_ADDRESS: usize = 10;
/// How often listeners are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What StatusHttpActor hears.
#[derive(Debug)]
pub enum StatusHttpMessage {
    /// Timer: check that every listener still listens.
    Tick,
}

impl Named for StatusHttpMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Tick => own("tick"),
        }
    }
}

/// See the head of this file.
pub struct StatusHttpActor;

/// What StatusHttpActor keeps.
pub struct StatusHttpState {
    facts: Arc<dyn Facts>,
    listeners: BTreeMap<SocketAddr, Option<JoinHandle<()>>>,
    guests: Arc<Guests>,
}

impl Drop for StatusHttpState {
    fn drop(&mut self) {
        self.listeners.values().flatten().for_each(JoinHandle::abort);
    }
}

impl StatusHttpState {
    fn new(facts: Arc<dyn Facts>) -> Self {
        let port = facts.settings().http.port;
        let wanted = [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), facts.settings().node.publish_address];
        let listeners = wanted.into_iter().flatten().map(|ip| (SocketAddr::new(ip, port), None)).collect();
        Self { facts, listeners, guests: Arc::default() }
    }

    async fn reopen(&mut self) {
        for (address, listener) in &mut self.listeners {
            if listener.as_ref().is_some_and(|task| !task.is_finished()) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(socket) => {
                    tracing::info!(%address, "HTTP listens");
                    *listener = Some(tokio::spawn(accept(socket, self.facts.clone(), self.guests.clone())));
                }
                Err(why) => tracing::warn!(%address, %why, "HTTP cannot listen; trying again"),
            }
        }
    }
}

/// Connections by address, so that nobody takes them all.
#[derive(Default)]
struct Guests {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Guests {
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let mut by_address = self.by_address.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let total: usize = by_address.values().sum();
        let own = by_address.get(&address).copied().unwrap_or(0);
        if total >= CONNECTIONS || (own >= CONNECTIONS_PER_ADDRESS && !address.is_loopback()) {
            return None;
        }
        by_address.insert(address, own + 1);
        Some(Guest { guests: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut by_address = self.guests.by_address.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Ends when the socket is broken; the next tick opens another. Dropping it ends its connections.
async fn accept(socket: TcpListener, facts: Arc<dyn Facts>, guests: Arc<Guests>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(why) if why.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(why) => {
                tracing::warn!(%why, "HTTP cannot accept; the listener is opened again");
                return;
            }
        };
        while connections.try_join_next().is_some() {}
        if let Some(guest) = guests.admit(peer.ip().to_canonical()) {
            connections.spawn(serve(stream, guest, facts.clone()));
        }
    }
}

async fn serve(stream: TcpStream, guest: Guest, facts: Arc<dyn Facts>) {
    let _ = stream.set_nodelay(true);
    let peer = guest.address;
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = http_routes::answer(facts.as_ref(), peer, request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    // Pollers reset connections as soon as they have read the status line: errors here are everyday life.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
}

impl Actor for StatusHttpActor {
    type Msg = StatusHttpMessage;
    type State = StatusHttpState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<StatusHttpMessage>,
        node: Self::Arguments,
    ) -> Result<StatusHttpState, ActorProcessingErr> {
        let mut state = StatusHttpState::new(node);
        state.reopen().await;
        myself.send_interval(TICK, || StatusHttpMessage::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<StatusHttpMessage>,
        message: StatusHttpMessage,
        state: &mut StatusHttpState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            StatusHttpMessage::Tick => state.reopen().await,
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "status_http_tests.rs"]
mod tests;
