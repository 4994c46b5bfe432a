//! Every kind of fault: what it does to the world, and how it is undone.

use super::Scope;
pub(crate) use super::list::{ALL, Kind, SCENES};
use crate::world::daemon::StopPoint;
use crate::world::node::Disk;
use crate::world::{MS, SEC, Time, World};
use leaderl_decision::model::Lsn;

/// Applies a fault to a node for so long.
pub(crate) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    match kind {
        Kind::KillDaemon => w.kill_daemon(id, "fault"),
        Kind::KillDaemonForLong => {
            w.nodes[id].daemon.wanted = false;
            w.kill_daemon(id, "fault, for long");
            w.undo(lasts, Scope::Process, id, move |w| w.start_daemon(id));
        }
        Kind::FreezeDaemon => {
            w.freeze_daemon(id);
            w.undo(lasts, Scope::Process, id, move |w| w.thaw_daemon(id));
        }
        Kind::StepKill => {
            let calls = w.rng.between(1, 60);
            w.nodes[id].daemon.stop_point = Some((calls, StopPoint::Kill));
        }
        Kind::StepFreeze => {
            let calls = w.rng.between(1, 60);
            w.nodes[id].daemon.stop_point = Some((calls, StopPoint::FreezeFor(lasts)));
        }
        Kind::RestartDaemon => w.stop_daemon(id, true, true),
        Kind::StopDaemon => {
            w.stop_daemon(id, false, false);
            w.undo(lasts, Scope::Process, id, move |w| w.start_daemon(id));
        }
        Kind::KillHeart => w.heart_dies(id, true),
        Kind::FreezeHeart => {
            w.freeze_heart(id);
            w.undo(lasts, Scope::Process, id, move |w| w.thaw_heart(id));
        }
        Kind::FreezeHeartAtRefresh => w.nodes[id].heart.stop_at_refresh = Some(lasts),
        Kind::FreezeBoth => {
            w.freeze_daemon(id);
            w.freeze_heart(id);
            w.undo(lasts, Scope::Process, id, move |w| {
                w.thaw_heart(id);
                w.thaw_daemon(id);
            });
        }
        Kind::KillPostmaster => w.kill_postmaster(id),
        Kind::KillPostgres => w.postgres_crashes(id),
        Kind::FeedLate | Kind::AnswersLost | Kind::ReturnHeld => super::leases::apply(w, kind, id, lasts),
        _ if SCENES.iter().any(|(scene, _)| *scene == kind) || kind == Kind::EtcdRestored => {
            super::scenes::apply(w, kind, id, lasts)
        }
        _ => super::more::apply(w, kind, id, lasts),
    }
}

/// Faults of PostgreSQL, disks and machines.
pub(super) fn postgres(w: &mut World, kind: Kind, id: usize, lasts: Time) -> bool {
    match kind {
        Kind::FreezePostgres => {
            if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                server.frozen = true;
                let pid = server.pid;
                w.undo(lasts, Scope::Process, id, move |w| {
                    if let Some(server) = w.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) {
                        server.frozen = false;
                        w.truth.writer_changed = true;
                    }
                });
            }
        }
        Kind::FreezeWalsenders => {
            if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                server.senders.iter_mut().for_each(|sender| sender.frozen = true);
                w.undo(lasts, Scope::Process, id, move |w| {
                    if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                        server.senders.iter_mut().for_each(|sender| {
                            sender.frozen = false;
                            sender.in_flight = false;
                        });
                    }
                });
            }
        }
        Kind::PauseReplay => {
            if let Some(server) = w.nodes[id].postgres.server.as_mut() {
                server.paused = true;
            }
        }
        Kind::RefuseStart => {
            w.nodes[id].postgres.start_refused = true;
            w.postgres_crashes(id);
            w.undo(lasts, Scope::Process, id, move |w| w.nodes[id].postgres.start_refused = false);
        }
        Kind::SlowPromotion | Kind::NeverPromotes => {
            let time = if kind == Kind::SlowPromotion { w.millis(2000, 12_000) } else { 1000 * SEC };
            w.nodes[id].postgres.slow_promotion = Some(time);
            w.undo(lasts + 20 * SEC, Scope::Process, id, move |w| w.nodes[id].postgres.slow_promotion = None);
        }
        Kind::SlowRecovery => {
            w.nodes[id].postgres.slow_recovery = w.millis(1000, 15_000);
            w.undo(lasts + 10 * SEC, Scope::Process, id, move |w| w.nodes[id].postgres.slow_recovery = 0);
        }
        Kind::DiskFull | Kind::DiskFails | Kind::DiskSlow => {
            w.nodes[id].disk = match kind {
                Kind::DiskFull => Disk::Full,
                Kind::DiskFails => Disk::Failing,
                _ => Disk::Slow(w.millis(50, 1500)),
            };
            w.undo(lasts, Scope::Disk, id, move |w| w.nodes[id].disk = Disk::Fine);
        }
        Kind::LoseData => super::more::lose_data(w, id),
        Kind::LoseWal => {
            if let Some(data) = w.nodes[id].postgres.data.as_mut() {
                data.removed_before = data.end();
                data.slots
                    .values_mut()
                    .filter(|slot| slot.restart < Lsn(data.removed_before))
                    .for_each(|slot| slot.lost = true);
            }
        }
        _ => return false,
    }
    true
}

/// A pause of one unit.
pub(super) const STEP: Time = 100 * MS;
