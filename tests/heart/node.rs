//! One node: a directory, a heart process, a fake postmaster, and a client that speaks heart's protocol.

use leaderl::adapters::clock::BoottimeClock;
use leaderl::heart::SOCKET_NAME;
use leaderl::heart::protocol::{
    HeartMessage, HeartOrder, HeartRequest, HeartState, PostgresProcess, PostgresStart, ToolRequest,
};
use leaderl::ports::{ArmedLease, Clock};
use leaderl::settings::{PortGate, Settings};
use leaderl_decision::model::{Epoch, Nonce, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Pid, getgid, getuid};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A postmaster with a child in its session, one in a session of its own, and one that is stopped.
const POSTMASTER: &str = r#"#!/bin/sh
trap 'kill -KILL $plain $own $stopped; exit 1' QUIT
trap 'kill -KILL $plain $own $stopped; exit 0' INT
sleep 1000 & plain=$!
setsid sleep 1000 & own=$!
sleep 1000 & stopped=$!
kill -STOP $stopped
echo "$$ $plain $own $stopped" > "$2/pids.new" && mv "$2/pids.new" "$2/pids"
while :; do wait $plain; done
"#;

/// The same, deaf to every signal that can be refused.
const DEAF_POSTMASTER: &str = r#"#!/bin/sh
trap '' QUIT INT TERM
sleep 1000 & plain=$!
setsid sleep 1000 & own=$!
sleep 1000 & stopped=$!
kill -STOP $stopped
echo "$$ $plain $own $stopped" > "$2/pids.new" && mv "$2/pids.new" "$2/pids"
while :; do wait $plain; done
"#;

/// In a node's directory: its publish address, if it has a port gate. The others share this machine's network.
const GATE: &str = "gate";
/// In a node's directory: where its heart looks for stop points.
const STOP_POINTS: &str = "stop-points";

pub(crate) fn now() -> Timestamp {
    BoottimeClock.now()
}

/// Runs heart in this process, as `leaderl heart` does.
pub(crate) fn be_heart(directory: &Path) -> ExitCode {
    match leaderl::heart::run(&settings(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(directory: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.node.runtime_dir = directory.join("run");
    settings.postgres.data_dir = directory.join("data");
    settings.fencing.port_gate = PortGate::Off;
    if let Ok(address) = fs::read_to_string(directory.join(GATE)) {
        settings.fencing.port_gate = PortGate::Required;
        settings.node.publish_address = Some(address.parse().expect("an address"));
    }
    settings
}

/// A node's directory and its heart; both end with it.
pub(crate) struct Node {
    directory: tempfile::TempDir,
    pub(crate) heart: Child,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with_gate(None)
    }

    /// With a port gate, if a publish address is given.
    pub(crate) fn with_gate(publish_address: Option<&str>) -> Self {
        let directory = tempfile::Builder::new().prefix("leaderl-heart-").tempdir().expect("a directory");
        fs::create_dir(directory.path().join("data")).expect("a data directory");
        fs::create_dir(directory.path().join(STOP_POINTS)).expect("a directory");
        if let Some(address) = publish_address {
            fs::write(directory.path().join(GATE), address).expect("written");
        }
        fs::write(directory.path().join("data/standby.signal"), "").expect("standby.signal");
        let heart = spawn_heart(directory.path());
        let node = Self { directory, heart };
        wait_until("heart's socket", || node.socket().exists());
        node
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("run").join(SOCKET_NAME)
    }

    pub(crate) fn heart_pid(&self) -> u32 {
        self.heart.id()
    }

    pub(crate) fn signal_heart(&self, signal: Signal) {
        signal_process(self.heart_pid(), signal);
    }

    /// Waits for the heart that was told to end or was killed; its exit code.
    pub(crate) fn heart_ends(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("heart's end", || {
            let ended = self.heart.try_wait().expect("a child");
            code = ended.and_then(|status| status.code());
            ended.is_some()
        });
        code
    }

    /// heart, continued if it stands still, stops itself the next time it comes by; waits until it has.
    pub(crate) fn stop_heart_at(&self, point: &str) {
        let file = self.path().join(STOP_POINTS).join(point);
        fs::write(&file, "").expect("written");
        self.signal_heart(Signal::SIGCONT);
        wait_until("the stop point", || !file.exists());
        let stat = format!("/proc/{}/stat", self.heart_pid());
        let state = || fs::read_to_string(&stat).ok().and_then(|text| text.rsplit_once(") ").map(|it| it.1.to_owned()));
        wait_until("heart's stop", || state().is_some_and(|text| text.starts_with('T')));
    }

    pub(crate) fn restart_heart(&mut self) {
        self.heart = spawn_heart(self.path());
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        path
    }

    pub(crate) fn start_order(&self, deaf: bool) -> PostgresStart {
        let (name, text) = if deaf { ("deaf", DEAF_POSTMASTER) } else { ("postmaster", POSTMASTER) };
        PostgresStart {
            program: self.script(name, text),
            data_dir: self.path().join("data"),
            args: vec![],
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            log_file: self.path().join("postgres.log"),
        }
    }

    pub(crate) fn tool_order(&self, id: u64, text: &str) -> ToolRequest {
        ToolRequest {
            id,
            program: self.script("tool", &format!("#!/bin/sh\n{text}\n")),
            args: vec![],
            env: vec![("SPECIAL".to_owned(), "yes".to_owned())],
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            log_file: self.path().join("tool.log"),
        }
    }

    /// Starts the fake postmaster; its pid and its three children's.
    pub(crate) fn start_postgres(&self, client: &mut Client, deaf: bool) -> Vec<u32> {
        client.order(HeartOrder::StartPostgres { start: self.start_order(deaf) }).expect("started");
        let path = self.path().join("data/pids");
        wait_until("the postmaster's children", || path.exists());
        let pids = fs::read_to_string(&path).expect("pids");
        fs::remove_file(&path).expect("read once");
        pids.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its children die with it: SIGQUIT to the postmaster, and the sweep below for the deaf ones.
        let _ended = self.heart.kill();
        let _reaped = self.heart.wait();
        let here = self.path().join("data");
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == here) {
                signal_process(pid, Signal::SIGKILL);
            }
        }
    }
}

fn spawn_heart(directory: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let log = fs::File::options().create(true).append(true).open(directory.join("heart.log")).expect("a log");
    command.env("LEADERL_STOP_POINTS", directory.join(STOP_POINTS));
    command.arg("heart").arg(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("heart")
}

pub(crate) fn signal_process(pid: u32, signal: Signal) {
    // Already gone is fine.
    let _gone = kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal);
}

/// Exists and is not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim().chars().next(), Some('Z' | 'X') | None))
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A daemon's end of the socket, blocking.
pub(crate) struct Client {
    fd: OwnedFd,
    next_id: u64,
    pub(crate) state: HeartState,
}

impl Client {
    pub(crate) fn connect(socket_path: &Path) -> Self {
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let address = UnixAddr::new(socket_path).expect("an address");
        wait_until("a connection", || connect(fd.as_raw_fd(), &address).is_ok());
        let limit = i64::try_from(LIMIT.as_secs()).expect("seconds");
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(limit)).expect("a limit");
        Self { fd, next_id: 0, state: HeartState::default() }
    }

    pub(crate) fn attach(socket: &Path) -> Self {
        let mut client = Self::connect(socket);
        client.order(HeartOrder::Attach { version: "test".to_owned() }).expect("attached");
        client
    }

    pub(crate) fn send_bytes(&self, packet: &[u8]) {
        send(self.fd.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL).expect("sent");
    }

    /// The next message; `None` when heart closed the connection.
    pub(crate) fn receive(&mut self) -> Option<HeartMessage> {
        let mut buffer = vec![0; 64 * 1024];
        let length = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("a message in time");
        let packet = &buffer[..length];
        let message = (length > 0).then(|| serde_json::from_slice(packet).expect("a message"));
        if let Some(HeartMessage::State { state }) = &message {
            self.state = HeartState::clone(state);
        }
        message
    }

    pub(crate) fn order(&mut self, order: HeartOrder) -> Result<(), String> {
        self.next_id += 1;
        let request = HeartRequest { id: self.next_id, order };
        self.send_bytes(&serde_json::to_vec(&request).expect("JSON"));
        loop {
            match self.receive().expect("an answer") {
                HeartMessage::Reply { id, refused } if id == self.next_id => return refused.map_or(Ok(()), Err),
                HeartMessage::Reply { .. } | HeartMessage::State { .. } => {}
            }
        }
    }

    pub(crate) fn wait_for(&mut self, what: &str, mut seen: impl FnMut(&HeartState) -> bool) {
        let start = Instant::now();
        while !seen(&self.state) {
            assert!(start.elapsed() < LIMIT, "{what}: {:?}", self.state);
            self.receive().expect("a state");
        }
    }

    pub(crate) fn wait_until_gone(&mut self) {
        self.wait_for("PostgreSQL's end", |state| state.postgres == PostgresProcess::Gone);
    }

    /// Arms epoch 7 with the fence `after` now.
    pub(crate) fn arm(&mut self, after: Duration) -> Timestamp {
        self.arm_epoch(7, after)
    }

    pub(crate) fn arm_epoch(&mut self, epoch: u64, after: Duration) -> Timestamp {
        let t0 = now();
        let fence_at = t0.plus(after);
        let lease = ArmedLease { epoch: Epoch(epoch), nonce: Nonce("a".to_owned()), seq: t0.0, t0, fence_at };
        self.order(HeartOrder::Arm { lease }).expect("armed");
        fence_at
    }
}
