//! A watch of one prefix through one member, with requested progress as its proof of life.

use super::answer::{CallError, classify};
use super::convert;
use super::hedge::Endpoint;
use super::member::Member;
use crate::ports::{KeyValue, StoreError, WatchMessage, WatchStream};
use async_trait::async_trait;
use etcd_client::{Client, EventType, WatchOptions, WatchResponse};
use leaderl_decision::model::Revision;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often progress is requested while nothing else comes.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long one member may take to open the watch before another is asked.
const OPEN_LIMIT: Duration = Duration::from_millis(500);

pub(super) struct EtcdWatch {
    member: Arc<Member>,
    stream: etcd_client::WatchStream,
    probe_at: Instant,
}

/// Opens the watch through the first member that does it in time.
pub(super) async fn open(
    members: Vec<Arc<Member>>,
    prefix: &str,
    from: Revision,
    limit: Duration,
) -> Result<EtcdWatch, StoreError> {
    let deadline = Instant::now() + limit;
    let mut failures = Vec::new();
    for member in members {
        let left = deadline.saturating_duration_since(Instant::now()).min(OPEN_LIMIT);
        match open_through(&member, prefix, from, left).await {
            Ok(stream) => return Ok(EtcdWatch { member, stream, probe_at: Instant::now() + PROBE_EVERY }),
            Err(CallError::Refused(detail)) => return Err(StoreError::Refused { detail }),
            Err(error @ (CallError::NotSent(_) | CallError::Unclear(_))) => {
                member.failed(error.detail());
                failures.push(format!("{}: {}", member.url, error.detail()));
            }
        }
    }
    Err(StoreError::Unreachable { detail: failures.join("; ") })
}

async fn open_through(
    member: &Arc<Member>,
    prefix: &str,
    from: Revision,
    limit: Duration,
) -> Result<etcd_client::WatchStream, CallError> {
    let prefix = prefix.to_owned();
    let request = |mut client: Client| async move {
        let options = WatchOptions::new().with_prefix().with_start_revision(from.0);
        let mut stream = client.watch(prefix, Some(options)).await?;
        let first = stream.message().await?;
        Ok((stream, first))
    };
    let (stream, first) = member.ask(limit, request).await?;
    match first {
        Some(first) if first.canceled() => Err(CallError::Refused(why_canceled(&first))),
        Some(first) if first.created() => Ok(stream),
        Some(_) | None => Err(CallError::Unclear("the watch did not begin as it should".to_owned())),
    }
}

fn why_canceled(response: &WatchResponse) -> String {
    match (response.compact_revision(), response.cancel_reason()) {
        // A watch that begins at a compacted revision is canceled without words.
        (compacted, "") if compacted > 0 => format!("the watch was canceled: history before {compacted} is compacted"),
        (_, reason) => format!("the watch was canceled: {reason}"),
    }
}

impl EtcdWatch {
    fn broken(&self, detail: String) -> StoreError {
        self.member.failed(&detail);
        StoreError::Unknown { detail: format!("{}: {detail}", self.member.url) }
    }

    fn read(&self, response: &WatchResponse) -> Result<WatchMessage, StoreError> {
        if response.canceled() {
            return Err(self.broken(why_canceled(response)));
        }
        let revision = Revision(response.header().map_or(0, etcd_client::ResponseHeader::revision));
        if response.events().is_empty() {
            return Ok(WatchMessage::Progress { revision });
        }
        let mut changes = Vec::with_capacity(response.events().len());
        let mut newest = Revision(0);
        for event in response.events() {
            let Some(kv) = event.kv().map(convert::key_value) else { continue };
            newest = newest.max(kv.mod_revision);
            changes.push(change(event.event_type(), kv));
        }
        Ok(WatchMessage::Changes { revision: newest.max(Revision(0)), changes })
    }
}

fn change(kind: EventType, kv: KeyValue) -> (String, Option<KeyValue>) {
    match kind {
        EventType::Put => (kv.key.clone(), Some(kv)),
        EventType::Delete => (kv.key, None),
    }
}

#[async_trait]
impl WatchStream for EtcdWatch {
    async fn next(&mut self, limit: Duration) -> Result<WatchMessage, StoreError> {
        let deadline = Instant::now() + limit;
        loop {
            tokio::select! {
                biased;
                message = self.stream.message() => {
                    return match message {
                        Ok(Some(response)) => self.read(&response),
                        Ok(None) => Err(self.broken("the watch ended".to_owned())),
                        Err(error) => Err(self.broken(classify(&error).detail().to_owned())),
                    };
                }
                () = tokio::time::sleep_until(deadline) => {
                    return Err(self.broken(format!("the watch was silent for {} ms", limit.as_millis())));
                }
                () = tokio::time::sleep_until(self.probe_at) => {
                    self.probe_at = Instant::now() + PROBE_EVERY;
                    // Bounded by the queue of requests: a stream that takes none any more is silent and ends by the limit.
                    let asked = tokio::time::timeout_at(deadline, self.stream.request_progress()).await;
                    if let Ok(Err(error)) = asked {
                        return Err(self.broken(error.to_string()));
                    }
                }
            }
        }
    }
}
