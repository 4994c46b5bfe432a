//! The network between machines: per direction cut, slow, lossy. TCP turns loss into delay; what is cut may arrive late.

pub(crate) mod gate;

use crate::world::{Happening, MS, SEC, Time, US, World};

/// A machine of the network: a node, or the one where clients run.
pub(crate) type Host = usize;

/// How long a cut TCP connection's last bytes are retransmitted.
const RETRANSMITTED: Time = 6 * SEC;

/// One direction between two hosts.
#[derive(Default)]
pub(crate) struct Link {
    /// Cut so many times over; overlapping faults count.
    pub(crate) cuts: u32,
    /// The same for PostgreSQL's port alone, and for etcd's.
    pub(crate) postgres_cuts: u32,
    pub(crate) etcd_cuts: u32,
    /// Added delay in microseconds.
    pub(crate) slow_us: (u64, u64),
    /// Packets lost, in percent.
    pub(crate) loss: u64,
    held: Vec<(Time, Happening)>,
}

/// All links.
pub(crate) struct Network {
    hosts: usize,
    links: Vec<Link>,
    /// ARP packets alone are lost.
    pub(crate) arp_cut: u32,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        let hosts = nodes + 1;
        Self { hosts, links: (0..hosts * hosts).map(|_| Link::default()).collect(), arp_cut: 0 }
    }

    /// The host where clients run.
    pub(crate) fn clients(&self) -> Host {
        self.hosts - 1
    }

    pub(crate) fn link(&self, from: Host, to: Host) -> &Link {
        &self.links[from * self.hosts + to]
    }

    pub(crate) fn link_mut(&mut self, from: Host, to: Host) -> &mut Link {
        &mut self.links[from * self.hosts + to]
    }
}

impl World {
    /// Whether packets get from one host to the other now.
    pub(crate) fn passes(&self, from: Host, to: Host) -> bool {
        from == to || self.net.link(from, to).cuts == 0
    }

    /// Whether both can hear each other.
    pub(crate) fn connected(&self, one: Host, other: Host) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    /// As `passes`, for PostgreSQL's port.
    pub(crate) fn passes_pg(&self, from: Host, to: Host) -> bool {
        self.passes(from, to) && (from == to || self.net.link(from, to).postgres_cuts == 0)
    }

    /// Whether this node hears that node's server and is heard by it, its gate included.
    pub(crate) fn connected_pg(&self, server: Host, node: Host) -> bool {
        self.passes_pg(server, node) && self.passes_pg(node, server) && self.lets_node(server, node)
    }

    /// To or from a server; what its gate drops is asked for again by the stream's keepalives.
    pub(crate) fn send_pg(
        &mut self,
        server: Host,
        from: Host,
        to: Host,
        what: impl FnOnce(&mut World) + Send + 'static,
    ) {
        let peer = if server == from { to } else { from };
        if from == server && !self.lets_node(server, peer) {
            return;
        }
        if self.passes_pg(from, to) || !self.passes(from, to) {
            self.send(from, to, move |w| {
                if from == server || w.lets_node(server, peer) {
                    what(w);
                }
            });
        }
    }

    /// A reset, which a gate lets out.
    pub(crate) fn send_reset(&mut self, from: Host, to: Host, what: impl FnOnce(&mut World) + Send + 'static) {
        if self.passes_pg(from, to) {
            self.send(from, to, what);
        }
    }

    /// As `passes`, for etcd's ports.
    pub(crate) fn passes_etcd(&self, from: Host, to: Host) -> bool {
        self.passes(from, to) && (from == to || self.net.link(from, to).etcd_cuts == 0)
    }

    pub(crate) fn connected_etcd(&self, one: Host, other: Host) -> bool {
        self.passes_etcd(one, other) && self.passes_etcd(other, one)
    }

    pub(crate) fn send_etcd(&mut self, from: Host, to: Host, what: impl FnOnce(&mut World) + Send + 'static) {
        if self.passes_etcd(from, to) || !self.passes(from, to) {
            self.send(from, to, what);
        }
    }

    /// Whether the machine of this host runs; clients always do.
    pub(crate) fn host_runs(&self, host: Host) -> bool {
        self.nodes.get(host).is_none_or(|node| node.is_running())
    }

    /// The delay of one message on an open connection.
    pub(crate) fn delay(&mut self, from: Host, to: Host) -> Time {
        if from == to {
            return self.micros(10, 60);
        }
        let usual = self.profile.delay_us;
        let (slow, loss) = (self.net.link(from, to).slow_us, self.net.link(from, to).loss);
        let mut delay = self.rng.between(usual.0, usual.1) * US;
        if slow.1 > 0 {
            delay += self.rng.between(slow.0, slow.1) * US;
        }
        // A lost segment is sent again after 200 ms, and then after twice as long each time.
        let mut again = 200 * MS;
        while loss > 0 && self.rng.percent(loss) && again < 4 * SEC {
            delay += again;
            again *= 2;
        }
        delay
    }

    /// A message on an open connection. Cut: it is lost, or arrives when the link is whole again.
    pub(crate) fn send(&mut self, from: Host, to: Host, what: impl FnOnce(&mut World) + Send + 'static) {
        if !self.passes(from, to) {
            if self.rng.percent(40) {
                let now = self.now;
                self.net.link_mut(from, to).held.push((now, Box::new(what)));
            }
            return;
        }
        let delay = self.delay(from, to);
        self.after(delay, move |w| {
            if w.host_runs(to) {
                what(w);
            } else if w.nodes.get(to).is_some_and(|node| node.paused) && w.rng.percent(50) {
                // A paused machine finds it in its buffers.
                w.when_running(to, Box::new(what));
            }
        });
    }

    fn when_running(&mut self, host: Host, what: Happening) {
        self.after(20 * MS, move |w| {
            if w.host_runs(host) {
                what(w);
            } else if w.nodes.get(host).is_some_and(|node| node.paused) {
                w.when_running(host, what);
            }
        });
    }

    pub(crate) fn cut(&mut self, from: Host, to: Host) {
        self.net.link_mut(from, to).cuts += 1;
        self.etcd_reconsider();
    }

    pub(crate) fn heal(&mut self, from: Host, to: Host) {
        let link = self.net.link_mut(from, to);
        link.cuts = link.cuts.saturating_sub(1);
        if link.cuts > 0 {
            return;
        }
        let now = self.now;
        let held = std::mem::take(&mut link.held);
        for (since, what) in held {
            if now - since < RETRANSMITTED {
                let delay = self.millis(1, 400);
                self.after(delay, move |w| {
                    if w.host_runs(to) {
                        what(w);
                    }
                });
            }
        }
        self.etcd_reconsider();
    }
}
