//! What each service is asked, every question bounded.

use crate::context::NodeParts;
use crate::ports::{DiskError, PostgresAnswer};
use crate::settings::RunMode;
use futures::future::join_all;
use leaderl_decision::health_counter::CheckOutcome;
use leaderl_decision::model::ServiceName;
use leaderl_decision::postgres_report::{PostgresReport, PostgresState};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The local member answers from memory.
const ETCD_LIMIT: Duration = Duration::from_secs(2);
/// A disk that takes longer for 4 KiB cannot carry a leader.
const DISK_LIMIT: Duration = Duration::from_secs(3);
const MIB: u64 = 1024 * 1024;

pub(super) async fn check(context: &dyn NodeParts, service: ServiceName) -> CheckOutcome {
    match service {
        ServiceName::Postgres => postgres(context).await,
        ServiceName::Search => search(context),
        ServiceName::Etcd => etcd(context).await,
        ServiceName::System => system(context).await,
    }
}

async fn postgres(context: &dyn NodeParts) -> CheckOutcome {
    if busy_by_our_own_doing(&context.board().postgres.borrow()) {
        return CheckOutcome::Excused;
    }
    match context.postgres_probe().check(context.settings().postgres.query_timeout).await {
        // Starting: its start has a limit of its own. Full: it answers, and a failover would only move its clients.
        Ok(PostgresAnswer::Answers | PostgresAnswer::Starting | PostgresAnswer::Full) => CheckOutcome::Passed,
        // It may have been stopped on purpose while it was asked.
        Err(_) if busy_by_our_own_doing(&context.board().postgres.borrow()) => CheckOutcome::Excused,
        Err(error) => CheckOutcome::Failed { detail: error.to_string() },
    }
}

/// A postmaster that ended by itself is reported by heart within milliseconds and judged by the election; this check is for one
/// that runs and does not answer.
fn busy_by_our_own_doing(report: &PostgresReport) -> bool {
    let stopped = match report.state {
        PostgresState::Unknown | PostgresState::Down { .. } | PostgresState::Starting | PostgresState::Stopping => true,
        PostgresState::Standby { .. } | PostgresState::Promoting { .. } | PostgresState::Primary(_) => false,
    };
    stopped || report.busy.is_some()
}

/// EsActor looks at the engine; this counts what it last saw.
fn search(context: &dyn NodeParts) -> CheckOutcome {
    let view = context.board().search.borrow();
    if context.settings().search.mode == RunMode::Off || view.role != "offline" {
        return CheckOutcome::Passed;
    }
    let problems: Vec<String> = view.problems.iter().map(ToString::to_string).collect();
    let detail = if problems.is_empty() { "the search engine does not answer".to_owned() } else { problems.join("; ") };
    CheckOutcome::Failed { detail }
}

async fn etcd(context: &dyn NodeParts) -> CheckOutcome {
    match context.store().local_status(ETCD_LIMIT).await {
        Ok(status) if status.no_space => failed("the local etcd member reports NOSPACE"),
        Ok(status) if !status.has_leader => failed("the local etcd member knows no raft leader"),
        Ok(_) => CheckOutcome::Passed,
        Err(error) => CheckOutcome::Failed { detail: format!("the local etcd member: {error}") },
    }
}

async fn system(context: &dyn NodeParts) -> CheckOutcome {
    let least = context.settings().health.disk_min_space_mb.saturating_mul(MIB);
    let spaces = join_all(watched_paths(context).into_iter().map(async |path| {
        let found = context.disks().free_bytes(&path, DISK_LIMIT).await;
        match found {
            Ok(free) if free < least => CheckOutcome::Final {
                detail: format!("{} has {} MB free, less than {}", path.display(), free / MIB, least / MIB),
            },
            Ok(_) => CheckOutcome::Passed,
            Err(error) => failed_disk(&error),
        }
    }));
    let writes = join_all(written_paths(context).into_iter().map(async |path| {
        match context.disks().write_probe(&path, DISK_LIMIT).await {
            Ok(_) => CheckOutcome::Passed,
            Err(error) => failed_disk(&error),
        }
    }));
    let (mut found, writes) = futures::future::join(spaces, writes).await;
    found.extend(writes);
    found.into_iter().max_by_key(weight).unwrap_or(CheckOutcome::Passed)
}

/// The settings' paths, and where PostgreSQL's data is wherever that may be.
fn watched_paths(context: &dyn NodeParts) -> BTreeSet<PathBuf> {
    let mut paths: BTreeSet<PathBuf> = context.settings().health.disk_paths.iter().cloned().collect();
    paths.insert(context.settings().postgres.data_dir.clone());
    paths
}

/// Where a durable write must be possible: our state, and beside PGDATA (never inside) when that is elsewhere.
fn written_paths(context: &dyn NodeParts) -> BTreeSet<PathBuf> {
    let state_dir = &context.settings().node.state_dir;
    let beside_data = context.settings().postgres.data_dir.parent();
    let elsewhere = beside_data.filter(|dir| !dir.starts_with(state_dir) && dir.is_absolute());
    std::iter::once(state_dir.clone()).chain(elsewhere.map(PathBuf::from)).collect()
}

fn failed_disk(error: &DiskError) -> CheckOutcome {
    let detail = error.to_string();
    if error.is_final() { CheckOutcome::Final { detail } } else { CheckOutcome::Failed { detail } }
}

fn failed(detail: &str) -> CheckOutcome {
    CheckOutcome::Failed { detail: detail.to_owned() }
}

/// Of several findings the worst one speaks.
fn weight(outcome: &CheckOutcome) -> u8 {
    match outcome {
        CheckOutcome::Passed | CheckOutcome::Excused => 0,
        CheckOutcome::Failed { .. } => 1,
        CheckOutcome::Final { .. } => 2,
    }
}
