//! One machine: its clock, its power, and everything that runs or lies on it.

use super::daemon::Daemon;
use super::kernel::Kernel;
use super::profile::Profile;
use super::rng::Rng;
use super::{SEC, Time};
use crate::heart::Heart;
use crate::network::gate::PortGate;
use crate::postgres::Postgres;
use leaderl::settings::Settings;
use leaderl::settings::secrets::{Secret, Secrets};
use leaderl_decision::model::{NodeId, Timestamp};
use leaderl_decision::records::{MemberRecord, SCHEMA};
use std::collections::BTreeMap;
use std::time::Duration;

/// Names the cluster in etcd.
pub(crate) const CLUSTER_ID: &str = "cccccccccccccccccccccccccccccccc";
/// The address clients use.
pub(crate) const VIP: &str = "10.0.0.100";
/// The interface it belongs to.
pub(crate) const INTERFACE: &str = "eth0";
/// Marks a secret wherever it might leak.
pub(crate) const SECRET: &str = "s3cret-of-the-simulation";

/// A machine.
pub(crate) struct Node {
    pub(crate) guid: NodeId,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) clock: NodeClock,
    /// The machine has power.
    pub(crate) power: bool,
    /// The whole machine stands still, its kernel too.
    pub(crate) paused: bool,
    pub(crate) boots: u64,
    pub(crate) daemon: Daemon,
    pub(crate) heart: Heart,
    pub(crate) kernel: Kernel,
    pub(crate) gate: PortGate,
    pub(crate) postgres: Postgres,
    pub(crate) disk: Disk,
    /// The daemon's own files.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) search: Search,
}

/// This node's CLOCK_BOOTTIME as a function of world time.
#[derive(Clone, Debug)]
pub(crate) struct NodeClock {
    base: u64,
    rate_ppm: u64,
    pub(crate) wall_step: i64,
}

impl NodeClock {
    pub(crate) fn local(&self, at: Time) -> Timestamp {
        Timestamp(self.base + scaled(at, self.rate_ppm, 1_000_000))
    }

    /// The first world time at which this clock shows at least `local`.
    pub(crate) fn world(&self, local: Timestamp) -> Time {
        let mut at = scaled(local.0.saturating_sub(self.base), 1_000_000, self.rate_ppm);
        while self.local(at) < local {
            at += 1;
        }
        at
    }
}

fn scaled(value: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX)
}

/// What the disk of the data does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Disk {
    #[default]
    Fine,
    Full,
    Failing,
    /// Every durable write takes so long.
    Slow(Time),
}

/// The search engine's process.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) up: bool,
    pub(crate) since: Time,
}

impl Node {
    pub(crate) fn new(id: usize, profile: &Profile, rng: &mut Rng) -> Self {
        let rate_ppm = profile.rates.get(id).copied().unwrap_or(1_000_000);
        let base = rng.between(1_000, 100_000_000) * SEC / 1000;
        Self {
            guid: NodeId(format!("{:02x}{id:030x}", 0xa0 + id)),
            name: format!("n{id}"),
            address: format!("10.0.0.{}", 11 + id),
            clock: NodeClock { base, rate_ppm, wall_step: 0 },
            power: true,
            paused: false,
            boots: 1,
            daemon: Daemon::default(),
            heart: Heart::default(),
            kernel: Kernel::default(),
            gate: PortGate::default(),
            postgres: Postgres::default(),
            disk: Disk::Fine,
            files: BTreeMap::new(),
            search: Search { up: true, since: 0 },
        }
    }

    pub(crate) fn member(&self) -> MemberRecord {
        MemberRecord {
            schema: SCHEMA,
            guid: self.guid.clone(),
            name: self.name.clone(),
            address: self.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            postgres_port: 5432,
            etcd_client_url: format!("http://{}:2379", self.address),
            etcd_peer_url: format!("http://{}:2380", self.address),
            search_ports: Some((9200, 9300)),
        }
    }

    /// Runs at all.
    pub(crate) fn is_running(&self) -> bool {
        self.power && !self.paused
    }

    pub(crate) fn settings(&self, profile: &Profile) -> Settings {
        let mut settings = Settings::default();
        settings.node.name = self.name.clone();
        settings.node.publish_address = self.address.parse().ok();
        settings.election.leader_ttl = Duration::from_nanos(profile.ttl);
        settings.election.promote_deadline = Duration::from_secs(20);
        settings.replication.mode = profile.mode;
        if profile.mix == "async" {
            settings.replication.max_bytes_behind_leader = MAX_BEHIND;
        }
        settings.vip.addresses = vec![format!("{VIP}/32")];
        settings.health.interval = Duration::from_secs(2);
        settings.health.max_postgres_failures = 2;
        settings.health.max_search_failures = 2;
        settings
    }
}

/// `max_bytes_behind_leader` where that is what is tried.
pub(crate) const MAX_BEHIND: u64 = 40_000;

/// The cluster's secrets.
pub(crate) fn secrets() -> Secrets {
    Secrets {
        cluster_id: CLUSTER_ID.to_owned(),
        etcd_token: SECRET.to_owned(),
        superuser_password: Secret(SECRET.to_owned()),
        replication_password: Secret(SECRET.to_owned()),
        search_cluster_name: "search".to_owned(),
    }
}
