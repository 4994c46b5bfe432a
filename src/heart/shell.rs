//! The guardian's loop: waits for the kernel, tells [`Guard`] what it saw, carries out what comes back.

mod effects;
mod gate;

use super::HeartError;
use super::addresses::Addresses;
use super::guard::{ConnectionId, Event, Guard};
use super::log::Log;
use super::processes::{Census, DataDir, ToolTrack, classify};
use super::sockets::{Connection, Listener, MAX_PACKET_BYTES, Received};
use super::spawn::Launcher;
use super::system::{self, ProcessHandle, Reaped};
use crate::settings::Settings;
use gate::Gatekeeper;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

const MAX_CONNECTIONS: usize = 8;
/// Packets read from one connection before the others get their turn.
const READS_AT_ONCE: u32 = 16;

/// Everything heart holds.
pub(super) struct Shell {
    guard: Guard,
    log: Log,
    said: String,
    data_dir: DataDir,
    launcher: Launcher,
    signals: SignalFd,
    timer: TimerFd,
    listener: Listener,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: ConnectionId,
    /// The attached daemon's process, kept after its connection is gone.
    daemon: Option<ProcessHandle>,
    track: Option<ToolTrack>,
    /// Set while the guard is told of it.
    told: Option<Census>,
    addresses: Option<Addresses>,
    vip_failure: Option<String>,
    gate: Gatekeeper,
    no_gate: bool,
    buffer: Vec<u8>,
    ended: bool,
}

fn kernel(what: &'static str) -> impl FnOnce(Errno) -> HeartError {
    move |source| HeartError::Kernel { what, source }
}

impl Shell {
    pub(super) fn start(settings: &Settings, socket: &Path) -> Result<Self, HeartError> {
        let mut log = Log::new(settings.log.format);
        let launcher = Launcher::new();
        system::become_subreaper().map_err(kernel("become a child subreaper"))?;
        let signals = system::listen_to_signals().map_err(kernel("listen to signals"))?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).map_err(kernel("make a timer"))?;
        let unusable = |source| HeartError::RuntimeDir { path: socket.to_owned(), source };
        let listener = Listener::bind(socket).map_err(unusable)?;
        let (gate, no_gate) = Gatekeeper::start(settings, &mut log);
        let addresses = Addresses::open().map_err(|error| log.warn(&format!("no netlink: {error}"))).ok();
        system::harden(&mut log);
        let now = system::boottime().map_err(kernel("read CLOCK_BOOTTIME"))?;
        let mut shell = Self {
            no_gate: no_gate.is_some(),
            guard: Guard::new(std::process::id(), now, no_gate),
            log,
            said: String::new(),
            data_dir: DataDir::new(&settings.postgres.data_dir),
            launcher,
            signals,
            timer,
            listener,
            connections: BTreeMap::new(),
            last_connection: 0,
            daemon: None,
            track: None,
            told: None,
            addresses,
            vip_failure: None,
            gate,
            buffer: vec![0; MAX_PACKET_BYTES],
            ended: false,
        };
        shell.sweep_addresses(&settings.vip.addresses);
        Ok(shell)
    }

    /// Until SIGTERM has been carried out.
    pub(super) fn run(mut self) -> Result<(), HeartError> {
        self.log.info(&format!("guards {}", self.data_dir.path().display()));
        loop {
            // Who has ended is known before time is looked at, also where heart was stopped and has not read its signals yet.
            self.reap()?;
            self.feed(Event::Tick)?;
            self.look()?;
            if self.ended {
                return Ok(());
            }
            self.wait()?;
        }
    }

    fn feed(&mut self, event: Event) -> Result<(), HeartError> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = system::boottime().map_err(kernel("read CLOCK_BOOTTIME"))?;
            for effect in self.guard.step(event, now) {
                events.extend(self.carry_out(effect));
            }
        }
        Ok(())
    }

    /// Reads the process table whenever the guard asks for it.
    fn look(&mut self) -> Result<(), HeartError> {
        loop {
            let now = system::boottime().map_err(kernel("read CLOCK_BOOTTIME"))?;
            if self.ended || !self.guard.wants_census(now) {
                return Ok(());
            }
            self.look_now()?;
        }
    }

    fn look_now(&mut self) -> Result<(), HeartError> {
        let children = self.reap()?;
        let census = self.census();
        let alone = self.guard.postmaster_pid().is_none() && self.guard.tool_pid().is_none();
        // A child that the table did not show: one that was forked while it was read.
        let unseen = u32::from(alone && children && census.postgres.is_empty());
        let count = |list: &[_]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let event = Event::Census { postgres: count(&census.postgres) + unseen, tool: count(&census.tool) };
        self.told = Some(census);
        let fed = self.feed(event);
        self.told = None;
        fed?;
        if self.guard.tool_pid().is_none() {
            self.track = None;
        }
        Ok(())
    }

    /// The one that the guard is just being told of, else a new one.
    fn fresh_census(&mut self) -> Census {
        match &self.told {
            Some(census) => census.clone(),
            None => self.census(),
        }
    }

    fn census(&mut self) -> Census {
        let table = self.data_dir.read_table();
        let orphans_are_postgres = !self.guard.postgres_gone();
        classify(&table, std::process::id(), self.track.as_mut(), orphans_are_postgres)
    }

    fn reap(&mut self) -> Result<bool, HeartError> {
        let (reaped, children) = system::reap();
        for Reaped { pid, exit_code } in reaped {
            self.feed(Event::Reaped { pid, exit_code })?;
        }
        Ok(children)
    }

    fn wait(&mut self) -> Result<(), HeartError> {
        self.set_timer()?;
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.timer.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        for connection in self.connections.values() {
            let room = if connection.has_waiting() { PollFlags::POLLOUT } else { PollFlags::empty() };
            fds.push(PollFd::new(connection.as_fd(), PollFlags::POLLIN | room));
        }
        if let Some(daemon) = &self.daemon {
            fds.push(PollFd::new(daemon.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => return Err(HeartError::Kernel { what: "wait for events", source }),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        drop(fds);
        let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
        if is_ready(0) {
            self.hear_signals()?;
        }
        for (index, id) in ids.iter().enumerate() {
            if is_ready(3 + index) {
                self.hear_connection(*id)?;
            }
        }
        // After the packets that the daemon sent before it ended.
        if is_ready(3 + ids.len()) {
            self.hear_daemon()?;
        }
        if is_ready(2) {
            self.accept()?;
        }
        Ok(())
    }

    fn set_timer(&self) -> Result<(), HeartError> {
        let set = match self.guard.next_wake() {
            Some(at) => {
                // Zero would disarm it.
                let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(at.0.max(1))));
                self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => self.timer.unset(),
        };
        set.map_err(kernel("set the timer"))
    }

    fn hear_signals(&mut self) -> Result<(), HeartError> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number == libc::SIGTERM || number == libc::SIGINT {
                self.log.info("was told to end");
                self.feed(Event::Terminate)?;
            }
        }
        self.reap().map(drop)
    }

    fn hear_daemon(&mut self) -> Result<(), HeartError> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let mut fds = [PollFd::new(daemon.as_fd(), PollFlags::POLLIN)];
        // It may have been replaced by another daemon since the poll.
        if matches!(poll(&mut fds, PollTimeout::ZERO), Ok(ready) if ready > 0) {
            self.daemon = None;
            self.feed(Event::DaemonEnded)?;
        }
        Ok(())
    }

    fn hear_connection(&mut self, id: ConnectionId) -> Result<(), HeartError> {
        for _ in 0..READS_AT_ONCE {
            let Some(connection) = self.connections.get(&id) else { return Ok(()) };
            let pid = connection.pid;
            match connection.receive(&mut self.buffer) {
                Received::Request(request) => {
                    if matches!(request.order, super::protocol::HeartOrder::StartPostgres { .. }) {
                        self.look_now()?;
                    }
                    self.feed(Event::Request { connection: id, pid, request })?;
                }
                Received::Malformed { id: request, reason } => {
                    self.log.warn(&format!("refused a packet of pid {pid}: {reason}"));
                    self.send(id, |connection| connection.reply(request, Some(reason)));
                }
                Received::Nothing => break,
                Received::Closed => {
                    self.connections.remove(&id);
                    return self.feed(Event::Disconnected { connection: id });
                }
            }
        }
        self.send(id, |_| {});
        Ok(())
    }

    fn accept(&mut self) -> Result<(), HeartError> {
        while let Ok(Some(connection)) = self.listener.accept() {
            if self.connections.len() >= MAX_CONNECTIONS {
                let attached = self.guard.attached();
                let Some(oldest) = self.connections.keys().copied().find(|id| Some(*id) != attached) else { continue };
                self.connections.remove(&oldest);
                self.feed(Event::Disconnected { connection: oldest })?;
            }
            self.last_connection += 1;
            self.connections.insert(self.last_connection, connection);
        }
        Ok(())
    }

    /// Queues by `what` and sends what there is room for; a peer that is gone is noticed by its next read.
    fn send(&mut self, id: ConnectionId, what: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        what(connection);
        let state = self.guard.view();
        if !connection.flush(&state) {
            connection.shut();
        }
    }
}
