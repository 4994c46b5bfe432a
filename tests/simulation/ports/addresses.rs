//! The kernel's addresses and the neighbours.

use crate::world::node::{INTERFACE, VIP};
use crate::world::reply::Line;
use async_trait::async_trait;
use leaderl::heart::protocol::VipAddress;
use leaderl::ports::*;
use leaderl_decision::model::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

pub(crate) struct SimAddresses {
    line: Line,
    changes: watch::Receiver<u64>,
    claims: watch::Receiver<BTreeMap<IpAddr, ForeignClaim>>,
}

impl SimAddresses {
    pub(crate) fn new(line: Line) -> Self {
        let node = line.node;
        let (changes, claims) = line.with(|w| {
            let claims = watch::Sender::new(BTreeMap::new());
            let heard = claims.subscribe();
            w.clients.claims.insert(node, claims);
            (w.nodes[node].kernel.changes.subscribe(), heard)
        });
        Self { line, changes, claims }
    }
}

#[async_trait]
impl AddressTable for SimAddresses {
    async fn snapshot(&self, _limit: Duration) -> Result<AddressSnapshot, AddressTableError> {
        let node = self.line.node;
        Ok(self
            .line
            .local(move |w| {
                let now = w.local_now(node);
                let it = &w.nodes[node];
                let mut addresses = vec![BoundAddress {
                    ip: it.address.parse().unwrap_or(IpAddr::from([127, 0, 0, 1])),
                    prefix: 24,
                    interface: INTERFACE.to_owned(),
                    valid_for: None,
                }];
                if let Some(until) = it.kernel.vip_until {
                    let left: Timestamp = it.clock.local(until);
                    addresses.push(BoundAddress {
                        ip: VIP.parse().unwrap_or(IpAddr::from([127, 0, 0, 1])),
                        prefix: 32,
                        interface: INTERFACE.to_owned(),
                        valid_for: Some(left.since(now)),
                    });
                }
                let link = Link { index: 2, name: INTERFACE.to_owned(), up: true, mac: None };
                AddressSnapshot { links: vec![link], addresses }
            })
            .await)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    async fn remove(&self, address: &BoundAddress, _limit: Duration) -> Result<(), AddressTableError> {
        let node = self.line.node;
        if address.ip.to_string() == VIP {
            self.line.local(move |w| w.drop_vip(node)).await;
        }
        Ok(())
    }

    async fn announce(&self, _address: &VipAddress, _limit: Duration) -> Result<(), AddressTableError> {
        let node = self.line.node;
        self.line.local(move |w| w.announce_vip(node)).await;
        Ok(())
    }

    async fn probe(&self, _address: &VipAddress, _limit: Duration) -> Result<(), AddressTableError> {
        Ok(())
    }

    fn listen_for(&self, _addresses: &[IpAddr]) -> Result<(), AddressTableError> {
        Ok(())
    }

    fn claims(&self) -> watch::Receiver<BTreeMap<IpAddr, ForeignClaim>> {
        self.claims.clone()
    }
}
