//! The row checker's command, as it runs in the frontend container.

use clap::{Parser, Subcommand};
use leaderl_compose::checker::arp::Probe;
use leaderl_compose::checker::{analysis, observations, read_back, record, watch, writer};
use leaderl_compose::{Failure, Outcome, While};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Writes numbered rows, observes the cluster from outside, and judges what came of it")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write rows as the order (a JSON line on standard input) says; then obey `fault`, `calm`, `stop`.
    Write,
    /// Poll `/leader` and ask for the VIP's holder until standard input ends.
    Watch {
        /// `name=address` of a node; repeat.
        #[arg(long = "node")]
        nodes: Vec<String>,
        /// The VIP.
        #[arg(long)]
        vip: Option<IpAddr>,
        /// Where the observations go.
        #[arg(long)]
        log: PathBuf,
    },
    /// Claim the VIP for ten minutes, as a machine does that should not have it.
    Announce {
        /// The VIP.
        #[arg(long)]
        vip: Ipv4Addr,
    },
    /// Read all rows of a run from the nodes and judge; exit 1 when something is wrong. The password is in `CHECKER_PASSWORD`.
    /// From elsewhere only the leader can be read: followers' port gates are shut.
    Verify {
        /// `name=address` of a node; repeat.
        #[arg(long = "node")]
        nodes: Vec<String>,
        /// Port of PostgreSQL.
        #[arg(long, default_value_t = 5432)]
        port: u16,
        /// Login role.
        #[arg(long, default_value = "chef_pgsql")]
        user: String,
        /// Number of the run.
        #[arg(long)]
        run: i32,
        /// Where `rows.log` (and `watch.log`) are.
        #[arg(long)]
        directory: PathBuf,
        /// JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match carry_out(Arguments::parse().verb).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("checker: {failure}");
            ExitCode::from(2)
        }
    }
}

async fn carry_out(verb: Verb) -> Outcome<bool> {
    match verb {
        Verb::Write => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).during(|| "reading the order".into())?;
            let order = serde_json::from_str(&line).during(|| "the order".into())?;
            writer::run(order).await.map(|()| true)
        }
        Verb::Watch { nodes, vip, log } => watch::run(addresses(&nodes)?, vip, log).await.map(|()| true),
        Verb::Announce { vip } => Probe::open("eth0", vip)?.claim(Duration::from_secs(600)).map(|()| true),
        Verb::Verify { nodes, port, user, run, directory, json } => {
            let password = std::env::var("CHECKER_PASSWORD").during(|| "CHECKER_PASSWORD".into())?;
            let mut sessions = Vec::new();
            for (name, address) in addresses(&nodes)? {
                sessions.push((name, read_back::connect(address, port, &user, &password).await?));
            }
            let rows = read_back::rows(&sessions, run).await?;
            let path = directory.join("rows.log");
            let text = std::fs::read_to_string(&path).during(|| format!("reading {}", path.display()))?;
            let report = analysis::judge(&record::parse_log(&text)?, &rows);
            let seen = match std::fs::read_to_string(directory.join("watch.log")) {
                Ok(text) => observations::judge(&observations::parse_log(&text)?),
                Err(_) => observations::Seen::default(),
            };
            if json {
                let both = serde_json::json!({"rows": report, "watch": seen});
                println!("{}", serde_json::to_string_pretty(&both).during(|| "JSON".into())?);
            } else {
                print!("{report}{seen}");
            }
            Ok(report.is_clean() && seen.faults.is_empty())
        }
    }
}

fn addresses(nodes: &[String]) -> Outcome<Vec<(String, IpAddr)>> {
    nodes
        .iter()
        .map(|node| {
            let (name, address) =
                node.split_once('=').ok_or_else(|| Failure(format!("{node:?} is not name=address")))?;
            Ok((name.to_string(), address.parse().during(|| format!("address of {name}"))?))
        })
        .collect()
}
