//! Both ends of a stream look after each other: who is silent for too long is given up.

use super::Receiver;
use super::replication::{KEEPALIVE, RECEIVER_TIMEOUT, RETRY, SENDER_TIMEOUT};
use crate::world::{World, note};

impl World {
    /// Both ends of a stream look whether the other is still there.
    pub(super) fn keep_stream_alive(&mut self, source_id: usize, source_pid: u32, stream: u64) {
        let now = self.now;
        let Some(server) = self.nodes[source_id].postgres.server.as_ref().filter(|server| server.pid == source_pid)
        else {
            return self.source_end_is_gone(stream);
        };
        let Some(sender) = server.senders.iter().find(|sender| sender.stream == stream) else {
            return self.source_end_is_gone(stream);
        };
        let (to, silent) = (sender.to, now - sender.last_reply);
        let source_moves = self.nodes[source_id].is_running() && !server.frozen && !sender.frozen;
        let target_moves = self.nodes[to].is_running()
            && self.nodes[to].postgres.server.as_ref().is_some_and(|server| {
                !server.frozen && matches!(&server.receiver, Receiver::Streaming { stream: s, .. } if *s == stream)
            });
        let open = self.connected_pg(source_id, to);
        if source_moves && target_moves && open {
            self.reply_to_sender(to, source_id, stream);
            self.heard(to, stream);
        } else if source_moves && silent > SENDER_TIMEOUT {
            self.end_sender(source_id, stream);
            return self.source_end_is_gone(stream);
        } else if source_moves
            && open
            && self.nodes[to].is_running()
            && !target_moves
            && self.receiver_is_gone(to, stream)
        {
            // A closed socket is noticed at once.
            self.end_sender(source_id, stream);
            return;
        }
        self.expire_receiver(to, stream);
        self.after(KEEPALIVE, move |w| w.keep_stream_alive(source_id, source_pid, stream));
    }

    fn receiver_is_gone(&self, id: usize, stream: u64) -> bool {
        let server = self.nodes[id].postgres.server.as_ref();
        !server.is_some_and(|server| matches!(&server.receiver, Receiver::Streaming { stream: s, .. } if *s == stream))
    }

    fn heard(&mut self, id: usize, stream: u64) {
        let now = self.now;
        if let Some(server) = self.nodes[id].postgres.server.as_mut()
            && let Receiver::Streaming { stream: mine, last_heard, .. } = &mut server.receiver
            && *mine == stream
        {
            *last_heard = now;
        }
    }

    pub(crate) fn end_sender(&mut self, source_id: usize, stream: u64) {
        if let Some(server) = self.nodes[source_id].postgres.server.as_mut() {
            server.senders.retain(|sender| sender.stream != stream);
        }
    }

    /// The source's end is closed: the receiver hears it if packets flow, or finds out by its keepalives.
    pub(super) fn source_end_is_gone(&mut self, stream: u64) {
        let target = (0..self.nodes.len()).find(|id| !self.receiver_is_gone(*id, stream));
        let Some(id) = target else { return };
        let Some(server) = self.nodes[id].postgres.server.as_ref() else { return };
        let Receiver::Streaming { node: from, .. } = &server.receiver else { return };
        let (from, moves) = (*from, self.nodes[id].is_running() && !server.frozen);
        if moves && self.passes_pg(from, id) && self.lets_node(from, id) && self.nodes[from].is_running() {
            self.lose_receiver(id, stream);
        } else {
            self.expire_receiver(id, stream);
            self.after(KEEPALIVE, move |w| w.source_end_is_gone(stream));
        }
    }

    fn expire_receiver(&mut self, id: usize, stream: u64) {
        let now = self.now;
        let expired = self.nodes[id].is_running()
            && self.nodes[id].postgres.server.as_ref().is_some_and(|server| {
                !server.frozen
                    && matches!(&server.receiver,
                        Receiver::Streaming { stream: s, last_heard, .. }
                            if *s == stream && now - *last_heard > RECEIVER_TIMEOUT)
            });
        if expired {
            self.lose_receiver(id, stream);
        }
    }

    /// The connection of one stream is reset.
    pub(crate) fn break_stream(&mut self, source_id: usize, to: usize) {
        let server = self.nodes[source_id].postgres.server.as_ref();
        let stream = server.and_then(|server| server.senders.iter().find(|sender| sender.to == to));
        if let Some(stream) = stream.map(|sender| sender.stream) {
            self.end_sender(source_id, stream);
            self.lose_receiver(to, stream);
        }
    }

    fn lose_receiver(&mut self, id: usize, stream: u64) {
        if self.receiver_is_gone(id, stream) {
            return;
        }
        let Some(server) = self.nodes[id].postgres.server.as_mut() else { return };
        server.receiver = Receiver::None;
        let pid = server.pid;
        note!(self, "n{id} postgres: the walreceiver ends");
        self.plan_connect(id, pid, RETRY);
    }
}
