//! `remove-node`: a node that is down leaves etcd and every record.

use crate::adapters::etcd_service::endpoints;
use crate::adapters::etcd_service::remove::remove_patiently;
use crate::cli::args::RemoveArgs;
use crate::cli::error::CliError;
use crate::cli::steps::{Steps, Told};
use crate::settings::Settings;
use crate::settings::identity::NodeIdentity;
use crate::settings::secrets::Secrets;
use leaderl_decision::records::Keys;
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    let mut told = Told::default();
    let mut say = |words: String| {
        if told.is_news(&words, Instant::now()) {
            steps.say(&words);
        }
    };
    let patience = settings.election.control_timeout;
    let removing = remove_patiently(&store, &keys, &args.node, &identity.guid, observe, patience, &mut say);
    let removing = async { removing.await.map_err(|why| CliError::from_chain(&why)) };
    let removed = steps.step(&format!("Remove {}", args.node), removing).await;
    let result = removed.map(|name| {
        format!("{name} is no member any more; to bring it back, empty its state directory and run join-cluster there")
    });
    steps.end(result).map(|()| ExitCode::SUCCESS)
}
