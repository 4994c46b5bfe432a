//! Fences that need nobody: processes, or the whole node, stand still, and what they do when they go on comes too late.

use super::D;
use super::case::{Case, TAKEOVER, VERB, first};
use crate::checker::clock::boot_ns;
use crate::checker::record::{Answer, Attempt};
use crate::cluster::processes::{Role, send};
use crate::cluster::truth::Truth;
use crate::{Failure, Outcome, While, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Every fence has acted this long after the last renewal was sent.
const DEADLINE_NS: u64 = 2 * 5_000_000_000 / 3;
/// Where the nodes' processes look for stop points.
const STOP_POINTS: &str = "/tmp/stop-points";
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// `node` stood still at `stopped_ns` the latest, so its last renewal is older: nothing that it acknowledged may have reached a
/// client after the deadline, whatever it did when it went on. Its session opened before must have been asked, and been
/// acknowledged until then.
fn kept_its_deadline(case: &mut Case, node: &str, fault_ns: u64, stopped_ns: u64) -> Outcome<()> {
    let attempts = case.traffic.attempts()?;
    let deadline_ns = stopped_ns + DEADLINE_NS;
    let of_node = |attempt: &&Attempt| attempt.node == node && attempt.timeline <= case.timeline;
    let acknowledged = |attempt: &&Attempt| attempt.answer == Answer::Acknowledged;
    let last = attempts.iter().filter(of_node).filter(acknowledged).max_by_key(|attempt| attempt.answered_ns);
    let Some(last) = last else { return fail(format!("{node} never acknowledged anything: the row proves nothing")) };
    if last.answered_ns > deadline_ns {
        let late_ms = (last.answered_ns - deadline_ns) / 1_000_000;
        return fail(format!("{node} acknowledged on {} {late_ms} ms after its deadline", last.route));
    }
    let sticky = format!("sticky:{node}");
    let asked = attempts.iter().filter(|attempt| attempt.route == sticky && attempt.sent_ns >= fault_ns).count();
    if asked == 0 {
        return fail(format!("no session with {node} that was opened before was used: the row proves nothing"));
    }
    let before_ms = (deadline_ns - last.answered_ns) / 1_000_000;
    case.note(format!(
        "{node} last acknowledged {before_ms} ms before its deadline at the latest; {asked} tries on {sticky}"
    ));
    Ok(())
}

impl Case {
    /// From here on the present leader is the row's, and sessions are opened anew for the next fault.
    async fn anew(&mut self) -> Outcome<()> {
        let seen = self.cluster.wait_until("one leader and two followers streaming", WHOLE, Truth::is_whole).await?;
        let Some(leader) = seen.leader() else { return fail("no leader") };
        self.leader = leader.name.clone();
        self.timeline = leader.postgres.as_ref().map_or(0, |postgres| postgres.timeline);
        self.traffic.fault_ends().await?;
        // A session that was not open when the fault begins would prove nothing; the verdict says so if one was not.
        sleep(Duration::from_secs(1)).await;
        Ok(())
    }
}

/// Asks the process to stop itself at the point; through its own root, which takes no command in the node.
fn arm_stop(pid: i32, point: &str) -> Outcome<()> {
    let directory = PathBuf::from(format!("/proc/{pid}/root{STOP_POINTS}"));
    std::fs::create_dir_all(&directory).during(|| format!("stop points of process {pid}"))?;
    std::fs::write(directory.join(point), "").during(|| format!("stop point {point}"))
}

/// Waits until it stands still.
async fn stands_still(pid: i32, point: &str) -> Outcome<()> {
    let end = Instant::now() + STOPPED_WITHIN;
    while !is_stopped(pid) {
        if Instant::now() > end {
            return fail(format!("process {pid} did not come by {point} within {STOPPED_WITHIN:?}"));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Both stand still for 2 D: only the kernel is left to fence.
pub(super) fn daemon_and_heart_stopped(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let (daemon, heart) =
            (case.cluster.the(&leader, Role::Daemon).await?, case.cluster.the(&leader, Role::Heart).await?);
        case.fault().await?;
        send(heart, Signal::SIGSTOP)?;
        send(daemon, Signal::SIGSTOP)?;
        let stopped_ns = boot_ns();
        let end = Instant::now() + 2 * D;
        let taken = case.taken_over(TAKEOVER).await;
        let vip = case.cluster.has_vip(&leader).await?;
        sleep_until(end).await;
        let alive = case.cluster.processes(&leader).await?.iter().any(|process| process.role == Role::Postmaster);
        send(heart, Signal::SIGCONT)?;
        send(daemon, Signal::SIGCONT)?;
        taken?;
        if vip {
            return fail(format!("{leader} still had the VIP when another node acknowledged"));
        }
        if !alive {
            return fail(format!("PostgreSQL on {leader} was ended by somebody: the row proves nothing"));
        }
        let thawed_ns = boot_ns();
        case.cluster.wait_until("the old leader streaming again", WHOLE, Truth::is_whole).await?;
        case.note(format!("whole {} ms after it went on", (boot_ns() - thawed_ns) / 1_000_000));
        kept_its_deadline(case, &leader, case.fault_ns, stopped_ns)
    }
    .boxed()
}

/// The whole node stands still for 2 D and goes on as if nothing had been.
pub(super) fn node_paused(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.pause(&leader).await?;
        let stopped_ns = boot_ns();
        let end = Instant::now() + 2 * D;
        let taken = case.taken_over(TAKEOVER).await;
        sleep_until(end).await;
        case.cluster.thaw(&leader).await?;
        let thawed_ns = boot_ns();
        taken?;
        case.cluster.wait_until("the old leader streaming again", WHOLE, Truth::is_whole).await?;
        case.note(format!("whole {} ms after the thaw", (boot_ns() - thawed_ns) / 1_000_000));
        kept_its_deadline(case, &leader, case.fault_ns, stopped_ns)
    }
    .boxed()
}

/// A process, and where it stops itself between its look at the clock and a call that renews or opens a fence.
struct Late {
    role: Role,
    point: &'static str,
    /// It comes by only when the node becomes the leader.
    at_takeover: bool,
}

const LATE: [Late; 6] = [
    Late { role: Role::Heart, point: "vip-refresh", at_takeover: false },
    Late { role: Role::Heart, point: "gate-refresh", at_takeover: false },
    Late { role: Role::Daemon, point: "guard-feed", at_takeover: false },
    Late { role: Role::Daemon, point: "key-renewal", at_takeover: false },
    Late { role: Role::Daemon, point: "gate-order", at_takeover: true },
    Late { role: Role::Daemon, point: "vip-order", at_takeover: true },
];

/// Each of them stands still for 2 D and then makes its late call.
pub(super) fn late_refresh(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        for late in LATE {
            let outcome =
                if late.at_takeover { opened_late(case, &late).await } else { renewed_late(case, &late).await };
            outcome.map_err(|Failure(text)| Failure(format!("{}: {text}", late.point)))?;
            case.anew().await.map_err(|Failure(text)| Failure(format!("after {}: {text}", late.point)))?;
        }
        Ok(())
    }
    .boxed()
}

/// The leader is late with a renewal.
async fn renewed_late(case: &mut Case, late: &Late) -> Outcome<()> {
    let leader = case.leader.clone();
    let daemon = case.cluster.the(&leader, Role::Daemon).await?;
    let stopped = case.cluster.the(&leader, late.role).await?;
    case.fault().await?;
    arm_stop(stopped, late.point)?;
    stands_still(stopped, late.point).await?;
    if late.role == Role::Heart {
        // It would replace a heart that does not answer.
        send(daemon, Signal::SIGSTOP)?;
    }
    let stopped_ns = boot_ns();
    let end = Instant::now() + 2 * D;
    let taken = case.taken_over(TAKEOVER).await;
    sleep_until(end).await;
    // A daemon that its successor's heart has ended meanwhile needs no word.
    let _ = send(stopped, Signal::SIGCONT);
    if late.role == Role::Heart {
        // heart makes its late call first.
        sleep(Duration::from_millis(200)).await;
        let _ = send(daemon, Signal::SIGCONT);
    }
    taken?;
    case.cluster.wait_until("the old leader streaming again", WHOLE, Truth::is_whole).await?;
    kept_its_deadline(case, &leader, case.fault_ns, stopped_ns)
}

/// A follower is made the leader, and stands still before it lets clients in.
async fn opened_late(case: &mut Case, late: &Late) -> Outcome<()> {
    let follower = first(&case.followers())?;
    let stopped = case.cluster.the(&follower, late.role).await?;
    case.fault().await?;
    arm_stop(stopped, late.point)?;
    let (cluster, leader, target) = (case.cluster.clone(), case.leader.clone(), follower.clone());
    let promoting = tokio::spawn(async move { cluster.leaderl(&leader, &["promote", &target], VERB).await });
    stands_still(stopped, late.point).await?;
    let stopped_ns = boot_ns();
    let end = Instant::now() + 2 * D;
    let other = |row: &Attempt| row.node != follower && row.answered_ns > stopped_ns;
    let taken = case.traffic.wait_for_row("on another node", stopped_ns, TAKEOVER, other).await;
    sleep_until(end).await;
    let _ = send(stopped, Signal::SIGCONT);
    // Whatever the command says: the order was overtaken.
    let _ = promoting.await;
    let row = taken?;
    case.note(format!(
        "{}: {} acknowledges {} ms after",
        late.point,
        row.node,
        (row.answered_ns - stopped_ns) / 1_000_000
    ));
    case.cluster.wait_until("the late one streaming again", WHOLE, Truth::is_whole).await?;
    let deadline_ns = stopped_ns + DEADLINE_NS;
    let since_ns = case.fault_ns;
    let attempts = case.traffic.attempts()?;
    let late_ack = attempts.iter().find(|attempt| {
        attempt.node == follower
            && attempt.answer == Answer::Acknowledged
            && attempt.sent_ns > since_ns
            && attempt.timeline < row.timeline
            && attempt.answered_ns > deadline_ns
    });
    match late_ack {
        None => Ok(()),
        Some(ack) => fail(format!("{follower} acknowledged on {} after its deadline", ack.route)),
    }
}
