//! Real sockets for callers.

mod admin;
mod http;

use crate::ports::{AdminAnswers, Doors, HttpAnswers, OpenDoor};
use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::task::JoinHandle;

/// TCP and Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDoors;

struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl OpenDoor for Listening {
    fn is_open(&self) -> bool {
        !self.0.is_finished()
    }
}

#[async_trait]
impl Doors for RealDoors {
    async fn open_http(&self, address: SocketAddr, answers: HttpAnswers) -> io::Result<Box<dyn OpenDoor>> {
        Ok(Box::new(Listening(http::open(address, answers).await?)))
    }

    fn open_admin(&self, path: &Path, answers: AdminAnswers) -> io::Result<Box<dyn OpenDoor>> {
        Ok(Box::new(admin::open(path, answers)?))
    }
}
