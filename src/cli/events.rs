//! `events`: what has happened on this node.

use super::args::{EventsArgs, Format};
use super::client::Client;
use super::error::CliError;
use super::output::{machine, row, table};
use crate::actors::api::admin_protocol::AdminRequest;
use crate::actors::api::journal::JournalEntry;
use crate::settings::Settings;

/// From the daemon's memory; without it, from its file.
pub async fn run(settings: &Settings, args: EventsArgs, format: Format) -> Result<(), CliError> {
    let asked: Result<Vec<JournalEntry>, _> =
        Client::new(settings).ask(&AdminRequest::Events { last: args.last }).await;
    let entries = match asked {
        Ok(entries) => entries,
        Err(why) => {
            let path = settings.node.state_dir.join("journal.jsonl");
            let Ok(text) = std::fs::read_to_string(&path) else { return Err(why.into()) };
            eprintln!("Read from {}: {why}", path.display());
            let all: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            all[all.len().saturating_sub(args.last)..].to_vec()
        }
    };
    if args.json {
        for entry in &entries {
            println!("{}", serde_json::to_string(entry)?);
        }
        return Ok(());
    }
    match machine(&entries, format)? {
        Some(text) => print!("{text}"),
        None => print!("{}", render(&entries)),
    }
    Ok(())
}

fn render(entries: &[JournalEntry]) -> String {
    let mut rows = vec![row(["Time", "Epoch", "Actor", "Event", "After", "What"])];
    rows.extend(entries.iter().map(|entry| {
        let after = if entry.after_ms == 0 { "-".to_owned() } else { format!("{}ms", entry.after_ms) };
        row([&entry.at, &entry.epoch.to_string(), &entry.actor, &entry.code, &after, &entry.text])
    }));
    table(&rows)
}
