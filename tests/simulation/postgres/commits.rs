//! Sessions of clients and their commits: written, waiting for standbys, acknowledged.

use super::{Phase, Row, What};
use crate::world::node::Disk;
use crate::world::{MS, Time, World, note};
use leaderl_decision::model::Lsn;

/// A commit that waits for standbys; nobody else sees it meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) lsn: Lsn,
    pub(crate) row: Row,
    pub(crate) session: u64,
}

impl World {
    /// How long a durable write takes here.
    pub(crate) fn disk_time(&mut self, id: usize) -> Time {
        match self.nodes[id].disk {
            Disk::Fine | Disk::Full | Disk::Failing => self.micros(100, 900),
            Disk::Slow(time) => time,
        }
    }

    /// Whether the server takes clients' statements now: out of recovery and not told to end.
    pub(crate) fn is_writable(&self, id: usize) -> bool {
        self.nodes[id].postgres.server.as_ref().is_some_and(|server| server.phase == Phase::Primary)
    }

    /// A session's statement reaches its backend.
    pub(crate) fn commit(&mut self, id: usize, session: u64, row: Row) {
        let Some(server) = self.nodes[id].postgres.server.as_ref() else { return };
        let pid = server.pid;
        if !server.sessions.contains(&session) || server.phase != Phase::Primary {
            return;
        }
        if server.frozen || !self.nodes[id].is_running() {
            return self.after(30 * MS, move |w| w.commit(id, session, row));
        }
        let disk = self.nodes[id].disk;
        if matches!(disk, Disk::Full | Disk::Failing) {
            note!(self, "n{id} postgres: PANIC, the log cannot be written");
            return self.postgres_crashes(id);
        }
        let flush = self.disk_time(id);
        self.after(flush, move |w| w.committed_here(id, pid, session, row));
    }

    fn committed_here(&mut self, id: usize, pid: u32, session: u64, row: Row) {
        let record = self.truth.fresh_id();
        let size = if self.rng.one_in(15) { self.rng.between(10_000, 90_000) } else { self.rng.between(80, 2000) };
        let postgres = &mut self.nodes[id].postgres;
        let (Some(server), Some(data)) = (postgres.server.as_mut(), postgres.data.as_mut()) else { return };
        if server.pid != pid || server.phase != Phase::Primary {
            return;
        }
        if server.frozen {
            return self.after(30 * MS, move |w| w.committed_here(id, pid, session, row));
        }
        let lsn = data.append(What::Row(row), size, record);
        server.replayed = data.log.len();
        let waits = server.waits;
        if waits {
            server.waiters.push(Waiter { lsn, row, session });
        }
        self.push_wal(id);
        if !waits {
            self.acknowledge(id, session, row, lsn);
        }
    }

    /// What one walsender may release, by its own configuration and what all that count have flushed.
    pub(crate) fn release_waiters(&mut self, id: usize, stream: u64) {
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        let Some(sender) = server.senders.iter().find(|sender| sender.stream == stream) else { return };
        if !sender.counted || !sender.streaming {
            return;
        }
        let quorum = sender.names.quorum.max(1) as usize;
        let counting = server.senders.iter().filter(|sender| sender.counted && sender.streaming);
        let mut flushed: Vec<Lsn> = counting.map(|sender| sender.flushed).collect();
        flushed.sort_unstable_by(|one, two| two.cmp(one));
        if let Some(upto) = flushed.get(quorum - 1).copied() {
            self.release_up_to(id, upto);
        }
    }

    pub(crate) fn release_up_to(&mut self, id: usize, upto: Lsn) {
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        let (released, waiting) = server.waiters.drain(..).partition(|waiter| waiter.lsn <= upto);
        server.waiters = waiting;
        let released: Vec<Waiter> = released;
        for waiter in released {
            self.acknowledge(id, waiter.session, waiter.row, waiter.lsn);
        }
    }

    /// The checkpointer reads the names: it switches the waiting on, or off, which releases everybody.
    pub(crate) fn checkpointer_reads_names(&mut self, id: usize, pid: u32) {
        let named = !self.nodes[id].postgres.marks.sync_names.names.is_empty();
        let Some(server) = self.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) else { return };
        if server.frozen {
            return self.after(50 * MS, move |w| w.checkpointer_reads_names(id, pid));
        }
        server.waits = named;
        if !named {
            self.release_up_to(id, Lsn(u64::MAX));
        }
    }

    /// Everything a reader sees here: all but what still waits for standbys.
    pub(crate) fn visible(&self, id: usize) -> Vec<Row> {
        let postgres = &self.nodes[id].postgres;
        let (Some(server), Some(data)) = (&postgres.server, &postgres.data) else { return Vec::new() };
        data.rows().filter(|row| !server.waiters.iter().any(|waiter| waiter.row == *row)).collect()
    }
}
