//! AdminSocketActor: the CLI's way in, a Unix socket whose callers the kernel names.
//!
//! Hears:   `Tick` (timer).
//! Does:    listens on `<runtime_dir>/admin.sock`, answers root and its own user; makes the file again when it is gone.
//! Restart: listens anew; an order once in etcd does not need the socket.

use super::admin_requests::AdminDesk;
use super::control::Control;
use crate::blackbox::{Kind, Named, own};
use crate::context::NodeContext;
use crate::ports::{AdminAnswers, Doors, OpenDoor};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "admin.sock";
/// How often the file is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What AdminSocketActor hears.
#[derive(Debug)]
pub enum AdminSocketMessage {
    /// Timer: check that the socket file is still ours.
    Tick,
}

impl Named for AdminSocketMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Tick => own("tick"),
        }
    }
}

/// See the head of this file.
pub struct AdminSocketActor;

/// What AdminSocketActor is started with.
pub type AdminSocketArguments = (Arc<NodeContext>, Arc<Control>);

/// What AdminSocketActor keeps.
pub struct AdminSocketState {
    path: PathBuf,
    doors: Arc<dyn Doors>,
    answers: AdminAnswers,
    listener: Option<Box<dyn OpenDoor>>,
}

impl AdminSocketState {
    fn new(runtime_dir: &Path, doors: Arc<dyn Doors>, desk: AdminDesk) -> Self {
        let answers: AdminAnswers = Arc::new(move |line, uid| {
            let desk = desk.clone();
            Box::pin(async move { serde_json::to_vec(&desk.answer_line(&line, uid).await).unwrap_or_default() })
        });
        Self { path: runtime_dir.join(SOCKET_NAME), doors, answers, listener: None }
    }

    fn reopen(&mut self) {
        if self.listener.as_ref().is_some_and(|door| door.is_open()) {
            return;
        }
        self.listener = None;
        match self.doors.open_admin(&self.path, self.answers.clone()) {
            Ok(door) => {
                tracing::info!(path = %self.path.display(), "the admin socket listens");
                self.listener = Some(door);
            }
            Err(why) => tracing::warn!(path = %self.path.display(), %why, "no admin socket; trying again"),
        }
    }
}

impl Actor for AdminSocketActor {
    type Msg = AdminSocketMessage;
    type State = AdminSocketState;
    type Arguments = AdminSocketArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<AdminSocketMessage>,
        (node, control): AdminSocketArguments,
    ) -> Result<AdminSocketState, ActorProcessingErr> {
        let runtime_dir = node.settings.node.runtime_dir.clone();
        let mut state = AdminSocketState::new(&runtime_dir, node.doors.clone(), AdminDesk::of(node, control));
        state.reopen();
        myself.send_interval(TICK, || AdminSocketMessage::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<AdminSocketMessage>,
        message: AdminSocketMessage,
        state: &mut AdminSocketState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AdminSocketMessage::Tick => state.reopen(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::admin_protocol::{AdminAnswer, AdminRequest, Order};
    use super::super::cluster_report::ClusterReport;
    use super::super::control::StopMode;
    use super::super::testing::{FakeNode, MapStore, three_nodes};
    use super::*;
    use crate::actors::api::facts::Facts;
    use crate::adapters::doors::RealDoors;
    use leaderl_decision::records::Keys;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use supervisors::ChildRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    fn identity(path: &Path) -> std::io::Result<u64> {
        std::fs::symlink_metadata(path).map(|about| about.ino())
    }

    fn state(directory: &Path) -> (AdminSocketState, AdminDesk) {
        let node = FakeNode::new();
        let mut view = three_nodes(node.now());
        let store = MapStore::default();
        let keys = Keys::new("c");
        view.epoch.as_mut().unwrap().revision = store.put(&keys.epoch(), &"e");
        node.board.cluster.send_replace(Arc::new(view));
        let desk = AdminDesk {
            facts: Arc::new(node),
            store: Arc::new(store),
            keys,
            journal: ChildRef::new("journal"),
            control: Arc::new(Control::new()),
        };
        (AdminSocketState::new(directory, Arc::new(RealDoors), desk.clone()), desk)
    }

    async fn ask(path: &Path, requests: &[&str]) -> Vec<AdminAnswer> {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all((requests.join("\n") + "\n").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn each_line_gets_its_answer_and_garbage_a_refusal() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, desk) = state(directory.path());
        state.reopen();
        let mode = std::fs::metadata(&state.path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let cluster = serde_json::to_string(&AdminRequest::ClusterStatus).unwrap();
        let order = AdminRequest::Order { id: "o1".into(), order: Order::Promote { node: "backend-2".into() } };
        let order = serde_json::to_string(&order).unwrap();
        let progress = serde_json::to_string(&AdminRequest::OrderState { id: "o1".into() }).unwrap();
        let stop = serde_json::to_string(&AdminRequest::AnnounceStop { mode: StopMode::Restart }).unwrap();
        let answers = ask(&state.path, &[&cluster, "{\"ask\":\"sudo\"}", "garbage", &order, &progress, &stop]).await;
        assert_eq!(answers.len(), 6);
        let AdminAnswer::Done { value } = &answers[0] else { panic!("{answers:?}") };
        let report: ClusterReport = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(report.nodes.len(), 3);
        assert!(matches!(&answers[1], AdminAnswer::Refused { reason } if reason.code == "bad-request"));
        assert!(matches!(&answers[2], AdminAnswer::Refused { reason } if reason.code == "bad-request"));
        assert!(matches!(&answers[3], AdminAnswer::Done { .. }), "{answers:?}");
        assert!(matches!(&answers[4], AdminAnswer::Done { value } if value["state"] == "pending"), "{answers:?}");
        assert_eq!(desk.control.stop_mode(desk.facts.now()), StopMode::Restart);
    }

    #[tokio::test]
    async fn a_deleted_socket_file_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, _) = state(directory.path());
        state.reopen();
        let first = identity(&state.path).unwrap();
        state.reopen();
        assert_eq!(identity(&state.path).unwrap(), first, "a sound one is left alone");
        std::fs::remove_file(&state.path).unwrap();
        state.reopen();
        assert_eq!(ask(&state.path, &["{\"ask\":\"cluster-status\"}"]).await.len(), 1);
        std::fs::remove_file(&state.path).unwrap();
        std::fs::write(&state.path, "planted").unwrap();
        state.reopen();
        assert_eq!(ask(&state.path, &["{\"ask\":\"cluster-status\"}"]).await.len(), 1);
    }
}
