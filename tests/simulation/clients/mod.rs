//! Clients: writers of numbered rows through the VIP, by node address, and over sessions that never reconnect; a reader.

pub(crate) mod members;
mod operators;
mod vip;

use crate::network::gate::Answer;
use crate::postgres::{Phase, Row};
use crate::world::{MS, SEC, Time, World};
use leaderl::ports::ForeignClaim;
use leaderl_decision::model::Lsn;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tokio::sync::watch;

/// How long a writer waits for an answer.
const PATIENCE: Time = 2 * SEC;

/// Everything outside the nodes.
#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) writers: Vec<Writer>,
    /// Which node the clients' kernel thinks has the VIP.
    arp: Option<usize>,
    /// What each node's daemon hears of others' claims.
    pub(crate) claims: BTreeMap<usize, watch::Sender<BTreeMap<IpAddr, ForeignClaim>>>,
    sessions: u64,
    /// Operators' lines that a node's daemon shall answer.
    pub(crate) orders: Vec<(usize, Vec<u8>)>,
    pub(crate) orders_given: u64,
    pub(crate) members: members::Members,
    /// They go on until then.
    pub(crate) until: Time,
}

/// How a writer finds its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Vip,
    Address(usize),
    /// By the VIP, but a session that hangs is kept for long.
    Sticky,
}

/// One writer.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) way: Way,
    seq: u64,
    session: Option<(u64, usize)>,
    /// The row whose answer is waited for.
    waiting: Option<Row>,
    attempt: u64,
    pub(crate) acknowledged: u64,
    pub(crate) last_ack: Time,
}

impl World {
    pub(crate) fn start_clients(&mut self) {
        let nodes = self.nodes.len();
        for number in 0..self.profile.writers {
            let way = match number {
                0 => Way::Vip,
                1 => Way::Sticky,
                _ => Way::Address(self.rng.index(nodes)),
            };
            let attempt = 0;
            let writer = Writer { way, seq: 0, session: None, waiting: None, attempt, acknowledged: 0, last_ack: 0 };
            self.clients.writers.push(writer);
            let first = self.millis(10, 800);
            self.after(first, move |w| w.writer_acts(number));
        }
        self.after(SEC, World::reader_reads);
    }

    fn plan_writer(&mut self, number: usize, wait: Time) {
        let attempt = self.truth.fresh_id();
        self.clients.writers[number].attempt = attempt;
        self.after(wait, move |w| {
            if w.clients.writers[number].attempt == attempt {
                w.writer_acts(number);
            }
        });
    }

    fn writer_acts(&mut self, number: usize) {
        if self.now > self.clients.until {
            return;
        }
        let writer = &mut self.clients.writers[number];
        if writer.waiting.take().is_some() {
            // No answer in time: nobody knows what became of that row.
            writer.session = None;
        }
        match writer.session {
            Some((session, node)) => self.write_row(number, session, node),
            None => self.open_session(number),
        }
    }

    fn write_row(&mut self, number: usize, session: u64, node: usize) {
        let writer = &mut self.clients.writers[number];
        writer.seq += 1;
        let row = Row { writer: u32::try_from(number).unwrap_or(0), seq: writer.seq };
        writer.waiting = Some(row);
        let through_vip = !matches!(writer.way, Way::Address(_));
        let patience = if writer.way == Way::Sticky { 12 * SEC } else { PATIENCE };
        self.plan_writer(number, patience);
        let clients = self.net.clients();
        self.send(clients, node, move |w| {
            // A packet for an address that is not here goes nowhere.
            if !through_vip || w.answers_for_vip(node) {
                w.row_arrives(node, number, session, row);
            }
        });
    }

    fn open_session(&mut self, number: usize) {
        let way = self.clients.writers[number].way;
        self.plan_writer(number, 1200 * MS);
        let node = match way {
            Way::Address(node) => Some(node),
            Way::Vip | Way::Sticky => self.resolve_vip(),
        };
        let Some(node) = node else { return };
        let through_vip = !matches!(way, Way::Address(_));
        let clients = self.net.clients();
        self.send(clients, node, move |w| {
            if through_vip && !w.answers_for_vip(node) {
                w.clients.arp = None;
                return;
            }
            let session = w.accept_session(node);
            w.send(node, clients, move |w| match session {
                Some(session) => {
                    w.clients.writers[number].session = Some((session, node));
                    let pause = w.millis(5, 60);
                    w.plan_writer(number, pause);
                }
                None => {
                    let pause = w.millis(150, 600);
                    w.plan_writer(number, pause);
                }
            });
        });
    }

    /// A new connection to this node's server; `None`: refused, or it is no primary.
    fn accept_session(&mut self, node: usize) -> Option<u64> {
        self.clients.sessions += 1;
        let session = self.clients.sessions;
        // A gate that lets nobody in answers with a reset.
        if !self.lets_clients(node, true) {
            return None;
        }
        let server = self.nodes[node].postgres.server.as_mut()?;
        if server.phase != Phase::Primary || server.frozen {
            return None;
        }
        server.sessions.insert(session);
        Some(session)
    }

    /// The server ends a session; the client hears of it if packets flow.
    pub(crate) fn close_session(&mut self, node: usize, session: u64) {
        if self.lets_clients(node, false) {
            self.client_hears_of_end(node, session);
        }
    }

    /// Whether this writer still waits for that row's answer.
    pub(crate) fn still_waits(&self, number: usize, row: Row) -> bool {
        self.clients.writers.get(number).is_some_and(|writer| writer.waiting == Some(row))
    }

    pub(crate) fn client_hears_of_end(&mut self, node: usize, session: u64) {
        let clients = self.net.clients();
        self.send(node, clients, move |w| {
            let ended = w.clients.writers.iter().position(|writer| writer.session == Some((session, node)));
            if let Some(number) = ended {
                w.clients.writers[number].session = None;
                w.clients.writers[number].waiting = None;
                let pause = w.millis(20, 300);
                w.plan_writer(number, pause);
            }
        });
    }

    /// The server says that the row is committed. When the word leaves the machine is what counts.
    pub(crate) fn acknowledge(&mut self, node: usize, session: u64, row: Row, lsn: Lsn) {
        let Some(server) = self.nodes[node].postgres.server.as_ref() else { return };
        if !server.sessions.contains(&session) {
            return;
        }
        let Some(timeline) = self.nodes[node].postgres.data.as_ref().map(|data| data.timeline) else { return };
        self.answer_client(node, Answer { session, row, lsn, timeline });
    }

    pub(crate) fn row_is_acknowledged(&mut self, session: u64, node: usize, row: Row) {
        let now = self.now;
        let number = row.writer as usize;
        let Some(writer) = self.clients.writers.get_mut(number) else { return };
        if writer.session != Some((session, node)) || writer.waiting != Some(row) {
            return;
        }
        writer.waiting = None;
        writer.acknowledged += 1;
        writer.last_ack = now;
        self.counts.acknowledged_rows += 1;
        self.truth.promised(row, now);
        let pause = self.millis(120, 600);
        self.plan_writer(number, pause);
    }

    /// Reads everything through the VIP: what a reader has seen must stay.
    fn reader_reads(&mut self) {
        if self.now > self.clients.until {
            return;
        }
        self.after(900 * MS, World::reader_reads);
        let Some(node) = self.resolve_vip() else { return };
        let clients = self.net.clients();
        self.send(clients, node, move |w| {
            if w.answers_for_vip(node) && w.is_writable(node) && w.lets_clients(node, true) {
                let now = w.now;
                for row in w.visible(node) {
                    w.truth.promised(row, now);
                }
            }
        });
    }
}
