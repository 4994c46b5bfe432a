//! Real etcd members on loopback ports, ended with the test.

use leaderl::adapters::etcd::EtcdStore;
use leaderl::ports::{Clock, CoordinationStore};
use leaderl_decision::model::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One test at a time: members of several clusters would slow each other's elections.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// CLOCK_BOOTTIME.
pub(crate) struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
        Timestamp(Duration::from(now).as_nanos() as u64)
    }
}

pub(crate) struct Member {
    pub(crate) client_url: String,
    args: Vec<String>,
    child: Option<Child>,
}

impl Member {
    pub(crate) fn start(&mut self) {
        let child = Command::new(program().unwrap())
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The ports at our end of the established connections to it.
    pub(crate) fn connections(&self) -> Vec<u16> {
        let port: u16 = self.client_url.rsplit(':').next().unwrap().parse().unwrap();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let end = |word: &str| u16::from_str_radix(word.rsplit(':').next().unwrap(), 16).unwrap();
        let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.filter(|words| words[3] == "01" && end(words[2]) == port).map(|words| end(words[1])).collect()
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Members {
    pub(crate) all: Vec<Member>,
    folder: TempDir,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

fn program() -> Option<&'static str> {
    // The last one is what `tests/compose/prepare.sh tools` unpacks.
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/etcd/usr/bin/etcd");
    ["/usr/bin/etcd", "/usr/local/bin/etcd", unpacked].into_iter().find(|path| std::path::Path::new(path).exists())
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Members {
    /// Starts a cluster of `size` members; `None` where etcd is not installed.
    pub(crate) async fn start(size: usize, more: &[&str]) -> Option<Self> {
        if program().is_none() {
            println!("skipped: etcd is not installed here (Debian: etcd-server)");
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().await;
        let mut members = Self { all: Vec::new(), folder: tempfile::tempdir().unwrap(), _turn: turn };
        let ports: Vec<(u16, u16)> = (0..size).map(|_| (free_port(), free_port())).collect();
        let initial: Vec<String> =
            ports.iter().enumerate().map(|(n, (_, peer))| format!("m{n}=http://127.0.0.1:{peer}")).collect();
        for (n, (client, peer)) in ports.into_iter().enumerate() {
            members.add(&format!("m{n}"), client, peer, &initial.join(","), "new", more);
        }
        members.all.iter_mut().for_each(Member::start);
        members.wait_ready().await;
        Some(members)
    }

    /// A member that joins: started by the caller.
    pub(crate) fn join(&mut self, name: &str, client: u16, peer: u16, initial: &str) -> &mut Member {
        self.add(name, client, peer, initial, "existing", &[]);
        self.all.last_mut().unwrap()
    }

    fn add(&mut self, name: &str, client: u16, peer: u16, initial: &str, state: &str, more: &[&str]) {
        let (client_url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut args = vec![
            format!("--name={name}"),
            format!("--data-dir={}", self.folder.path().join(name).display()),
            format!("--listen-client-urls={client_url}"),
            format!("--advertise-client-urls={client_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster={initial}"),
            format!("--initial-cluster-state={state}"),
            "--heartbeat-interval=100".into(),
            "--election-timeout=500".into(),
            "--grpc-keepalive-min-time=200ms".into(),
            "--logger=zap".into(),
        ];
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        self.all.push(Member { client_url, args, child: None });
    }

    async fn wait_ready(&self) {
        let store = self.store(0);
        let until = Instant::now() + Duration::from_secs(20);
        while store.get("ready", Duration::from_millis(500)).await.is_err() {
            assert!(Instant::now() < until, "etcd did not become ready");
        }
    }

    /// A store whose local member is `local`.
    pub(crate) fn store(&self, local: usize) -> Arc<EtcdStore> {
        let others = self.all.iter().enumerate().filter(|(n, _)| *n != local).map(|(_, m)| m.client_url.clone());
        Arc::new(EtcdStore::new(&self.all[local].client_url, &others.collect::<Vec<_>>()))
    }

    /// Which member leads etcd, as soon as one does.
    pub(crate) async fn leader(&self) -> usize {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            for (n, member) in self.all.iter().enumerate() {
                let Ok(mut client) = etcd_client::Client::connect([&member.client_url], None).await else { continue };
                let asked = tokio::time::timeout(Duration::from_millis(300), client.status()).await;
                if let Ok(Ok(status)) = asked
                    && status.leader() != 0
                    && status.header().is_some_and(|header| header.member_id() == status.leader())
                {
                    return n;
                }
            }
            assert!(Instant::now() < until, "etcd has no leader");
        }
    }
}
