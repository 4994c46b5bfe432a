//! Where clients think the VIP is: announcements, questions, caches.

use crate::world::node::VIP;
use crate::world::{World, note};
use leaderl::ports::{ForeignClaim, MacAddress};
use std::net::IpAddr;

impl World {
    /// The cached node, or whoever answers an ARP request first.
    pub(super) fn resolve_vip(&mut self) -> Option<usize> {
        if let Some(node) = self.clients.arp {
            return Some(node);
        }
        if self.net.arp_cut > 0 {
            return None;
        }
        let clients = self.net.clients();
        let answering: Vec<usize> =
            (0..self.nodes.len()).filter(|id| self.answers_for_vip(*id) && self.connected(*id, clients)).collect();
        self.clients.arp = self.rng.pick(&answering).copied();
        self.clients.arp
    }

    /// A gratuitous ARP from this node.
    pub(crate) fn announce_vip(&mut self, id: usize) {
        let now = self.now;
        // Stopped between its look at the addresses and the send: no kernel checks a raw packet. The holder answers it.
        let was_on_its_way = self.nodes[id].daemon.went_on == Some(now);
        if self.nodes[id].kernel.vip_until.is_none() && !was_on_its_way {
            self.truth.violate(now, "I2", format!("n{id} announces {VIP} without holding it"));
        }
        note!(self, "n{id} announces {VIP}");
        let clients = self.net.clients();
        let hears = |w: &Self, host: usize| w.passes(id, host) && w.net.arp_cut == 0 && w.net.link(id, host).loss < 20;
        if hears(self, clients) {
            self.clients.arp = Some(id);
        }
        let Ok(ip) = VIP.parse::<IpAddr>() else { return };
        for other in (0..self.nodes.len()).filter(|other| *other != id) {
            if hears(self, other)
                && self.nodes[other].is_running()
                && let Some(claims) = self.clients.claims.get(&other)
            {
                claims.send_modify(|claims| {
                    let heard = claims.get(&ip).map_or(1, |claim| claim.heard + 1);
                    let mac = MacAddress([2, 0, 0, 0, 0, u8::try_from(id).unwrap_or(0)]);
                    claims.insert(ip, ForeignClaim { mac, heard });
                });
            }
        }
    }
}
