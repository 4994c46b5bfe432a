//! The leader's daemon frozen (SIGSTOP) for parts and multiples of D.

use super::D;
use super::case::{Case, TAKEOVER};
use super::processes::FENCED;
use crate::Outcome;
use crate::checker::clock::boot_ns;
use crate::cluster::processes::{Role, send};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What the length of the freeze allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Shorter than D/2 after the last renewal: nothing may be noticed.
    Leads,
    /// Until 2D/3: leads on, or is fenced.
    Either,
    /// Longer: fenced by 2D/3, and somebody leads under a new epoch.
    Deposed,
}

/// `tenths` of D.
async fn frozen(case: &mut Case, tenths: u32, after: After) -> Outcome<()> {
    let leader = case.leader.clone();
    let daemon = case.cluster.the(&leader, Role::Daemon).await?;
    let inside = case.cluster.inside(&leader).await?;
    let mark = inside.log_mark();
    case.fault().await?;
    send(daemon, Signal::SIGSTOP)?;
    let end = Instant::now() + D * tenths / 10;
    let fenced = if after == After::Deposed { case.postgres_gone(&leader, FENCED).await } else { Ok(()) };
    sleep_until(end).await;
    // The guardian kills a daemon that another one replaces; then there is nothing to continue.
    let _ = send(daemon, Signal::SIGCONT);
    fenced?;
    match after {
        After::Leads => case.stays(D).await,
        After::Either => case.traffic.wait_for_row("after the freeze", boot_ns(), TAKEOVER, |_| true).await.map(drop),
        After::Deposed => {
            case.taken_over(TAKEOVER).await?;
            // It notices by itself; nobody has to tell it.
            let noticed = |inside: &crate::cluster::inside::Inside| {
                let log = inside.logged_since(mark);
                let causes =
                    ["no renewal confirmed", "has fenced this epoch", "is held by another", "is not ours any more"];
                log.lines()
                    .any(|line| line.contains("stepping-down") && causes.iter().any(|cause| line.contains(cause)))
            };
            inside.until("that it lost its epoch, in its log", Duration::from_secs(10), noticed).await
        }
    }
}

pub(super) fn for_three_tenths(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    frozen(case, 3, After::Leads).boxed()
}

pub(super) fn for_six_tenths(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    frozen(case, 6, After::Either).boxed()
}

pub(super) fn for_nine_tenths(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    frozen(case, 9, After::Deposed).boxed()
}

pub(super) fn for_one_and_a_half(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    frozen(case, 15, After::Deposed).boxed()
}

pub(super) fn for_five(case: &mut Case) -> BoxFuture<'_, Outcome<()>> {
    frozen(case, 50, After::Deposed).boxed()
}
