//! What becomes of one renewal, as `docs/election-states.md` draws it.

use super::election_states::n;
use leaderl_decision::model::{Epoch, Nonce, Revision, Timestamp};
use leaderl_decision::records::{Holder, SCHEMA};
use leaderl_decision::renewal::{KeyHolds, Outcome, Renewal, Verdict};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

const HEAD: &str = "## A renewal

One task renews one hold. A cell says where the row leads from the state of the column, and what the task does.

";
const STATES: [&str; 4] = ["confirmed", "sent", "hurried", "lost"];
const NOW: Timestamp = Timestamp(100_000_000_000);

struct Row {
    words: &'static str,
    happens: fn(&mut Renewal) -> String,
}

const ROWS: [Row; 8] = [
    Row { words: "it is due", happens: |renewal| sent(renewal) },
    Row { words: "it is answered as committed", happens: |renewal| answer(renewal, Outcome::Committed(Revision(8))) },
    Row { words: "it surely was not sent", happens: |renewal| answer(renewal, Outcome::NotSent) },
    Row {
        words: "its answer proves nothing (a failed compare, or silence)",
        happens: |renewal| answer(renewal, Outcome::Unclear),
    },
    Row { words: "a read shows the seq under way, by this task", happens: |renewal| read(renewal, 2, true, 8) },
    Row { words: "a read shows the seq confirmed before", happens: |renewal| read(renewal, 1, true, 7) },
    Row { words: "a read shows a predecessor's late renewal", happens: |renewal| read(renewal, 2, false, 8) },
    Row { words: "a read shows another's key, or none", happens: |renewal| said(renewal.read(&KeyHolds::Foreign)) },
];

fn in_state(state: &str) -> Renewal {
    let nonce = Nonce("held".into());
    let holder = Holder { schema: SCHEMA, guid: n(1), boot_id: String::new(), nonce, epoch: Epoch(2), seq: 1 };
    let mut renewal = Renewal::new(holder, Revision(7), NOW, "this task".into(), Duration::from_secs(5));
    if state == "sent" || state == "hurried" {
        sent(&mut renewal);
    }
    if state == "hurried" {
        answer(&mut renewal, Outcome::NotSent);
    }
    if state == "lost" {
        renewal.read(&KeyHolds::Foreign);
    }
    assert_eq!(state_of(&renewal), state);
    renewal
}

/// The state as its behaviour shows it.
fn state_of(renewal: &Renewal) -> &'static str {
    let mut probe = renewal.clone();
    if probe.send(NOW).is_none() {
        return "lost";
    }
    match (renewal.is_pending(), renewal.due_at() < NOW.plus(Duration::from_millis(100))) {
        (true, false) => "sent",
        (true, true) => "hurried",
        (false, _) => "confirmed",
    }
}

fn sent(renewal: &mut Renewal) -> String {
    renewal.send(NOW).map_or("sends nothing".into(), |attempt| format!("sends seq {}", attempt.seq))
}

fn answer(renewal: &mut Renewal, outcome: Outcome) -> String {
    said(renewal.answered(2, outcome))
}

fn read(renewal: &mut Renewal, seq: u64, by_me: bool, revision: i64) -> String {
    said(renewal.read(&KeyHolds::Ours { seq, by_me, revision: Revision(revision) }))
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Wait => String::new(),
        Verdict::Read => "reads the key".into(),
        Verdict::Confirmed(confirmed) => format!("knows seq {} to be committed", confirmed.seq),
        Verdict::Lost => "knows the hold to be lost".into(),
    }
}

/// Appends the chapter.
pub(crate) fn draw(text: &mut String) {
    text.push_str(HEAD);
    let mut edges = BTreeSet::new();
    let mut table = format!("| what happens | {} |\n|---|{}\n", STATES.join(" | "), "---|".repeat(STATES.len()));
    for row in &ROWS {
        let cells = STATES.map(|state| {
            let mut renewal = in_state(state);
            let said = (row.happens)(&mut renewal);
            let next = state_of(&renewal);
            if next != state {
                edges.insert((state, next, row.words));
            }
            let moved = if next == state { String::new() } else { format!("**{next}** ") };
            format!("{moved}{said}").trim().to_owned()
        });
        let _ = writeln!(table, "| {} | {} |", row.words, cells.join(" | "));
    }
    text.push_str("```mermaid\nstateDiagram-v2\n    [*] --> confirmed\n");
    for (from, to, why) in edges {
        let _ = writeln!(text, "    {from} --> {to}: {why}");
    }
    let _ = writeln!(text, "```\n\n{table}");
}
