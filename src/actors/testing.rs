//! A node in memory for the tests of single actors: a kernel's address table, a heart, disks and services that fail on demand.

use crate::actors::Neighbours;
use crate::actors::api::journal::JournalMessage;
use crate::actors::coordination::election::ElectionMessage;
use crate::adapters::netlink::NetlinkAddresses;
use crate::adapters::netlink::tests::ip;
use crate::board::Board;
use crate::context::NodeParts;
use crate::heart::protocol::{HeartState, PostgresStart, PostgresStop, ToolOutcome, ToolRequest, VipAddress};
use crate::ports::*;
use crate::settings::Settings;
use async_trait::async_trait;
use leaderl_decision::model::{Door, Epoch, Revision, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use supervisors::ChildRef;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Everything outside the actor, as one value behind a lock.
#[derive(Default)]
pub(crate) struct World {
    /// What the kernel has.
    pub(crate) bound: BTreeSet<BoundAddress>,
    /// heart answers and refreshes.
    pub(crate) heart_alive: bool,
    /// What was done, in order, with the time since the start in milliseconds.
    pub(crate) done: Vec<(u64, String)>,
    /// The PostgreSQL check's answer; `None`: silent.
    pub(crate) postgres: Option<PostgresAnswer>,
    /// The durable write's answer: an errno, 0 for success.
    pub(crate) disk_errno: i32,
    /// Free bytes everywhere.
    pub(crate) free_bytes: u64,
    /// The local etcd member answers.
    pub(crate) etcd: Option<LocalStoreStatus>,
}

/// The node: its parts, and the test's handles.
pub(crate) struct TestNode {
    pub(crate) settings: Settings,
    pub(crate) board: Board,
    pub(crate) neighbours: Neighbours,
    pub(crate) links: Vec<Link>,
    /// The kernel's own table instead of the one in memory; then heart's orders are carried out by `ip`.
    pub(crate) real: Option<NetlinkAddresses>,
    world: Mutex<World>,
    began: Instant,
    changes: watch::Sender<u64>,
    pub(crate) heart: watch::Sender<Option<HeartState>>,
    pub(crate) claims: watch::Sender<BTreeMap<IpAddr, ForeignClaim>>,
}

impl TestNode {
    pub(crate) fn new(settings: Settings) -> Self {
        let link = |index, name: &str| Link { index, name: name.to_owned(), up: true, mac: None };
        Self {
            settings,
            board: Board::new(Timestamp(0)),
            neighbours: Neighbours::new(),
            links: vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1")],
            real: None,
            world: Mutex::new(World { heart_alive: true, free_bytes: u64::MAX, ..World::default() }),
            began: Instant::now(),
            changes: watch::Sender::new(0),
            heart: watch::Sender::new(Some(HeartState::default())),
            claims: watch::Sender::default(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Changes the kernel's table as somebody else would.
    pub(crate) fn kernel(&self, change: impl FnOnce(&mut BTreeSet<BoundAddress>)) {
        change(&mut self.world().bound);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn note(&self, what: impl Into<String>) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        self.world().done.push((at, what.into()));
    }

    /// What was done since the last call.
    pub(crate) fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.world().done).into_iter().map(|(_, what)| what).collect()
    }

    fn has_heart(&self) -> Result<(), GuardianError> {
        let alive = self.world().heart_alive;
        if alive { Ok(()) } else { Err(GuardianError::Silent { detail: "dead".to_owned() }) }
    }
}

impl NodeParts for TestNode {
    fn settings(&self) -> &Settings {
        &self.settings
    }
    fn clock(&self) -> &dyn Clock {
        self
    }
    fn board(&self) -> &Board {
        &self.board
    }
    fn store(&self) -> &dyn CoordinationStore {
        self
    }
    fn guardian(&self) -> &dyn Guardian {
        self
    }
    fn addresses(&self) -> &dyn AddressTable {
        self.real.as_ref().map_or(self as &dyn AddressTable, |real| real)
    }
    fn disks(&self) -> &dyn Disks {
        self
    }
    fn postgres_probe(&self) -> &dyn PostgresProbe {
        self
    }
    fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }
}

impl Clock for TestNode {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000_000).plus(self.began.elapsed())
    }
}

#[async_trait]
impl AddressTable for TestNode {
    async fn snapshot(&self, _limit: Duration) -> Result<AddressSnapshot, AddressTableError> {
        let addresses = self.world().bound.iter().cloned().collect();
        Ok(AddressSnapshot { links: self.links.clone(), addresses })
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    async fn remove(&self, address: &BoundAddress, _limit: Duration) -> Result<(), AddressTableError> {
        self.note(format!("remove {} from {}", address.ip, address.interface));
        self.kernel(|bound| bound.retain(|found| (found.ip, &found.interface) != (address.ip, &address.interface)));
        Ok(())
    }
    async fn announce(&self, address: &VipAddress, _limit: Duration) -> Result<(), AddressTableError> {
        let held =
            self.world().bound.iter().any(|found| found.ip == address.ip && found.interface == address.interface);
        assert!(held, "announced {} without holding it", address.ip);
        self.note(format!("announce {}", address.ip));
        Ok(())
    }
    async fn probe(&self, address: &VipAddress, _limit: Duration) -> Result<(), AddressTableError> {
        self.note(format!("probe {}", address.ip));
        Ok(())
    }
    fn listen_for(&self, _addresses: &[IpAddr]) -> Result<(), AddressTableError> {
        Ok(())
    }
    fn claims(&self) -> watch::Receiver<BTreeMap<IpAddr, ForeignClaim>> {
        self.claims.subscribe()
    }
}

#[async_trait]
impl Guardian for TestNode {
    fn state(&self) -> watch::Receiver<Option<HeartState>> {
        self.heart.subscribe()
    }
    async fn assign_vips(&self, epoch: Epoch, vips: Vec<VipAddress>, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()?;
        self.note(format!("assign under {epoch}"));
        let valid_for = Some(Duration::from_secs(2));
        let bind = |vip: &VipAddress| BoundAddress {
            ip: vip.ip,
            prefix: vip.prefix,
            interface: vip.interface.clone(),
            valid_for,
        };
        self.kernel(|bound| bound.extend(vips.iter().map(bind)));
        for vip in vips.iter().filter(|_| self.real.is_some()) {
            let flags = if vip.ip.is_ipv6() { " nodad" } else { "" };
            let lifetime = format!("valid_lft 60 preferred_lft 60{flags}");
            ip(&format!("addr replace {}/{} dev {} {lifetime}", vip.ip, vip.prefix, vip.interface));
        }
        self.heart.send_modify(|state| state.get_or_insert_default().vips = vips);
        Ok(())
    }
    async fn kill(&self) -> Result<(), GuardianError> {
        self.note("kill");
        Ok(())
    }
    async fn release_vips(&self, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()?;
        self.note("release");
        self.heart.send_modify(|state| {
            let vips = std::mem::take(&mut state.get_or_insert_default().vips);
            self.kernel(|bound| bound.retain(|found| !vips.iter().any(|vip| vip.ip == found.ip)));
        });
        Ok(())
    }
    async fn set_door(&self, epoch: Epoch, door: Door, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()?;
        self.note(format!("door {door:?} under {epoch}"));
        Ok(())
    }
    async fn set_members(&self, members: Vec<IpAddr>, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()?;
        self.note(format!("members {members:?}"));
        self.heart.send_modify(|state| state.get_or_insert_default().gate.members = members);
        Ok(())
    }
    async fn arm(&self, _lease: ArmedLease, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()
    }
    async fn renewed(&self, _lease: ArmedLease, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()
    }
    async fn disarm(&self, _epoch: Epoch, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()
    }
    async fn start_postgres(&self, _start: PostgresStart, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()
    }
    async fn stop_postgres(&self, _stop: PostgresStop, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()
    }
    async fn run_tool(&self, tool: ToolRequest, _limit: Duration) -> Result<ToolOutcome, GuardianError> {
        self.has_heart().map(|()| ToolOutcome { id: tool.id, exit_code: Some(0) })
    }
    async fn cancel_tool(&self, _limit: Duration) -> Result<(), GuardianError> {
        self.has_heart()
    }
}

#[async_trait]
impl Disks for TestNode {
    async fn free_bytes(&self, _path: &Path, _limit: Duration) -> Result<u64, DiskError> {
        Ok(self.world().free_bytes)
    }
    async fn write_probe(&self, dir: &Path, limit: Duration) -> Result<Duration, DiskError> {
        match self.world().disk_errno {
            0 => Ok(Duration::ZERO),
            // The test's word for a write that does not come back.
            libc::ETIMEDOUT => Err(DiskError::Hung { operation: "a durable write", path: dir.into(), waited: limit }),
            errno => {
                let source = std::io::Error::from_raw_os_error(errno);
                Err(DiskError::Failed { operation: "a durable write", path: dir.into(), source })
            }
        }
    }
}

#[async_trait]
impl PostgresProbe for TestNode {
    async fn check(&self, limit: Duration) -> Result<PostgresAnswer, PostgresProbeError> {
        let answer = self.world().postgres.clone();
        match answer {
            Some(answer) => Ok(answer),
            None => {
                tokio::time::sleep(limit).await;
                Err(PostgresProbeError::Silent { limit })
            }
        }
    }
}

fn unreachable_store<T>() -> Result<T, StoreError> {
    Err(StoreError::Unreachable { detail: "no etcd in this test".to_owned() })
}

#[async_trait]
impl CoordinationStore for TestNode {
    async fn local_status(&self, _limit: Duration) -> Result<LocalStoreStatus, StoreError> {
        self.world().etcd.clone().map_or_else(unreachable_store, Ok)
    }
    async fn range_prefix(&self, _prefix: &str, _limit: Duration) -> Result<RangeAnswer, StoreError> {
        unreachable_store()
    }
    async fn get(&self, _key: &str, _limit: Duration) -> Result<RangeAnswer, StoreError> {
        unreachable_store()
    }
    async fn txn(&self, _txn: Txn, _limit: Duration) -> Result<TxnAnswer, StoreError> {
        unreachable_store()
    }
    async fn txn_hedged(&self, _txn: Txn, _limit: Duration) -> Result<TxnAnswer, StoreError> {
        unreachable_store()
    }
    async fn watch(
        &self,
        _prefix: &str,
        _from: Revision,
        _limit: Duration,
    ) -> Result<Box<dyn WatchStream>, StoreError> {
        unreachable_store()
    }
    async fn members(&self, _limit: Duration) -> Result<Vec<StoreMember>, StoreError> {
        unreachable_store()
    }
    async fn add_learner(&self, _peer_url: &str, _limit: Duration) -> Result<StoreMember, StoreError> {
        unreachable_store()
    }
    async fn promote_learner(&self, _id: u64, _limit: Duration) -> Result<(), StoreError> {
        unreachable_store()
    }
    async fn remove_member(&self, _id: u64, _limit: Duration) -> Result<(), StoreError> {
        unreachable_store()
    }
    fn set_endpoints(&self, _local: &str, _others: &[String]) {}
    async fn compact_and_defragment(&self, _revision: Revision, _limit: Duration) -> Result<(), StoreError> {
        unreachable_store()
    }
    async fn disarm_no_space(&self, _limit: Duration) -> Result<(), StoreError> {
        unreachable_store()
    }
}

/// Stands behind a neighbour's reference and keeps what it is sent.
struct Collector<M>(std::marker::PhantomData<fn() -> M>);

impl<M: Send + std::fmt::Debug + 'static> Actor for Collector<M> {
    type Msg = M;
    type State = mpsc::UnboundedSender<M>;
    type Arguments = mpsc::UnboundedSender<M>;

    async fn pre_start(
        &self,
        _me: ActorRef<M>,
        into: mpsc::UnboundedSender<M>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(into)
    }

    async fn handle(&self, _me: ActorRef<M>, message: M, into: &mut Self::State) -> Result<(), ActorProcessingErr> {
        into.send(message).map_err(|_| "the test has ended".into())
    }
}

async fn collect<M: Send + std::fmt::Debug + 'static>(child: &ChildRef<M>) -> mpsc::UnboundedReceiver<M> {
    let (into, from) = mpsc::unbounded_channel();
    let (actor, _) = Actor::spawn(None, Collector(std::marker::PhantomData), into).await.unwrap();
    child.publish(actor);
    from
}

/// What the node's journal hears.
pub(crate) async fn journal_of(node: &Arc<TestNode>) -> mpsc::UnboundedReceiver<JournalMessage> {
    collect(&node.neighbours.journal).await
}

/// What the node's election hears.
pub(crate) async fn election_of(node: &Arc<TestNode>) -> mpsc::UnboundedReceiver<ElectionMessage> {
    collect(&node.neighbours.election).await
}
