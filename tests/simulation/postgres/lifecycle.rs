//! A server's life: started as a standby, recovering, promoted, told to end, killed.

use super::replication::Reads;
use super::wal::Ended;
use super::{Phase, Receiver, Server, What};
use crate::faults::scenes::On;
use crate::world::node::Disk;
use crate::world::{MS, SEC, Time, World, note};
use leaderl_decision::model::Lsn;
use std::collections::BTreeSet;

impl World {
    /// heart forks the postmaster; its pid, or why not.
    pub(crate) fn start_postmaster(&mut self, id: usize) -> Result<u32, String> {
        let pid = 1000 + u32::try_from(self.truth.fresh_id() % 60_000).unwrap_or(0);
        let postgres = &mut self.nodes[id].postgres;
        let Some(data) = postgres.data.as_mut() else { return Err("no data directory".into()) };
        if !data.standby_signal {
            return Err("standby.signal is missing".into());
        }
        let was_orderly = data.ended != Ended::Not;
        data.ended = Ended::Not;
        postgres.starts += 1;
        let names = postgres.marks.sync_names.clone();
        let conninfo = postgres.marks.upstream.clone();
        postgres.server = Some(Server {
            pid,
            phase: Phase::Starting,
            frozen: false,
            conninfo,
            receiver: Receiver::None,
            attempt: 0,
            paused: false,
            replayed: 0,
            waits: !names.names.is_empty(),
            names,
            senders: Vec::new(),
            waiters: Vec::new(),
            promoted_at: Lsn(0),
            sessions: BTreeSet::new(),
            checkpoints: (0, 0),
            reloads: 0,
            predecessor_until: 0,
        });
        note!(self, "n{id} postgres: starts (pid {pid})");
        let slow = self.nodes[id].postgres.slow_recovery;
        let recovery = if was_orderly { self.millis(40, 250) } else { self.millis(100, 1500) };
        let disk_bad =
            matches!(self.nodes[id].disk, Disk::Full | Disk::Failing) || self.nodes[id].postgres.start_refused;
        if disk_bad {
            let fails = self.millis(20, 200);
            self.after(fails, move |w| {
                if w.server_is(id, pid) {
                    note!(w, "n{id} postgres: does not start");
                    w.postgres_crashes(id);
                }
            });
        } else {
            let wait = self.millis(5, 40);
            self.plan_connect(id, pid, wait);
            self.after(recovery + slow, move |w| w.recovered(id, pid));
        }
        Ok(pid)
    }

    pub(crate) fn server_is(&self, id: usize, pid: u32) -> bool {
        self.nodes[id].postgres.server.as_ref().is_some_and(|server| server.pid == pid)
    }

    /// It has replayed what it has; it answers once that is consistent.
    fn recovered(&mut self, id: usize, pid: u32) {
        let moving = self.nodes[id].is_running();
        let postgres = &mut self.nodes[id].postgres;
        let (Some(server), Some(data)) = (postgres.server.as_mut(), postgres.data.as_ref()) else { return };
        if server.pid != pid || server.phase != Phase::Starting {
            return;
        }
        if !data.intact {
            note!(self, "n{id} postgres: PANIC, the data directory is damaged");
            return self.postgres_crashes(id);
        }
        if server.frozen || !moving || data.end() < data.consistent_from {
            self.after(50 * MS, move |w| w.recovered(id, pid));
            return;
        }
        server.replayed = data.log.len();
        server.phase = Phase::Standby;
        let (end, timeline) = (Lsn(data.end()), data.timeline);
        note!(self, "n{id} postgres: standby at {end} on timeline {timeline}");
        if self.nodes[id].postgres.marks.unsynced.is_some() {
            self.spring(On::Remade, id);
        }
    }

    /// `pg_promote`.
    pub(crate) fn promote_server(&mut self, id: usize) {
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        if server.phase != Phase::Standby || server.frozen {
            return;
        }
        server.phase = Phase::Promoting;
        server.receiver = Receiver::None;
        let pid = server.pid;
        note!(self, "n{id} postgres: promotion is asked for");
        let slow = self.nodes[id].postgres.slow_promotion;
        let time = match slow {
            Some(slow) => slow,
            None => self.millis(20, 250),
        };
        self.after(time, move |w| w.promoted(id, pid));
    }

    fn promoted(&mut self, id: usize, pid: u32) {
        let moving = self.nodes[id].is_running();
        let record = self.truth.fresh_id();
        let postgres = &mut self.nodes[id].postgres;
        let (Some(server), Some(data)) = (postgres.server.as_mut(), postgres.data.as_mut()) else { return };
        if server.pid != pid || server.phase != Phase::Promoting {
            return;
        }
        if server.frozen || !moving {
            return self.after(30 * MS, move |w| w.promoted(id, pid));
        }
        let (parent, at) = (data.timeline, data.end());
        data.timeline = data.next_timeline();
        data.history.insert(data.timeline, (parent, at));
        data.standby_signal = false;
        data.append(What::Other, 120, record);
        server.replayed = data.log.len();
        server.promoted_at = Lsn(at);
        server.phase = Phase::Primary;
        let timeline = data.timeline;
        note!(self, "n{id} postgres: PRIMARY on timeline {timeline}, forked from {parent} at {}", Lsn(at));
        self.truth.writer_changed = true;
        crate::oracles::promotion::check(self, id);
        self.push_wal(id);
        let checkpoint = self.millis(100, 3000);
        self.after(checkpoint, move |w| w.checkpointed(id, pid));
    }

    /// A checkpoint is complete.
    pub(crate) fn checkpointed(&mut self, id: usize, pid: u32) {
        let postgres = &mut self.nodes[id].postgres;
        let (Some(server), Some(data)) = (postgres.server.as_ref(), postgres.data.as_mut()) else { return };
        if server.pid == pid && server.phase == Phase::Primary {
            data.control_timeline = data.timeline;
            data.checkpoint = data.end();
        }
    }

    /// SIGINT: sessions end, a shutdown checkpoint is written, streaming standbys get it.
    pub(crate) fn stop_fast(&mut self, id: usize) {
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        if server.phase == Phase::Ending || server.frozen {
            return;
        }
        let was_primary = server.phase == Phase::Primary;
        server.phase = Phase::Ending;
        server.receiver = Receiver::None;
        let pid = server.pid;
        note!(self, "n{id} postgres: fast stop");
        self.truth.writer_changed = true;
        self.end_sessions(id);
        self.leave_stuck_backend(id);
        let time = self.millis(15, 250) + self.disk_time(id);
        self.after(time, move |w| w.write_shutdown(id, pid, was_primary));
    }

    fn write_shutdown(&mut self, id: usize, pid: u32, was_primary: bool) {
        if !self.server_is(id, pid) {
            return;
        }
        let stuck = self.nodes[id].postgres.orphans_until > self.now;
        let frozen = self.nodes[id].postgres.server.as_ref().is_some_and(|server| server.frozen);
        if !self.nodes[id].is_running() || frozen || stuck {
            return self.after(30 * MS, move |w| w.write_shutdown(id, pid, was_primary));
        }
        if matches!(self.nodes[id].disk, Disk::Full | Disk::Failing) {
            return self.postgres_crashes(id);
        }
        let record = self.truth.fresh_id();
        if was_primary && let Some(data) = self.nodes[id].postgres.data.as_mut() {
            data.control_timeline = data.timeline;
            data.checkpoint = data.end();
            data.append(What::Shutdown, 120, record);
        }
        self.push_wal(id);
        self.await_senders(id, pid, was_primary, self.now + 3 * SEC);
    }

    /// A primary that shuts down waits until its standbys have everything, or their walsenders time out.
    fn await_senders(&mut self, id: usize, pid: u32, was_primary: bool, until: u64) {
        let postgres = &self.nodes[id].postgres;
        let (Some(server), Some(data)) = (&postgres.server, &postgres.data) else { return };
        if server.pid != pid {
            return;
        }
        let end = Lsn(data.end());
        let behind = server.senders.iter().any(|sender| sender.streaming && sender.flushed < end);
        if behind && self.now < until {
            return self.after(5 * MS, move |w| w.await_senders(id, pid, was_primary, until));
        }
        if let Some(data) = self.nodes[id].postgres.data.as_mut() {
            data.ended = if was_primary { Ended::AsPrimary } else { Ended::InRecovery };
        }
        note!(self, "n{id} postgres: stopped at {end}");
        self.postmaster_ends(id, Some(0));
    }

    fn end_sessions(&mut self, id: usize) {
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        server.waiters.clear();
        let sessions = std::mem::take(&mut server.sessions);
        for session in sessions {
            self.close_session(id, session);
        }
    }

    /// SIGQUIT, and what every crash looks like: the postmaster takes its children along.
    pub(crate) fn stop_immediately(&mut self, id: usize) {
        let Some(server) = self.nodes[id].postgres.server.as_ref() else { return };
        if server.frozen {
            return;
        }
        let pid = server.pid;
        let time = self.millis(4, 40);
        self.after(time, move |w| {
            if w.server_is(id, pid) && w.nodes[id].is_running() {
                w.postgres_crashes(id);
            }
        });
    }

    pub(crate) fn postgres_crashes(&mut self, id: usize) {
        if self.nodes[id].postgres.server.is_some() {
            note!(self, "n{id} postgres: ends without order");
            self.postmaster_ends(id, None);
        }
    }

    /// kill -9 of the postmaster: its backends notice only when they next look.
    pub(crate) fn kill_postmaster(&mut self, id: usize) {
        if self.nodes[id].postgres.server.is_some() {
            note!(self, "n{id} postgres: postmaster is killed");
            self.nodes[id].postgres.orphans_until = self.now + self.millis(1, 65);
            self.leave_stuck_backend(id);
            self.postmaster_ends(id, None);
        }
    }

    /// A backend in the middle of something that no signal but SIGKILL interrupts, perhaps with an answer for its client.
    fn leave_stuck_backend(&mut self, id: usize) {
        let postgres = &mut self.nodes[id].postgres;
        if postgres.stuck_until > self.now {
            postgres.orphans_until = postgres.orphans_until.max(postgres.stuck_until);
            let primary = postgres.data.as_ref().is_some_and(|data| !data.standby_signal);
            if primary {
                postgres.orphan_answers_until = postgres.stuck_until;
                note!(self, "n{id} postgres: a backend is stuck");
            }
            self.truth.writer_changed = true;
        }
    }

    /// SIGKILL to every process of it, frozen ones too.
    pub(crate) fn kill_all_of_postgres(&mut self, id: usize) {
        self.no_process_is_left_over(id);
        if self.nodes[id].postgres.server.is_some() {
            note!(self, "n{id} postgres: every process is killed");
            self.postmaster_ends(id, None);
        }
    }

    pub(crate) fn no_process_is_left_over(&mut self, id: usize) {
        let postgres = &mut self.nodes[id].postgres;
        postgres.orphans_until = 0;
        postgres.stuck_until = 0;
        postgres.orphan_answers_until = 0;
    }

    /// How many of its processes there are.
    pub(crate) fn postgres_processes(&self, id: usize) -> u32 {
        let postgres = &self.nodes[id].postgres;
        let orphans = u32::from(postgres.orphans_until > self.now);
        postgres
            .server
            .as_ref()
            .map_or(orphans, |server| 6 + u32::try_from(server.sessions.len() + server.senders.len()).unwrap_or(0))
    }

    fn postmaster_ends(&mut self, id: usize, exit_code: Option<i32>) {
        self.end_sessions(id);
        let Some(server) = self.nodes[id].postgres.server.take() else { return };
        self.truth.writer_changed = true;
        let pid = server.pid;
        // heart reaps it.
        let wait = self.micros(50, 800);
        self.after(wait, move |w| w.heart_reaps(id, pid, exit_code));
    }

    /// The machine is gone, and with it every process.
    pub(crate) fn postgres_dies(&mut self, id: usize) {
        self.end_sessions(id);
        let postgres = &mut self.nodes[id].postgres;
        postgres.server = None;
        postgres.tool = None;
        self.no_process_is_left_over(id);
        self.truth.writer_changed = true;
    }

    /// `pg_reload_conf`: every process reads the files at a time of its own.
    pub(crate) fn reload_server(&mut self, id: usize) {
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        server.reloads += 1;
        let pid = server.pid;
        let slow = self.nodes[id].postgres.slow_reload;
        let postmaster = self.micros(100, 4000) + if slow > 0 { self.micros(0, slow / 4000) } else { 0 };
        self.after(postmaster, move |w| {
            let names = w.nodes[id].postgres.marks.sync_names.clone();
            if let Some(server) = w.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) {
                server.names = names;
                w.senders_reload(id, pid, slow);
            }
        });
        let startup = self.millis(1, 20) + if slow > 0 { self.micros(0, slow / 1000) } else { 0 };
        self.after(postmaster + startup, move |w| w.startup_reads_conninfo(id, pid));
        let checkpointer = if self.rng.one_in(30) { self.millis(20, 500) } else { self.millis(1, 15) };
        let checkpointer = checkpointer + if slow > 0 { self.micros(0, slow / 1000) } else { 0 };
        self.after(postmaster + checkpointer, move |w| w.checkpointer_reads_names(id, pid));
    }

    /// The postmaster hands the signal on to every walsender that there is now.
    fn senders_reload(&mut self, id: usize, pid: u32, slow: Time) {
        let Some(server) = self.nodes[id].postgres.server.as_ref() else { return };
        let streams: Vec<u64> = server.senders.iter().map(|sender| sender.stream).collect();
        for stream in streams {
            let sender = self.millis(1, 30) + if slow > 0 { self.micros(0, slow / 1000) } else { 0 };
            self.after(sender, move |w| w.sender_reads_names(id, pid, stream, Reads::File));
        }
    }

    fn startup_reads_conninfo(&mut self, id: usize, pid: u32) {
        let Some(server) = self.nodes[id].postgres.server.as_ref().filter(|server| server.pid == pid) else { return };
        if server.frozen || !self.nodes[id].is_running() {
            return self.after(30 * MS, move |w| w.startup_reads_conninfo(id, pid));
        }
        if matches!(server.phase, Phase::Standby | Phase::Starting) {
            let conninfo = self.nodes[id].postgres.marks.upstream.clone();
            self.change_upstream(id, pid, conninfo);
        }
    }
}
