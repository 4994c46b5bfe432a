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

/// Indexes numbered documents until the end; a line `A <number> <sent> <answered>` or `U ...` for each.
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
        let letter = match answer {
            Ok(answer) if answer.status().is_success() => match answer.json::<serde_json::Value>().await {
                Ok(result) if result["errors"] == json!(false) => 'A',
                Ok(_) | Err(_) => 'U',
            },
            Ok(_) | Err(_) => 'U',
        };
        let line = format!("{letter} {number} {sent} {}\n", boot_ns());
        if file.write_all(line.as_bytes()).await.is_err() || file.sync_data().await.is_err() {
            eprintln!("checker: {} cannot be written", log.display());
            return;
        }
    }
}
