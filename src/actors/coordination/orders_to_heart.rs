//! The election's orders to heart: the armed lease, the port gate, its end.

use super::election_effects::Effects;
use crate::ports::ArmedLease;
use crate::stop_points::{StopPoint, reach};
use leaderl_decision::election::{Event, Hold};
use leaderl_decision::model::{Door, Epoch};

impl Effects {
    pub(super) fn set_door(&mut self, kind: &'static str, epoch: Epoch, door: Door) {
        let ctx = self.ctx.clone();
        self.spawn(kind, async move {
            let limit = ctx.settings.election.leader_ttl / 10;
            if door == Door::Open {
                reach(StopPoint::GateOrder);
            }
            if let Err(why) = ctx.guardian.set_door(epoch, door, limit).await {
                tracing::warn!(%epoch, ?door, %why, "the port gate is not as ordered");
            }
            None
        });
    }

    pub(super) fn kill_heart(&mut self) {
        let ctx = self.ctx.clone();
        self.spawn("kill-heart", async move {
            if let Err(why) = ctx.guardian.kill().await {
                tracing::error!(%why, "the silent heart could not be killed; D runs");
            }
            None
        });
    }

    pub(super) fn arm(&mut self, hold: Hold) {
        let ctx = self.ctx.clone();
        let lease = ArmedLease {
            epoch: hold.epoch,
            nonce: hold.nonce,
            seq: hold.seq,
            t0: hold.t0,
            fence_at: hold.t0.plus(ctx.settings.election.leader_ttl * 2 / 3),
        };
        self.spawn("arm", async move {
            let limit = ctx.settings.election.leader_ttl / 10;
            match ctx.guardian.arm(lease, limit).await {
                Ok(()) => Some(Event::EffectEnded),
                Err(why) => {
                    tracing::warn!(%why, "heart is not armed");
                    None
                }
            }
        });
    }
}
