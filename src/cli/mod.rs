//! The operator's commands, one file per family. Installed as `chef-backend-ctl` they are the same.

pub mod actors;
pub mod args;
pub mod client;
pub mod cluster_status;
pub mod doc;
pub mod error;
pub mod events;
pub mod form;
pub mod orders;
pub mod output;
pub mod run;
pub mod status;
pub mod steps;
pub mod store;

use crate::actors::api::admin_protocol::{AdminRequest, Order};
use crate::actors::api::control::StopMode;
use crate::settings::Settings;
use args::{Announced, Cli, Command, Format};
use clap::Parser;
use error::CliError;
use std::future::Future;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(words) => {
            // Help goes to standard output with 0, wrong usage to standard error with 2.
            let _ = words.print();
            return ExitCode::from(u8::try_from(words.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leaderl: {error}");
            ExitCode::from(error.code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    // These read the settings in their own way.
    match &cli.command {
        Command::JoinCluster(args) => return block(form::join::run(&cli.config, args)),
        Command::CreateCluster(args) => return block(form::create::run(&cli.config, args)),
        _ => {}
    }
    let settings = Settings::load(&cli.config)?;
    let format = cli.format;
    let done = |result: Result<(), CliError>| result.map(|()| ExitCode::SUCCESS);
    match cli.command {
        Command::Run => done(run::daemon(settings)),
        Command::Heart => done(run::heart(&settings)),
        Command::CreateCluster(_) | Command::JoinCluster(_) => Ok(ExitCode::SUCCESS),
        Command::RemoveNode(args) => block(form::remove::run(&settings, &args)),
        Command::ClusterStatus(args) => {
            let format = if args.json { Format::Json } else { format };
            block(async { cluster_status::run(&settings, format, args.watch).await })
        }
        Command::Status(args) => block(status::run(&settings, &args, format)),
        Command::Promote { node } => block(async { done(orders::give(&settings, Order::Promote { node }).await) }),
        Command::Demote => block(async { done(orders::give(&settings, Order::Demote).await) }),
        Command::ForceLeader(args) => {
            let order = Order::ForceLeader { accept_data_loss: args.accept_data_loss, checked: args.i_have_checked };
            block(async { done(orders::give(&settings, order).await) })
        }
        Command::SetClusterFailover { state } => block(async { done(orders::switch(&settings, None, state).await) }),
        Command::SetNodeFailover { state, node } => {
            block(async { done(orders::switch(&settings, Some(node), state).await) })
        }
        Command::Events(args) => block(async { done(events::run(&settings, args, format).await) }),
        Command::Actors { what } => block(async { done(actors::run(&settings, what, format).await) }),
        Command::ShowConfig => done(run::show_config(&settings, format)),
        Command::AnnounceStop { mode } => block(async { done(announce_stop(&settings, mode).await) }),
    }
}

async fn announce_stop(settings: &Settings, mode: Announced) -> Result<(), CliError> {
    let mode = match mode {
        Announced::StepDown => StopMode::StepDown,
        Announced::Restart => StopMode::Restart,
        Announced::Upgrade => StopMode::Upgrade,
    };
    Ok(client::Client::new(settings).ask(&AdminRequest::AnnounceStop { mode }).await?)
}

fn block(work: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests;
