//! PostgreSQL in memory: three copies that stream from each other, promote, stop and crash. Its processes are heart's, as in
//! the real one: see `heart.rs`.

mod server;

pub use server::Postgres;

use leaderl_decision::model::{Epoch, NodeId, Revision, Timeline};
use leaderl_decision::records::Token;
use leaderl_decision::replication_plan::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Where every copy begins, on timeline 1.
pub const BEGINNING: u64 = 1000;
/// Length of a shutdown checkpoint's record.
const SHUTDOWN_RECORD: u64 = 40;

/// All copies of the cluster and the wires between them.
#[derive(Default)]
pub struct Copies {
    query_ms: AtomicU64,
    copies: Mutex<BTreeMap<NodeId, Replica>>,
}

struct Replica {
    /// Nobody streams from it.
    cut: bool,
    disk: Disk,
    /// While the postmaster runs.
    server: Option<Server>,
}

struct Disk {
    timeline: u32,
    /// Everything before this is durable here.
    end: u64,
    /// Where the timeline left its parent.
    began: u64,
    ended: Ended,
    checkpoint: u64,
    standby_signal: bool,
    token: Option<Token>,
    promised: Revision,
    unsynced: Option<UnsyncedMark>,
    upstream: Upstream,
    names: SyncNames,
    epochs: BTreeMap<Timeline, Epoch>,
    /// The highest history file in pg_wal.
    placed: u32,
    slots: BTreeSet<String>,
    pointed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Running,
    AsPrimary,
    AsStandby,
    Crashed,
}

struct Server {
    in_recovery: bool,
    /// As last reloaded.
    upstream: Upstream,
    names: SyncNames,
}

/// How a server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGINT: with a shutdown checkpoint, which its followers receive.
    Fast,
    /// SIGQUIT or SIGKILL.
    Crash,
}

impl Copies {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Replica>> {
        self.copies.lock().unwrap()
    }

    /// Nobody streams from this node any more.
    pub fn cut(&self, node: &NodeId) {
        if let Some(copy) = self.lock().get_mut(node) {
            copy.cut = true;
        }
    }

    /// Every query takes so long from now on.
    pub fn answer_after(&self, time: Duration) {
        self.query_ms.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn query(&self) -> Duration {
        Duration::from_millis(self.query_ms.load(Ordering::SeqCst).max(1))
    }

    /// A copy as initdb and a base backup leave it.
    pub fn add(&self, node: NodeId) {
        let disk = Disk {
            timeline: 1,
            end: BEGINNING,
            began: 0,
            ended: Ended::AsStandby,
            checkpoint: BEGINNING,
            standby_signal: false,
            token: None,
            promised: Revision(0),
            unsynced: None,
            upstream: Upstream::Unset,
            names: SyncNames::default(),
            epochs: BTreeMap::from([(Timeline(1), Epoch(0))]),
            placed: 1,
            slots: BTreeSet::new(),
            pointed: 0,
        };
        self.lock().insert(node, Replica { cut: false, disk, server: None });
    }

    /// The postmaster starts; refused as heart's shell refuses.
    pub fn start(&self, node: &NodeId) -> Result<(), String> {
        let mut copies = self.lock();
        let copy = copies.get_mut(node).ok_or("no such node")?;
        if !copy.disk.standby_signal {
            return Err("standby.signal is missing".to_owned());
        }
        copy.disk.ended = Ended::Running;
        let (upstream, names) = (copy.disk.upstream.clone(), copy.disk.names.clone());
        copy.server = Some(Server { in_recovery: true, upstream, names });
        Ok(())
    }

    /// Every process ends.
    pub fn end(&self, node: &NodeId, how: End) {
        let mut copies = self.lock();
        let Some(copy) = copies.get_mut(node) else { return };
        let Some(server) = &copy.server else { return };
        copy.disk.ended = match (how, server.in_recovery) {
            (End::Crash, _) => Ended::Crashed,
            (End::Fast, true) => Ended::AsStandby,
            (End::Fast, false) => Ended::AsPrimary,
        };
        copy.disk.checkpoint = copy.disk.end;
        if copy.disk.ended == Ended::AsPrimary {
            copy.disk.end += SHUTDOWN_RECORD;
            flow(&mut copies);
        }
        if let Some(copy) = copies.get_mut(node) {
            copy.server = None;
        }
    }

    /// Whether it is a primary, and how much it has.
    pub fn primary(&self, node: &NodeId) -> bool {
        self.lock().get(node).and_then(|copy| copy.server.as_ref()).is_some_and(|server| !server.in_recovery)
    }

    /// Everything before this is durable on the node.
    pub fn end_of(&self, node: &NodeId) -> u64 {
        self.lock().get(node).map_or(0, |copy| copy.disk.end)
    }

    /// A client commits on the node; acknowledged when a named standby has it, or at once when none is named.
    pub fn commit(&self, node: &NodeId, bytes: u64) -> bool {
        let mut copies = self.lock();
        let Some(copy) = copies.get_mut(node) else { return false };
        let Some(server) = copy.server.as_ref().filter(|server| !server.in_recovery) else { return false };
        let names = server.names.names.clone();
        copy.disk.end += bytes;
        let end = copy.disk.end;
        flow(&mut copies);
        names.is_empty() || names.iter().any(|name| copies.get(name).is_some_and(|copy| copy.disk.end >= end))
    }
}

/// What streams, streams at once.
fn flow(copies: &mut BTreeMap<NodeId, Replica>) {
    let mut moved = true;
    while moved {
        moved = false;
        let nodes: Vec<NodeId> = copies.keys().cloned().collect();
        for node in &nodes {
            let Some((timeline, end, began)) = source_of(copies, node) else { continue };
            if let Some(copy) = copies.get_mut(node)
                && (copy.disk.timeline, copy.disk.end) != (timeline, end)
            {
                (copy.disk.timeline, copy.disk.end, copy.disk.began) = (timeline, end, began);
                copy.disk.placed = copy.disk.placed.max(timeline);
                moved = true;
            }
        }
    }
}

/// What a standby's source sends it, if it has one that runs and whose path passes through the standby's end.
fn source_of(copies: &BTreeMap<NodeId, Replica>, node: &NodeId) -> Option<(u32, u64, u64)> {
    let copy = copies.get(node)?;
    let server = copy.server.as_ref().filter(|server| server.in_recovery)?;
    let Upstream::Node(source) = &server.upstream else { return None };
    let from = copies.get(&source.node).filter(|from| from.server.is_some() && !from.cut)?;
    let same_path = from.disk.timeline == copy.disk.timeline && from.disk.end >= copy.disk.end
        || from.disk.timeline > copy.disk.timeline && copy.disk.end <= from.disk.began;
    same_path.then_some((from.disk.timeline, from.disk.end, from.disk.began))
}
