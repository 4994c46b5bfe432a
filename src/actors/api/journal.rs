//! JournalActor: keeps every transition with epoch, cause, evidence and duration, for `leaderl events`.
//!
//! Hears:   `Record` (every actor that changes something), `Read` (AdminSocketActor).
//! Does:    keeps the newest in memory, logs each as one line, appends it to `<state_dir>/journal.jsonl`.
//! Restart: reads the end of the file back.

use crate::blackbox::{Kind, Named, heard};
use crate::context::NodeContext;
use crate::ports::{Clock, JOURNAL_FILE, StateFiles};
use leaderl_decision::model::Epoch;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// So many entries stay in memory.
const KEPT: usize = 1000;

/// One line of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Wall clock, RFC 3339.
    pub at: String,
    /// Who says so: `election`, `postgres`, `vip`, ...
    pub actor: String,
    /// Stable code: `became-leader`, `fenced`, `rewound`, ...
    pub code: String,
    /// The epoch it happened under.
    pub epoch: Epoch,
    /// One sentence with cause and evidence.
    pub text: String,
    /// How long the state before it lasted, in milliseconds.
    pub after_ms: u64,
}

/// What JournalActor hears.
#[derive(Debug)]
pub enum JournalMessage {
    /// Keep (and log) this entry. `at` may be empty: the journal fills it.
    Record(JournalEntry),
    /// The newest entries, oldest first.
    Read {
        /// At most so many.
        last: usize,
        /// The answer.
        reply: ractor::RpcReplyPort<Vec<JournalEntry>>,
    },
}

impl Named for JournalMessage {
    fn kind(&self) -> Kind {
        match self {
            Self::Record(_) => heard("record"),
            Self::Read { .. } => heard("read"),
        }
    }
}

/// See the head of this file.
pub struct JournalActor;

/// What JournalActor keeps.
pub struct JournalState {
    entries: VecDeque<JournalEntry>,
    files: Arc<dyn StateFiles>,
    clock: Arc<dyn Clock>,
    /// Lines that were not written because the disk was too slow.
    dropped: u64,
}

impl JournalState {
    fn open(files: Arc<dyn StateFiles>, clock: Arc<dyn Clock>) -> Self {
        let mut entries: VecDeque<_> =
            files.last_lines(JOURNAL_FILE).iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        entries.drain(..entries.len().saturating_sub(KEPT));
        Self { entries, files, clock, dropped: 0 }
    }

    fn record(&mut self, mut entry: JournalEntry) {
        if entry.at.is_empty() {
            entry.at = humantime::format_rfc3339_millis(self.clock.wall()).to_string();
        }
        tracing::info!(
            actor = entry.actor,
            code = entry.code,
            epoch = entry.epoch.0,
            after_ms = entry.after_ms,
            "{}",
            entry.text
        );
        if let Ok(mut line) = serde_json::to_string(&entry) {
            line.push('\n');
            if !self.files.append(JOURNAL_FILE, line) {
                self.dropped += 1;
            }
        }
        self.entries.push_back(entry);
        if self.entries.len() > KEPT {
            self.entries.pop_front();
        }
    }

    fn newest(&self, last: usize) -> Vec<JournalEntry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(last)).cloned().collect()
    }
}

impl Actor for JournalActor {
    type Msg = JournalMessage;
    type State = JournalState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        _: ActorRef<JournalMessage>,
        node: Self::Arguments,
    ) -> Result<JournalState, ActorProcessingErr> {
        Ok(JournalState::open(node.files.clone(), node.clock.clone()))
    }

    async fn handle(
        &self,
        _: ActorRef<JournalMessage>,
        message: JournalMessage,
        state: &mut JournalState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JournalMessage::Record(entry) => state.record(entry),
            JournalMessage::Read { last, reply } => {
                // The asker may have given up; that is its affair.
                let _ = reply.send(state.newest(last));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::clock::BoottimeClock;
    use crate::adapters::state_files::StateDir;

    fn entry(text: &str) -> JournalEntry {
        JournalEntry { actor: "election".into(), code: "c".into(), text: text.into(), ..JournalEntry::default() }
    }

    #[test]
    fn entries_survive_a_restart_and_a_broken_line_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let files = Arc::new(StateDir::new(&directory.path().join("state")));
        let open = || JournalState::open(files.clone(), Arc::new(BoottimeClock));
        let mut journal = open();
        for number in 0..1020 {
            journal.record(entry(&number.to_string()));
        }
        assert_eq!(journal.dropped, 0, "the queue holds this many");
        assert_eq!(journal.newest(2).iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), ["1018", "1019"]);
        assert!(!journal.newest(1)[0].at.is_empty());
        drop(journal);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while files.last_lines(JOURNAL_FILE).len() < 1020 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        let path = files.path(JOURNAL_FILE);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{broken\n").unwrap();
        let again = open();
        assert_eq!(again.entries.len(), KEPT);
        assert_eq!(again.newest(1)[0].text, "1019");
    }
}
