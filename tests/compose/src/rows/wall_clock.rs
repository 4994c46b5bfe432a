//! Wall clocks that step, on one node: its daemon's and its PostgreSQL's, by a preloaded library (`image/wallclock.c`). The
//! machine's own clock is never touched. What the packet filter makes of a step of the kernel's clock is the simulator's.

use super::D;
use super::case::{Case, TAKEOVER, VERB, first};
use crate::checker::read_back::{ask, connect};
use crate::cluster::inside::Inside;
use crate::cluster::processes::Role;
use crate::cluster::truth::Truth;
use crate::{Outcome, While, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;
const RESTARTED: Duration = Duration::from_secs(60);
const OFFSET: &str = "/run/wallclock";
const PRELOAD: &str = "/etc/ld.so.preload";
const RESTART: &str = "sv -w 30 restart leaderl-heart; sv -w 30 restart leaderl";

pub(super) fn steps(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        // Prepared on a follower, which may be restarted, and then made the leader.
        let node = first(&case.followers())?;
        let inside = case.cluster.inside(&node).await?;
        step(&inside, 0, true)?;
        inside.write(PRELOAD, "/usr/lib/wallclock.so\n")?;
        let stepped = on_the_leader(case, &node, &inside).await;
        // Undone whatever came of it; the next daemon is an ordinary one.
        step(&inside, 0, false)?;
        std::fs::remove_file(inside.path(PRELOAD)).during(|| "removing the preload".into())?;
        let leads = case.cluster.leader().await? == node;
        if leads {
            case.cluster.leaderl_must(&node, &["demote"], VERB).await?;
        }
        case.cluster.exec(&node, &["sh", "-c", RESTART], VERB).await?;
        stepped
    }
    .boxed()
}

async fn on_the_leader(case: &mut Case, node: &str, inside: &Inside) -> Outcome<()> {
    case.cluster.exec(node, &["sh", "-c", RESTART], VERB).await?;
    case.cluster.wait_until("whole after the restart", RESTARTED, Truth::is_whole).await?;
    let daemon = case.cluster.the(node, Role::Daemon).await?;
    let maps = std::fs::read_to_string(format!("/proc/{daemon}/maps")).during(|| format!("maps of {daemon}"))?;
    if !maps.contains(OFFSET) {
        return fail(format!("the daemon on {node} does not look at {OFFSET}"));
    }
    let leader = case.leader.clone();
    case.fault().await?;
    case.cluster.leaderl_must(&leader, &["promote", node], VERB).await?;
    case.taken_over(TAKEOVER).await?;
    (case.leader, case.timeline) = (node.to_string(), case.timeline + 1);
    for seconds in [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 0] {
        step(inside, seconds, false)?;
        let seen = clock_there(case, node).await?;
        if (seen - seconds).abs() > 60 {
            return fail(format!("the wall clock on {node} was to be {seconds} s off and is {seen} s off"));
        }
        case.stays(D + D / 2).await?;
        case.note(format!("{seen} s off: still leads"));
    }
    Ok(())
}

/// Eight bytes in place: what has the file mapped sees them at once.
fn step(inside: &Inside, seconds: i64, create: bool) -> Outcome<()> {
    let path = inside.path(OFFSET);
    let file = std::fs::OpenOptions::new().write(true).create(create).truncate(false).open(&path);
    let file = file.during(|| format!("opening {}", path.display()))?;
    file.write_all_at(&seconds.to_ne_bytes(), 0).during(|| format!("writing {}", path.display()))
}

/// By how many seconds PostgreSQL's wall clock differs from the machine's.
async fn clock_there(case: &Case, node: &str) -> Outcome<i64> {
    let session = connect(case.cluster.address(node)?, 5432, "chef_pgsql", &case.password).await?;
    let text = ask(&session, "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint").await?;
    let there: i64 = text.parse().during(|| format!("the clock of {node}"))?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(there - i64::try_from(here).unwrap_or(i64::MAX))
}
