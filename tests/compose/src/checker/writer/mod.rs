//! `checker write`: several clients, each on its own route, until told to stop.
//!
//! Orders come line by line on standard input (`fault`, `calm`, `stop`; its end means `stop`), answers go to standard output
//! (`steady` once every main route has acknowledged rows on disk, `stopped` at the end).

mod client;
mod documents;

use super::orders;
use super::record_log::{RecordLog, RecordSender};
use crate::{Outcome, While};
use client::{Client, Phase, Target};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// The table all rows go to. No unique key: a row that exists twice must be seen, not refused.
pub const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS row_checker (run int NOT NULL, client int NOT NULL, \
    seq bigint NOT NULL, node text NOT NULL, timeline int NOT NULL, system_id bigint NOT NULL, sent_ns bigint NOT NULL)";

/// Acknowledged rows after which the run counts as steady.
const STEADY_ROWS: u64 = 100;

/// The search engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentOrder {
    /// `http://address:port`.
    pub url: String,
    /// The documents' type, as the frontends give it to engines that know types.
    pub document_type: Option<String>,
}

/// What to write, where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteOrder {
    /// Number of the run; its rows carry it.
    pub run: i32,
    /// Where `rows.log` and `documents.log` go.
    pub directory: PathBuf,
    /// Routes: name and `address:port` of PostgreSQL. Routes named like a node are direct.
    pub routes: Vec<Route>,
    /// Login role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Where documents are indexed too.
    pub search: Option<DocumentOrder>,
}

/// One way to PostgreSQL.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    /// `vip`, `haproxy`, or a node's name.
    pub name: String,
    /// `address:port`.
    pub address: String,
    /// Clients on it that write all the time.
    pub clients: u32,
}

/// Runs the order until standard input says `stop` or ends.
///
/// # Errors
/// The log could not be written, so the run proves nothing.
pub async fn run(order: WriteOrder) -> Outcome<()> {
    let (log, sender) = RecordLog::create(&order.directory.join("rows.log"))?;
    let (phase, phases) = watch::channel(Phase::Calm);
    let mut tasks = tokio::task::JoinSet::new();
    let mut number = 0;
    for route in &order.routes {
        let target = Target::new(&order, route)?;
        for _ in 0..route.clients {
            number += 1;
            tasks
                .spawn(Client::new(number, &route.name, target.clone(), sender.clone(), phases.clone()).write_always());
        }
        number += 1;
        let name = format!("sticky:{}", route.name);
        tasks.spawn(Client::new(number, &name, target, sender.clone(), phases.clone()).write_during_faults());
    }
    if let Some(search) = &order.search {
        tasks.spawn(documents::index(search.clone(), order.run, order.directory.join("documents.log"), phases.clone()));
    }
    obey(&phase, &sender).await;
    phase.send_replace(Phase::Stop);
    drop(sender);
    // Every client looks at the phase at least once per statement limit.
    let ended =
        tokio::time::timeout(Duration::from_secs(10), async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
    log.finish()?;
    ended.during(|| "clients did not end within 10 s".into())?;
    println!("stopped");
    Ok(())
}

/// Reads orders; says `steady` when rows flow.
async fn obey(phase: &watch::Sender<Phase>, sender: &RecordSender) {
    let mut orders = orders::lines();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let mut steady = false;
    loop {
        tokio::select! {
            biased;
            _ = look.tick(), if !steady => {
                if sender.durable() >= STEADY_ROWS {
                    steady = true;
                    println!("steady");
                }
            }
            order = orders.recv() => match order.as_deref() {
                Some("fault") => { phase.send_replace(Phase::Fault); }
                Some("calm") => { phase.send_replace(Phase::Calm); }
                Some("stop") | None => return,
                Some(other) => eprintln!("checker: unknown order {other:?}"),
            }
        }
    }
}
