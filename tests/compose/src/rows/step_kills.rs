//! The daemon killed -9 in the middle of each of its procedures. The moment is chosen from outside, by what the procedure
//! leaves in the node's files; a restarted daemon must bring the procedure, or its opposite, to an end.

use super::D;
use super::case::{Case, TAKEOVER, VERB, first};
use super::processes::RESTART;
use crate::checker::clock::boot_ns;
use crate::cluster::inside::Inside;
use crate::cluster::links::{Cut, Ports, Way};
use crate::cluster::processes::{Role, send};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;

const STATE: &str = "/var/lib/leaderl";
const PGDATA: &str = "/var/lib/leaderl/postgresql/data";
const COPY: &str = "/var/lib/leaderl/postgresql/data.new";
const COPY_READY: &str = "/var/lib/leaderl/postgresql/data.new.ready";
const REWINDING: &str = "/var/lib/leaderl/postgresql/pg_control.before-rewind";
/// Until a procedure that was begun shows.
const BEGUN: Duration = Duration::from_secs(60);
/// Streaming again after a rewind or a base copy that was interrupted: the catalogue's R3.
const REMADE: Duration = Duration::from_secs(150);

/// Waits until the node knows of an epoch that it did not know: the acquiring transaction is committed, PostgreSQL is not
/// promoted yet.
pub(super) async fn acquired(inside: &Inside) -> Outcome<()> {
    let epochs = format!("{STATE}/epochs.json");
    let before = inside.text(&epochs);
    inside.until("a new epoch", BEGUN, |inside| inside.text(&epochs) != before).await
}

/// Kills the daemon and waits until runit has started the next; its pid.
async fn kill_daemon(case: &Case, node: &str, daemon: i32) -> Outcome<i32> {
    send(daemon, Signal::SIGKILL)?;
    case.restarted(node, Role::Daemon, daemon, RESTART).await?;
    case.cluster.the(node, Role::Daemon).await
}

pub(super) fn promote(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, target) = (case.leader.clone(), first(&case.followers())?);
        let daemon = case.cluster.the(&target, Role::Daemon).await?;
        let inside = case.cluster.inside(&target).await?;
        case.fault().await?;
        let ordered = case.order(&leader, &["promote", &target]);
        acquired(&inside).await?;
        case.note(format!("killed {} ms after the order", case.since_fault_ms(boot_ns())));
        kill_daemon(case, &target, daemon).await?;
        case.taken_over(TAKEOVER + D).await?;
        ended_honestly(case, ordered.await, &target).await
    }
    .boxed()
}

/// Exit 0 of `promote` means that the target leads; anything else, that something was said.
async fn ended_honestly(
    case: &mut Case,
    ended: Result<Outcome<crate::cluster::command::Ended>, tokio::task::JoinError>,
    target: &str,
) -> Outcome<()> {
    let Ok(ended) = ended else { return fail("the order's task died") };
    let ended = ended?;
    case.note(format!("the order ended with {:?}", ended.code));
    if !ended.succeeded() {
        let silent = ended.stdout.trim().is_empty() && ended.stderr.trim().is_empty();
        return if silent { fail("the order failed without a word") } else { Ok(()) };
    }
    let led = case.traffic.attempts()?.iter().any(|row| row.timeline > case.timeline && row.node == target);
    if led { Ok(()) } else { fail(format!("promote said done, but {target} acknowledged nothing")) }
}

pub(super) fn demote(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let daemon = case.cluster.the(&leader, Role::Daemon).await?;
        let inside = case.cluster.inside(&leader).await?;
        case.fault().await?;
        let ordered = case.order(&leader, &["demote"]);
        let lock = format!("{PGDATA}/postmaster.pid");
        // The last line of its lock file is the postmaster's own word on its state.
        inside.until("PostgreSQL's stop", BEGUN, |inside| !inside.text(&lock).contains("ready")).await?;
        case.note(format!("killed {} ms after the order", case.since_fault_ms(boot_ns())));
        kill_daemon(case, &leader, daemon).await?;
        case.taken_over(TAKEOVER).await?;
        if let Ok(ended) = ordered.await {
            case.note(format!("the order ended with {:?}", ended?.code));
        }
        Ok(())
    }
    .boxed()
}

/// A leader cut off keeps commits that nobody confirmed; back again, it must rewind. Killed as the rewind begins, and again
/// while the next daemon repairs that.
pub(super) fn rewind(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, others) = (case.leader.clone(), case.followers());
        let inside = case.cluster.inside(&leader).await?;
        case.fault().await?;
        let cut = Cut { peers: &others, way: Way::Both, ports: Ports::Any };
        case.cluster.cut(&leader, &cut).await?;
        let taken = case.taken_over(TAKEOVER).await;
        let daemon = case.cluster.the(&leader, Role::Daemon).await?;
        case.cluster.mend(&leader).await?;
        taken?;
        inside.until("a rewind", BEGUN, |inside| inside.has(REWINDING)).await?;
        case.note(format!("rewinding {} ms after", case.since_fault_ms(boot_ns())));
        let next = kill_daemon(case, &leader, daemon).await?;
        let repairs = |inside: &Inside| inside.has(COPY) || !inside.has(REWINDING);
        inside.until("the next attempt", BEGUN, repairs).await?;
        let killed = boot_ns();
        kill_daemon(case, &leader, next).await?;
        case.whole_again(killed, REMADE).await?;
        in_order(&inside)
    }
    .boxed()
}

/// Nothing half done is left behind.
fn in_order(inside: &Inside) -> Outcome<()> {
    let left: Vec<&str> = [REWINDING, COPY, COPY_READY].into_iter().filter(|path| inside.has(path)).collect();
    if left.is_empty() { Ok(()) } else { fail(format!("left over: {}", left.join(", "))) }
}

/// Runs a shell line in a node, which must succeed.
async fn shell(case: &Case, node: &str, line: &str) -> Outcome<()> {
    let ended = case.cluster.exec(node, &["sh", "-ec", line], VERB).await?;
    if ended.succeeded() { Ok(()) } else { fail(format!("`{line}` on {node}: {}", ended.said())) }
}

/// A follower without data copies the leader's; killed as the copy begins, in its middle, and when it is whole.
pub(super) fn base_copy(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let node = first(&case.followers())?;
        let inside = case.cluster.inside(&node).await?;
        case.fault().await?;
        let lose =
            format!("sv -w 30 down leaderl leaderl-heart; mv {PGDATA} {PGDATA}.lost; sv up leaderl-heart leaderl");
        shell(case, &node, &lose).await?;
        let steps: [(&str, &str); 3] = [("its beginning", "PG_VERSION"), ("its middle", "base/1"), ("its end", "")];
        for (when, file) in steps {
            let at = if file.is_empty() { COPY_READY.to_string() } else { format!("{COPY}/{file}") };
            // The copy is small: its end may have come before this daemon's pid was known.
            inside.until(when, BEGUN, |inside| inside.has(&at) || inside.has(&format!("{PGDATA}/PG_VERSION"))).await?;
            if inside.has(&format!("{PGDATA}/PG_VERSION")) {
                break;
            }
            let daemon = case.cluster.the(&node, Role::Daemon).await?;
            case.note(format!("killed at {when}, {} ms after", case.since_fault_ms(boot_ns())));
            kill_daemon(case, &node, daemon).await?;
        }
        let killed = boot_ns();
        case.whole_again(killed, REMADE).await?;
        shell(case, &node, &format!("rm -rf {PGDATA}.lost")).await?;
        in_order(&inside)
    }
    .boxed()
}

/// A removed follower joins again with nothing; its daemon is killed when it has just started, and while it copies.
pub(super) fn join(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, node) = (case.leader.clone(), first(&case.followers())?);
        let peer = case.cluster.address(&leader)?.to_string();
        let inside = case.cluster.inside(&node).await?;
        case.fault().await?;
        shell(case, &node, "sv -w 30 down leaderl leaderl-heart leaderl-etcd").await?;
        case.cluster.leaderl_must(&leader, &["remove-node", "--yes", &node], VERB).await?;
        shell(case, &node, &format!("find {STATE} -mindepth 1 -delete")).await?;
        let joining = case.order_within(&node, &["join-cluster", "--yes", &peer], REMADE);
        case.restarted(&node, Role::Daemon, 0, BEGUN).await?;
        let first_daemon = case.cluster.the(&node, Role::Daemon).await?;
        case.note(format!("killed {} ms after, just started", case.since_fault_ms(boot_ns())));
        let next = kill_daemon(case, &node, first_daemon).await?;
        let copying = |inside: &Inside| inside.has(&format!("{COPY}/PG_VERSION")) || inside.has(PGDATA);
        inside.until("the base copy", BEGUN, copying).await?;
        case.note(format!("killed {} ms after, copying", case.since_fault_ms(boot_ns())));
        kill_daemon(case, &node, next).await?;
        let Ok(joined) = joining.await else { return fail("the order's task died") };
        let joined = joined?;
        if !joined.succeeded() {
            return fail(format!("join-cluster on {node}: {}", joined.said()));
        }
        case.whole_again(case.fault_ns, REMADE).await?;
        in_order(&inside)
    }
    .boxed()
}

/// An announced restart, as an upgrade does it, whose new daemon is killed as soon as it is there.
pub(super) fn upgrade(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.cluster.leaderl_must(&leader, &["announce-stop", "upgrade"], VERB).await?;
        let old = case.cluster.the(&leader, Role::Daemon).await?;
        case.fault().await?;
        send(old, Signal::SIGTERM)?;
        case.restarted(&leader, Role::Daemon, old, RESTART).await?;
        let new = case.cluster.the(&leader, Role::Daemon).await?;
        case.note(format!("killed {} ms after", case.since_fault_ms(boot_ns())));
        kill_daemon(case, &leader, new).await?;
        case.traffic.wait_for_row("after the second restart", boot_ns(), TAKEOVER, |_| true).await.map(drop)
    }
    .boxed()
}
