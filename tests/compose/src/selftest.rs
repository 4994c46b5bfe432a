//! The checker's own test: on PostgreSQL alone, with streaming followers but without leaderl, each planted fault must be
//! reported, and a run without faults must be clean.

use crate::cluster::Cluster;
use crate::cluster::bring_up::logs_of;
use crate::cluster::command;
use crate::cluster::plan::Plan;
use crate::cluster::processes;
use crate::cluster::traffic::{Judgement, Traffic};
use crate::rows::runner::Verdict;
use crate::{Outcome, fail};
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(60);
const BIN: &str = "/usr/lib/postgresql/15/bin";
const DATA: &str = "/var/lib/leaderl/data";
const PASSWORD: &str = "row-checker-selftest";

/// Sets up, plants the faults one after another, and prints a verdict for each. `true`: all were reported.
///
/// # Errors
/// The set-up failed, so nothing was tested.
pub async fn run() -> Outcome<bool> {
    let verdicts = verdicts().await?;
    let failed = verdicts.iter().filter(|verdict| !verdict.faults.is_empty()).count();
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    Ok(failed == 0)
}

/// The same without the last line, for a longer list of verdicts.
///
/// # Errors
/// The set-up failed, so nothing was tested.
pub async fn verdicts() -> Outcome<Vec<Verdict>> {
    let cluster = Cluster::new(Plan::selftest(logs_of("selftest")));
    cluster.check_images().await?;
    cluster.remove().await?;
    let verdicts = set_up_and_plant(&cluster).await;
    if verdicts.is_err() {
        cluster.keep_logs(&cluster.plan.logs.join("failed")).await;
    }
    cluster.remove().await?;
    verdicts
}

async fn set_up_and_plant(cluster: &Cluster) -> Outcome<Vec<Verdict>> {
    cluster.start_containers().await?;
    start_postgres(cluster).await?;
    Ok(vec![
        verdict("a run without faults is clean", clean(cluster).await),
        verdict("a deleted row is reported", deleted_row(cluster).await),
        verdict("a duplicate is reported", duplicate(cluster).await),
        verdict("a second writer of 100 ms is reported", second_writer(cluster).await),
    ])
}

fn verdict(what: &str, outcome: Outcome<()>) -> Verdict {
    let faults = outcome.err().map(|failure| failure.to_string()).into_iter().collect::<Vec<_>>();
    println!("{} checker: {what}", if faults.is_empty() { "ok    " } else { "FAILED" });
    for fault in &faults {
        println!("       ! {fault}");
    }
    Verdict { name: what.into(), faults, silence_ms: None }
}

/// A shell line as `user` in a node, which must succeed.
async fn shell(cluster: &Cluster, node: &str, user: &str, line: &str) -> Outcome<()> {
    let id = cluster.container(node).await?;
    command::must(&["docker", "exec", "-u", user, &id, "sh", "-ec", line], LIMIT).await.map(drop)
}

/// A primary on the first node with the VIP, and two followers.
async fn start_postgres(cluster: &Cluster) -> Outcome<()> {
    let [first, second, third] = Cluster::names();
    let primary = cluster.address(&first)?;
    let settings =
        "-o '-c listen_addresses=* -c hot_standby=on -c wal_keep_size=256MB -c unix_socket_directories=/tmp'";
    for node in [&first, &second, &third] {
        shell(cluster, node, "root", "install -d -o postgres -m 0700 /var/lib/leaderl/data").await?;
        let secrets = format!("{{\"superuser_password\": \"{PASSWORD}\"}}");
        cluster.write_file(node, "/etc/leaderl/secrets.json", "0600", &secrets).await?;
    }
    let init = format!(
        "echo {PASSWORD} > /tmp/pw; {BIN}/initdb -D {DATA} -U chef_pgsql --pwfile=/tmp/pw -A scram-sha-256 >/tmp/initdb.log; \
         echo 'host all all samenet scram-sha-256' >> {DATA}/pg_hba.conf; \
         echo 'host replication all samenet scram-sha-256' >> {DATA}/pg_hba.conf; \
         {BIN}/pg_ctl -D {DATA} {settings} -w -l /tmp/pg.log start >/dev/null"
    );
    shell(cluster, &first, "postgres", &init).await?;
    for node in [&second, &third] {
        let copy = format!(
            "PGPASSWORD={PASSWORD} {BIN}/pg_basebackup -h {primary} -U chef_pgsql -D {DATA} -R -c fast; \
             {BIN}/pg_ctl -D {DATA} {settings} -w -l /tmp/pg.log start >/dev/null"
        );
        shell(cluster, node, "postgres", &copy).await?;
    }
    cluster.in_network(&first, &["ip", "address", "add", &format!("{}/32", cluster.plan.vip()), "dev", "eth0"]).await?;
    Ok(())
}

/// Two seconds of rows, then `plant` on the primary, then the judgement over all nodes.
async fn judged(cluster: &Cluster, run: i32, plant: &str) -> Outcome<Judgement> {
    let names = Cluster::names();
    let traffic = Traffic::start(cluster, &names[0], run, &format!("run-{run}"), false).await?;
    // The length of the run, not a wait for something.
    sleep(Duration::from_secs(2)).await;
    let finished = traffic.stop().await?;
    if !plant.is_empty() {
        let line = format!("psql -v ON_ERROR_STOP=1 -h /tmp -U chef_pgsql -d postgres -qc \"{plant}\"");
        shell(cluster, &names[0], "postgres", &format!("PGPASSWORD={PASSWORD} {line}")).await?;
    }
    finished.judge(cluster, &names, &[]).await
}

async fn clean(cluster: &Cluster) -> Outcome<()> {
    let judgement = judged(cluster, 1, "").await?;
    print!("{}", judgement.rows);
    let faults = judgement.faults();
    if !faults.is_empty() {
        return fail(faults.join("; "));
    }
    if judgement.seen.vip_answers == 0 {
        return fail("nobody was seen answering for the VIP");
    }
    // The proxy has no server that says 200 here: two clients on the VIP and one on the primary's own address.
    if judgement.rows.per_second < 120.0 {
        return fail(format!("only {:.0} rows/s from three clients", judgement.rows.per_second));
    }
    Ok(())
}

async fn deleted_row(cluster: &Cluster) -> Outcome<()> {
    let judgement = judged(cluster, 2, "DELETE FROM row_checker WHERE run = 2 AND client = 1 AND seq = 50").await?;
    let lost = &judgement.rows.lost;
    if lost.len() == 3 && lost.values().all(|rows| rows.len() == 1 && rows[0].client == 1 && rows[0].seq == 50) {
        return Ok(());
    }
    fail(format!("expected one row missing on each of three nodes, got {lost:?}"))
}

async fn duplicate(cluster: &Cluster) -> Outcome<()> {
    let plant = "INSERT INTO row_checker SELECT * FROM row_checker WHERE run = 3 AND client = 1 AND seq = 50";
    let twice = judged(cluster, 3, plant).await?.rows.duplicates;
    if twice.len() == 3 && twice.values().all(|rows| rows.len() == 1 && rows[0].client == 1 && rows[0].seq == 50) {
        return Ok(());
    }
    fail(format!("expected one row twice on each of three nodes, got {twice:?}"))
}

/// The first node keeps acknowledging for about 100 ms after the second has been promoted. Last: it breaks the set-up.
async fn second_writer(cluster: &Cluster) -> Outcome<()> {
    let [first, second, _] = Cluster::names();
    let mut traffic = Traffic::start(cluster, &first, 4, "run-4", false).await?;
    traffic.fault_begins().await?;
    // Known beforehand: nothing may take time between the 100 ms and the kill.
    let doomed: Vec<i32> =
        cluster.processes(&first).await?.iter().filter(|p| p.role.is_postgres()).map(|p| p.pid).collect();
    let since = crate::checker::clock::boot_ns();
    // As the operating system's user that PostgreSQL runs as; the promotion is asked for by a file and a signal.
    shell(cluster, &second, "postgres", &format!("{BIN}/pg_ctl -D {DATA} -W promote")).await?;
    let began = traffic.wait_for_row("from the promoted node", since, LIMIT, |row| row.node == second).await?;
    let spent = crate::checker::clock::boot_ns().saturating_sub(began.answered_ns);
    sleep(Duration::from_millis(100).saturating_sub(Duration::from_nanos(spent))).await;
    for pid in doomed {
        // A session that ended by itself in the meantime is gone as wanted.
        let _ = processes::send(pid, Signal::SIGKILL);
    }
    let finished = traffic.stop().await?;
    let judgement = finished.judge(cluster, &[second], &[]).await?;
    match &judgement.rows.two_writers[..] {
        [only] if only.older.timeline == 1 && only.newer.timeline == 2 && only.overlap_ms >= 50.0 => {
            println!("        (overlap {:.0} ms seen)", only.overlap_ms);
            Ok(())
        }
        other => fail(format!("expected one overlap of timelines 1 and 2, got {other:?}")),
    }
}
