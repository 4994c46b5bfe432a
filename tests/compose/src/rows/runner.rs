//! Runs rows one after another on as few clusters as possible, and gives each a verdict.

use super::case::Case;
use super::starvation::{Gauge, STALLED, STALLED_UNNOTICED};
use super::{Gap, Kind, Row};
use crate::cluster::Cluster;
use crate::cluster::bring_up::logs_of;
use crate::cluster::plan::Plan;
use crate::cluster::traffic::{Judgement, Traffic};
use crate::{Failure, Outcome};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// "No gap": the longest silence of any client at one write per 20 ms.
const UNNOTICED_MS: f64 = 250.0;
/// A row's body; every wait in it has its own, shorter limit.
const BODY: Duration = Duration::from_secs(480);
/// From the end of the last fault to one leader and two streaming followers, search engine started or not.
const HEAL: Duration = Duration::from_secs(120);

/// How often a row that the machine disturbed is run.
const TRIES: u32 = 3;

/// What became of a row.
pub struct Verdict {
    /// The row's name.
    pub name: String,
    /// Empty: passed.
    pub faults: Vec<String>,
    /// The longest silence, ms.
    pub silence_ms: Option<f64>,
}

/// Runs `rows` (sorted by kind) and prints a line for each and `N passed, M failed` last.
///
/// # Errors
/// Docker does not work, so nothing was tested.
pub async fn run(rows: &[&'static Row], keep: bool, before: Vec<Verdict>) -> Outcome<bool> {
    let mut verdicts = before;
    let logs = logs_of("test");
    // Logs of earlier runs would be taken for this one's.
    let _ = std::fs::remove_dir_all(&logs);
    let mut standing: Option<(Kind, Cluster)> = None;
    let mut run = 0;
    for row in rows {
        if standing.as_ref().is_none_or(|(kind, _)| *kind != row.kind) {
            let (cluster, formed) = form(row.kind, &logs).await?;
            let failed = !formed.faults.is_empty();
            verdicts.push(formed);
            standing = (!failed).then_some((row.kind, cluster));
        }
        let Some((_, cluster)) = &standing else {
            verdicts.push(say(row.name, Duration::ZERO, vec!["its cluster did not come up".into()], None, &[]));
            continue;
        };
        let (verdict, reusable) = fairly(row, cluster, &mut run).await;
        verdicts.push(verdict);
        if !reusable {
            standing = None;
        }
    }
    if !keep {
        Cluster::new(Plan::test(logs, false)).remove().await?;
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.faults.is_empty()).count();
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    Ok(failed == 0)
}

/// Runs a row again when it failed while the machine itself stood still: a void round is neither passed nor failed. The
/// last try counts as it comes, so that a machine that always stands still passes nothing.
async fn fairly(row: &'static Row, cluster: &Cluster, run: &mut i32) -> (Verdict, bool) {
    let limit = match row.gap {
        Gap::Unnoticed => STALLED_UNNOTICED,
        Gap::Within(_) | Gap::Any => STALLED,
    };
    for _ in 1..TRIES {
        *run += 1;
        let gauge = Gauge::start(&cluster.plan.logs);
        let (verdict, reusable) = one(row, cluster, *run).await;
        match gauge.stalled_ms(limit) {
            Some(ms) if !verdict.faults.is_empty() && reusable => {
                println!("void   {}: the machine stood still for {ms} ms; again", row.name)
            }
            Some(_) | None => return (verdict, reusable),
        }
    }
    *run += 1;
    one(row, cluster, *run).await
}

/// A new cluster of the kind; bringing it up is a row too: two joins typed at the same moment.
pub(crate) async fn form(kind: Kind, logs: &std::path::Path) -> Outcome<(Cluster, Verdict)> {
    let mut plan = Plan::test(logs.to_path_buf(), kind == Kind::Search);
    plan.mode = match kind {
        Kind::Quorum | Kind::Search => "quorum",
        Kind::Strict => "strict",
        Kind::Async => "async",
    }
    .into();
    let cluster = Cluster::new(plan);
    cluster.check_images().await?;
    cluster.remove().await?;
    let began = Instant::now();
    let name = format!("bring-up-{}", format!("{kind:?}").to_lowercase());
    cluster.start_containers().await?;
    let faults = match cluster.form().await {
        Ok(()) => Vec::new(),
        Err(Failure(text)) => vec![text],
    };
    let mut notes = Vec::new();
    if !faults.is_empty() {
        cluster.keep_logs(&logs.join(&name)).await;
        notes.push(format!("logs: {}", logs.join(&name).display()));
    }
    let verdict = say(&name, began.elapsed(), faults, None, &notes);
    Ok((cluster, verdict))
}

/// Runs a row; its verdict, and whether the cluster can serve the next one.
pub(crate) async fn one(row: &'static Row, cluster: &Cluster, run: i32) -> (Verdict, bool) {
    let began = Instant::now();
    let mut notes = Vec::new();
    let mut faults = Vec::new();
    let mut silence = None;
    let directory = cluster.plan.logs.join(format!("run-{run}"));
    let reusable = match begin(row, cluster, run).await {
        Err(Failure(text)) => {
            faults.push(format!("before the fault: {text}"));
            cluster.keep_logs(&directory).await;
            false
        }
        Ok(mut case) => {
            match timeout(BODY, (row.body)(&mut case)).await {
                Ok(Ok(())) => {}
                Ok(Err(Failure(text))) => faults.push(text),
                Err(_) => faults.push(format!("not done within {} s", BODY.as_secs())),
            }
            // What the nodes say is most telling before they are healed.
            if !faults.is_empty() {
                cluster.keep_logs(&directory.join("before-healing")).await;
            }
            notes.append(&mut case.notes);
            let healed = cluster.heal(HEAL).await;
            let whole = healed.is_ok();
            if let Err(Failure(text)) = healed {
                faults.push(format!("does not heal: {text}"));
            }
            let (leader, fault_ns) = (case.leader.clone(), case.fault_ns);
            match end(case, cluster).await {
                Ok(judgement) => {
                    notes.push(judgement.evidence(&leader, fault_ns));
                    faults.extend(judgement.blind(fault_ns));
                    silence = Some(judgement.rows.silence_ms);
                    faults.extend(judge(row, &judgement));
                }
                Err(Failure(text)) => faults.push(format!("no judgement over the rows: {text}")),
            }
            whole
        }
    };
    if !faults.is_empty() {
        cluster.keep_logs(&directory).await;
        notes.push(format!("logs: {}", directory.display()));
    }
    (say(row.name, began.elapsed(), faults, silence, &notes), reusable)
}

async fn begin(row: &Row, cluster: &Cluster, run: i32) -> Outcome<Case> {
    let whole = |seen: &crate::cluster::truth::Truth| seen.is_whole();
    let seen = cluster.wait_until("one leader and two followers streaming", HEAL, whole).await?;
    let Some(leader) = seen.leader() else { return crate::fail("no leader") };
    let timeline = leader.postgres.as_ref().map_or(0, |postgres| postgres.timeline);
    let traffic = Traffic::start(cluster, &leader.name, run, &format!("run-{run}"), row.kind == Kind::Search).await?;
    Ok(Case {
        cluster: cluster.clone(),
        traffic,
        run,
        leader: leader.name.clone(),
        timeline,
        password: cluster.password().await?,
        fault_ns: 0,
        planted: Vec::new(),
        notes: Vec::new(),
    })
}

async fn end(case: Case, cluster: &Cluster) -> Outcome<Judgement> {
    // The cluster is whole; what the writers get now belongs to the row too: the gap must have an end.
    let now = crate::checker::clock::boot_ns();
    let flowing =
        case.traffic.wait_for_row("after healing", now, Duration::from_secs(15), |row| row.route == "vip").await;
    let judgement = case.traffic.stop().await?.judge(cluster, &Cluster::names(), &case.planted).await?;
    flowing.map(|_| judgement)
}

/// What the row's promises say about the judgement.
fn judge(row: &Row, judgement: &Judgement) -> Vec<String> {
    let rows = &judgement.rows;
    let mut faults = judgement.faults();
    if row.may_lose {
        faults.retain(|fault| !fault.contains("acknowledged rows are missing"));
    }
    let vip_ms = rows.silence_by_route_ms.get("vip").copied().unwrap_or(f64::MAX);
    match row.gap {
        Gap::Any => {}
        Gap::Unnoticed if vip_ms <= UNNOTICED_MS => {}
        Gap::Unnoticed => {
            faults.push(format!("a client on the VIP heard nothing for {vip_ms:.0} ms, more than 250 ms"))
        }
        Gap::Within(limit) if rows.silence_ms <= limit.as_secs_f64() * 1e3 => {}
        Gap::Within(limit) => {
            faults.push(format!("no row for {:.0} ms, more than {} s", rows.silence_ms, limit.as_secs()))
        }
    }
    let mut timelines: Vec<u32> = rows.reigns.iter().map(|reign| reign.timeline).collect();
    timelines.sort_unstable();
    timelines.dedup();
    let changes = timelines.len().saturating_sub(1) as u64;
    let (least, most) = row.changes;
    if changes < least || changes > most {
        faults.push(format!("{changes} changes of leader, expected {least} to {most}: {:?}", rows.reigns));
    }
    faults
}

fn say(name: &str, took: Duration, faults: Vec<String>, silence_ms: Option<f64>, notes: &[String]) -> Verdict {
    let word = if faults.is_empty() { "ok    " } else { "FAILED" };
    let silence = silence_ms.map_or(String::new(), |ms| format!("  longest silence {ms:.0} ms"));
    println!("{word} {name:<26} {:>4.0} s{silence}", took.as_secs_f64());
    for note in notes {
        println!("         {note}");
    }
    for fault in &faults {
        println!("       ! {fault}");
    }
    Verdict { name: name.into(), faults, silence_ms }
}
