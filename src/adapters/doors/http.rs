//! The HTTP door: bounded heads, bounded connections, answers from memory.

use crate::ports::HttpAnswers;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
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
/// Listens at the address until the returned task is aborted or the socket breaks.
pub(super) async fn open(address: SocketAddr, answers: HttpAnswers) -> std::io::Result<JoinHandle<()>> {
    let socket = TcpListener::bind(address).await?;
    Ok(tokio::spawn(accept(socket, answers, Arc::default())))
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
async fn accept(socket: TcpListener, answers: HttpAnswers, guests: Arc<Guests>) {
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
            connections.spawn(serve(stream, guest, answers.clone()));
        }
    }
}

async fn serve(stream: TcpStream, guest: Guest, answers: HttpAnswers) {
    let _ = stream.set_nodelay(true);
    let peer = guest.address;
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = answers(peer, request.method(), request.uri().path());
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

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
