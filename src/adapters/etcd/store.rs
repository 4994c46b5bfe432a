//! The port's operations.

use super::answer::CallError;
use super::member::Member;
use super::{EtcdStore, convert, hedge, watch};
use crate::ports::{
    CoordinationStore, LocalStoreStatus, RangeAnswer, StoreError, StoreMember, Txn, TxnAnswer, WatchStream,
};
use async_trait::async_trait;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, GetOptions, MemberAddOptions};
use leaderl_decision::model::Revision;
use std::sync::Arc;
use std::time::Duration;

/// The error of one member where no other can be asked.
fn of_one(member: &Arc<Member>, error: CallError) -> StoreError {
    match error {
        CallError::NotSent(detail) => StoreError::Unreachable { detail: format!("{}: {detail}", member.url) },
        CallError::Refused(detail) => StoreError::Refused { detail },
        CallError::Unclear(detail) => StoreError::Unknown { detail: format!("{}: {detail}", member.url) },
    }
}

async fn range(
    member: Arc<Member>,
    key: String,
    options: Option<GetOptions>,
    limit: Duration,
) -> Result<RangeAnswer, CallError> {
    let answer = member.ask(limit, |mut client: Client| async move { client.get(key, options).await }).await?;
    Ok(convert::range(&answer))
}

async fn transact(member: Arc<Member>, txn: etcd_client::Txn, limit: Duration) -> Result<TxnAnswer, CallError> {
    let answer = member.ask(limit, |mut client: Client| async move { client.txn(txn).await }).await?;
    Ok(convert::txn_answer(&answer))
}

#[async_trait]
impl CoordinationStore for EtcdStore {
    async fn range_prefix(&self, prefix: &str, limit: Duration) -> Result<RangeAnswer, StoreError> {
        let options = GetOptions::new().with_prefix();
        let ask = |member, left| range(member, prefix.to_owned(), Some(options.clone()), left);
        hedge::read(self.order(), limit, ask).await
    }

    async fn get(&self, key: &str, limit: Duration) -> Result<RangeAnswer, StoreError> {
        hedge::read(self.order(), limit, |member, left| range(member, key.to_owned(), None, left)).await
    }

    async fn txn(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        let txn = convert::txn(&txn);
        hedge::once(self.order(), limit, |member, left| transact(member, txn.clone(), left)).await
    }

    async fn txn_hedged(&self, txn: Txn, limit: Duration) -> Result<TxnAnswer, StoreError> {
        let txn = convert::txn(&txn);
        hedge::txn(self.order(), limit, |member, left| transact(member, txn.clone(), left)).await
    }

    async fn watch(&self, prefix: &str, from: Revision, limit: Duration) -> Result<Box<dyn WatchStream>, StoreError> {
        let opened = watch::open(self.order(), prefix, from, limit).await?;
        Ok(Box::new(opened))
    }

    async fn members(&self, limit: Duration) -> Result<Vec<StoreMember>, StoreError> {
        let ask = |member: Arc<Member>, left| async move {
            let list = member.ask(left, |mut client: Client| async move { client.member_list().await }).await?;
            Ok(list.members().iter().map(convert::member).collect())
        };
        hedge::read(self.order(), limit, ask).await
    }

    async fn add_learner(&self, peer_url: &str, limit: Duration) -> Result<StoreMember, StoreError> {
        let ask = |member: Arc<Member>, left| {
            let urls = [peer_url.to_owned()];
            async move {
                let options = Some(MemberAddOptions::new().with_is_learner());
                let request = |mut client: Client| async move { client.member_add(urls, options).await };
                let added = member.ask(left, request).await?;
                let lost = || CallError::Unclear("etcd added a member but did not say which".to_owned());
                added.member().map(convert::member).ok_or_else(lost)
            }
        };
        hedge::once(self.order(), limit, ask).await
    }

    async fn promote_learner(&self, id: u64, limit: Duration) -> Result<(), StoreError> {
        let ask = |member: Arc<Member>, left| async move {
            member.ask(left, |mut client: Client| async move { client.member_promote(id).await }).await.map(drop)
        };
        hedge::once(self.order(), limit, ask).await
    }

    async fn remove_member(&self, id: u64, limit: Duration) -> Result<(), StoreError> {
        let ask = |member: Arc<Member>, left| async move {
            member.ask(left, |mut client: Client| async move { client.member_remove(id).await }).await.map(drop)
        };
        hedge::once(self.order(), limit, ask).await
    }

    fn set_endpoints(&self, local: &str, others: &[String]) {
        self.replace_members(local, others);
    }

    async fn compact(&self, revision: Revision, limit: Duration) -> Result<(), StoreError> {
        let ask = |member: Arc<Member>, left| async move {
            let request = |mut client: Client| async move { client.compact(revision.0, None).await };
            match member.ask(left, request).await {
                Ok(_) => Ok(()),
                Err(CallError::Refused(detail)) if detail.contains("has been compacted") => Ok(()),
                Err(error) => Err(error),
            }
        };
        hedge::once(self.order(), limit, ask).await
    }

    async fn compact_and_defragment(&self, revision: Revision, limit: Duration) -> Result<(), StoreError> {
        let started = tokio::time::Instant::now();
        self.compact(revision, limit).await?;
        let local = self.local()?;
        let left = limit.saturating_sub(started.elapsed());
        let request = |mut client: Client| async move { client.defragment().await };
        local.ask(left, request).await.map(drop).map_err(|error| of_one(&local, error))
    }

    async fn local_status(&self, limit: Duration) -> Result<LocalStoreStatus, StoreError> {
        let local = self.local()?;
        let request = |mut client: Client| async move { client.status().await };
        let status = local.ask(limit, request).await.map_err(|error| of_one(&local, error))?;
        Ok(LocalStoreStatus {
            db_bytes: u64::try_from(status.db_size()).unwrap_or_default(),
            no_space: status.errors().iter().any(|text| text.contains("NOSPACE")),
            has_leader: status.leader() != 0,
            version: status.version().to_owned(),
        })
    }

    async fn disarm_no_space(&self, limit: Duration) -> Result<(), StoreError> {
        let ask = |member: Arc<Member>, left| async move {
            let request = |mut client: Client| async move {
                let raised = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await?;
                for alarm in raised.alarms() {
                    let mut whose = AlarmOptions::new();
                    whose.with_member(alarm.member_id());
                    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(whose)).await?;
                }
                Ok(())
            };
            member.ask(left, request).await
        };
        hedge::read(self.order(), limit, ask).await
    }
}
