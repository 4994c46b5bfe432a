//! etcd: one client per member, our own choice among them.
//!
//! etcd-client's client for several endpoints does not leave a dead or frozen one (measured: a quarter to a third of the
//! requests fail), so every member has a client of its own. A member that failed or was slow is asked last until a probe in
//! the background found it well again; the local one comes first.

mod answer;
mod convert;
pub mod hedge;
mod member;
mod store;
mod watch;

pub use answer::CallError;

use crate::ports::StoreError;
use member::Member;
use std::sync::{Arc, RwLock};

/// The clients of all known members.
pub struct EtcdStore {
    members: RwLock<Vec<Arc<Member>>>,
}

impl EtcdStore {
    /// Clients of these client URLs (`http://10.0.0.1:2379`); nothing is connected before the first request.
    pub fn new(local: &str, others: &[String]) -> Self {
        let store = Self { members: RwLock::new(Vec::new()) };
        store.replace_members(local, others);
        store
    }

    /// Members that are asked last now, with the reason.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let troubled = |member: Arc<Member>| Some((member.url.clone(), member.trouble()?));
        self.snapshot().into_iter().filter_map(troubled).collect()
    }

    /// Keeps the client of a URL that stays: its connection and its health are worth keeping.
    fn replace_members(&self, local: &str, others: &[String]) {
        let mut members = self.members.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut wanted: Vec<&str> = vec![local];
        for url in others {
            if !wanted.contains(&url.as_str()) {
                wanted.push(url);
            }
        }
        let keep = |url: &str| members.iter().find(|member| member.url == url).cloned();
        *members = wanted.into_iter().map(|url| keep(url).unwrap_or_else(|| Arc::new(Member::new(url)))).collect();
    }

    fn snapshot(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Healthy members first, each group with the local one in front.
    fn order(&self) -> Vec<Arc<Member>> {
        let (mut well, ill): (Vec<_>, Vec<_>) = self.snapshot().into_iter().partition(|member| member.is_well());
        well.extend(ill);
        well
    }

    fn local(&self) -> Result<Arc<Member>, StoreError> {
        self.snapshot()
            .into_iter()
            .next()
            .ok_or_else(|| StoreError::Unreachable { detail: "no etcd endpoint is known".to_owned() })
    }
}
