//! StatusHttpActor: serves `GET /leader`, `/health`, `/status`, `/metrics` from memory only.
//!
//! Hears:   `Tick` (timer).
//! Does:    listens on the publish address and on 127.0.0.1, never on all addresses; opens again what has died.
//! Restart: listens anew; the facts are on the board, so nothing is forgotten.

use super::http_routes;
use crate::blackbox::{Kind, Named, own};
use crate::context::NodeContext;
use crate::ports::{Doors, HttpAnswers, OpenDoor};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
    answers: HttpAnswers,
    doors: Arc<dyn Doors>,
    listeners: BTreeMap<SocketAddr, Option<Box<dyn OpenDoor>>>,
}

impl StatusHttpState {
    fn new(doors: Arc<dyn Doors>, answers: HttpAnswers, port: u16, publish_address: Option<IpAddr>) -> Self {
        let wanted = [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), publish_address];
        let listeners = wanted.into_iter().flatten().map(|ip| (SocketAddr::new(ip, port), None)).collect();
        Self { answers, doors, listeners }
    }

    async fn reopen(&mut self) {
        for (address, listener) in &mut self.listeners {
            if listener.as_ref().is_some_and(|door| door.is_open()) {
                continue;
            }
            match self.doors.open_http(*address, self.answers.clone()).await {
                Ok(door) => {
                    tracing::info!(%address, "HTTP listens");
                    *listener = Some(door);
                }
                Err(why) => tracing::warn!(%address, %why, "HTTP cannot listen; trying again"),
            }
        }
    }
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
        let (port, publish_address) = (node.settings.http.port, node.settings.node.publish_address);
        let doors = node.doors.clone();
        let answers: HttpAnswers =
            Arc::new(move |peer, method, path| http_routes::answer(node.as_ref(), peer, method, path));
        let mut state = StatusHttpState::new(doors, answers, port, publish_address);
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
mod tests {
    use super::*;
    use crate::adapters::doors::RealDoors;
    use http_body_util::Full;
    use hyper::Response;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_listener_that_died_is_opened_again() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let answers: HttpAnswers = Arc::new(|_, _, _| Response::new(Full::default()));
        let own = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut state = StatusHttpState::new(Arc::new(RealDoors), answers, port, own);
        state.reopen().await;
        assert_eq!(state.listeners.len(), 1, "publish address and loopback are the same here");
        state.listeners.values_mut().for_each(|door| *door = None);
        let limit = std::time::Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            assert!(std::time::Instant::now() < limit, "a dropped door is closed");
            tokio::task::yield_now().await;
        }
        state.reopen().await;
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    }
}
