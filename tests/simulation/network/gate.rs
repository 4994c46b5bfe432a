//! The port gate in a node's kernel: which packets of PostgreSQL's port pass, by two clocks and with no process needed.
//!
//! heart says what it must be; it shuts by itself. An answer that may not leave stays in its socket, whatever becomes of the
//! process that wrote it, and leaves when the gate opens again unless its socket was destroyed first.

use crate::postgres::Row;
use crate::world::{SEC, World, note};
use leaderl::heart::guard::{GatePlan, Passage, Sessions};
use leaderl_decision::model::{Lsn, Timestamp};
use std::net::IpAddr;
use std::time::Duration;

/// An element's lifetime is so much shorter, because the kernel ends it at a tick.
const LIFETIME_MARGIN: Duration = Duration::from_millis(20);

/// When a way shuts by itself: both must lie ahead for a packet to pass.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Of the wall clock, which steps.
    wall_ns: i128,
    /// Of the clock that only goes on.
    element_ends: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
enum Way {
    #[default]
    Shut,
    Free,
    /// Existing sessions only.
    Ending(Limit),
    Until(Limit),
}

/// Both clocks of a machine at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    wall_ns: i128,
    boot: Timestamp,
}

/// An acknowledgement that waits in its socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) session: u64,
    pub(crate) row: Row,
    pub(crate) lsn: Lsn,
    pub(crate) timeline: u32,
}

/// One machine's gate.
#[derive(Debug, Default)]
pub(crate) struct PortGate {
    members: Way,
    clients: Way,
    addresses: Vec<IpAddr>,
    held: Vec<Answer>,
}

impl World {
    pub(crate) fn clocks(&self, id: usize) -> Clocks {
        let boot = self.local_now(id);
        let step = i128::from(self.nodes[id].clock.wall_step) * i128::from(SEC);
        Clocks { wall_ns: i128::from(boot.0) + step, boot }
    }

    /// The kernel takes a new table: `read` are the clocks as heart read them, perhaps long before this call.
    pub(crate) fn set_gate(&mut self, id: usize, plan: &GatePlan, ends: Option<Sessions>, read: Clocks) {
        if ends.is_some() {
            self.destroy_sockets(id);
        }
        let called = self.local_now(id);
        let way = |passage: Passage| {
            let limit = |deadline: Timestamp| {
                let left = deadline.since(read.boot);
                let lifetime = left.saturating_sub(LIFETIME_MARGIN);
                let left_ns = i128::try_from(left.as_nanos()).unwrap_or(0);
                let limit = Limit { wall_ns: read.wall_ns + left_ns, element_ends: called.plus(lifetime) };
                (!lifetime.is_zero()).then_some(limit)
            };
            match passage {
                Passage::Shut => Way::Shut,
                Passage::Free => Way::Free,
                Passage::Ending(deadline) => limit(deadline).map_or(Way::Shut, Way::Ending),
                Passage::Until(deadline) => limit(deadline).map_or(Way::Shut, Way::Until),
            }
        };
        let opened = matches!(plan.client_passage, Passage::Until(_)) && !self.lets_clients(id, true);
        let gate = &mut self.nodes[id].gate;
        gate.members = way(plan.member_passage);
        gate.clients = way(plan.client_passage);
        gate.addresses.clone_from(&plan.members);
        if opened && self.lets_clients(id, true) {
            note!(self, "n{id} kernel: the port gate is open to clients");
            self.retransmit(id);
        }
        // Whoever may pass now may be a second writer.
        self.truth.writer_changed = true;
    }

    fn passes_way(&self, id: usize, way: Way, new: bool) -> bool {
        let holds = |limit: Limit| {
            let now = self.clocks(id);
            now.wall_ns < limit.wall_ns && now.boot < limit.element_ends
        };
        match way {
            Way::Shut => false,
            Way::Free => true,
            Way::Ending(limit) => !new && holds(limit),
            Way::Until(limit) => holds(limit),
        }
    }

    /// Whether packets of clients pass at this node; `new`: those that would open a session.
    pub(crate) fn lets_clients(&self, id: usize, new: bool) -> bool {
        self.passes_way(id, self.nodes[id].gate.clients, new)
    }

    /// Whether packets between this server and that node pass at the server's gate.
    pub(crate) fn lets_node(&self, server: usize, node: usize) -> bool {
        if server == node {
            return true;
        }
        let gate = &self.nodes[server].gate;
        let is_member = self.nodes[node].address.parse().is_ok_and(|address| gate.addresses.contains(&address));
        self.passes_way(server, if is_member { gate.members } else { gate.clients }, true)
    }

    /// A server's word to a client: it leaves now, or stays in its socket.
    pub(crate) fn answer_client(&mut self, id: usize, answer: Answer) {
        if !self.lets_clients(id, false) {
            self.counts.gate_stops += 1;
            self.nodes[id].gate.held.push(answer);
            return;
        }
        crate::oracles::writers::acknowledged(self, id, answer.timeline, answer.row, answer.lsn);
        let clients = self.net.clients();
        self.send(id, clients, move |w| w.row_is_acknowledged(answer.session, id, answer.row));
    }

    /// What waits in sockets leaves within a retransmission's time.
    fn retransmit(&mut self, id: usize) {
        for answer in std::mem::take(&mut self.nodes[id].gate.held) {
            let wait = self.millis(0, 200);
            self.after(wait, move |w| {
                if w.nodes[id].is_running() {
                    w.answer_client(id, answer);
                }
            });
        }
    }

    /// SOCK_DESTROY of every client's socket.
    fn destroy_sockets(&mut self, id: usize) {
        self.nodes[id].gate.held.clear();
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        for session in std::mem::take(&mut server.sessions) {
            // Resets pass the gate.
            self.client_hears_of_end(id, session);
        }
    }

    /// A row that a client sends over and over until the gate lets it in or the client gives up.
    pub(crate) fn row_arrives(&mut self, id: usize, number: usize, session: u64, row: Row) {
        if self.lets_clients(id, false) {
            return self.commit(id, session, row);
        }
        self.counts.gate_stops += 1;
        let again = self.millis(200, 400);
        self.after(again, move |w| {
            if w.still_waits(number, row) && w.nodes[id].is_running() && w.passes(w.net.clients(), id) {
                w.row_arrives(id, number, session, row);
            }
        });
    }
}
