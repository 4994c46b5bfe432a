//! Actors of the leader's daemon, and of a follower's.

use super::D;
use super::case::{Case, VERB, first, leads_or_writes};
use crate::{Outcome, While, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;

/// Between two kills: what one of them disturbs shows before the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Every worker in the order of the tree, then the supervisor of the election's branch with all below it.
pub(super) fn killed(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    async move {
        let (leader, follower) = (case.leader.clone(), first(&case.followers())?);
        case.refused(&leader, &["actors", "kill", "nobody"]).await?;
        let (of_leader, of_follower) = (actors(case, &leader).await?, actors(case, &follower).await?);
        case.fault().await?;
        kill_each(case, &leader, of_leader).await?;
        kill_each(case, &follower, of_follower).await?;
        stays(case, "the leader changed after all", 2 * D).await
    }
    .boxed()
}

async fn actors(case: &Case, node: &str) -> Outcome<Vec<String>> {
    let listed = case.cluster.leaderl_must(node, &["actors", "list", "--format", "json"], VERB).await?;
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&listed).during(|| format!("`actors list` on {node}: {listed}"))?;
    let workers = listed.iter().filter(|actor| actor["kind"] == "worker");
    let mut actors: Vec<String> = workers.filter_map(|actor| actor["id"].as_str().map(str::to_owned)).collect();
    if actors.len() < 10 {
        return fail(format!("{node} lists only {actors:?}"));
    }
    actors.push("coordination".to_owned());
    Ok(actors)
}

async fn kill_each(case: &mut Case, node: &str, actors: Vec<String>) -> Outcome<()> {
    let mut slowest = (0, String::new());
    for actor in actors {
        let said = case.cluster.leaderl_must(node, &["actors", "kill", &actor, "--format", "json"], VERB).await?;
        let killed: serde_json::Value =
            serde_json::from_str(&said).during(|| format!("killing {actor} on {node}: {said}"))?;
        let Some(after_ms) = killed["after_ms"].as_u64() else {
            return fail(format!("`actors kill {actor}` on {node} does not say when it ran again: {said}"));
        };
        slowest = slowest.max((after_ms, actor.clone()));
        stays(case, &format!("the leader changed after {actor} was killed on {node}"), PAUSE).await?;
    }
    case.note(format!(
        "on {node} the slowest to run again was {} after {} ms, as its operator saw it",
        slowest.1, slowest.0
    ));
    Ok(())
}

async fn stays(case: &Case, what: &str, time: Duration) -> Outcome<()> {
    let leader = case.leader.clone();
    case.holds_for(what, time, |seen| !seen.0.iter().any(|n| n.name != leader && leads_or_writes(n))).await
}
