//! `promote`, `demote`, `force-leader`, and the failover switches: ordered through the daemon, and waited for.

use super::client::{AskError, Client};
use super::error::CliError;
use crate::actors::api::admin_protocol::{AdminRequest, Order, STORE_SILENT, Submitted};
use crate::actors::api::cluster_report::{ClusterReport, NodeReport};
use crate::settings::Settings;
use crate::settings::identity::{NodeIdentity, random_hex};
use leaderl_decision::records::{RequestRecord, RequestState};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Gives an order and waits until the asked node leads and serves.
pub async fn give(settings: &Settings, order: Order) -> Result<(), CliError> {
    NodeIdentity::read(settings)?;
    let client = Client::new(settings);
    let began = Instant::now();
    let deadline = began + settings.election.control_timeout;
    let id = random_hex(8)?;
    let request = AdminRequest::Order { id: id.clone(), order };
    let submitted: Submitted = retrying(&client, &request, deadline).await?;
    let outcome = wait(&client, &submitted, &id, settings, deadline).await;
    // An order that is done needs no record, and one that is given up must not be carried out later.
    let withdrawn: Result<(), AskError> = client.ask(&AdminRequest::Withdraw { id }).await;
    match (outcome, withdrawn) {
        (Ok(name), _) => {
            println!("{name} leads and serves after {:.1}s", began.elapsed().as_secs_f64());
            Ok(())
        }
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(why)) => Err(CliError::new(format!(
            "{error}\nThe order could not be withdrawn ({why}): it may still be carried out; see `leaderl cluster-status`"
        ))),
    }
}

/// Asks until the answer is not about a silent etcd or a daemon that is restarting.
pub async fn retrying<T: serde::de::DeserializeOwned>(
    client: &Client,
    request: &AdminRequest,
    deadline: Instant,
) -> Result<T, CliError> {
    let mut told = false;
    loop {
        let why = match client.ask(request).await {
            Ok(answer) => return Ok(answer),
            Err(AskError::Refused(reason)) if reason.code == STORE_SILENT => AskError::Refused(reason),
            // A daemon that is down stays down; one that restarts is back in a moment.
            Err(why @ AskError::NoDaemon { .. }) if told => why,
            Err(why @ AskError::NoDaemon { .. }) => {
                if Instant::now() + Duration::from_secs(2) < deadline {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                match client.ask(request).await {
                    Ok(answer) => return Ok(answer),
                    Err(AskError::NoDaemon { .. }) => return Err(why.into()),
                    Err(other) => other,
                }
            }
            Err(final_word @ (AskError::Refused(_) | AskError::Broken(_))) => return Err(final_word.into()),
        };
        if Instant::now() >= deadline {
            return Err(why.into());
        }
        if !told {
            eprintln!("Waiting: {why}");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The node's name when the asked state is there.
fn reached<'a>(report: &'a ClusterReport, submitted: &Submitted) -> Option<&'a NodeReport> {
    let leader = report.serving_leader()?;
    let newer = leader.epoch > submitted.epoch.0 && report.cluster.epoch > submitted.epoch.0;
    let asked = match &submitted.target {
        Some(target) => leader.guid == *target,
        None => submitted.from.as_ref() != Some(&leader.guid),
    };
    (newer && asked).then_some(leader)
}

async fn wait(
    client: &Client,
    submitted: &Submitted,
    id: &str,
    settings: &Settings,
    deadline: Instant,
) -> Result<String, CliError> {
    loop {
        let seen: Result<ClusterReport, AskError> = client.ask(&AdminRequest::ClusterStatus).await;
        let mut last = match seen {
            Ok(report) => match reached(&report, submitted) {
                Some(leader) => return Ok(leader.name.clone()),
                None => describe(&report),
            },
            Err(why) => why.to_string(),
        };
        let record: Result<Option<RequestRecord>, AskError> =
            client.ask(&AdminRequest::OrderState { id: id.to_owned() }).await;
        if let Ok(Some(record)) = record {
            match record.state {
                RequestState::Refused => return Err(CliError::new(record.detail)),
                RequestState::Pending | RequestState::Working | RequestState::Done => {
                    last = format!("{last} (the order: {})", record.detail);
                }
            }
        }
        if Instant::now() >= deadline {
            let limit = humantime::format_duration(settings.election.control_timeout);
            let text = format!(
                "the asked leader was not there within {limit}; the order is withdrawn. Last seen: {last}. \
                `leaderl cluster-status` shows the reasons"
            );
            return Err(CliError::new(text));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn describe(report: &ClusterReport) -> String {
    let roles: Vec<_> = report.nodes.iter().map(|node| format!("{} is {}", node.name, node.role)).collect();
    format!("the key is {}, {}", report.cluster.leader_key, roles.join(", "))
}

/// Sets the cluster's or a node's switch; done only when the daemon's memory shows it as well.
pub async fn switch(settings: &Settings, node: Option<Option<String>>, enabled: bool) -> Result<(), CliError> {
    let identity = NodeIdentity::read(settings)?;
    let client = Client::new(settings);
    let deadline = Instant::now() + settings.election.control_timeout;
    let word = if enabled { "on" } else { "off" };
    let (request, what) = match &node {
        None => (AdminRequest::SetClusterFailover { enabled }, "the cluster".to_owned()),
        Some(node) => {
            let named = node.clone().unwrap_or(identity.name);
            (AdminRequest::SetNodeFailover { node: node.clone(), enabled }, named)
        }
    };
    let () = retrying(&client, &request, deadline).await?;
    println!("Failover is {word} for {what}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::api::cluster_report::Freshness;
    use crate::actors::api::testing::{guid, three_nodes};
    use leaderl_decision::model::{Epoch, Timestamp};

    #[test]
    fn an_order_is_done_only_when_the_asked_node_leads_and_serves_a_newer_epoch() {
        let now = Timestamp(100_000_000_000);
        let fresh = Freshness { now, leader_ttl: Duration::from_secs(5), stale_after: Duration::from_secs(5) };
        let view = three_nodes(now);
        let report = ClusterReport::from_view(&view, fresh, "daemon");
        let order = |epoch, target: Option<u8>, from: u8| Submitted {
            epoch: Epoch(epoch),
            target: target.map(|number| guid(number).0),
            from: Some(guid(from).0),
        };
        assert!(reached(&report, &order(3, Some(1), 2)).is_some());
        assert!(reached(&report, &order(3, None, 2)).is_some());
        assert!(reached(&report, &order(4, Some(1), 2)).is_none(), "the same epoch");
        assert!(reached(&report, &order(3, Some(2), 3)).is_none(), "another node");
        assert!(reached(&report, &order(3, None, 1)).is_none(), "the same leader again");
        let mut slow = view;
        slow.nodes.get_mut(&guid(1)).unwrap().record.serves = false;
        let report = ClusterReport::from_view(&slow, fresh, "daemon");
        assert!(reached(&report, &order(3, Some(1), 2)).is_none(), "it does not serve yet");
    }
}
