//! What can be typed. `docs/cli.md` is generated from here.

use crate::settings::load::DEFAULT_FILE;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

/// leaderl keeps one writable PostgreSQL among three nodes.
#[derive(Debug, Parser)]
#[command(
    name = "leaderl",
    version,
    about,
    after_help = "Exit codes: 0 the asked state is really there; 1 it is not \
    (or this node is not configured); 2 wrong usage; 3 the cluster's state cannot be read."
)]
pub struct Cli {
    /// The settings file.
    #[arg(long, global = true, default_value = DEFAULT_FILE, value_name = "FILE")]
    pub config: PathBuf,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// Pretty-printed JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (what the service `leaderl` does).
    Run,
    /// Run the guardian (what the service `leaderl-heart` does).
    Heart,
    /// Make this node the first of a new cluster.
    CreateCluster(CreateArgs),
    /// Make this node a member of the cluster that PEER belongs to.
    JoinCluster(JoinArgs),
    /// Remove a node that is down for good; run it on another node.
    RemoveNode(RemoveArgs),
    /// Show every node, who leads, and why the others do not.
    ClusterStatus(ClusterStatusArgs),
    /// Show this node's services.
    Status(StatusArgs),
    /// Make exactly this node the leader, and wait until it is.
    Promote {
        /// Name, address or identity.
        node: String,
    },
    /// Let another node lead, and wait until one does.
    Demote,
    /// Make this node the leader although nobody leads.
    ForceLeader(ForceArgs),
    /// Allow or forbid every change of the leadership.
    SetClusterFailover {
        /// on, off, true, false, enabled or disabled.
        #[arg(value_parser = switch, action = clap::ArgAction::Set)]
        state: bool,
    },
    /// Allow or forbid a node to take or hand over the leadership.
    SetNodeFailover {
        /// on, off, true, false, enabled or disabled.
        #[arg(value_parser = switch, action = clap::ArgAction::Set)]
        state: bool,
        /// Name, address or identity; this node when absent.
        node: Option<String>,
    },
    /// Show what has happened on this node.
    Events(EventsArgs),
    /// Look into the daemon's actors.
    Actors {
        /// What to show.
        #[command(subcommand)]
        what: ActorsCommand,
    },
    /// Show the settings in force, defaults included (secrets are kept elsewhere and never shown).
    ShowConfig,
    /// Tell the daemon what its next stop means; for service managers and upgrades.
    #[command(hide = true)]
    AnnounceStop {
        /// What is coming.
        #[arg(value_enum)]
        mode: Announced,
    },
}

/// See [`Command::Actors`].
#[derive(Debug, Subcommand)]
pub enum ActorsCommand {
    /// The supervision tree: states, mailboxes, handling times, restarts and the last reason.
    Tree {
        /// As the program declares it; needs no daemon.
        #[arg(long)]
        declared: bool,
        /// Show it again every second until interrupted.
        #[arg(long, conflicts_with = "declared")]
        watch: bool,
    },
    /// The same, without the tree.
    List {
        /// Show it again every second until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// One actor: its messages by kind, its ends with their reasons, and its last flight recorder entries.
    Show {
        /// As `list` names it; brackets may be written as a dot (`health.etcd`).
        #[arg(value_name = "ID")]
        actor: String,
        /// Show it again every second until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// One actor's flight recorder: what it heard, decided and ordered; what only repeats is counted.
    Trace {
        /// As `list` names it.
        #[arg(value_name = "ID")]
        actor: String,
        /// So many, the newest last.
        #[arg(long, default_value_t = 256, value_name = "N")]
        last: usize,
        /// Show it again every second until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// The busiest actors first, every second until interrupted.
    Top,
    /// Stop an actor in order, let its supervisor start it again, and wait until it runs.
    Restart {
        /// As `list` names it.
        #[arg(value_name = "ID")]
        actor: String,
    },
    /// Kill an actor in the middle of whatever it does, and wait until it runs again.
    Kill {
        /// As `list` names it.
        #[arg(value_name = "ID")]
        actor: String,
    },
}

/// See [`Command::AnnounceStop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Announced {
    /// An ordinary stop.
    StepDown,
    /// It comes back at once.
    Restart,
    /// It comes back at once with a new binary.
    Upgrade,
}

fn switch(word: &str) -> Result<bool, String> {
    match word {
        "on" | "true" | "enabled" => Ok(true),
        "off" | "false" | "disabled" => Ok(false),
        other => Err(format!("`{other}` is none of on, off, true, false, enabled, disabled")),
    }
}

fn seconds(word: &str) -> Result<u64, String> {
    word.parse::<u64>().ok().filter(|secs| (1..=86_400).contains(secs)).ok_or("a number of seconds, 1 to 86400".into())
}

/// How much is said, and what need not be asked.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Ask nothing.
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Accepted for old scripts; there is no licence to accept.
    #[arg(long)]
    pub accept_license: bool,
    /// Say only what failed.
    #[arg(long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say what is waited for.
    #[arg(long)]
    pub verbose: bool,
}

/// `create-cluster`.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Seconds to wait for the search engine.
    #[arg(long, default_value = "120", value_parser = seconds, value_name = "SECONDS")]
    pub elasticsearch_wait_time: u64,
    /// Seconds to wait for etcd.
    #[arg(long, default_value = "30", value_parser = seconds, value_name = "SECONDS")]
    pub etcd_wait_time: u64,
    /// Seconds to wait until this node leads.
    #[arg(long, default_value = "120", value_parser = seconds, value_name = "SECONDS")]
    pub leader_wait_time: u64,
    /// How much is said.
    #[command(flatten)]
    pub manner: Manner,
}

/// `join-cluster`.
#[derive(Args, Clone, Debug)]
pub struct JoinArgs {
    /// Host name or address of a member.
    pub peer: String,
    /// This node's address, written into the settings file when that has none.
    #[arg(short = 'p', long, alias = "publish_address", value_name = "IP")]
    pub publish_address: Option<IpAddr>,
    /// Interface for the VIP, written into the settings file when that has none.
    #[arg(short = 'i', long, alias = "vip_interface", value_name = "INTERFACE")]
    pub vip_interface: Option<String>,
    /// A copy of a member's secrets file; put where the settings want it.
    #[arg(short = 's', long, value_name = "FILE")]
    pub secrets_file_path: Option<PathBuf>,
    /// Seconds to wait for each step.
    #[arg(long, default_value = "300", value_parser = seconds, value_name = "SECONDS")]
    pub wait_time: u64,
    /// How much is said.
    #[command(flatten)]
    pub manner: Manner,
}

/// `remove-node`.
#[derive(Args, Clone, Debug)]
pub struct RemoveArgs {
    /// Name, address or identity.
    pub node: String,
    /// How much is said.
    #[command(flatten)]
    pub manner: Manner,
}

/// `cluster-status`.
#[derive(Args, Clone, Copy, Debug)]
pub struct ClusterStatusArgs {
    /// The same as `--format json`.
    #[arg(long)]
    pub json: bool,
    /// Show it again every second until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// leaderl, heart, etcd, postgresql, elasticsearch or disk; all when absent.
    pub service: Option<String>,
    /// As the service manager prints it; needs no cluster.
    #[arg(long)]
    pub simple: bool,
}

/// `force-leader`.
#[derive(Args, Clone, Copy, Debug)]
pub struct ForceArgs {
    /// Lead although it is not proven that this copy has every acknowledged commit: what it lacks is lost.
    #[arg(long)]
    pub accept_data_loss: bool,
    /// You have seen that exactly N nodes run, and none of the others leads.
    #[arg(long, value_name = "N")]
    pub i_have_checked: Option<usize>,
}

/// `events`.
#[derive(Args, Clone, Copy, Debug)]
pub struct EventsArgs {
    /// So many, the newest last.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub last: usize,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}
