//! The feature sets: what may go wrong in a run.

use super::begins;
use super::bounds::Bounds;
use leaderl_decision::model::ReplicationMode;

/// etcd is restored from a backup once; revisions and renewals are counted, so that old revisions are handed out again.
pub(crate) fn restored(bounds: &mut Bounds) {
    (bounds.rename, bounds.forget_void_bids, bounds.revisions) = (false, false, 9);
    (bounds.budget.restores, bounds.budget.renewals) = (1, 1);
}

/// What `make model` explores: two or three faults, three epochs.
pub(crate) fn large() -> Vec<Bounds> {
    let timed = |name| Bounds::quiet(name).timed();
    let untimed = |name| Bounds::quiet(name);
    let strict = |bounds: &mut Bounds| bounds.mode = ReplicationMode::Strict;
    vec![
        two_epochs(untimed("untimed, two epochs: crash").with(|b| b.crashes = 1)),
        two_epochs(untimed("untimed, two epochs: late transaction").with(|b| b.late = 1)),
        two_epochs(untimed("untimed, two epochs: replication cut").with(|b| b.cuts = 1)),
        two_epochs(untimed("untimed, two epochs: crash, disk lost").with(|b| (b.crashes, b.disk_losses) = (1, 1))),
        timed("timed: two crashes").with(|b| b.crashes = 2),
        timed("timed: fence, doubt").with(|b| (b.fences, b.doubts) = (1, 1)),
        timed("timed: daemon killed in passes, fence")
            .with(|b| (b.daemon_crashes, b.fences) = (1, 1))
            .and(|b| b.cuts_in_passes = true),
        timed("timed: late transaction, fence").with(|b| (b.late, b.fences) = (1, 1)),
        timed("timed: crash, late transaction").with(|b| (b.late, b.crashes) = (1, 1)),
        timed("timed: replication cut, crash").with(|b| (b.cuts, b.crashes) = (1, 1)),
        timed("timed: handover, crash").with(|b| (b.stops, b.crashes) = (1, 1)),
        timed("timed: handover, crash, disk lost").with(|b| (b.stops, b.crashes, b.disk_losses) = (1, 1, 1)),
        untimed("untimed: handover, crash, disk lost").with(|b| (b.stops, b.crashes, b.disk_losses) = (1, 1, 1)),
        timed("timed: handover, late transaction").with(|b| (b.stops, b.late) = (1, 1)),
        timed("timed: postmaster killed, crash").with(|b| (b.postgres_crashes, b.crashes) = (1, 1)),
        timed("timed: postmaster killed, late").with(|b| (b.postgres_crashes, b.late, b.deaf_hearts) = (1, 1, 1)),
        timed("timed: two crashes, disk lost").with(|b| (b.crashes, b.disk_losses) = (2, 1)),
        timed("timed: key deleted, crash").with(|b| (b.deletes, b.crashes) = (1, 1)),
        timed("timed: key deleted twice, late").with(|b| (b.deletes, b.late, b.fences) = (2, 1, 1)),
        timed("timed: reloads lag, cut, crash").with(|b| (b.cuts, b.crashes) = (1, 1)).and(|b| b.reloads_lag = true),
        timed("timed: replay lags, crash").with(|b| b.crashes = 1).and(|b| b.replay_lags = true),
        untimed("untimed: two commits").with(|b| b.commits = 2),
        untimed("untimed: crash").with(|b| b.crashes = 1),
        untimed("untimed: late transaction").with(|b| b.late = 1),
        untimed("untimed: reloads lag").and(|b| b.reloads_lag = true),
        untimed("untimed: replay lags").and(|b| b.replay_lags = true),
        untimed("untimed: replication cut").with(|b| b.cuts = 1),
        untimed("untimed: crash, disk lost").with(|b| (b.crashes, b.disk_losses) = (1, 1)),
        untimed("untimed: crash, disk lost, late").with(|b| (b.crashes, b.disk_losses, b.late) = (1, 1, 1)),
        untimed("untimed: key deleted").with(|b| b.deletes = 1),
        untimed("untimed: daemon killed, late")
            .with(|b| (b.daemon_crashes, b.late) = (1, 1))
            .and(|b| b.cuts_in_passes = true),
        untimed("untimed: old sessions, cut")
            .with(|b| (b.daemon_crashes, b.cuts) = (1, 1))
            .and(|b| b.sessions_outlive = true),
        untimed("untimed: handover").with(|b| b.stops = 1),
        untimed("untimed: fence, doubt").with(|b| (b.fences, b.doubts) = (1, 1)),
        timed("strict, timed: cut, crash").with(|b| (b.cuts, b.crashes) = (1, 1)).and(strict),
        untimed("strict, untimed: crash").with(|b| b.crashes = 1).and(strict),
        timed("async, timed: two crashes").with(|b| b.crashes = 2).and(|b| b.mode = ReplicationMode::Async),
        timed("async, timed: late, crash, two commits")
            .with(|b| (b.commits, b.late, b.crashes) = (2, 1, 1))
            .and(|b| b.mode = ReplicationMode::Async),
        timed("restored etcd, timed").with(|b| b.fences = 1).and(restored),
        untimed("restored etcd, after a takeover").and(restored).and(|b| b.begins = begins::BEFORE_THE_BACKUP),
        untimed("restored etcd, untimed").and(restored),
    ]
}

/// What `make test` explores to its end: one fault at most, two epochs.
pub(crate) fn small() -> Vec<Bounds> {
    let timed = |name| Bounds::quiet(name).timed();
    let untimed = |name| Bounds::quiet(name);
    let mode = |mode| move |bounds: &mut Bounds| bounds.mode = mode;
    let all = vec![
        timed("timed: crash").with(|b| b.crashes = 1),
        timed("timed: fence").with(|b| b.fences = 1),
        timed("timed: handover").with(|b| b.stops = 1),
        timed("timed: postmaster killed").with(|b| b.postgres_crashes = 1),
        timed("timed: key deleted").with(|b| b.deletes = 1),
        untimed("untimed: resigned, disk lost, crash").with(|b| (b.stops, b.crashes, b.disk_losses) = (1, 2, 1)).and(
            |b| {
                b.begins = begins::RESIGNED_AND_LOST;
            },
        ),
        untimed("untimed: bid, disk lost, crash").with(|b| (b.stops, b.crashes, b.disk_losses) = (1, 2, 1)).and(|b| {
            b.begins = begins::BID_AND_LOST;
        }),
        timed("timed: late transaction").with(|b| b.late = 1),
        untimed("untimed: nothing"),
        timed("strict, timed: crash").with(|b| b.crashes = 1).and(mode(ReplicationMode::Strict)),
        untimed("strict, untimed: nothing").and(mode(ReplicationMode::Strict)),
        timed("async, timed: crash").with(|b| b.crashes = 1).and(mode(ReplicationMode::Async)),
        untimed("restored etcd, untimed, two nodes").pair().and(restored).and(|b| b.revisions = 7),
        timed("restored etcd, timed, two nodes").pair().and(restored).with(|b| b.fences = 1).and(|b| b.revisions = 6),
    ];
    all.into_iter().map(two_epochs).collect()
}

fn two_epochs(bounds: Bounds) -> Bounds {
    Bounds { epochs: 2, most_states: 300_000, ..bounds }
}
