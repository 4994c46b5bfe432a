//! What the daemon's statements and file changes do.

use super::{Phase, Slot, What};
use crate::world::reply::Reply;
use crate::world::{MS, World, note};
use leaderl::heart::protocol::ToolRequest;
use leaderl_decision::model::{Lsn, Revision, Timeline};
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::replication_plan::Source;

/// What a remote server says: the timeline it writes (`None` in recovery), its flushed position, its control file's timeline.
pub(crate) type Remote = Option<(Timeline, Lsn, Timeline)>;

impl World {
    pub(crate) fn fresh_sentinel_name(&mut self, revision: Revision) -> String {
        format!("detached_r{revision}_{:x}", self.truth.fresh_id())
    }

    pub(crate) fn flushed(&self, id: usize) -> Option<Lsn> {
        self.nodes[id].postgres.data.as_ref().map(|data| Lsn(data.end()))
    }

    /// A small record that waits for nobody.
    pub(crate) fn write_other(&mut self, id: usize) -> Option<()> {
        let record = self.truth.fresh_id();
        let postgres = &mut self.nodes[id].postgres;
        let server = postgres.server.as_mut().filter(|server| server.phase == Phase::Primary)?;
        let data = postgres.data.as_mut()?;
        data.append(What::Other, 100, record);
        server.replayed = data.log.len();
        self.push_wal(id);
        Some(())
    }

    pub(crate) fn create_slot(&mut self, id: usize, name: &str) -> Option<()> {
        let data = self.nodes[id].postgres.data.as_mut()?;
        let restart = Lsn(data.end());
        data.slots.entry(name.to_owned()).or_insert(Slot { restart, lost: false });
        Some(())
    }

    pub(crate) fn drop_slot(&mut self, id: usize, name: &str) -> Option<()> {
        let data = self.nodes[id].postgres.data.as_mut()?;
        data.slots.remove(name);
        let server = self.nodes[id].postgres.server.as_mut()?;
        server.senders.retain(|sender| !name.ends_with(&sender.guid.0));
        Some(())
    }

    /// Asks another node's server for its timeline and positions.
    pub(crate) fn ask_remote(&mut self, id: usize, source: &Source, reply: Reply<Remote>) {
        let Some(to) = self.host_of(source) else { return reply.send(None) };
        self.send_pg(to, id, to, move |w| {
            let postgres = &w.nodes[to].postgres;
            let (server, data) = (postgres.server.as_ref(), postgres.data.as_ref());
            if server.is_some_and(|server| server.frozen) {
                return;
            }
            let answer = server.zip(data).and_then(|(server, data)| {
                let control = Timeline(data.control_timeline);
                match server.phase {
                    Phase::Primary => Some((Timeline(data.timeline), Lsn(data.end()), control)),
                    Phase::Standby => Some((Timeline(0), Lsn(data.end()), control)),
                    Phase::Starting | Phase::Promoting | Phase::Ending => None,
                }
            });
            let time = w.micros(300, 3000);
            w.after(time, move |w| w.send_pg(to, to, id, move |_| reply.send(answer)));
        });
    }

    /// How a tool is run; its number is the world's, and its source stands first among its arguments.
    pub(crate) fn tool_request(&mut self, name: &str, address: &str) -> ToolRequest {
        let source = self.nodes.iter().position(|node| node.address == address).unwrap_or(usize::MAX);
        ToolRequest {
            id: self.truth.fresh_id(),
            program: format!("/bin/{name}").into(),
            args: vec![source.to_string()],
            env: Vec::new(),
            uid: 1,
            gid: 1,
            log_file: "log".into(),
        }
    }

    /// The copy beside becomes PGDATA; what was there is kept.
    pub(crate) fn swap_in(&mut self, id: usize) {
        let postgres = &mut self.nodes[id].postgres;
        let Some(side) = postgres.side.take() else { return };
        if !side.ready || postgres.server.is_some() {
            self.truth.violate(self.now, "I6", format!("n{id} swaps in an unfinished copy, or under a running server"));
            return;
        }
        let (had, kept) = (postgres.data.is_some(), postgres.kept);
        if had && !planted(Planted::OldCopyDeleted) {
            postgres.kept += 1;
        }
        if had && postgres.kept == kept {
            self.truth.violate(self.now, "I6", format!("n{id} deletes its old copy"));
        }
        let postgres = &mut self.nodes[id].postgres;
        postgres.data = side.data;
        postgres.marks.copies += 1;
        note!(self, "n{id} postgres: the new copy is swapped in, the old one is kept");
    }

    /// A checkpoint is asked for: which server does it, and the number to wait for.
    pub(crate) fn begin_checkpoint(&mut self, id: usize) -> Option<(u32, u64)> {
        let server = self.nodes[id].postgres.server.as_mut()?;
        server.checkpoints.0 += 1;
        let (pid, number) = (server.pid, server.checkpoints.0);
        let time = self.millis(8, 200) + self.disk_time(id);
        if self.rng.percent(80) {
            self.checkpointer_reads_names(id, pid);
        }
        self.after(time, move |w| w.end_checkpoint(id, pid, number));
        Some((pid, number))
    }

    fn end_checkpoint(&mut self, id: usize, pid: u32, number: u64) {
        let Some(server) = self.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) else { return };
        if server.frozen {
            return self.after(30 * MS, move |w| w.end_checkpoint(id, pid, number));
        }
        server.checkpoints.1 = server.checkpoints.1.max(number);
        self.checkpointed(id, pid);
        // Its loop looks at signals again before it serves another request.
        self.checkpointer_reads_names(id, pid);
    }

    /// `None`: not yet; `Some(false)`: never.
    pub(crate) fn checkpoint_done(&self, id: usize, (pid, number): (u32, u64)) -> Option<bool> {
        match self.nodes[id].postgres.server.as_ref().filter(|server| server.pid == pid) {
            None => Some(false),
            Some(server) => (server.checkpoints.1 >= number).then_some(true),
        }
    }
}
