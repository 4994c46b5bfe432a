//! The watching task: a list of the whole prefix at revision R, a watch from R + 1, and again from the start on any error.

use super::AbortOnDrop;
use super::high_water_file::{self, Mark};
use crate::ports::{Clock, CoordinationStore, HIGH_WATER_FILE, StateFiles, StoreError, WatchMessage};
use leaderl_decision::cluster::high_water::{HighWater, Urgency};
use leaderl_decision::cluster::{ClusterView, Entry};
use leaderl_decision::model::{Reason, Revision};
use leaderl_decision::records::Keys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

/// The pause after a failed list or watch.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a new view goes; must not block.
pub type Publish = Box<dyn Fn(Arc<ClusterView>) + Send + Sync>;

/// What the task works with.
pub struct Parts {
    /// etcd.
    pub store: Arc<dyn CoordinationStore>,
    /// CLOCK_BOOTTIME.
    pub clock: Arc<dyn Clock>,
    /// Key names.
    pub keys: Keys,
    /// D: views are published at least each D/10; a stream silent for D/5 (at least 1 s) is given up.
    pub ttl: Duration,
    /// Where the file of [`high_water_file`] is.
    pub files: Arc<dyn StateFiles>,
    /// What an incarnation before has seen: a key that has not changed keeps its time of receipt, so no wait begins anew.
    pub known: Arc<ClusterView>,
}

#[derive(Default)]
struct Orders {
    relist: Notify,
    accept: AtomicBool,
}

/// Orders to the task.
#[derive(Clone)]
pub struct Handle {
    orders: Arc<Orders>,
}

impl Handle {
    /// Read everything again, now.
    pub fn relist(&self) {
        self.orders.relist.notify_one();
    }

    /// The present control state counts, although it is older than what was seen before.
    pub fn accept(&self) {
        self.orders.accept.store(true, Ordering::Release);
        self.relist();
    }
}

/// The task's state.
pub struct Watching {
    parts: Parts,
    publish: Publish,
    orders: Arc<Orders>,
    view: ClusterView,
    water: HighWater,
    marks: watch::Sender<Mark>,
    _keeper: AbortOnDrop,
}

/// Why a watch was left.
enum Left {
    Ordered,
    Broken(StoreError),
}

impl Watching {
    /// Prepares the task (call within a runtime) and the handle for orders.
    pub fn new(parts: Parts, publish: Publish) -> (Handle, Self) {
        let water = high_water_file::load(parts.files.as_ref()).unwrap_or_else(|error| {
            // Not knowing what was seen is treated as having seen something else: an operator must look.
            let text = format!("`{}` cannot be read ({error})", parts.files.path(HIGH_WATER_FILE).display());
            let told = Reason::new("control-state-went-back", text);
            HighWater { went_back: Some(told), ..HighWater::default() }
        });
        let (marks, newest) = watch::channel((water.clone(), Urgency::Nothing));
        let keeper = AbortOnDrop(tokio::spawn(high_water_file::keep(parts.files.clone(), newest)));
        let orders = Arc::new(Orders::default());
        let handle = Handle { orders: orders.clone() };
        let view = ClusterView { went_back: water.went_back.clone(), ..ClusterView::clone(&parts.known) };
        (handle, Self { parts, publish, orders, view, water, marks, _keeper: keeper })
    }

    /// Watches for ever.
    pub async fn run(mut self) {
        loop {
            match self.list_and_watch().await {
                Left::Ordered => {}
                Left::Broken(error) => {
                    tracing::info!(%error, "the watch of etcd is begun again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn list_and_watch(&mut self) -> Left {
        let limit = (self.parts.ttl / 5).max(Duration::from_secs(1));
        let store = self.parts.store.clone();
        let listed = match store.range_prefix(self.parts.keys.prefix(), limit).await {
            Ok(listed) => listed,
            Err(error) => return Left::Broken(error),
        };
        // Receipt: after the answer, since an earlier instant would let others' waits end too soon.
        let now = self.parts.clock.now();
        let entries = listed.entries.iter();
        let entries = entries.map(|kv| Entry { key: &kv.key, value: &kv.value, revision: kv.mod_revision });
        self.view = self.view.after_list(&self.parts.keys, listed.store_id, listed.revision, entries, now);
        self.seen();
        let from = Revision(listed.revision.0 + 1);
        match store.watch(self.parts.keys.prefix(), from, limit).await {
            Ok(stream) => self.follow(stream, limit).await,
            Err(error) => Left::Broken(error),
        }
    }

    async fn follow(&mut self, mut stream: Box<dyn crate::ports::WatchStream>, silence: Duration) -> Left {
        let mut repeat = tokio::time::interval(self.parts.ttl / 10);
        repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let orders = self.orders.clone();
        loop {
            let mut next = stream.next(silence);
            let message = loop {
                tokio::select! {
                    biased;
                    message = &mut next => break message,
                    () = orders.relist.notified() => return Left::Ordered,
                    _ = repeat.tick() => self.publish(),
                }
            };
            drop(next);
            match message {
                Ok(message) => self.apply(message),
                Err(error) => return Left::Broken(error),
            }
        }
    }

    fn apply(&mut self, message: WatchMessage) {
        let now = self.parts.clock.now();
        match message {
            WatchMessage::Changes { revision, changes } => {
                for (key, value) in changes {
                    let at = value.as_ref().map_or(revision, |kv| kv.mod_revision);
                    let value = value.as_ref().map(|kv| kv.value.as_slice());
                    self.view.apply_change(&self.parts.keys, &key, value, at, now);
                }
                self.view.advance(revision, now);
                self.seen();
            }
            // Only a proof of life: etcd before 3.4.25 may name a revision whose changes are still on their way.
            WatchMessage::Progress { .. } => self.view.advance(Revision(0), now),
        }
    }

    /// Compares the view with what was ever seen, remembers it and tells everybody.
    fn seen(&mut self) {
        if self.orders.accept.swap(false, Ordering::AcqRel) {
            self.water.accept(&self.view);
            self.view.went_back = None;
            self.marks.send_replace((self.water.clone(), Urgency::Now));
        }
        self.view.went_back = self.water.judge(&self.view);
        let urgency = self.water.raise(&self.view);
        if urgency != Urgency::Nothing {
            self.marks.send_replace((self.water.clone(), urgency));
        }
        self.publish();
    }

    fn publish(&self) {
        (self.publish)(Arc::new(self.view.clone()));
    }
}
