//! The ports of one simulated daemon. Ports only: what decides and acts is the product.

mod addresses;
mod asking;
mod guardian;
pub(crate) mod operator;
mod outside;
mod postgres;
mod store;

use crate::world::node::{Node, secrets};
use crate::world::reply::Line;
use crate::world::{Shared, drive, lock};
use leaderl::actors::Neighbours;
use leaderl::adapters::etcd_service::endpoints;
use leaderl::board::Board;
use leaderl::context::NodeContext;
use leaderl::ports::{Clock, CoordinationStore};
use leaderl_decision::model::Timestamp;
use leaderl_decision::records::Keys;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

pub(crate) use outside::Answers;

/// A node's CLOCK_BOOTTIME inside its runtime: tokio's paused clock, never beyond the window that is driven now.
pub(crate) struct SimClock {
    began: Instant,
    at_start: u64,
    limit: AtomicU64,
    wall_step: AtomicI64,
}

impl SimClock {
    /// Made inside the runtime.
    pub(crate) fn new(at_start: Timestamp) -> Self {
        Self {
            began: Instant::now(),
            at_start: at_start.0,
            limit: AtomicU64::new(at_start.0),
            wall_step: AtomicI64::new(0),
        }
    }

    /// The window ends when this clock shows this.
    pub(crate) fn set_limit(&self, limit: Timestamp) {
        self.limit.store(limit.0, Ordering::Relaxed);
    }

    /// The instant of the runtime at which this clock shows `local`.
    pub(crate) fn instant(&self, local: Timestamp) -> Instant {
        self.began + Duration::from_nanos(local.0.saturating_sub(self.at_start))
    }

    pub(crate) fn set_wall_step(&self, seconds: i64) {
        self.wall_step.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let limit = self.limit.load(Ordering::Relaxed);
        if !drive::is_on() {
            return Timestamp(limit);
        }
        let since = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Timestamp((self.at_start + since).min(limit))
    }

    fn wall(&self) -> SystemTime {
        let since = Duration::from_nanos(self.now().0) + Duration::from_secs(1_700_000_000);
        let step = self.wall_step.load(Ordering::Relaxed);
        let by = Duration::from_secs(step.unsigned_abs());
        let wall = SystemTime::UNIX_EPOCH + since;
        if step < 0 { wall.checked_sub(by).unwrap_or(wall) } else { wall + by }
    }
}

/// A node's context, and what only the simulation has of it.
pub(crate) struct Parts {
    pub(crate) ctx: Arc<NodeContext>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) answers: Arc<Answers>,
}

/// Everything one daemon acts through (called inside its runtime).
pub(crate) fn context(world: &Shared, node: usize) -> Parts {
    let (line, guid, boots, settings, now, seed) = {
        let w = lock(world);
        let it: &Node = &w.nodes[node];
        let line = Line { world: world.clone(), node, incarnation: it.daemon.incarnation };
        (line, it.guid.clone(), it.boots, it.settings(&w.profile), w.local_now(node), w.profile.seed)
    };
    let clock = Arc::new(SimClock::new(now));
    let answers = Arc::new(Answers::default());
    let store = Arc::new(store::SimStore::new(line.clone()));
    store.set_endpoints(&endpoints::first(&settings), &store::known_others(&line));
    let ctx = NodeContext {
        guid,
        boot_id: format!("boot-{seed}-{node}-{boots}"),
        keys: Keys::new(crate::world::node::CLUSTER_ID),
        clock: clock.clone(),
        board: Board::new(now),
        store,
        guardian: Arc::new(guardian::SimGuardian::new(line.clone())),
        addresses: Arc::new(addresses::SimAddresses::new(line.clone())),
        disks: Arc::new(outside::SimDisks(line.clone())),
        files: Arc::new(outside::SimFiles(line.clone())),
        doors: answers.clone(),
        postgres: Arc::new(postgres::SimPostgres(line.clone())),
        postgres_probe: Arc::new(postgres::SimPostgres(line.clone())),
        search: Arc::new(outside::SimSearch(line.clone())),
        services: Arc::new(outside::SimServices(line)),
        neighbours: Neighbours::new(),
        settings,
        secrets: secrets(),
    };
    Parts { ctx: Arc::new(ctx), clock, answers }
}
