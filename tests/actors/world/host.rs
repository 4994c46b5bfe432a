//! A host's kernel and disks in memory: addresses with lifetimes, and room for everything.

use async_trait::async_trait;
use leaderl::heart::protocol::VipAddress;
use leaderl::ports::*;
use leaderl_decision::model::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// CLOCK_BOOTTIME that follows tokio's clock.
pub struct PausedClock(Instant);

impl PausedClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000_000).plus(self.0.elapsed())
    }
}

/// The addresses of one host.
pub struct Kernel {
    own: IpAddr,
    bound: Mutex<BTreeMap<VipAddress, Instant>>,
    changes: watch::Sender<u64>,
    claims: watch::Sender<BTreeMap<IpAddr, ForeignClaim>>,
}

impl Kernel {
    pub fn new(own: IpAddr) -> Arc<Self> {
        let (changes, claims) = (watch::Sender::new(0), watch::Sender::default());
        Arc::new(Self { own, bound: Mutex::default(), changes, claims })
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Adds or renews addresses that the kernel removes by itself when their time is over.
    pub fn refresh(self: &Arc<Self>, vips: &[VipAddress], valid: Duration) {
        let until = Instant::now() + valid;
        let before = self.vips().len();
        self.bound.lock().unwrap().extend(vips.iter().map(|vip| (vip.clone(), until)));
        if self.vips().len() != before {
            self.changed();
        }
        let kernel = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            let expired = |(_, valid_until): (&VipAddress, &mut Instant)| *valid_until <= Instant::now();
            let gone = kernel.bound.lock().unwrap().extract_if(.., |vip, until| expired((vip, until))).count();
            if gone > 0 {
                kernel.changed();
            }
        });
    }

    pub fn remove(&self, vips: &[VipAddress]) {
        self.bound.lock().unwrap().retain(|bound, _| !vips.contains(bound));
        self.changed();
    }

    /// The addresses that heart keeps here.
    pub fn vips(&self) -> Vec<VipAddress> {
        let bound = self.bound.lock().unwrap();
        bound.iter().filter(|(_, until)| **until > Instant::now()).map(|(vip, _)| vip.clone()).collect()
    }
}

#[async_trait]
impl AddressTable for Kernel {
    async fn snapshot(&self, _limit: Duration) -> Result<AddressSnapshot, AddressTableError> {
        let link = Link { index: 2, name: "eth0".to_owned(), up: true, mac: None };
        let own = BoundAddress { ip: self.own, prefix: 24, interface: "eth0".to_owned(), valid_for: None };
        let vip = |vip: VipAddress| BoundAddress {
            ip: vip.ip,
            prefix: vip.prefix,
            interface: vip.interface,
            valid_for: Some(Duration::from_secs(1)),
        };
        let addresses = std::iter::once(own).chain(self.vips().into_iter().map(vip)).collect();
        Ok(AddressSnapshot { links: vec![link], addresses })
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    async fn remove(&self, address: &BoundAddress, _limit: Duration) -> Result<(), AddressTableError> {
        self.bound.lock().unwrap().retain(|bound, _| (bound.ip, &bound.interface) != (address.ip, &address.interface));
        self.changed();
        Ok(())
    }
    async fn announce(&self, _address: &VipAddress, _limit: Duration) -> Result<(), AddressTableError> {
        Ok(())
    }
    async fn probe(&self, _address: &VipAddress, _limit: Duration) -> Result<(), AddressTableError> {
        Ok(())
    }
    fn listen_for(&self, _addresses: &[IpAddr]) -> Result<(), AddressTableError> {
        Ok(())
    }
    fn claims(&self) -> watch::Receiver<BTreeMap<IpAddr, ForeignClaim>> {
        self.claims.subscribe()
    }
}

/// Disks with room that write at once.
pub struct GoodDisks;

#[async_trait]
impl Disks for GoodDisks {
    async fn free_bytes(&self, _path: &Path, _limit: Duration) -> Result<u64, DiskError> {
        Ok(u64::MAX)
    }
    async fn write_probe(&self, _dir: &Path, _limit: Duration) -> Result<Duration, DiskError> {
        Ok(Duration::ZERO)
    }
}
