//! The daemon's end of heart's socket: attached once at a time, every order answered in order, or nobody answers.

use crate::world::reply::Reply;
use crate::world::{MS, SEC, World, note};
use leaderl::heart::guard::{Asker, ConnectionId, Event};
use leaderl::heart::protocol::{HeartOrder, HeartRequest, HeartState};
use leaderl::ports::GuardianError;
use leaderl_decision::model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

type Answer = Result<(), GuardianError>;

/// The connection of the daemon of now.
pub(crate) struct Attachment {
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) adopted: Option<ConnectionId>,
    attached: bool,
    next_id: u64,
    waiting: BTreeMap<u64, Reply<Answer>>,
    /// What the daemon sees of heart.
    pub(crate) state: watch::Sender<Option<HeartState>>,
    latest: Option<HeartState>,
    attempt: u64,
    back_off: u64,
    arrival: u64,
}

impl Default for Attachment {
    fn default() -> Self {
        Self {
            connection: None,
            adopted: None,
            attached: false,
            next_id: 0,
            waiting: BTreeMap::new(),
            state: watch::Sender::new(None),
            latest: None,
            attempt: 0,
            back_off: 20,
            arrival: 0,
        }
    }
}

impl Attachment {
    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }
}

fn silent(detail: &str) -> GuardianError {
    GuardianError::Silent { detail: detail.to_owned() }
}

impl World {
    /// A new daemon's link begins.
    pub(crate) fn open_heart_link(&mut self, id: usize) -> watch::Receiver<Option<HeartState>> {
        let attempt = self.nodes[id].heart.attachment.attempt + 1;
        let attachment = Attachment { attempt, ..Attachment::default() };
        let state = attachment.state.subscribe();
        self.nodes[id].heart.attachment = attachment;
        self.plan_attach(id, MS);
        state
    }

    pub(super) fn plan_attach(&mut self, id: usize, wait: u64) {
        let attachment = &mut self.nodes[id].heart.attachment;
        attachment.attempt += 1;
        let (attempt, incarnation) = (attachment.attempt, self.nodes[id].daemon.incarnation);
        self.after(wait, move |w| {
            let same = w.nodes[id].heart.attachment.attempt == attempt && w.lives(id, incarnation);
            if !same {
                return;
            }
            if w.nodes[id].daemon.frozen || !w.nodes[id].is_running() || !w.nodes[id].heart.runs() {
                let wait = w.nodes[id].heart.attachment.back_off;
                w.nodes[id].heart.attachment.back_off = (wait * 2).min(1000);
                return w.plan_attach(id, wait * MS);
            }
            w.attach(id);
        });
    }

    fn attach(&mut self, id: usize) {
        let heart = &mut self.nodes[id].heart;
        heart.connections += 1;
        let connection = heart.connections;
        heart.attachment.connection = Some(connection);
        heart.attachment.attached = false;
        heart.attachment.back_off = 20;
        let order = HeartOrder::Attach { version: env!("CARGO_PKG_VERSION").to_owned() };
        let pid = daemon_pid(self.nodes[id].daemon.incarnation);
        self.heart_feed(id, Event::Request { connection, pid, request: HeartRequest { id: 0, order } });
        let patience = (self.profile.ttl * 3 / 5).max(2 * SEC);
        let over = self.nodes[id].clock.world(self.local_now(id).plus(Duration::from_nanos(patience)));
        self.at(over, move |w| w.end_silent_heart(id, connection));
    }

    /// As the real link does: a heart that takes the connection and never answers is killed.
    fn end_silent_heart(&mut self, id: usize, connection: ConnectionId) {
        let attachment = &self.nodes[id].heart.attachment;
        if attachment.connection != Some(connection) || attachment.attached {
            return;
        }
        if self.daemon_moves(id) {
            note!(self, "n{id} daemon ends a heart that never answered");
            return self.heart_dies(id, true);
        }
        self.after(50 * MS, move |w| w.end_silent_heart(id, connection));
    }

    /// The connection is gone: whoever waits hears so, and a living daemon tries again.
    pub(super) fn detach(&mut self, id: usize, why: &str) {
        let attachment = &mut self.nodes[id].heart.attachment;
        attachment.connection = None;
        attachment.attached = false;
        attachment.latest = None;
        attachment.state.send_replace(None);
        let waiting = std::mem::take(&mut attachment.waiting);
        for (_, reply) in waiting {
            reply.send(Err(silent(why)));
        }
        self.plan_attach(id, 20 * MS);
    }

    /// The daemon sends an order.
    pub(crate) fn order_heart(&mut self, id: usize, order: HeartOrder, reply: Reply<Answer>) {
        let attachment = &mut self.nodes[id].heart.attachment;
        let Some(connection) = attachment.connection.filter(|_| attachment.attached) else {
            return reply.send(Err(silent("not attached")));
        };
        attachment.next_id += 1;
        let request = HeartRequest { id: attachment.next_id, order };
        attachment.waiting.insert(request.id, reply);
        let pid = daemon_pid(self.nodes[id].daemon.incarnation);
        let delay = self.micros(20, 150);
        self.after(delay, move |w| w.heart_feed(id, Event::Request { connection, pid, request }));
    }

    /// heart's messages keep their order and arrive in microseconds.
    fn tell_daemon(&mut self, id: usize, connection: ConnectionId, message: impl FnOnce(&mut World) + Send + 'static) {
        let delay = self.micros(20, 150);
        let attachment = &mut self.nodes[id].heart.attachment;
        attachment.arrival = (self.now + delay).max(attachment.arrival + 1);
        let at = attachment.arrival;
        self.at(at, move |w| {
            if w.nodes[id].heart.attachment.connection == Some(connection) {
                message(w);
            }
        });
    }

    pub(super) fn push_state(&mut self, id: usize) {
        let Some(guard) = self.nodes[id].heart.guard.as_ref() else { return };
        let (state, Some(connection)) = (guard.view(), guard.attached()) else { return };
        self.tell_daemon(id, connection, move |w| {
            let attachment = &mut w.nodes[id].heart.attachment;
            attachment.latest = Some(state.clone());
            if attachment.attached {
                attachment.state.send_replace(Some(state));
                w.watch_deadline(id, connection);
            }
        });
    }

    pub(super) fn heart_replies(&mut self, id: usize, to: Asker, refused: Option<String>) {
        self.tell_daemon(id, to.connection, move |w| {
            if to.id == 0 {
                return w.attach_answered(id, refused);
            }
            if let Some(reply) = w.nodes[id].heart.attachment.waiting.remove(&to.id) {
                reply.send(refused.map_or(Ok(()), |reason| Err(GuardianError::Refused { reason })));
            }
        });
    }

    fn attach_answered(&mut self, id: usize, refused: Option<String>) {
        if refused.is_some() {
            return self.detach(id, "heart refused the attachment");
        }
        let attachment = &mut self.nodes[id].heart.attachment;
        attachment.attached = true;
        let latest = attachment.latest.clone();
        let armed = latest.as_ref().is_some_and(|state| state.armed.is_some());
        attachment.state.send_replace(latest);
        let connection = attachment.connection;
        note!(self, "n{id} daemon is attached to heart (armed: {armed})");
        if let Some(connection) = connection {
            self.watch_deadline(id, connection);
        }
    }

    /// As the real link does: a heart that says nothing of its own deadline is killed D/30 after it, whatever the actors do.
    fn watch_deadline(&mut self, id: usize, connection: ConnectionId) {
        let Some(fence_at) = self.unfenced_deadline(id, connection) else { return };
        let grace = self.profile.ttl / 30;
        let due = self.nodes[id].clock.world(fence_at.plus(Duration::from_nanos(grace)));
        self.at(due.max(self.now), move |w| w.end_overslept_heart(id, connection, fence_at, false));
    }

    fn unfenced_deadline(&self, id: usize, connection: ConnectionId) -> Option<Timestamp> {
        let attachment = &self.nodes[id].heart.attachment;
        let state = attachment.latest.as_ref().filter(|_| attachment.connection == Some(connection))?;
        let armed = state.armed.as_ref().filter(|armed| state.fenced.is_none_or(|fenced| fenced < armed.epoch))?;
        Some(armed.fence_at)
    }

    /// `late`: the daemon stood still itself.
    fn end_overslept_heart(&mut self, id: usize, connection: ConnectionId, fence_at: Timestamp, late: bool) {
        if self.unfenced_deadline(id, connection) != Some(fence_at) {
            return;
        }
        if !self.daemon_moves(id) {
            return self.after(50 * MS, move |w| w.end_overslept_heart(id, connection, fence_at, true));
        }
        if late {
            let grace = self.profile.ttl / 30;
            return self.after(grace, move |w| w.end_overslept_heart(id, connection, fence_at, false));
        }
        note!(self, "n{id} daemon ends a heart that slept through its deadline");
        self.heart_dies(id, true);
    }
}

fn daemon_pid(incarnation: u64) -> u32 {
    10_000 + u32::try_from(incarnation).unwrap_or(0)
}
