//! pg_rewind and pg_basebackup: each takes its time, may be cut at any point, and leaves what it leaves.

use super::wal::{Data, Ended};
use super::{Phase, Side, Tool};
use crate::world::{MS, SEC, Time, World, note};
use leaderl::heart::protocol::ToolRequest;

impl World {
    /// heart forks the tool; its pid.
    pub(crate) fn start_tool(&mut self, id: usize, request: &ToolRequest) -> Result<u32, String> {
        let number = self.truth.fresh_id();
        let pid = 70_000 + u32::try_from(number % 60_000).unwrap_or(0);
        let name = if request.program.ends_with("pg_rewind") { "pg_rewind" } else { "pg_basebackup" };
        let source = request.args.first().and_then(|arg| arg.parse().ok()).unwrap_or(usize::MAX);
        self.nodes[id].postgres.tool = Some(Tool { pid, name, number });
        note!(self, "n{id} {name} from n{source}");
        crate::oracles::orders::rebuild_begins(self, id);
        let time = if name == "pg_rewind" { self.millis(200, 3000) } else { self.millis(1500, 12_000) };
        let begun = self.now;
        let first = self.millis(20, 150);
        self.after(first, move |w| w.tool_works(id, number, source, begun + time));
        Ok(pid)
    }

    fn tool_is(&self, id: usize, number: u64) -> bool {
        self.nodes[id].postgres.tool.as_ref().is_some_and(|tool| tool.number == number)
    }

    /// Works on while its source answers; a silent source ends it after its keepalives.
    fn tool_works(&mut self, id: usize, number: u64, source: usize, until: Time) {
        if !self.tool_is(id, number) {
            return;
        }
        if !self.nodes[id].is_running() {
            return self.after(100 * MS, move |w| w.tool_works(id, number, source, until));
        }
        let Some(node) = self.nodes.get(source) else { return self.tool_ends(id, number, "no such source") };
        let answers = node
            .postgres
            .server
            .as_ref()
            .is_some_and(|server| !server.frozen && matches!(server.phase, Phase::Primary | Phase::Standby));
        if !self.connected_pg(source, id) || !self.host_runs(source) {
            return self.after(4 * SEC, move |w| {
                if w.connected_pg(source, id) && w.host_runs(source) {
                    w.tool_works(id, number, source, until);
                } else {
                    w.tool_ends(id, number, "the source does not answer");
                }
            });
        }
        if !answers {
            return self.tool_ends(id, number, "the source's server has ended");
        }
        let rewinds = self.nodes[id].postgres.tool.as_ref().is_some_and(|tool| tool.name == "pg_rewind");
        if rewinds && !self.begin_rewinding(id, source, number) {
            return;
        }
        if self.now < until {
            let left = (until - self.now).min(300 * MS);
            return self.after(left, move |w| w.tool_works(id, number, source, until));
        }
        if rewinds {
            self.finish_rewinding(id, source)
        } else {
            self.finish_copying(id, source)
        }
        self.tool_ends(id, number, "");
    }

    /// `false`: it has ended already.
    fn begin_rewinding(&mut self, id: usize, source: usize, number: u64) -> bool {
        let Some(theirs) = self.nodes[source].postgres.data.as_ref() else {
            self.tool_ends(id, number, "the source's files are gone");
            return false;
        };
        let (their_control, their_end) = (theirs.control_timeline, theirs.end());
        let Some(mine) = self.nodes[id].postgres.data.as_mut() else {
            self.tool_ends(id, number, "the data directory is gone");
            return false;
        };
        if !mine.intact {
            // Going on with what it did so far.
            return true;
        }
        if mine.ended == Ended::Not {
            self.tool_ends(id, number, "target server must be shut down cleanly");
            return false;
        }
        if mine.control_timeline == their_control || mine.end() > their_end && mine.timeline == their_control {
            // It compares control files: nothing to do, it says, and exits with success.
            note!(self, "n{id} pg_rewind: no rewind required");
            self.tool_ends(id, number, "");
            return false;
        }
        mine.intact = false;
        crate::oracles::orders::rewind_begins(self, id);
        true
    }

    fn finish_rewinding(&mut self, id: usize, source: usize) {
        self.counts.rewinds += 1;
        let Some(copy) = self.copy_of(source) else { return };
        let kept = self.nodes[id].postgres.data.as_ref().map(|data| data.slots.clone()).unwrap_or_default();
        let common = self.nodes[id].postgres.data.as_ref().map_or(0, |data| data.common(&copy));
        note!(self, "n{id} pg_rewind: done; {common} records in common");
        self.nodes[id].postgres.data = Some(Data { slots: kept, ended: Ended::InRecovery, ..copy });
    }

    fn finish_copying(&mut self, id: usize, source: usize) {
        self.counts.base_copies += 1;
        let copy = self.copy_of(source);
        self.nodes[id].postgres.side = Some(Side { data: copy, ready: false });
        note!(self, "n{id} pg_basebackup: done");
    }

    /// The source's files as a copy gets them: consistent only when replayed to where the source is now.
    fn copy_of(&self, source: usize) -> Option<Data> {
        let theirs = self.nodes[source].postgres.data.as_ref()?;
        let consistent_from = theirs.end();
        let checkpoint = theirs.checkpoint;
        Some(Data { consistent_from, checkpoint, ended: Ended::InRecovery, standby_signal: false, ..theirs.clone() })
    }

    /// What a backup of a whole standby has: its files with whatever token lies in them, without slots.
    pub(crate) fn standby_copy(&self, id: usize) -> Option<Data> {
        let postgres = &self.nodes[id].postgres;
        let stands = postgres.server.as_ref().is_some_and(|server| server.phase == Phase::Standby);
        let whole = postgres.data.as_ref().filter(|data| stands && data.intact && postgres.marks.unsynced.is_none())?;
        Some(Data { ended: Ended::InRecovery, slots: Default::default(), ..whole.clone() })
    }

    fn tool_ends(&mut self, id: usize, number: u64, words: &str) {
        if !self.tool_is(id, number) {
            return;
        }
        let Some(tool) = self.nodes[id].postgres.tool.take() else { return };
        if !words.is_empty() {
            note!(self, "n{id} {}: {words}", tool.name);
        }
        words.clone_into(&mut self.nodes[id].postgres.tool_words);
        let exit = if words.is_empty() { 0 } else { 1 };
        self.after(MS / 5, move |w| w.heart_reaps(id, tool.pid, Some(exit)));
    }

    pub(crate) fn kill_tool(&mut self, id: usize) {
        if let Some(tool) = self.nodes[id].postgres.tool.take() {
            note!(self, "n{id} {} is killed", tool.name);
            self.after(MS / 5, move |w| w.heart_reaps(id, tool.pid, None));
        }
    }
}
