//! `actors`: the daemon's supervision tree as it is now, and an operator's hand in it.

use super::args::{ActorsCommand, Format};
use super::client::{AskError, Client};
use super::error::CliError;
use super::output::{age, machine, row, table};
use crate::actors::api::actor_report::{ActorDetail, ActorNode, TraceEntry};
use crate::actors::api::admin_protocol::{AdminRequest, Intervention};
use crate::settings::Settings;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// How long `restart` and `kill` wait for the next incarnation: an orderly stop may take 10 s.
const NEXT_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(20);
/// Between two pictures of `top` and `--watch`.
const REFRESH: Duration = Duration::from_secs(1);
/// Shorter than this an actor is just working.
const HELD_UP_MS: u64 = 100;
/// What `show` prints of the flight recorder.
const SHOWN_WITH_DETAILS: usize = 10;

/// Does what was asked.
pub async fn run(settings: &Settings, what: ActorsCommand, format: Format) -> Result<(), CliError> {
    let client = Client::new(settings);
    let client = &client;
    match what {
        ActorsCommand::Tree { declared: true, .. } => {
            print!("{}", crate::tree::drawn());
            Ok(())
        }
        ActorsCommand::Tree { watch, .. } => {
            repeated(watch, async || printed(&tree(client).await?, format, drawn)).await
        }
        ActorsCommand::List { watch } => {
            repeated(watch, async || {
                let tree = tree(client).await?;
                let all: Vec<ActorNode> = tree.flat().into_iter().skip(1).map(without_children).collect();
                printed(&all, format, |all| listed(all))
            })
            .await
        }
        ActorsCommand::Show { actor, watch } => {
            repeated(watch, async || {
                let detail: ActorDetail = client.ask(&AdminRequest::ActorShow { actor: actor.clone() }).await?;
                let last = SHOWN_WITH_DETAILS;
                let trace = client.ask(&AdminRequest::ActorTrace { actor: actor.clone(), last }).await?;
                printed(&Shown { detail, trace }, format, detailed)
            })
            .await
        }
        ActorsCommand::Trace { actor, last, watch } => {
            repeated(watch, async || {
                let asked = AdminRequest::ActorTrace { actor: actor.clone(), last };
                let entries: Vec<TraceEntry> = client.ask(&asked).await?;
                printed(&entries, format, |entries| traced(entries))
            })
            .await
        }
        ActorsCommand::Top => top(client, format).await,
        ActorsCommand::Restart { actor } => intervene(client, &actor, Intervention::Restart, format).await,
        ActorsCommand::Kill { actor } => intervene(client, &actor, Intervention::Kill, format).await,
    }
}

async fn tree(client: &Client) -> Result<ActorNode, AskError> {
    client.ask(&AdminRequest::ActorsTree).await
}

/// Prints once, or every second until interrupted.
async fn repeated(watch: bool, picture: impl AsyncFn() -> Result<String, CliError>) -> Result<(), CliError> {
    loop {
        let text = picture().await?;
        let clear = if watch { "\x1b[H\x1b[2J" } else { "" };
        // A reader that has seen enough (`| head`) is no failure.
        let read = write!(std::io::stdout(), "{clear}{text}").and_then(|()| std::io::stdout().flush());
        if !watch || read.is_err() {
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

fn printed<T: Serialize>(value: &T, format: Format, people: impl FnOnce(&T) -> String) -> Result<String, CliError> {
    Ok(machine(value, format)?.unwrap_or_else(|| people(value)))
}

/// What `restart` and `kill` print.
#[derive(Serialize)]
struct Renewed {
    actor: String,
    old_pid: String,
    new_pid: String,
    after_ms: u64,
}

/// Orders it, and waits until a new incarnation runs. The actor may be the admin socket itself, so silence is no answer.
async fn intervene(client: &Client, word: &str, how: Intervention, format: Format) -> Result<(), CliError> {
    let show = AdminRequest::ActorShow { actor: word.to_owned() };
    let before: ActorDetail = client.ask(&show).await?;
    let (actor, old_pid) = (before.actor.id, before.actor.pid);
    let began = Instant::now();
    match client.ask::<()>(&AdminRequest::ActorIntervene { actor: actor.clone(), how }).await {
        Ok(()) | Err(AskError::NoDaemon { .. }) => {}
        // It is stopped, and its supervisor goes on trying.
        Err(AskError::Refused(reason)) if reason.code == "not-started" => eprintln!("{reason}; waiting"),
        Err(other @ (AskError::Refused(_) | AskError::Broken(_))) => return Err(other.into()),
    }
    loop {
        let seen = client.ask::<ActorDetail>(&show).await;
        let last = match seen {
            Ok(now) if now.actor.lifecycle == "running" && now.actor.pid != old_pid => {
                let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let renewed = Renewed { actor, old_pid, new_pid: now.actor.pid, after_ms };
                print!("{}", printed(&renewed, format, |it| said(it, how))?);
                return Ok(());
            }
            Ok(now) => format!("it is {}", now.actor.lifecycle),
            Err(why) => why.to_string(),
        };
        if began.elapsed() >= NEXT_LIMIT {
            let text = format!("`{actor}` does not run again after {} s: {last}", NEXT_LIMIT.as_secs());
            return Err(CliError::new(format!("{text}; see `leaderl actors show '{actor}'` and `leaderl events`")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn said(renewed: &Renewed, how: Intervention) -> String {
    let what = match how {
        Intervention::Restart => "restarted",
        Intervention::Kill => "killed",
    };
    let Renewed { actor, old_pid, new_pid, after_ms } = renewed;
    format!("{actor} was {what} ({old_pid}) and runs again ({new_pid}) after {after_ms} ms\n")
}

/// An actor and how many messages it has handled since the last look.
#[derive(Serialize)]
struct Busy {
    per_second: u64,
    #[serde(flatten)]
    actor: ActorNode,
}

/// A list that is drawn again every second: first who has been busy with one message for long, then who handles the most.
async fn top(client: &Client, format: Format) -> Result<(), CliError> {
    let before = std::cell::RefCell::new(BTreeMap::<String, u64>::new());
    repeated(true, async || {
        let tree = tree(client).await?;
        let mut known = before.borrow_mut();
        let all = busiest(&tree, &known);
        *known = all.iter().map(|busy| (busy.actor.id.clone(), busy.actor.handled)).collect();
        printed(&all, format, |all| ranked(all))
    })
    .await
}

fn busiest(tree: &ActorNode, known: &BTreeMap<String, u64>) -> Vec<Busy> {
    let since = |node: &ActorNode| node.handled.saturating_sub(known.get(&node.id).copied().unwrap_or(node.handled));
    let workers = tree.flat().into_iter().filter(|node| node.kind == "worker");
    let mut all: Vec<Busy> =
        workers.map(|node| Busy { per_second: since(node), actor: without_children(node) }).collect();
    let held_up = |node: &ActorNode| node.in_hand.as_ref().map(|(_, ms)| *ms).filter(|ms| *ms >= HELD_UP_MS);
    all.sort_by_key(|busy| std::cmp::Reverse((held_up(&busy.actor), busy.per_second)));
    all
}

fn without_children(node: &ActorNode) -> ActorNode {
    ActorNode { children: Vec::new(), ..node.clone() }
}

const HEAD: [&str; 9] = ["State", "For", "Mailbox", "Handled", "p50", "p99", "Max", "Restarts", "Last exit"];

fn cells(node: &ActorNode) -> Vec<String> {
    let dash = || "-".to_owned();
    let worker = node.kind == "worker";
    let time = |ns: u64| if worker && node.handled > 0 { short(ns) } else { dash() };
    let in_hand = node.in_hand.as_ref().filter(|(_, ms)| *ms >= HELD_UP_MS);
    let busy = in_hand.map(|(word, ms)| format!(" (busy with {word} for {ms}ms)")).unwrap_or_default();
    let odd = if node.lifecycle == "running" || node.lifecycle == node.state { "" } else { node.lifecycle.as_str() };
    vec![
        format!("{}{busy}{odd}", node.state),
        age(node.in_state_ms / 1000),
        node.mailbox.map_or_else(dash, |waiting| waiting.to_string()),
        if worker { node.handled.to_string() } else { dash() },
        time(node.p50_ns),
        time(node.p99_ns),
        time(node.max_ns),
        node.restarts.to_string(),
        if node.last_exit.is_empty() { dash() } else { node.last_exit.clone() },
    ]
}

/// `850ns`, `12us`, `3.4ms`, `2.0s`.
fn short(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}us", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1}ms", ns as f64 / 1e6),
        _ => format!("{:.1}s", ns as f64 / 1e9),
    }
}

fn head(first: &[&str]) -> Vec<String> {
    first.iter().chain(&HEAD).map(|cell| (*cell).to_owned()).collect()
}

fn drawn(tree: &ActorNode) -> String {
    let mut rows = vec![head(&["Actor"])];
    draw(tree, "", "", &mut rows);
    table(&rows)
}

fn draw(node: &ActorNode, first: &str, rest: &str, rows: &mut Vec<Vec<String>>) {
    rows.push(std::iter::once(format!("{first}{}", node.id)).chain(cells(node)).collect());
    for (number, child) in node.children.iter().enumerate() {
        let last = number + 1 == node.children.len();
        let (branch, below) = if last { ("└ ", "  ") } else { ("├ ", "│ ") };
        draw(child, &format!("{rest}{branch}"), &format!("{rest}{below}"), rows);
    }
}

fn listed(all: &[ActorNode]) -> String {
    let mut rows = vec![head(&["Actor"])];
    rows.extend(all.iter().map(|node| std::iter::once(node.id.clone()).chain(cells(node)).collect()));
    table(&rows)
}

fn ranked(all: &[Busy]) -> String {
    let mut rows = vec![head(&["Actor", "Per second"])];
    let row_of = |busy: &Busy| {
        [busy.actor.id.clone(), busy.per_second.to_string()].into_iter().chain(cells(&busy.actor)).collect()
    };
    rows.extend(all.iter().map(row_of));
    table(&rows)
}

/// What `show` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    detail: ActorDetail,
    trace: Vec<TraceEntry>,
}

fn detailed(shown: &Shown) -> String {
    let Shown { detail, trace } = shown;
    let node = &detail.actor;
    let mut text = listed(&[without_children(node)]);
    if !node.pid.is_empty() {
        text.push_str(&format!("\nPid {}, {} for {}\n", node.pid, node.lifecycle, age(node.in_lifecycle_ms / 1000)));
    }
    if !detail.messages.is_empty() {
        let mut rows = vec![row(["Message", "From", "Handled", "p50", "p99", "Max"])];
        rows.extend(detail.messages.iter().map(|kind| {
            let from = if kind.own { "itself" } else { "others" };
            let times = [kind.p50_ns, kind.p99_ns, kind.max_ns].map(short);
            row([&kind.kind, from, &kind.handled.to_string(), &times[0], &times[1], &times[2]])
        }));
        text.push_str(&format!("\n{}", table(&rows)));
    }
    if !detail.exits.is_empty() {
        let mut rows = vec![row(["Ended at", "Because"])];
        rows.extend(detail.exits.iter().map(|exit| row([&exit.at, &exit.reason])));
        text.push_str(&format!("\n{}", table(&rows)));
    }
    if !trace.is_empty() {
        text.push_str(&format!("\n{}", traced(trace)));
    }
    text
}

fn traced(entries: &[TraceEntry]) -> String {
    let mut rows = vec![row(["Last at", "Times", "Event", "Took", "What came of it"])];
    rows.extend(entries.iter().map(|entry| {
        let mut notes = entry.notes.join("; ");
        if entry.ended != "done" {
            let gap = if notes.is_empty() { "" } else { "; " };
            notes = format!("{notes}{gap}ENDED: {}", entry.ended);
        }
        row([&entry.at, &entry.times.to_string(), &entry.event, &short(entry.took_ns), &notes])
    }));
    table(&rows)
}

#[cfg(test)]
#[path = "actors_tests.rs"]
mod tests;
