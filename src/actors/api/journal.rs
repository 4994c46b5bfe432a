//! JournalActor: keeps every transition with epoch, cause, evidence and duration, for `leaderl events`.

use leaderl_decision::model::Epoch;
use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
