//! One member's client and its health.

use super::answer::{CallError, classify};
use super::hedge::Endpoint;
use etcd_client::{Client, ConnectOptions, Error};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);
/// HTTP/2 pings while a request or a watch is open, and how long one may stay unanswered: the connection to a frozen member
/// ends within a second.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// How long a probe may take.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// The first pause between probes; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Health {
    trouble: Option<String>,
    probing: bool,
}

/// One member.
pub(super) struct Member {
    pub(super) url: String,
    client: OnceCell<Client>,
    health: Mutex<Health>,
}

impl Member {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), client: OnceCell::new(), health: Mutex::default() }
    }

    /// A client of this member alone; it connects at the first request and again after every loss.
    async fn client(&self) -> Result<Client, Error> {
        let connect = || {
            // Not while idle: etcd takes that for an attack, whatever it is told to allow, and ends the connection.
            let options = ConnectOptions::new()
                .with_connect_timeout(CONNECT_LIMIT)
                .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
                .with_keep_alive_while_idle(false)
                .with_require_leader(true);
            Client::connect([self.url.as_str()], Some(options))
        };
        self.client.get_or_try_init(connect).await.cloned()
    }

    /// One request within `limit`.
    pub(super) async fn ask<T, Fut>(&self, limit: Duration, request: impl FnOnce(Client) -> Fut) -> Result<T, CallError>
    where
        Fut: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await.map_err(|error| CallError::NotSent(error.to_string()))?;
        match tokio::time::timeout(limit, request(client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(CallError::Unclear(format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_well(&self) -> bool {
        self.health().trouble.is_none()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.health().trouble.clone()
    }

    /// One linearizable read: a member that is cut off from the quorum fails it too.
    async fn answers_probe(&self) -> bool {
        self.ask(PROBE_LIMIT, |mut client| async move { client.get("leaderl/probe", None).await }).await.is_ok()
    }
}

impl Endpoint for Member {
    fn name(&self) -> &str {
        &self.url
    }

    /// The member failed or was slow: it is asked last until a probe finds it well.
    fn failed(self: &Arc<Self>, why: &str) {
        let mut health = self.health();
        if health.trouble.is_none() {
            tracing::info!(member = self.url, why, "etcd member is asked last until it answers again");
        }
        health.trouble = Some(why.to_owned());
        if !health.probing {
            health.probing = true;
            tokio::spawn(probe(Arc::downgrade(self)));
        }
    }
}

async fn probe(member: Weak<Member>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // Nobody knows this member any more.
        let Some(member) = member.upgrade() else { return };
        if member.answers_probe().await {
            let mut health = member.health();
            *health = Health::default();
            tracing::info!(member = member.url, "etcd member answers again");
            return;
        }
    }
}
