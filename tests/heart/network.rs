//! A node's network with clients at the other end of a cable, and a server on PostgreSQL's port.

use crate::node::{LIMIT, now, wait_until};
use leaderl_decision::model::Timestamp;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The node's publish address.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// Another address of the node, as a VIP would be.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 100);
/// Beyond the cable: a client, and another member.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 9);
pub(crate) const MEMBER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);
const PORT: u16 = 5432;
/// A packet that is not dropped arrives within microseconds here.
const SILENCE: Duration = Duration::from_millis(600);
/// How often the server says something.
const PACE: Duration = Duration::from_millis(5);

pub(crate) fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().expect("a command");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a part of this program in a fresh network namespace.
pub(crate) fn run_inside(part: &str) {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("unshare").arg("-n").arg(program).args(["inside", part]).status().expect("unshare");
    assert!(status.success(), "failed in the namespace");
}

/// These checks add addresses and flush packet filters: never in the namespace that this machine lives in.
pub(crate) fn only_inside(checks: fn() -> ExitCode) -> ExitCode {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).expect("a namespace");
    let outside = of(&std::os::unix::process::parent_id().to_string());
    assert_ne!(
        of("self"),
        outside,
        "this part runs in a network namespace of its own: start it without these arguments"
    );
    checks()
}

/// What lies beyond the cable: a namespace kept open by a sleeping process.
pub(crate) struct Beyond(Child);

impl Beyond {
    /// Lays the cable into this process's own namespace.
    pub(crate) fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "300"]).spawn().expect("unshare");
        let beyond = Self(holder);
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        wait_until("a namespace", || std::fs::read_link(beyond.path()).is_ok_and(|theirs| theirs != own));
        let pid = beyond.0.id().to_string();
        run(&["ip", "link", "set", "lo", "up"]);
        run(&["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"]);
        run(&["ip", "link", "set", "far", "netns", &pid]);
        for address in [NODE, VIP] {
            run(&["ip", "address", "add", &format!("{address}/24"), "dev", "near"]);
        }
        run(&["ip", "link", "set", "near", "up"]);
        let inside = ["nsenter", "--net", "--target", &pid];
        for address in [CLIENT, MEMBER] {
            run(&[&inside[..], &["ip", "address", "add", &format!("{address}/24"), "dev", "far"]].concat());
        }
        run(&[&inside[..], &["ip", "link", "set", "far", "up"]].concat());
        beyond
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Connects from an address beyond the cable.
    pub(crate) fn connect(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<TcpStream, ErrorKind> {
        let namespace = File::open(self.path()).expect("a namespace");
        let work = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("their namespace");
            let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
            bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0))).expect("their address");
            let stream = TcpStream::from(fd);
            // Bounds the connecting as well.
            stream.set_write_timeout(Some(SILENCE)).expect("a limit");
            stream.set_read_timeout(Some(SILENCE)).expect("a limit");
            connect(stream.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to, PORT)))
                .map_err(|errno| std::io::Error::from(errno).kind())?;
            Ok(stream)
        };
        std::thread::spawn(work).join().expect("connected or not")
    }

    /// Refused at once, not dropped.
    pub(crate) fn refused(&self, from: Ipv4Addr, to: Ipv4Addr) {
        assert_eq!(self.connect(from, to).map(drop), Err(ErrorKind::ConnectionRefused), "{from} to {to}");
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A server on PostgreSQL's port that says a byte to everybody every 5 ms, asked or not, and hears what they say.
pub(crate) struct Server {
    heard: Arc<Mutex<Option<Timestamp>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("the port");
        listener.set_nonblocking(true).expect("no waiting");
        let (heard, over) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (hears, ends) = (Arc::clone(&heard), Arc::clone(&over));
        let work = move || {
            let mut guests: Vec<TcpStream> = Vec::new();
            while !ends.load(Ordering::Acquire) {
                while let Ok((guest, _)) = listener.accept() {
                    guest.set_nonblocking(true).expect("no waiting");
                    guest.set_nodelay(true).expect("no delay");
                    guests.push(guest);
                }
                let mut word = [0; 64];
                guests.retain_mut(|guest| {
                    if guest.read(&mut word).is_ok_and(|length| length > 0) {
                        *hears.lock().expect("a lock") = Some(now());
                    }
                    !guest.write_all(b"x").is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
                });
                std::thread::sleep(PACE);
            }
        };
        Self { heard, over, thread: Some(std::thread::spawn(work)) }
    }

    /// When a guest's word last arrived.
    pub(crate) fn last_heard(&self) -> Option<Timestamp> {
        *self.heard.lock().expect("a lock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// An open session whose every byte is noted by its time of arrival.
pub(crate) struct Session {
    stream: TcpStream,
    last: Arc<Mutex<Option<Timestamp>>>,
    end: Arc<Mutex<Option<ErrorKind>>>,
    _reader: JoinHandle<()>,
}

impl Session {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (last, end) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let (notes, ends) = (Arc::clone(&last), Arc::clone(&end));
        let mut reading = stream.try_clone().expect("a handle");
        let reader = std::thread::spawn(move || {
            let mut word = [0; 4096];
            loop {
                match reading.read(&mut word) {
                    Ok(0) => break *ends.lock().expect("a lock") = Some(ErrorKind::UnexpectedEof),
                    Ok(_) => *notes.lock().expect("a lock") = Some(now()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => break *ends.lock().expect("a lock") = Some(error.kind()),
                }
            }
        });
        let session = Self { stream, last, end, _reader: reader };
        wait_until("the server's word", || session.last().is_some());
        session
    }

    pub(crate) fn last(&self) -> Option<Timestamp> {
        *self.last.lock().expect("a lock")
    }

    pub(crate) fn end(&self) -> Option<ErrorKind> {
        *self.end.lock().expect("a lock")
    }

    pub(crate) fn say(&mut self) {
        // A full buffer or a dead session: the server hears nothing then, and that is what is looked at.
        let _unheard = self.stream.write_all(b"y");
    }

    /// The server's words arrive.
    pub(crate) fn is_alive(&self) -> bool {
        let before = self.last();
        let end = now().plus(SILENCE);
        while now() < end {
            if self.last() != before {
                return true;
            }
            std::thread::sleep(PACE);
        }
        false
    }

    /// Waits until the last word lies so far back; returns its time.
    pub(crate) fn falls_silent(&self) -> Timestamp {
        wait_until("silence", || now().since(self.last().unwrap_or_default()) > SILENCE);
        self.last().unwrap_or_default()
    }
}

pub(crate) fn sleep_until(instant: Timestamp) {
    let left = instant.since(now());
    assert!(left < LIMIT);
    std::thread::sleep(left);
}
