//! Watches: each through one member, shown what that member has applied; they stall, are cancelled, or begin too late.

use super::Change;
use crate::world::reply::Reply;
use crate::world::{MS, World};
use leaderl::adapters::etcd::CallError;
use leaderl::ports::WatchMessage;
use leaderl_decision::model::Revision;
use tokio::sync::mpsc;

/// What comes over the stream; an error ends it.
pub(crate) type Shown = Result<WatchMessage, String>;

/// An open watch.
pub(crate) struct Watcher {
    pub(crate) number: u64,
    member: usize,
    node: usize,
    incarnation: u64,
    prefix: String,
    /// The next revision to show.
    next: i64,
    to: mpsc::UnboundedSender<Shown>,
    /// Nothing comes any more, and no error either.
    pub(crate) stalled: bool,
    /// When the last message arrives: they keep their order.
    arrival: u64,
}

impl World {
    pub(crate) fn etcd_watch(
        &mut self,
        member: usize,
        prefix: String,
        from: Revision,
        reply: Reply<Result<(u64, mpsc::UnboundedReceiver<Shown>), CallError>>,
    ) {
        let (node, incarnation) = (reply.node, reply.incarnation);
        if self.passes_etcd(node, member) && self.nodes[member].is_running() && !self.etcd.members[member].up {
            self.after(MS, move |_| reply.send(Err(CallError::NotSent("connection refused".into()))));
            return;
        }
        self.send_etcd(node, member, move |w| {
            let state = &w.etcd.members[member];
            if !state.up || state.frozen || state.standing != super::Standing::Voter {
                return;
            }
            let knows_leader = w.etcd.leader.is_some_and(|leader| leader == member || w.connected_etcd(member, leader));
            if !knows_leader {
                return w.send_etcd(member, node, move |_| reply.send(Err(CallError::Unclear("no leader".into()))));
            }
            if from.0 <= w.etcd.kv.compacted {
                let gone = CallError::Refused("the watch was canceled: history is compacted".into());
                return w.send_etcd(member, node, move |_| reply.send(Err(gone)));
            }
            let (to, shown) = mpsc::unbounded_channel();
            let number = w.etcd.watchers.iter().map(|watcher| watcher.number).max().unwrap_or(0) + 1;
            let next = from.0;
            w.etcd.watchers.push(Watcher {
                number,
                member,
                node,
                incarnation,
                prefix,
                next,
                to,
                stalled: false,
                arrival: 0,
            });
            w.send_etcd(member, node, move |w| {
                reply.send(Ok((number, shown)));
                w.etcd_show(member);
            });
        });
    }

    /// Shows this member's watchers what it has applied since.
    pub(crate) fn etcd_show(&mut self, member: usize) {
        let applied = self.etcd.members[member].applied;
        let compacted = self.etcd.kv.compacted;
        let mut due: Vec<(usize, u64, WatchMessage)> = Vec::new();
        let mut broken = Vec::new();
        let Self { etcd, .. } = self;
        let (kv, watchers) = (&etcd.kv, &mut etcd.watchers);
        for watcher in watchers.iter_mut().filter(|watcher| watcher.member == member && !watcher.stalled) {
            if watcher.next > applied {
                continue;
            }
            if watcher.next < compacted {
                broken.push(watcher.number);
                continue;
            }
            let changes: Vec<Change> = kv
                .changes(watcher.next, applied)
                .flat_map(|(_, changes)| changes)
                .filter(|(key, _)| key.starts_with(&watcher.prefix))
                .cloned()
                .collect();
            watcher.next = applied + 1;
            if !changes.is_empty() {
                due.push((
                    watcher.node,
                    watcher.number,
                    WatchMessage::Changes { revision: Revision(applied), changes },
                ));
            }
        }
        for (node, number, message) in due {
            self.show(member, node, number, Ok(message));
        }
        for number in broken {
            self.etcd_cancel_watch(number, "the watch was canceled: history is compacted");
        }
    }

    /// A stream has no gaps: what cannot be shown now ends it, silently.
    fn show(&mut self, member: usize, node: usize, number: u64, shown: Shown) {
        if !self.passes_etcd(member, node) {
            return self.stall_watch(number);
        }
        let delay = self.delay(member, node);
        let Some(watcher) = self.etcd.watchers.iter_mut().find(|watcher| watcher.number == number) else { return };
        watcher.arrival = (self.now + delay).max(watcher.arrival + 1);
        let at = watcher.arrival;
        self.at(at, move |w| {
            if !w.host_runs(node) {
                return w.stall_watch(number);
            }
            if let Some(watcher) = w.etcd.watchers.iter().find(|watcher| watcher.number == number && !watcher.stalled) {
                let _gone = watcher.to.send(shown);
            }
        });
    }

    pub(crate) fn stall_watch(&mut self, number: u64) {
        if let Some(watcher) = self.etcd.watchers.iter_mut().find(|watcher| watcher.number == number) {
            watcher.stalled = true;
        }
    }

    /// The client asks for a sign of life; a member without a leader has none.
    pub(crate) fn etcd_progress(&mut self, node: usize, number: u64) {
        let Some(watcher) = self.etcd.watchers.iter().find(|watcher| watcher.number == number) else { return };
        let member = watcher.member;
        self.send_etcd(node, member, move |w| {
            let state = &w.etcd.members[member];
            let Some(watcher) = w.etcd.watchers.iter().find(|watcher| watcher.number == number) else { return };
            if !state.up || state.frozen || watcher.stalled {
                return;
            }
            let knows_leader = w.etcd.leader.is_some_and(|leader| leader == member || w.connected_etcd(member, leader));
            if knows_leader {
                let revision = Revision(state.applied);
                w.show(member, node, number, Ok(WatchMessage::Progress { revision }));
            } else {
                w.etcd_cancel_watch(number, "etcdserver: no leader");
            }
        });
    }

    /// Ends a watch with an error, as far as the network lets the error through.
    pub(crate) fn etcd_cancel_watch(&mut self, number: u64, why: &'static str) {
        let Some(watcher) = self.etcd.watchers.iter().find(|watcher| watcher.number == number) else { return };
        let (member, node) = (watcher.member, watcher.node);
        self.show(member, node, number, Err(why.to_owned()));
        self.stall_after_this(number);
    }

    /// Nothing follows what is on its way.
    fn stall_after_this(&mut self, number: u64) {
        if let Some(watcher) = self.etcd.watchers.iter_mut().find(|watcher| watcher.number == number) {
            watcher.next = i64::MAX;
        }
    }

    pub(crate) fn etcd_break_watches_of_member(&mut self, member: usize) {
        let numbers: Vec<u64> = self
            .etcd
            .watchers
            .iter()
            .filter(|watcher| watcher.member == member)
            .map(|watcher| watcher.number)
            .collect();
        for number in numbers {
            self.etcd_cancel_watch(number, "connection reset");
        }
    }

    /// The daemon's process ended: its connections are closed.
    pub(crate) fn etcd_forgets_watches(&mut self, node: usize) {
        let incarnation = self.nodes[node].daemon.incarnation;
        self.etcd.watchers.retain(|watcher| watcher.node != node || watcher.incarnation > incarnation);
    }
}
