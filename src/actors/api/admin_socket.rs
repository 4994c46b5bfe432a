//! AdminSocketActor: the CLI's way in, a Unix socket whose callers the kernel names.
//!
//! Hears:   `Tick` (timer).
//! Does:    listens on `<runtime_dir>/admin.sock`, answers root and its own user; makes the file again when it is gone.
//! Restart: listens anew; an order once in etcd does not need the socket.

use super::admin_protocol::MAX_LINE;
use super::admin_requests::AdminDesk;
use super::control::Control;
use crate::blackbox::{Kind, Named, own};
use crate::context::NodeContext;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "admin.sock";
/// How long a caller may take for a request, and we for its answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Callers at once.
const CALLERS: usize = 32;
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
    desk: AdminDesk,
    listener: Option<Listening>,
}

struct Listening {
    file: (u64, u64),
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AdminSocketState {
    fn new(runtime_dir: &Path, desk: AdminDesk) -> Self {
        Self { path: runtime_dir.join(SOCKET_NAME), desk, listener: None }
    }

    fn is_ours(&self) -> bool {
        let Some(listening) = &self.listener else { return false };
        !listening.task.is_finished() && identity(&self.path).is_ok_and(|file| file == listening.file)
    }

    fn reopen(&mut self) {
        if self.is_ours() {
            return;
        }
        self.listener = None;
        match bind_private(&self.path) {
            Ok((socket, file)) => {
                tracing::info!(path = %self.path.display(), "the admin socket listens");
                let task = tokio::spawn(accept(socket, self.desk.clone()));
                self.listener = Some(Listening { file, task });
            }
            Err(why) => tracing::warn!(path = %self.path.display(), %why, "no admin socket; trying again"),
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = std::fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
}

/// Binds in a directory that only we can enter, closes the mode, and then moves the socket to its name: at no instant can
/// another user connect, and the process-wide umask, which other threads depend on, stays as it is.
fn bind_private(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let private = directory.join(format!(".admin-{}", hex::encode(random)));
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let bound = || -> io::Result<(UnixListener, (u64, u64))> {
        let first = private.join("s");
        let socket = UnixListener::bind(&first)?;
        std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o600))?;
        let file = identity(&first)?;
        std::fs::rename(&first, path)?;
        Ok((socket, file))
    };
    let result = bound();
    let _ = std::fs::remove_dir_all(&private);
    result
}

async fn accept(socket: UnixListener, desk: AdminDesk) {
    let room = Arc::new(Semaphore::new(CALLERS));
    let mut callers = JoinSet::new();
    loop {
        let Ok((stream, _)) = socket.accept().await else { return };
        while callers.try_join_next().is_some() {}
        // A full house drops the caller, who asks again.
        if let Ok(seat) = room.clone().try_acquire_owned() {
            let desk = desk.clone();
            callers.spawn(async move {
                let _ = converse(stream, &desk).await;
                drop(seat);
            });
        }
    }
}

/// Whether this caller may ask: root, or the user the daemon runs as.
fn may_ask(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

async fn converse(stream: UnixStream, desk: &AdminDesk) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if !may_ask(uid) {
        tracing::warn!(uid, "a caller of the admin socket is refused");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(MAX_LINE as u64);
        let reading = limited.read_until(b'\n', &mut line);
        let size = tokio::time::timeout(REQUEST_LIMIT, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if size == 0 || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let answering = desk.answer_line(&line, uid);
        let answer = tokio::time::timeout(REQUEST_LIMIT, answering).await.map_err(|_| io::ErrorKind::TimedOut)?;
        let mut text = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        text.push(b'\n');
        tokio::time::timeout(REQUEST_LIMIT, write.write_all(&text)).await.map_err(|_| io::ErrorKind::TimedOut)??;
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
        let mut state = AdminSocketState::new(&runtime_dir, AdminDesk::of(node, control));
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
    use leaderl_decision::records::Keys;
    use supervisors::ChildRef;

    fn state(directory: &Path) -> AdminSocketState {
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
        AdminSocketState::new(directory, desk)
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
        let mut state = state(directory.path());
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
        assert_eq!(state.desk.control.stop_mode(state.desk.facts.now()), StopMode::Restart);
    }

    #[tokio::test]
    async fn a_deleted_socket_file_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = state(directory.path());
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

    #[test]
    fn only_root_and_the_daemons_own_user_may_ask() {
        assert!(may_ask(0) && may_ask(nix::unistd::geteuid().as_raw()));
        assert!(!may_ask(nix::unistd::geteuid().as_raw() + 12345));
    }
}
