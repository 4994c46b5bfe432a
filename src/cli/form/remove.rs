//! `remove-node`: a node that is down leaves etcd and every record.

use crate::adapters::etcd_service::endpoints;
use crate::adapters::etcd_service::remove::{RemoveError, remove_member_everywhere};
use crate::cli::args::RemoveArgs;
use crate::cli::error::CliError;
use crate::cli::steps::{Steps, Told};
use crate::settings::Settings;
use crate::settings::identity::NodeIdentity;
use crate::settings::secrets::Secrets;
use leaderl_decision::records::Keys;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Asks, then does it.
pub async fn run(settings: &Settings, args: &RemoveArgs) -> Result<ExitCode, CliError> {
    let steps = Steps::new(args.manner);
    let identity = NodeIdentity::read(settings)?;
    let secrets = Secrets::read(&settings.node.secrets_file)?;
    steps.confirm(&format!(
        "{} leaves the cluster for good: its etcd member and its records are removed; its data stay on its disks.",
        args.node
    ))?;
    let store = endpoints::store(settings);
    let keys = Keys::new(&secrets.cluster_id);
    let observe = settings.election.status_post_update * 2 + Duration::from_secs(1);
    let deadline = Instant::now() + settings.election.control_timeout;
    let removing = async {
        let mut told = Told::default();
        loop {
            match remove_member_everywhere(&store, &keys, &args.node, &identity.guid, observe).await {
                Ok(name) => return Ok(name),
                // The leader drops a dead voter by itself; etcd comes back by itself.
                Err(why @ (RemoveError::Votes(_) | RemoveError::Store(_))) if Instant::now() < deadline => {
                    let words = why.to_string();
                    if told.is_news(&words, Instant::now().into_std()) {
                        steps.say(&words);
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(why) => return Err(CliError::from_chain(&why)),
            }
        }
    };
    let removed = steps.step(&format!("Remove {}", args.node), removing).await;
    let result = removed.map(|name| {
        format!("{name} is no member any more; to bring it back, empty its state directory and run join-cluster there")
    });
    steps.end(result).map(|()| ExitCode::SUCCESS)
}
