//! Streams between servers: connecting, sending, replying, stalling, ending.

use super::{Phase, Receiver, Sender};
use crate::world::{MS, SEC, Time, World};
use leaderl_decision::model::Lsn;
use leaderl_decision::replication_plan::{Source, SyncNames, Upstream, UpstreamRefusal, slot_name};

/// `wal_retrieve_retry_interval`.
pub(super) const RETRY: Time = 100 * MS;
/// `wal_sender_timeout`, as our conninfo sets it.
pub(super) const SENDER_TIMEOUT: Time = 2500 * MS;
/// Keepalives of the receiving side.
pub(super) const RECEIVER_TIMEOUT: Time = 8 * SEC;
/// How often both ends look at the other.
pub(super) const KEEPALIVE: Time = 800 * MS;
/// Records of one message.
const BATCH: usize = 64;

/// Where a walsender takes its names from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads {
    /// Its postmaster, as it is forked.
    Inherited,
    /// The file, when it is signalled.
    File,
}

impl World {
    /// The node that has this address.
    pub(crate) fn host_of(&self, source: &Source) -> Option<usize> {
        self.nodes.iter().position(|node| node.address == source.address)
    }

    fn standby_moves(&self, id: usize, pid: u32) -> bool {
        let node = &self.nodes[id];
        node.is_running()
            && node.postgres.server.as_ref().is_some_and(|server| {
                server.pid == pid && !server.frozen && matches!(server.phase, Phase::Standby | Phase::Starting)
            })
    }

    /// The startup process asks for a walreceiver to whatever its conninfo says; again and again until one streams.
    pub(crate) fn connect_upstream(&mut self, id: usize, pid: u32) {
        let node = &self.nodes[id];
        let Some(server) = node.postgres.server.as_ref().filter(|server| server.pid == pid) else { return };
        let idle = matches!(server.receiver, Receiver::None | Receiver::Connecting);
        if !matches!(server.phase, Phase::Standby | Phase::Starting) || !idle {
            return;
        }
        if !self.standby_moves(id, pid) {
            self.plan_connect(id, pid, RETRY);
            return;
        }
        match server.conninfo.clone() {
            Upstream::Unset => self.plan_connect(id, pid, RETRY),
            Upstream::Sentinel { name, .. } => {
                // The listener is the daemon's; a frozen one still accepts, and reads later.
                if self.daemon_listens(id) && !self.nodes[id].daemon.frozen {
                    self.set_receiver(id, pid, Receiver::AtSentinel(name));
                } else {
                    self.plan_connect(id, pid, RETRY);
                }
            }
            Upstream::Node(source) => {
                let Some(to) = self.host_of(&source) else { return };
                // No answer: libpq's own limit, then again.
                let number = self.truth.fresh_id();
                self.plan_connect(id, pid, 5 * SEC);
                self.set_receiver(id, pid, Receiver::Connecting);
                self.knock(id, to, pid, number, source, SEC);
            }
        }
    }

    /// A first packet that gets lost is sent again after one second, then after two.
    fn knock(&mut self, id: usize, to: usize, pid: u32, stream: u64, source: Source, again: Time) {
        if self.passes_pg(id, to) {
            return self.send(id, to, move |w| w.accept_stream(to, id, pid, stream, source));
        }
        let attempt = self.nodes[id].postgres.server.as_ref().map(|server| server.attempt);
        if again > 2 * SEC {
            return;
        }
        self.after(again, move |w| {
            let server = w.nodes[id].postgres.server.as_ref();
            if server.is_some_and(|it| Some(it.attempt) == attempt && it.receiver == Receiver::Connecting) {
                w.knock(id, to, pid, stream, source, again * 2);
            }
        });
    }

    /// A connection was refused: the walreceiver ends, the startup process waits before it asks for another.
    fn refused(&mut self, id: usize, pid: u32, wait: Time) {
        let server = self.nodes[id].postgres.server.as_ref();
        if server.is_some_and(|server| server.receiver == Receiver::Connecting) {
            self.set_receiver(id, pid, Receiver::None);
        }
        self.plan_connect(id, pid, wait);
    }

    /// The next attempt; an earlier one that was planned is forgotten.
    pub(crate) fn plan_connect(&mut self, id: usize, pid: u32, wait: Time) {
        let attempt = self.truth.fresh_id();
        let Some(server) = self.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) else { return };
        server.attempt = attempt;
        self.after(wait, move |w| {
            if w.nodes[id].postgres.server.as_ref().is_some_and(|server| server.attempt == attempt) {
                w.connect_upstream(id, pid);
            }
        });
    }

    fn set_receiver(&mut self, id: usize, pid: u32, receiver: Receiver) {
        if let Some(server) = self.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) {
            server.receiver = receiver;
        }
    }

    /// A standby's request reaches the source.
    fn accept_stream(&mut self, source_id: usize, id: usize, pid: u32, stream: u64, source: Source) {
        let refused = move |w: &mut World| w.refused(id, pid, RETRY);
        let node = &self.nodes[source_id];
        let Some(server) = node.postgres.server.as_ref().filter(|_| self.lets_node(source_id, id)) else {
            return self.send_reset(source_id, id, refused);
        };
        if server.frozen {
            return;
        }
        if matches!(server.phase, Phase::Starting | Phase::Ending | Phase::Promoting) {
            return self.send_pg(source_id, source_id, id, refused);
        }
        let (Some(theirs), Some(mine)) = (&node.postgres.data, &self.nodes[id].postgres.data) else { return };
        let slot = theirs.slots.get(&slot_name(&self.nodes[id].guid));
        let (end, timeline) = (mine.end(), mine.timeline);
        let refusal = if slot.is_none_or(|slot| slot.lost) && end < theirs.removed_before {
            Some(UpstreamRefusal::WalMissing)
        } else if slot.is_none() {
            return self.send_pg(source_id, source_id, id, refused);
        } else if !theirs.leads_on_from(timeline, end) || timeline == theirs.timeline && end > theirs.end() {
            Some(UpstreamRefusal::OtherHistory)
        } else if mine.common(theirs) < mine.log.len() {
            // Same numbers, other content: the bytes do not fit, the stream ends at once and for ever.
            Some(UpstreamRefusal::OtherHistory)
        } else {
            None
        };
        let at = mine.log.len();
        if let Some(refusal) = refusal {
            return self.send_pg(source_id, source_id, id, move |w| {
                let aimed = w.nodes[id].postgres.marks.upstream == Upstream::Node(source);
                if aimed {
                    w.nodes[id].postgres.marks.refusal = Some(refusal);
                }
                w.refused(id, pid, RETRY * 10);
            });
        }
        self.begin_stream(source_id, id, pid, stream, at, source);
    }

    fn begin_stream(&mut self, source_id: usize, id: usize, pid: u32, stream: u64, at: usize, source: Source) {
        let guid = self.nodes[id].guid.clone();
        let now = self.now;
        let Some(server) = self.nodes[source_id].postgres.server.as_mut() else { return };
        server.senders.retain(|sender| sender.to != id);
        server.senders.push(Sender {
            stream,
            to: id,
            guid,
            flushed: Lsn(0),
            sent: at,
            in_flight: true,
            streaming: false,
            counted: false,
            names: SyncNames::default(),
            last_reply: now,
            frozen: false,
        });
        let source_pid = server.pid;
        self.send_pg(source_id, source_id, id, move |w| {
            let conninfo_still = w.nodes[id]
                .postgres
                .server
                .as_ref()
                .is_some_and(|server| server.pid == pid && server.conninfo == Upstream::Node(source.clone()));
            if !w.standby_moves(id, pid) || !conninfo_still {
                return;
            }
            let last_heard = w.now;
            w.set_receiver(id, pid, Receiver::Streaming { source, node: source_id, stream, last_heard });
            w.reply_to_sender(id, source_id, stream);
            // On a slow link the source may have given it up before it began.
            let server = w.nodes[source_id].postgres.server.as_ref();
            if !server.is_some_and(|server| server.senders.iter().any(|sender| sender.stream == stream)) {
                w.source_end_is_gone(stream);
            }
        });
        self.after(KEEPALIVE, move |w| w.keep_stream_alive(source_id, source_pid, stream));
        // It reads its names as it begins to stream.
        let wait = self.millis(1, 15);
        self.after(wait, move |w| w.sender_reads_names(source_id, source_pid, stream, Reads::Inherited));
    }

    /// A walsender takes names over.
    pub(crate) fn sender_reads_names(&mut self, source_id: usize, pid: u32, stream: u64, from: Reads) {
        let file = self.nodes[source_id].postgres.marks.sync_names.clone();
        let Some(server) = self.nodes[source_id].postgres.server.as_mut().filter(|server| server.pid == pid) else {
            return;
        };
        let (frozen, inherited) = (server.frozen, server.names.clone());
        let Some(sender) = server.senders.iter_mut().find(|sender| sender.stream == stream) else { return };
        if sender.frozen || frozen {
            self.after(50 * MS, move |w| w.sender_reads_names(source_id, pid, stream, from));
            return;
        }
        let names = match from {
            Reads::Inherited => inherited,
            Reads::File => file,
        };
        sender.counted = names.names.contains(&sender.guid);
        sender.names = names;
        // A walsender releases waiters after every change of its configuration.
        self.release_waiters(source_id, stream);
    }

    /// Sends what this stream has not been sent yet.
    pub(crate) fn push_wal(&mut self, source_id: usize) {
        let Some(server) = self.nodes[source_id].postgres.server.as_ref() else { return };
        if server.frozen || !self.nodes[source_id].is_running() {
            return;
        }
        let streams: Vec<u64> = server
            .senders
            .iter()
            .filter(|sender| sender.streaming && !sender.in_flight && !sender.frozen)
            .map(|sender| sender.stream)
            .collect();
        for stream in streams {
            self.push_stream(source_id, stream);
        }
    }

    fn push_stream(&mut self, source_id: usize, stream: u64) {
        let postgres = &mut self.nodes[source_id].postgres;
        let (Some(server), Some(data)) = (postgres.server.as_mut(), postgres.data.as_ref()) else { return };
        let Some(sender) = server.senders.iter_mut().find(|sender| sender.stream == stream) else { return };
        let records: Vec<_> = data.log.iter().skip(sender.sent).take(BATCH).copied().collect();
        if records.is_empty() {
            return;
        }
        let history = data.history.clone();
        sender.sent += records.len();
        sender.in_flight = true;
        let to = sender.to;
        self.send_pg(source_id, source_id, to, move |w| w.receive_wal(to, source_id, stream, records, history));
    }

    fn receive_wal(
        &mut self,
        id: usize,
        source_id: usize,
        stream: u64,
        records: Vec<super::wal::Record>,
        history: std::collections::BTreeMap<u32, (u32, u64)>,
    ) {
        let now = self.now;
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        let Receiver::Streaming { stream: mine, last_heard, .. } = &mut server.receiver else { return };
        if *mine != stream {
            return;
        }
        let pid = server.pid;
        if server.frozen {
            return self.after(50 * MS, move |w| w.receive_wal(id, source_id, stream, records, history));
        }
        *last_heard = now;
        let flush = self.disk_time(id) + self.micros(100, 900);
        self.after(flush, move |w| {
            let node = &mut w.nodes[id];
            let Some(server) = node.postgres.server.as_ref().filter(|server| server.pid == pid) else { return };
            if !matches!(&server.receiver, Receiver::Streaming { stream: mine, .. } if *mine == stream) {
                return;
            }
            if let Some(data) = node.postgres.data.as_mut() {
                data.receive(&records, &history);
            }
            w.replay(id, pid);
            w.reply_to_sender(id, source_id, stream);
        });
    }

    /// Replays what has been flushed, unless replay is paused.
    pub(crate) fn replay(&mut self, id: usize, pid: u32) {
        let postgres = &self.nodes[id].postgres;
        let Some(upto) = postgres.data.as_ref().map(|data| data.log.len()) else { return };
        match postgres.replay_lag {
            0 => self.replay_up_to(id, pid, upto),
            lag => self.after(lag, move |w| w.replay_up_to(id, pid, upto)),
        }
        // A standby that others stream from passes it on.
        self.push_wal(id);
    }

    fn replay_up_to(&mut self, id: usize, pid: u32, upto: usize) {
        let Some(server) = self.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) else { return };
        if !server.paused && !server.frozen {
            server.replayed = server.replayed.max(upto);
        }
    }

    pub(crate) fn reply_to_sender(&mut self, id: usize, source_id: usize, stream: u64) {
        let Some(data) = self.nodes[id].postgres.data.as_ref() else { return };
        let flushed = Lsn(data.end());
        self.send_pg(source_id, id, source_id, move |w| {
            let now = w.now;
            let postgres = &mut w.nodes[source_id].postgres;
            let (Some(server), Some(data)) = (postgres.server.as_mut(), postgres.data.as_ref()) else { return };
            if server.frozen {
                return;
            }
            let Some(sender) = server.senders.iter_mut().find(|sender| sender.stream == stream) else { return };
            if sender.frozen {
                return;
            }
            sender.flushed = sender.flushed.max(flushed);
            sender.last_reply = now;
            sender.in_flight = false;
            // What was lost on the way is sent again from here.
            sender.sent = data.log.partition_point(|record| record.end <= flushed.0);
            sender.streaming = true;
            w.release_waiters(source_id, stream);
            w.push_stream(source_id, stream);
            w.slot_follows(source_id, id, flushed);
        });
    }

    fn slot_follows(&mut self, source_id: usize, id: usize, flushed: Lsn) {
        let name = slot_name(&self.nodes[id].guid);
        if let Some(data) = self.nodes[source_id].postgres.data.as_mut()
            && let Some(slot) = data.slots.get_mut(&name)
        {
            slot.restart = slot.restart.max(flushed);
        }
    }

    /// The startup process has read a new conninfo: the walreceiver in place is ended, what it had is flushed.
    pub(crate) fn change_upstream(&mut self, id: usize, pid: u32, conninfo: Upstream) {
        let Some(server) = self.nodes[id].postgres.server.as_mut().filter(|server| server.pid == pid) else { return };
        if server.conninfo == conninfo {
            return;
        }
        server.conninfo = conninfo;
        server.receiver = Receiver::None;
        let wait = self.millis(2, 20);
        self.plan_connect(id, pid, wait);
    }

    /// The daemon's listener is gone: whoever hangs there tries again.
    pub(crate) fn postgres_loses_listener(&mut self, id: usize) {
        if let Some(server) = self.nodes[id].postgres.server.as_mut()
            && matches!(server.receiver, Receiver::AtSentinel(_))
        {
            server.receiver = Receiver::None;
            let pid = server.pid;
            self.plan_connect(id, pid, RETRY);
        }
    }

    fn daemon_listens(&self, id: usize) -> bool {
        let daemon = &self.nodes[id].daemon;
        daemon.state == crate::world::daemon::Process::Running
    }
}
