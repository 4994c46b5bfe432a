//! Where callers come in: HTTP for pollers, a Unix socket for the operator.

use async_trait::async_trait;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Response};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// What is answered to one HTTP request, from memory.
pub type HttpAnswers = Arc<dyn Fn(IpAddr, &Method, &str) -> Response<Full<Bytes>> + Send + Sync>;
/// What is answered to one line of a caller with this uid.
pub type AdminAnswers = Arc<dyn Fn(Vec<u8>, u32) -> BoxFuture<'static, Vec<u8>> + Send + Sync>;

/// An open door; dropping it closes it and ends its conversations.
pub trait OpenDoor: Send + Sync {
    /// Whether callers still come in here.
    fn is_open(&self) -> bool;
}

/// Opens doors.
#[async_trait]
pub trait Doors: Send + Sync {
    /// Serves HTTP at this address: bounded heads, bounded connections.
    async fn open_http(&self, address: SocketAddr, answers: HttpAnswers) -> io::Result<Box<dyn OpenDoor>>;
    /// Serves lines on a Unix socket that only root and our own user may use; replaces what is at the path.
    fn open_admin(&self, path: &Path, answers: AdminAnswers) -> io::Result<Box<dyn OpenDoor>>;
}
