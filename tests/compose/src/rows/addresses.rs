//! The VIP where it does not belong, and interfaces that go and come.

use super::D;
use super::case::{Case, TAKEOVER, VERB, first};
use crate::checker::clock::boot_ns;
use crate::{Outcome, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(20);
/// The catalogue's two seconds, and what it takes to look on a machine that does other work.
const PUT_RIGHT: Duration = Duration::from_secs(4);

/// Waits until the node has the VIP, or has it no more; ms since `since_ns`.
async fn vip_on(case: &Case, node: &str, wanted: bool, since_ns: u64, limit: Duration) -> Outcome<u64> {
    let end = Instant::now() + limit;
    while case.cluster.has_vip(node).await? != wanted {
        if Instant::now() > end {
            let state = if wanted { "is not on" } else { "is still on" };
            return fail(format!("the VIP {state} {node} after {limit:?}"));
        }
        sleep(LOOK).await;
    }
    Ok((boot_ns() - since_ns) / 1_000_000)
}

/// Another machine has the address when a leader takes over: said aloud with the machine's hardware address; the leader
/// leads, and has the address to itself when the other is gone.
pub(super) fn taken_at_takeover(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, target) = (case.leader.clone(), first(&case.followers())?);
        let before = case.cluster.leaderl(&target, &["events"], VERB).await?.stdout;
        let hardware = case.cluster.stranger_claims_vip().await?;
        case.planted.push(hardware.clone());
        case.fault().await?;
        let during = async {
            case.cluster.leaderl_must(&leader, &["promote", &target], VERB).await?;
            case.taken_over(TAKEOVER).await?;
            case.reports(&target, &hardware, &before, Duration::from_secs(10)).await
        }
        .await;
        case.cluster.send_stranger_away().await?;
        let gone = boot_ns();
        let said = during?;
        case.note(format!("said: {said}"));
        clients_are_back(case, &target, gone).await
    }
    .boxed()
}

/// The same while a leader leads: said aloud, and the leader keeps its address.
pub(super) fn claimed_later(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let hardware = case.cluster.stranger_claims_vip().await?;
        case.planted.push(hardware.clone());
        let during = async {
            // In the journal it stands once per epoch and machine; among the problems as long as it lasts.
            let said = vip_problem(case, &leader, &hardware, Duration::from_secs(10)).await?;
            case.stays(D).await?;
            Ok(said)
        }
        .await;
        case.cluster.send_stranger_away().await?;
        let gone = boot_ns();
        let said: String = during?;
        case.note(format!("said: {said}"));
        clients_are_back(case, &leader, gone).await
    }
    .boxed()
}

/// Waits until `GET /status` of a node has a problem of the VIP that names the machine.
async fn vip_problem(case: &Case, node: &str, hardware: &str, limit: Duration) -> Outcome<String> {
    let end = Instant::now() + limit;
    loop {
        let ended = case.cluster.exec(node, &["curl", "-sS", "-m", "2", "http://127.0.0.1:7331/status"], VERB).await?;
        let status: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        let problems = status["vip"]["problems"].as_array().cloned().unwrap_or_default();
        if let Some(problem) = problems.iter().map(ToString::to_string).find(|problem| problem.contains(hardware)) {
            return Ok(problem);
        }
        if Instant::now() > end {
            return fail(format!("/status on {node} names no {hardware} among the VIP's problems: {problems:?}"));
        }
        sleep(LOOK).await;
    }
}

async fn clients_are_back(case: &mut Case, leader: &str, gone_ns: u64) -> Outcome<()> {
    let row = case.traffic.wait_for_row("through the VIP", gone_ns, VERB, |row| row.route == "vip").await?;
    case.note(format!("through the VIP again {} ms after it was gone", (row.answered_ns - gone_ns) / 1_000_000));
    if row.node == leader { Ok(()) } else { fail(format!("the VIP leads to {}, not to {leader}", row.node)) }
}

/// Runs `ip link set` on the node's interface.
async fn link(case: &Case, node: &str, words: &[&str]) -> Outcome<()> {
    let all: Vec<&str> = ["ip", "link", "set"].into_iter().chain(words.iter().copied()).collect();
    case.cluster.in_network(node, &all).await.map(drop)
}

/// Down for a second, which is too short to lose the lead, and up again.
pub(super) fn link_blinks(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        link(case, &leader, &["eth0", "down"]).await?;
        sleep(Duration::from_secs(1)).await;
        link(case, &leader, &["eth0", "up"]).await?;
        let up = boot_ns();
        let row = case.traffic.wait_for_row("after the link came back", up, TAKEOVER, |row| row.route == "vip").await?;
        let back = vip_on(case, &row.node, true, up, PUT_RIGHT).await?;
        case.note(format!("{} has the VIP at most {back} ms after the link", row.node));
        Ok(())
    }
    .boxed()
}

/// Down until another node leads, and up again.
pub(super) fn link_down(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        link(case, &leader, &["eth0", "down"]).await?;
        let taken = case.taken_over(TAKEOVER).await;
        link(case, &leader, &["eth0", "up"]).await?;
        let up = boot_ns();
        taken?;
        let gone = vip_on(case, &leader, false, up, PUT_RIGHT).await?;
        case.note(format!("{leader} has no VIP {gone} ms after the link"));
        case.whole_again(up, Duration::from_secs(120)).await
    }
    .boxed()
}

/// Under another name, and back under its own: the VIP is where the publish address is.
pub(super) fn link_renamed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        let renamed = async {
            for (from, to) in [("eth0", "lan0"), ("lan0", "eth0")] {
                link(case, &leader, &[from, "down"]).await?;
                link(case, &leader, &[from, "name", to]).await?;
                link(case, &leader, &[to, "up"]).await?;
                let up = boot_ns();
                let row =
                    case.traffic.wait_for_row("under the other name", up, TAKEOVER, |row| row.route == "vip").await?;
                case.note(format!("{to}: through the VIP {} ms after", (row.answered_ns - up) / 1_000_000));
            }
            Ok(())
        }
        .await;
        if renamed.is_err() {
            // Whatever it is called now.
            let _ = link(case, &leader, &["lan0", "down"]).await;
            let _ = link(case, &leader, &["lan0", "name", "eth0"]).await;
            let _ = link(case, &leader, &["eth0", "up"]).await;
        }
        renamed
    }
    .boxed()
}

/// The leader's interface is deleted, and made anew.
pub(super) fn link_deleted(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let leader = case.leader.clone();
        case.fault().await?;
        case.cluster.plug(&leader, false).await?;
        let taken = case.taken_over(TAKEOVER).await;
        case.cluster.plug(&leader, true).await?;
        let plugged = boot_ns();
        taken?;
        case.whole_again(plugged, Duration::from_secs(120)).await?;
        // The new interface must be good for leading too.
        case.cluster.leaderl_must(&leader, &["promote", &leader], VERB).await?;
        let back = vip_on(case, &leader, true, plugged, PUT_RIGHT).await?;
        case.note(format!("leads again with the VIP {back} ms after"));
        Ok(())
    }
    .boxed()
}

/// Put on a follower by hand: removed.
pub(super) fn added_to_a_follower(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let follower = first(&case.followers())?;
        case.planted.push(case.cluster.hardware_address(&follower).await?);
        case.fault().await?;
        case.cluster.add_vip(&follower).await?;
        let gone = vip_on(case, &follower, false, case.fault_ns, PUT_RIGHT).await?;
        case.note(format!("off {follower} {gone} ms after"));
        let row = case.traffic.wait_for_row("through the VIP", boot_ns(), TAKEOVER, |row| row.route == "vip").await?;
        if row.node == case.leader { Ok(()) } else { fail(format!("the VIP leads to {}", row.node)) }
    }
    .boxed()
}

/// Left on a follower with no end of its life while nothing of leaderl ran there: removed at the start.
pub(super) fn left_over(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let follower = first(&case.followers())?;
        case.planted.push(case.cluster.hardware_address(&follower).await?);
        case.fault().await?;
        case.cluster.exec(&follower, &["sh", "-c", "sv -w 30 down leaderl leaderl-heart"], VERB).await?;
        case.cluster.add_vip(&follower).await?;
        case.cluster.exec(&follower, &["sh", "-c", "sv up leaderl-heart leaderl"], VERB).await?;
        let started = boot_ns();
        let gone = vip_on(case, &follower, false, started, 2 * D).await?;
        case.note(format!("off {follower} {gone} ms after the start"));
        case.reports(&follower, "vip-stale-removed", "", VERB).await?;
        case.whole_again(started, VERB).await?;
        let row = case.traffic.wait_for_row("through the VIP", boot_ns(), TAKEOVER, |row| row.route == "vip").await?;
        if row.node == case.leader { Ok(()) } else { fail(format!("the VIP leads to {}", row.node)) }
    }
    .boxed()
}
