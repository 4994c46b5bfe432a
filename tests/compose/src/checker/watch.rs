//! `checker watch`: what a frontend can see from outside. Polls `/leader` of every node and asks by ARP who has the VIP,
//! both every 50 ms, and writes each answer down.

use super::arp::Probe;
use super::clock::boot_ns;
use super::observations::{Observation, Poll};
use super::orders;
use crate::{Outcome, While};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

const PACE: Duration = Duration::from_millis(50);
/// HAProxy takes an answer later than this for a failure.
const POLL_LIMIT: Duration = Duration::from_secs(2);

/// The log; one line per observation.
type Log = Arc<Mutex<std::fs::File>>;

/// Observes until standard input ends.
///
/// # Errors
/// The log cannot be created.
pub async fn run(nodes: Vec<(String, IpAddr)>, vip: Option<IpAddr>, log: PathBuf) -> Outcome<()> {
    let file = std::fs::File::create(&log).during(|| format!("creating {}", log.display()))?;
    let file: Log = Arc::new(Mutex::new(file));
    let mut tasks = tokio::task::JoinSet::new();
    for (name, address) in nodes {
        tasks.spawn(poll_leader(name, SocketAddr::new(address, 7331), Arc::clone(&file)));
    }
    if let Some(IpAddr::V4(vip)) = vip {
        probe_vip(vip, Arc::clone(&file))?;
    }
    let mut orders = orders::lines();
    while orders.recv().await.is_some() {}
    tasks.shutdown().await;
    Ok(())
}

fn note(log: &Log, observation: &Observation) {
    let line = format!("{}\n", observation.to_line());
    // A watcher that cannot write must not look like one that saw nothing.
    let written = log.lock().map_err(|_| ()).and_then(|mut file| file.write_all(line.as_bytes()).map_err(|_| ()));
    if written.is_err() {
        eprintln!("checker: the watch log cannot be written");
        std::process::exit(1);
    }
}

async fn poll_leader(name: String, address: SocketAddr, log: Log) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let asked_ns = boot_ns();
        let status = timeout(POLL_LIMIT, ask_leader(address)).await.ok().flatten();
        note(&log, &Observation::Leader(Poll { node: name.clone(), asked_ns, answered_ns: boot_ns(), status }));
    }
}

/// One poll as HAProxy does it: a connection of its own, the literal host, only the status line matters.
pub async fn ask_leader(address: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /leader HTTP/1.1\r\nHost: localhost:7331\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 256];
    while !answer.contains(&b'\n') {
        let length = stream.read(&mut part).await.ok()?;
        if length == 0 {
            return None;
        }
        answer.extend_from_slice(&part[..length]);
    }
    let line = String::from_utf8_lossy(&answer);
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// In a thread of its own, so that a busy checker does not ask late. Ends with the process.
fn probe_vip(vip: Ipv4Addr, log: Log) -> Outcome<()> {
    let probe = Probe::open("eth0", vip)?;
    std::thread::spawn(move || {
        let ended = probe.run(|at_ns, address| note(&log, &Observation::Vip { at_ns, address }));
        if let Err(failure) = ended {
            eprintln!("checker: the VIP's holders are no longer observed: {failure}");
            std::process::exit(1);
        }
    });
    Ok(())
}
