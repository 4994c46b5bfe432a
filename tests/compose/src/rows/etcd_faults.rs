//! etcd that changes its leader, stands still, answers late or not at all, forgets history, or is full.

use super::D;
use super::case::{Case, TAKEOVER};
use super::processes::FENCED;
use crate::checker::clock::boot_ns;
use crate::cluster::Cluster;
use crate::cluster::links::{Cut, Ports, Way};
use crate::cluster::processes::{Role, send};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const CLIENTS: &[u16] = &[2379];
/// Writers at the same time.
const FLOODS: usize = 4;

/// etcd's leader changes every three seconds.
pub(super) fn leader_moves(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        case.fault().await?;
        for round in 1..=7_u32 {
            let members = case.cluster.etcd_members().await?;
            let Some(leader) = members.iter().find(|member| member.id == member.leader) else {
                return fail(format!("round {round}: no member leads etcd: {members:?}"));
            };
            let heirs: Vec<_> = members.iter().filter(|member| member.id != leader.id).collect();
            let heir = heirs[round as usize % heirs.len()];
            case.cluster.etcdctl_must(&leader.node, &["move-leader", &format!("{:x}", heir.id)]).await?;
            case.stays(Duration::from_secs(3)).await?;
        }
        Ok(())
    }
    .boxed()
}

/// Whoever leads etcd stands still for longer than D, three times; then it goes on with what it believed.
pub(super) fn leader_pauses(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        case.fault().await?;
        for _ in 0..3 {
            let node = case.cluster.etcd_leader().await?;
            let member = case.cluster.the(&node, Role::Etcd).await?;
            case.note(format!("etcd stands still on {node}"));
            send(member, Signal::SIGSTOP)?;
            let stayed = case.stays(D + D / 2).await;
            send(member, Signal::SIGCONT)?;
            stayed?;
            case.stays(Duration::from_secs(2)).await?;
        }
        Ok(())
    }
    .boxed()
}

/// Answers of every member to the leader's node vanish. Requests arrive: what was sent is committed, and the daemon does not
/// know.
fn unanswered() -> Cut<'static> {
    Cut { peers: &[], way: Way::In, ports: Ports::From(CLIENTS) }
}

/// Each time for less than what D/2 leaves: renewals are confirmed late, and nothing is noticed.
pub(super) fn answers_late(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        for _ in 0..5 {
            case.cluster.cut(&leader, &unanswered()).await?;
            let stayed = case.stays(Duration::from_millis(700)).await;
            case.cluster.mend(&leader).await?;
            stayed?;
            case.stays(Duration::from_secs(2)).await?;
        }
        Ok(())
    }
    .boxed()
}

/// For good: the last confirmed renewal counts, not the later ones that etcd has; back again, the fenced hold is not revived.
pub(super) fn answers_lost(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.cut(&leader, &unanswered()).await?;
        let fenced = case.postgres_gone(&leader, FENCED + Duration::from_secs(1)).await;
        let taken = match &fenced {
            // Its requests may have renewed the key until its connections were given up.
            Ok(()) => case.taken_over(TAKEOVER + D).await.map(drop),
            Err(_) => Ok(()),
        };
        case.cluster.mend(&leader).await?;
        fenced?;
        taken?;
        case.whole_again(boot_ns(), Duration::from_secs(120)).await
    }
    .boxed()
}

/// While both followers' daemons stand still, more is written than their watches' connections hold, and all of it is
/// compacted away: their watches end. They go on, and notice the leader's death as if nothing had been.
pub(super) fn watch_compacted(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, followers) = (case.leader.clone(), case.followers());
        let key = format!("{}row-checker", case.cluster.prefix(&leader).await?);
        let mut stopped = Vec::new();
        let mut marks = Vec::new();
        for node in &followers {
            let inside = case.cluster.inside(node).await?;
            marks.push((node.clone(), inside.log_mark(), inside));
        }
        case.fault().await?;
        for node in &followers {
            stopped.push(case.cluster.signal(node, Role::Daemon, Signal::SIGSTOP).await?);
        }
        let flooded = flood_and_compact(case, &leader, &key).await;
        for daemon in &stopped {
            send(*daemon, Signal::SIGCONT)?;
        }
        flooded?;
        for (node, mark, inside) in &marks {
            let again = |inside: &crate::cluster::inside::Inside| inside.logged_since(*mark).contains("is begun again");
            inside.until("that the watch was begun again, in its log", Duration::from_secs(10), again).await?;
            let log = inside.logged_since(*mark);
            let why = log.lines().find(|line| line.contains("is begun again")).unwrap_or_default();
            case.note(format!("{node}: {}", why.trim()));
        }
        case.stays(D).await?;
        let killed = boot_ns();
        case.cluster.kill(&leader).await?;
        let row = case.taken_over(TAKEOVER + D + D).await?;
        case.note(format!("{} ms after the kill", row.answered_ns.saturating_sub(killed) / 1_000_000));
        Ok(())
    }
    .boxed()
}

/// More changes below our prefix than etcd queues for a watch whose reader stands still (128, and what the connection's
/// windows hold: some MB), and then no history any more.
async fn flood_and_compact(case: &Case, node: &str, key: &str) -> Outcome<()> {
    let floods = (0..FLOODS).map(|_| flood(case, node, key, 100, 25_000));
    for flooded in futures::future::join_all(floods).await {
        flooded?;
    }
    let newest = case.cluster.etcd_members().await?.iter().map(|member| member.revision).max().unwrap_or(0);
    case.cluster.etcdctl_must(node, &["compact", &newest.to_string()]).await?;
    case.cluster.etcdctl_must(node, &["del", key]).await.map(drop)
}

/// Writes one key over and over; ends early, with exit code 9, when etcd has no room. `true`: it had.
async fn flood(case: &Case, node: &str, key: &str, times: u32, bytes: u32) -> Outcome<bool> {
    let endpoint = format!("http://{}:2379", case.cluster.address(node)?);
    let script = format!(
        "export ETCDCTL_API=3; f=/tmp/flood.$$; head -c {bytes} /dev/zero | tr '\\0' x > $f; for n in $(seq {times}); do \
         etcdctl --endpoints={endpoint} put {key} < $f >$f.out 2>&1 \
         || {{ grep -q 'space exceeded' $f.out && exit 9; cat $f.out >&2; exit 1; }}; done"
    );
    let ended = case.cluster.exec(node, &["bash", "-c", &script], Duration::from_secs(60)).await?;
    match ended.code {
        Some(0) => Ok(true),
        Some(9) => Ok(false),
        Some(_) | None => fail(format!("filling etcd: {}", ended.said())),
    }
}

/// More is written than the quota allows, faster than anybody looks. Nobody can renew until history is compacted and the
/// alarm is off: by itself, and a leader again within 30 s.
pub(super) fn full(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let key = format!("{}row-checker", case.cluster.prefix(&leader).await?);
        case.fault().await?;
        // The quota of these clusters is 64 MiB.
        if flood(case, &leader, &key, 120, 1_200_000).await? {
            return fail("144 MB were written, and etcd never ran out of its quota");
        }
        let full = boot_ns();
        case.note(format!("etcd is full {} ms after the first write", case.since_fault_ms(full)));
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let alarms = case.cluster.etcdctl(&leader, &["alarm", "list"]).await?;
            if alarms.succeeded() && alarms.stdout.trim().is_empty() {
                break;
            }
            if Instant::now() > end {
                return fail(format!("30 s later etcd is still full: {}", alarms.said()));
            }
            sleep(Duration::from_millis(200)).await;
        }
        case.note(format!("no alarm any more {} ms after it was full", (boot_ns() - full) / 1_000_000));
        let left = end.saturating_duration_since(Instant::now());
        case.cluster.wait_until("a leader after etcd was full", left, |seen| seen.leader().is_some()).await?;
        let row = case.traffic.wait_for_row("after etcd was full", boot_ns(), TAKEOVER, |_| true).await?;
        case.note(format!("{} acknowledges {} ms after it was full", row.node, (row.answered_ns - full) / 1_000_000));
        // It stays healed: every member has room again.
        case.holds_for("nobody leads", D, |seen| seen.leader().is_some()).await?;
        for node in Cluster::names() {
            case.cluster.etcdctl(&node, &["del", &key]).await?;
        }
        Ok(())
    }
    .boxed()
}
