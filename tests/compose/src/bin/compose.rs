//! Clusters in containers: rows, demo, the checker's own test.

use clap::{Parser, Subcommand};
use leaderl_compose::Outcome;
use leaderl_compose::cluster::bring_up::test_cluster;
use leaderl_compose::cluster::lock::lock;
use leaderl_compose::{bench, demo, rows, selftest};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Runs leaderl on real containers")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the test cluster and leave it running.
    Up {
        /// With the search engine.
        #[arg(long)]
        search: bool,
        /// Containers only; leaderl is not started in them.
        #[arg(long)]
        bare: bool,
    },
    /// Remove the test cluster.
    Down,
    /// Run rows and give each a verdict.
    Run {
        /// Names with commas, `core`, `all`, `slice:<text>`.
        #[arg(long, default_value = "all")]
        rows: String,
        /// The row checker's own test first.
        #[arg(long)]
        selftest: bool,
        /// Leave the last cluster running.
        #[arg(long)]
        keep: bool,
    },
    /// Tell the story of a lost leader, and leave the cluster running.
    Demo,
    /// Remove the demo's cluster.
    DemoDown,
    /// Measure gaps and idle cost; prints a table for docs/measurements.md.
    Bench {
        /// How often each gap is measured.
        #[arg(long, default_value_t = 3)]
        times: u32,
    },
    /// Say which rows there are.
    Rows,
    /// Prove that the row checker reports a deleted row, a duplicate, and a second writer of 100 ms.
    Selftest,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match carry_out(Arguments::parse().verb).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("compose: {failure}");
            ExitCode::from(2)
        }
    }
}

async fn carry_out(verb: Verb) -> Outcome<bool> {
    // Until the process ends.
    let _lock = match &verb {
        Verb::Up { .. } | Verb::Down | Verb::Run { .. } | Verb::Bench { .. } => Some(lock("test")?),
        Verb::Demo | Verb::DemoDown => Some(lock("demo")?),
        Verb::Selftest => Some(lock("selftest")?),
        Verb::Rows => None,
    };
    match verb {
        Verb::Up { search, bare } => {
            let cluster = test_cluster(search);
            cluster.check_images().await?;
            cluster.remove().await?;
            cluster.start_containers().await?;
            if !bare {
                cluster.form().await?;
            }
            Ok(true)
        }
        Verb::Run { rows, selftest, keep } => {
            let chosen = rows::choose(&rows)?;
            println!("rows: {}", chosen.iter().map(|row| row.name).collect::<Vec<_>>().join(" "));
            let before = if selftest { selftest::verdicts().await? } else { Vec::new() };
            rows::runner::run(&chosen, keep, before).await
        }
        Verb::Demo => demo::run().await,
        Verb::DemoDown => demo::down().await.map(|()| true),
        Verb::Bench { times } => bench::run(times).await,
        Verb::Rows => {
            for row in rows::all() {
                println!("{:<32} {}{}", row.name, row.about, if row.core { " (core)" } else { "" });
            }
            Ok(true)
        }
        Verb::Selftest => selftest::run().await,
        Verb::Down => test_cluster(false).remove().await.map(|()| true),
    }
}
