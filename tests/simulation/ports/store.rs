//! etcd's port: the product's own way of asking several members in turn, over simulated members.

use crate::etcd::{MemberChange, Question};
use crate::world::World;
use crate::world::reply::Line;
use async_trait::async_trait;
use leaderl::adapters::etcd::CallError;
use leaderl::adapters::etcd::hedge::{self, Endpoint};
use leaderl::ports::*;
use leaderl_decision::model::Revision;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// One member as this daemon sees it.
pub(crate) struct SimMember {
    line: Line,
    url: String,
    member: Option<usize>,
    ill: AtomicBool,
    probing: Mutex<bool>,
}

/// All members this daemon knows.
pub(crate) struct SimStore {
    line: Line,
    members: RwLock<Vec<Arc<SimMember>>>,
}

/// What the daemon kept of the others' addresses.
pub(crate) fn known_others(line: &Line) -> Vec<String> {
    let own = line.node;
    let kept = line.with(|w| w.nodes[own].files.get(ENDPOINTS_FILE).cloned());
    let known = kept.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let list = known.and_then(|value| serde_json::from_value(value["others"].clone()).ok());
    list.unwrap_or_default()
}

impl SimStore {
    pub(crate) fn new(line: Line) -> Self {
        Self { line, members: RwLock::default() }
    }

    fn snapshot(&self) -> Vec<Arc<SimMember>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Healthy members first, each group with the local one in front.
    fn order(&self) -> Vec<Arc<SimMember>> {
        let (mut well, ill): (Vec<_>, Vec<_>) =
            self.snapshot().into_iter().partition(|member| !member.ill.load(Ordering::Relaxed));
        well.extend(ill);
        well
    }

    fn local(&self) -> Result<Arc<SimMember>, StoreError> {
        let first = self.snapshot().into_iter().next();
        first.ok_or_else(|| StoreError::Unreachable { detail: "no etcd endpoint is known".to_owned() })
    }
}

impl SimStore {
    async fn change(&self, change: MemberChange, limit: Duration) -> Result<Vec<StoreMember>, StoreError> {
        let ask = |member: Arc<SimMember>, left| {
            let change = change.clone();
            async move { member.change(change, left).await }
        };
        hedge::once(self.order(), limit, ask).await
    }
}

impl Endpoint for SimMember {
    fn name(&self) -> &str {
        &self.url
    }

    fn failed(self: &Arc<Self>, _why: &str) {
        self.ill.store(true, Ordering::Relaxed);
        let mut probing = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        if !*probing {
            *probing = true;
            tokio::spawn(probe(Arc::downgrade(self)));
        }
    }
}

async fn probe(member: std::sync::Weak<SimMember>) {
    let mut pause = Duration::from_millis(100);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
        let Some(member) = member.upgrade() else { return };
        let limit = Duration::from_millis(500);
        if member.range(Question::Get("leaderl/probe".into()), limit).await.is_ok() {
            member.ill.store(false, Ordering::Relaxed);
            *member.probing.lock().unwrap_or_else(PoisonError::into_inner) = false;
            return;
        }
    }
}

impl SimMember {
    async fn ask<T: Send + 'static>(
        &self,
        limit: Duration,
        question: impl FnOnce(&mut World, usize, crate::world::reply::Reply<Result<T, CallError>>) + Send + 'static,
    ) -> Result<T, CallError> {
        let Some(member) = self.member else { return Err(CallError::NotSent("no such member".into())) };
        let answer = self.line.ask(limit, move |w, reply| question(w, member, reply)).await;
        match answer {
            Some(answer) => answer,
            None => {
                self.line.with(|w| w.counts.unknown_outcomes += 1);
                Err(CallError::Unclear(format!("no answer within {} ms", limit.as_millis())))
            }
        }
    }

    async fn range(&self, question: Question, limit: Duration) -> Result<RangeAnswer, CallError> {
        self.ask(limit, move |w, member, reply| w.etcd_read(member, question, reply)).await
    }

    async fn change(&self, change: MemberChange, limit: Duration) -> Result<Vec<StoreMember>, CallError> {
        self.ask(limit, move |w, member, reply| w.etcd_change(member, change, reply)).await
    }

    async fn transact(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, CallError> {
        self.ask(limit, move |w, member, reply| w.etcd_txn(member, txn, reply)).await
    }
}

#[async_trait]
impl CoordinationStore for SimStore {
    async fn range_prefix(&self, prefix: &str, limit: Duration) -> Result<RangeAnswer, StoreError> {
        let ask = |member: Arc<SimMember>, left| {
            let prefix = prefix.to_owned();
            async move { member.range(Question::Prefix(prefix), left).await }
        };
        hedge::read(self.order(), limit, ask).await
    }

    async fn get(&self, key: &str, limit: Duration) -> Result<RangeAnswer, StoreError> {
        let ask = |member: Arc<SimMember>, left| {
            let key = key.to_owned();
            async move { member.range(Question::Get(key), left).await }
        };
        hedge::read(self.order(), limit, ask).await
    }

    async fn txn(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        let ask = |member: Arc<SimMember>, left| {
            let txn = txn.clone();
            async move { member.transact(txn, left).await }
        };
        hedge::once(self.order(), limit, ask).await
    }

    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        let asked = Arc::new(AtomicBool::new(false));
        let line = &self.line;
        let ask = |member: Arc<SimMember>, left| {
            if asked.swap(true, Ordering::Relaxed) {
                line.with(|w| w.counts.hedged_duplicates += 1);
            }
            let txn = txn.clone();
            async move { member.transact(txn, left).await }
        };
        hedge::txn(self.order(), limit, ask).await
    }

    async fn watch(&self, prefix: &str, from: Revision, limit: Duration) -> Result<Box<dyn WatchStream>, StoreError> {
        let deadline = Instant::now() + limit;
        let mut failures = Vec::new();
        for member in self.order() {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(500));
            let prefix = prefix.to_owned();
            let opened = member.ask(left, move |w, id, reply| w.etcd_watch(id, prefix, from, reply)).await;
            match opened {
                Ok((number, shown)) => return Ok(Box::new(SimWatch { member, number, shown })),
                Err(CallError::Refused(detail)) => return Err(StoreError::Refused { detail }),
                Err(error) => {
                    member.failed(error.detail());
                    failures.push(error.detail().to_owned());
                }
            }
        }
        Err(StoreError::Unreachable { detail: failures.join("; ") })
    }

    async fn members(&self, limit: Duration) -> Result<Vec<StoreMember>, StoreError> {
        let ask =
            |member: Arc<SimMember>, left| async move { member.ask(left, |w, id, reply| w.etcd_list(id, reply)).await };
        hedge::read(self.order(), limit, ask).await
    }

    async fn add_learner(&self, peer_url: &str, limit: Duration) -> Result<StoreMember, StoreError> {
        let listed = self.change(MemberChange::Learn(peer_url.to_owned()), limit).await?;
        let added = listed.into_iter().find(|member| member.peer_urls.iter().any(|url| url == peer_url));
        added.ok_or_else(|| StoreError::Unknown { detail: "the list does not name it".into() })
    }

    async fn promote_learner(&self, id: u64, limit: Duration) -> Result<(), StoreError> {
        self.change(MemberChange::Promote(id), limit).await.map(drop)
    }

    async fn remove_member(&self, id: u64, limit: Duration) -> Result<(), StoreError> {
        self.change(MemberChange::Remove(id), limit).await.map(drop)
    }

    fn set_endpoints(&self, local: &str, others: &[String]) {
        let addresses = self.line.with(|w| w.nodes.iter().map(|node| node.address.clone()).collect::<Vec<_>>());
        let own = self.line.node;
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Vec<&str> = vec![local];
        wanted.extend(others.iter().map(String::as_str).filter(|url| *url != local));
        let make = |url: &str| {
            let named = addresses.iter().position(|address| url.contains(&format!("//{address}:")));
            let member = named.or_else(|| url.contains("127.0.0.1").then_some(own));
            Arc::new(SimMember {
                line: self.line.clone(),
                url: url.to_owned(),
                member,
                ill: AtomicBool::new(false),
                probing: Mutex::new(false),
            })
        };
        let keep = |url: &str| members.iter().find(|member| member.url == url).cloned();
        *members = wanted.into_iter().map(|url| keep(url).unwrap_or_else(|| make(url))).collect();
    }

    async fn compact(&self, revision: Revision, limit: Duration) -> Result<(), StoreError> {
        let ask = |member: Arc<SimMember>, left| async move {
            member.ask(left, move |w, id, reply| w.etcd_compact(id, revision, false, reply)).await
        };
        hedge::once(self.order(), limit, ask).await
    }

    async fn compact_and_defragment(&self, revision: Revision, limit: Duration) -> Result<(), StoreError> {
        let local = self.local()?;
        local.ask(limit, move |w, id, reply| w.etcd_compact(id, revision, true, reply)).await.map_err(of_one)
    }

    async fn local_status(&self, limit: Duration) -> Result<LocalStoreStatus, StoreError> {
        self.local()?.ask(limit, |w, id, reply| w.etcd_status(id, reply)).await.map_err(of_one)
    }

    async fn disarm_no_space(&self, limit: Duration) -> Result<(), StoreError> {
        self.local()?.ask(limit, |w, id, reply| w.etcd_disarm(id, reply)).await.map_err(of_one)
    }
}

fn of_one(error: CallError) -> StoreError {
    match error {
        CallError::NotSent(detail) => StoreError::Unreachable { detail },
        CallError::Refused(detail) => StoreError::Refused { detail },
        CallError::Unclear(detail) => StoreError::Unknown { detail },
    }
}

struct SimWatch {
    member: Arc<SimMember>,
    number: u64,
    shown: mpsc::UnboundedReceiver<crate::etcd::Shown>,
}

#[async_trait]
impl WatchStream for SimWatch {
    async fn next(&mut self, limit: Duration) -> Result<WatchMessage, StoreError> {
        let deadline = Instant::now() + limit;
        loop {
            let probe_at = (Instant::now() + Duration::from_millis(500)).min(deadline);
            match tokio::time::timeout_at(probe_at, self.shown.recv()).await {
                Ok(Some(Ok(message))) => return Ok(message),
                Ok(Some(Err(detail))) => return Err(StoreError::Unknown { detail }),
                Ok(None) => return Err(StoreError::Unknown { detail: "the stream ended".into() }),
                Err(_) if Instant::now() >= deadline => {
                    self.member.failed("silent");
                    return Err(StoreError::Unknown { detail: format!("nothing came for {limit:?}") });
                }
                Err(_) => {
                    let (line, number) = (&self.member.line, self.number);
                    let (node, incarnation) = (line.node, line.incarnation);
                    line.with(|w| {
                        let at = w.now + crate::world::drive::elapsed();
                        w.submit(node, incarnation, at, Box::new(move |w| w.etcd_progress(node, number)));
                    });
                }
            }
        }
    }
}
