//! A node's kernel as far as addresses go: they expire by themselves, whatever processes do.

use super::node::{INTERFACE, VIP};
use super::{SEC, Time, World, note};
use tokio::sync::watch;

/// The addresses of one machine besides its own.
pub(crate) struct Kernel {
    /// When the VIP goes by itself; `None`: it is not here.
    pub(crate) vip_until: Option<Time>,
    /// The daemon of now hears of changes here.
    pub(crate) changes: watch::Sender<u64>,
    generation: u64,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { vip_until: None, changes: watch::Sender::new(0), generation: 0 }
    }
}

impl World {
    /// Adds or refreshes the VIP; the kernel's timer rounds up by as much as 8 %.
    pub(crate) fn bind_vip(&mut self, id: usize, valid_s: u32) {
        let stretch = self.rng.between(1000, 1080);
        let local = u64::from(valid_s) * SEC / 1000 * stretch;
        let node = &mut self.nodes[id];
        let now_local = node.clock.local(self.now);
        let until = node.clock.world(leaderl_decision::model::Timestamp(now_local.0 + local));
        let fresh = node.kernel.vip_until.replace(until).is_none();
        node.kernel.generation += 1;
        let generation = node.kernel.generation;
        if fresh {
            node.kernel.changes.send_modify(|count| *count += 1);
            note!(self, "n{id} kernel: {VIP} on {INTERFACE}, {valid_s} s");
            self.truth.vip_changed = true;
            crate::oracles::orders::vip_appears(self, id);
        }
        self.at(until, move |w| w.expire_vip(id, generation));
    }

    fn expire_vip(&mut self, id: usize, generation: u64) {
        if self.nodes[id].kernel.generation != generation || self.nodes[id].kernel.vip_until.is_none() {
            return;
        }
        if self.nodes[id].paused {
            // A kernel that stands still expires nothing; nor does it answer for the address.
            self.after(SEC / 10, move |w| w.expire_vip(id, generation));
            return;
        }
        note!(self, "n{id} kernel: {VIP} expires");
        self.drop_vip(id);
    }

    /// Takes the VIP off.
    pub(crate) fn drop_vip(&mut self, id: usize) {
        let kernel = &mut self.nodes[id].kernel;
        kernel.generation += 1;
        if kernel.vip_until.take().is_some() {
            kernel.changes.send_modify(|count| *count += 1);
            note!(self, "n{id} kernel: {VIP} is gone");
            self.truth.vip_changed = true;
        }
    }

    /// Whether this node answers for the VIP now.
    pub(crate) fn answers_for_vip(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        node.is_running() && node.kernel.vip_until.is_some_and(|until| until > self.now)
    }
}
