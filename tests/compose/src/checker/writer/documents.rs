//! Documents through the VIP, as a frontend indexes its objects.

use super::DocumentOrder;
use super::client::Phase;
use crate::checker::clock::boot_ns;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

const PACE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(2);

/// Why the document is not acknowledged.
async fn refusal(answer: reqwest::Result<reqwest::Response>) -> Option<String> {
    let result = match answer {
        Err(error) => return Some(error.without_url().to_string()),
        Ok(answer) if !answer.status().is_success() => return Some(answer.status().to_string()),
        Ok(answer) => answer.json::<serde_json::Value>().await,
    };
    match result {
        Err(error) => Some(error.without_url().to_string()),
        Ok(result) if result["errors"] == json!(false) => None,
        Ok(result) => Some(result["items"][0]["index"]["error"].to_string()),
    }
}

/// Indexes numbered documents until the end; a line `A <number> <sent> <answered>` or `U ... <reason>` for each.
pub(super) async fn index(search: DocumentOrder, run: i32, log: PathBuf, phases: watch::Receiver<Phase>) {
    let Ok(client) = reqwest::Client::builder().connect_timeout(Duration::from_millis(300)).timeout(LIMIT).build()
    else {
        eprintln!("checker: no HTTP client");
        return;
    };
    let Ok(mut file) = tokio::fs::File::create(&log).await else {
        eprintln!("checker: {} cannot be created", log.display());
        return;
    };
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0_u64;
    while *phases.borrow() != Phase::Stop {
        pace.tick().await;
        number += 1;
        let sent = boot_ns();
        // `_bulk`, as the frontends do; `X_CHEF_id_CHEF_X` is their field for the identity.
        let id = format!("{run}-{number}");
        let mut target = json!({"_index": "chef", "_id": id});
        if let Some(kind) = &search.document_type {
            target["_type"] = json!(kind);
        }
        let body = format!(
            "{}\n{}\n",
            json!({"index": target}),
            json!({"X_CHEF_id_CHEF_X": id, "content": format!("run__={run}")})
        );
        let answer = client
            .post(format!("{}/_bulk", search.url))
            .header("Content-Type", "application/x-ndjson")
            .body(body)
            .send()
            .await;
        let answered = boot_ns();
        let line = match refusal(answer).await {
            None => format!("A {number} {sent} {answered}\n"),
            Some(why) => format!("U {number} {sent} {answered} {}\n", why.replace('\n', " ")),
        };
        if file.write_all(line.as_bytes()).await.is_err() || file.sync_data().await.is_err() {
            eprintln!("checker: {} cannot be written", log.display());
            return;
        }
    }
}
