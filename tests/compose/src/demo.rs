//! `make demo`: a story on real nodes, told while it happens.

use crate::checker::clock::boot_ns;
use crate::cluster::Cluster;
use crate::cluster::bring_up::logs_of;
use crate::cluster::plan::Plan;
use crate::cluster::traffic::Traffic;
use crate::{Outcome, While, fail};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::sleep;

const TAKEOVER: Duration = Duration::from_secs(30);
const BACK: Duration = Duration::from_secs(120);
const VERB: Duration = Duration::from_secs(20);
/// Calm writing before the kill, and after the return.
const CALM: Duration = Duration::from_secs(5);
/// How many events of the takeover are shown.
const EVENTS: usize = 14;

/// Removes the demo's containers, volumes and network.
///
/// # Errors
/// Docker does not work.
pub async fn down() -> Outcome<()> {
    Cluster::new(Plan::demo(logs_of("demo"))).remove().await
}

/// Tells the story; `true`: nothing was lost and only one node acknowledged at a time. Leaves the cluster running.
///
/// # Errors
/// A step of it did not work: which one, and where the logs are.
pub async fn run() -> Outcome<bool> {
    let cluster = Cluster::new(Plan::demo(logs_of("demo")));
    cluster.check_images().await?;
    cluster.remove().await?;
    let told = tell(&cluster).await;
    if told.is_err() {
        let kept = cluster.plan.logs.join("failed");
        cluster.keep_logs(&kept).await;
        eprintln!(
            "Logs of the nodes: {}. The containers are left as they are; `make demo-down` ends them.",
            kept.display()
        );
    }
    told
}

async fn tell(cluster: &Cluster) -> Outcome<bool> {
    let plan = &cluster.plan;
    println!(
        "Three backend nodes (PostgreSQL 15, etcd, search engine {}) behind the VIP {}, and a frontend.\n",
        plan.image,
        plan.vip()
    );
    println!(
        "1. `leaderl create-cluster` on backend-1, then `leaderl join-cluster {}` on both others at once.",
        plan.address(0)
    );
    let began = Instant::now();
    cluster.start_containers().await?;
    cluster.form().await?;
    println!("   Up after {:.0} s. `leaderl cluster-status`:\n", began.elapsed().as_secs_f64());
    let leader = cluster.leader().await?;
    show_status(cluster, &leader).await?;
    make_index(cluster).await?;
    let mut traffic = Traffic::start(cluster, &leader, 1, "story", true).await?;
    sleep(CALM).await;
    println!(
        "2. The frontend writes numbered rows through the VIP and through HAProxy, and indexes documents at VIP:9200."
    );
    println!("   Every acknowledgement is on disk outside the nodes before it counts.\n");
    traffic.fault_begins().await?;
    let (killed_ns, killed_at) = (boot_ns(), SystemTime::now());
    cluster.kill(&leader).await?;
    println!("3. {leader}, the leader, loses power (docker kill).");
    let old = leader.clone();
    let row = traffic.wait_for_row("from another node", killed_ns, TAKEOVER, |row| row.node != old).await?;
    let gap = (row.answered_ns - killed_ns) as f64 / 1e9;
    println!("   {} acknowledges rows {gap:.1} s later. Why it, in the words of `leaderl events`:\n", row.node);
    show_events(cluster, &row.node, killed_at).await?;
    cluster.start(&leader).await?;
    let back = Instant::now();
    let whole = |seen: &crate::cluster::truth::Truth| seen.is_whole();
    cluster.wait_until("the old leader streaming again", BACK, whole).await?;
    println!(
        "4. {leader} has power again, and is a follower without help after {:.1} s.\n",
        back.elapsed().as_secs_f64()
    );
    sleep(CALM).await;
    show_status(cluster, &row.node).await?;
    bill(cluster, traffic).await
}

async fn show_status(cluster: &Cluster, node: &str) -> Outcome<()> {
    indented(&cluster.leaderl_must(node, &["cluster-status"], VERB).await?);
    Ok(())
}

fn indented(text: &str) {
    for line in text.trim_end().lines() {
        println!("     {line}");
    }
    println!();
}

/// The index as a frontend makes it, as far as the story needs it.
async fn make_index(cluster: &Cluster) -> Outcome<()> {
    let url = format!("http://{}:9200/chef", cluster.plan.vip());
    let body = r#"{"settings": {"number_of_shards": 5, "number_of_replicas": 1}}"#;
    let words = ["curl", "-sS", "-m", "30", "-X", "PUT", "-H", "Content-Type: application/json", "-d", body, &url];
    let ended = cluster.exec("frontend", &words, Duration::from_secs(40)).await?;
    if ended.stdout.contains("\"acknowledged\":true") {
        Ok(())
    } else {
        fail(format!("making the index: {}", ended.said()))
    }
}

/// What the new leader's journal says since the kill.
async fn show_events(cluster: &Cluster, node: &str, since: SystemTime) -> Outcome<()> {
    let text = cluster.leaderl_must(node, &["events", "--json", "--last", "200"], VERB).await?;
    let since = humantime::format_rfc3339_millis(since).to_string();
    let mut lines = Vec::new();
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).during(|| "an event".into())?;
        let field = |name: &str| entry[name].as_str().unwrap_or_default().to_string();
        // Both in UTC and of one form: they compare as text.
        if field("at") >= since {
            lines.push(format!(
                "{}  {:<10} {}",
                field("at").get(11..23).unwrap_or_default(),
                field("actor"),
                field("text")
            ));
        }
    }
    lines.truncate(EVENTS);
    indented(&lines.join("\n"));
    Ok(())
}

async fn bill(cluster: &Cluster, traffic: Traffic) -> Outcome<bool> {
    let finished = traffic.stop().await?;
    let judgement = finished.judge(cluster, &Cluster::names(), &[]).await?;
    let rows = &judgement.rows;
    let documents = finished.documents_acknowledged()?;
    let found = cluster.documents(1).await?;
    let least = rows.found.values().min().copied().unwrap_or(0);
    println!("5. The bill");
    println!("     longest gap in writes     {:.1} s", rows.silence_ms / 1e3);
    println!("     rows acknowledged         {}  ({:.0} per second)", rows.acknowledged, rows.per_second);
    println!("     rows found on each node   {least}  (unanswered ones may exist: {})", rows.unknown);
    println!("     rows lost                 {}", rows.worst_loss());
    println!("     two writers at a time     {}", if rows.two_writers.is_empty() { "never" } else { "YES" });
    println!("     documents acknowledged    {documents}");
    println!("     documents found           {found}  (through VIP:9200)\n");
    let mut faults = judgement.faults();
    if found < documents {
        faults.push(format!("{} acknowledged documents are missing", documents - found));
    }
    for fault in &faults {
        println!("   ! {fault}");
    }
    println!(
        "The cluster is still running. Look around: docker exec -it {} leaderl cluster-status",
        cluster.container("backend-2").await?
    );
    println!("End it with `make demo-down`.");
    Ok(faults.is_empty())
}
