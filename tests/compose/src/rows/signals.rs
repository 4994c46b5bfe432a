//! Signals and ends that the service manager, an operator or a supervisor gives the daemon.

use super::D;
use super::case::{Case, TAKEOVER, VERB, first};
use super::processes::RESTART;
use super::step_kills::acquired;
use crate::checker::clock::boot_ns;
use crate::cluster::processes::{Role, send};
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;

/// The daemon gets these signals, is started again by runit, and the VIP is on the leader alone.
async fn signalled(case: &mut Case, signals: &[Signal], hands_over: bool) -> Outcome<()> {
    let leader = case.leader.clone();
    let daemon = case.cluster.the(&leader, Role::Daemon).await?;
    case.fault().await?;
    for signal in signals {
        // It may be gone already when the second one comes.
        let _ = send(daemon, *signal);
    }
    if hands_over {
        case.taken_over(TAKEOVER).await?;
    }
    case.restarted(&leader, Role::Daemon, daemon, Duration::from_secs(30)).await?;
    case.whole_again(case.fault_ns, VERB).await?;
    vip_only_on_the_leader(case).await
}

async fn vip_only_on_the_leader(case: &Case) -> Outcome<()> {
    let leader = case.cluster.leader().await?;
    for node in crate::cluster::Cluster::names() {
        if case.cluster.has_vip(&node).await? != (node == leader) {
            return fail(format!("{leader} leads, but the VIP on {node} is not as it should be"));
        }
    }
    Ok(())
}

pub(super) fn term(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    signalled(case, &[Signal::SIGTERM], true).boxed()
}

pub(super) fn term_twice(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    signalled(case, &[Signal::SIGTERM, Signal::SIGTERM], true).boxed()
}

pub(super) fn hangup(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    signalled(case, &[Signal::SIGHUP], false).boxed()
}

pub(super) fn term_while_promoting(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, target) = (case.leader.clone(), first(&case.followers())?);
        let daemon = case.cluster.the(&target, Role::Daemon).await?;
        let inside = case.cluster.inside(&target).await?;
        case.fault().await?;
        let ordered = case.order(&leader, &["promote", &target]);
        acquired(&inside).await?;
        send(daemon, Signal::SIGTERM)?;
        case.taken_over(TAKEOVER + D).await?;
        case.restarted(&target, Role::Daemon, daemon, Duration::from_secs(30)).await?;
        if let Ok(said) = ordered.await {
            case.note(format!("promote ended with {:?}", said?.code));
        }
        case.whole_again(case.fault_ns, VERB).await?;
        vip_only_on_the_leader(case).await
    }
    .boxed()
}

/// How often an actor is killed: more than its branch's restarts, often enough that the root gives up too.
const KILLS: u32 = 40;

/// Kills the VIP's actor until the daemon has given up.
async fn kill_until_given_up(case: &Case, node: &str, daemon: i32) -> Outcome<()> {
    for _ in 0..KILLS {
        // While it is being restarted the order is refused; what counts is the daemon's end.
        case.cluster.leaderl(node, &["actors", "kill", "vip"], VERB).await?;
        if !case.cluster.pids(node, Role::Daemon).await?.contains(&daemon) {
            return Ok(());
        }
    }
    fail(format!("the daemon on {node} runs on after its VIP's actor was killed {KILLS} times"))
}

/// The tree gives up on the leader: fenced first, then the daemon ends; runit starts it again.
pub(super) fn gives_up_on_the_leader(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        let daemon = case.cluster.the(&leader, Role::Daemon).await?;
        let inside = case.cluster.inside(&leader).await?;
        let mark = inside.log_mark();
        case.fault().await?;
        kill_until_given_up(case, &leader, daemon).await?;
        case.note(format!("given up {} ms after the first kill", case.since_fault_ms(boot_ns())));
        let said = |inside: &crate::cluster::inside::Inside| inside.logged_since(mark).contains("gave up");
        inside.until("that the tree gave up, in its log", RESTART, said).await?;
        case.taken_over(TAKEOVER).await?;
        case.whole_again(case.fault_ns, VERB).await
    }
    .boxed()
}

/// The same on a follower: PostgreSQL goes on streaming, and nobody notices.
pub(super) fn gives_up_on_a_follower(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let follower = first(&case.followers())?;
        let daemon = case.cluster.the(&follower, Role::Daemon).await?;
        let postmaster = case.cluster.the(&follower, Role::Postmaster).await?;
        case.fault().await?;
        kill_until_given_up(case, &follower, daemon).await?;
        case.restarted(&follower, Role::Daemon, daemon, RESTART).await?;
        case.stays(D).await?;
        if case.cluster.the(&follower, Role::Postmaster).await? == postmaster {
            return Ok(());
        }
        fail(format!("PostgreSQL on {follower} was restarted along with the daemon"))
    }
    .boxed()
}
