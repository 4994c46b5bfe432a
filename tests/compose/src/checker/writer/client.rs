//! One client: a connection, a row every 20 ms, a record of what it was told.

use super::{Route, WriteOrder};
use crate::checker::clock::boot_ns;
use crate::checker::record::{Answer, Attempt};
use crate::checker::record_log::RecordSender;
use crate::{Outcome, While};
use futures::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Config, NoTls, Statement};

/// One row per client; a node that refuses (it is a follower) is asked again as soon: whether it takes writes is what
/// its probe is there to notice.
const PACE: Duration = Duration::from_millis(20);
const CONNECT_LIMIT: Duration = Duration::from_millis(300);
const LOGIN_LIMIT: Duration = Duration::from_millis(700);
const STATEMENT_LIMIT: Duration = Duration::from_millis(500);
/// A session opened before the fault waits this long for an answer: a late one is what it is there to catch.
const STICKY_LIMIT: Duration = Duration::from_secs(120);

const INSERT: &str = "INSERT INTO row_checker (run, client, seq, node, timeline, system_id, sent_ns) VALUES ($1, $2, $3, \
    $4, ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, $5, $6) RETURNING timeline";

/// Which machine the server runs on. Its address would not tell: on sessions through the VIP that is the VIP.
const IDENTITY: &str = "SELECT trim(E' \\n' FROM pg_read_file('/proc/sys/kernel/hostname', 0, 64)), \
    (SELECT system_identifier FROM pg_control_system())";

/// What the run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No fault: sticky sessions are open and silent.
    Calm,
    /// A fault is on.
    Fault,
    /// The end.
    Stop,
}

/// Where a client connects.
#[derive(Clone)]
pub(super) struct Target {
    config: Arc<Config>,
    run: i32,
    direct: bool,
}

impl Target {
    pub(super) fn new(order: &WriteOrder, route: &Route) -> Outcome<Self> {
        let address: SocketAddr = route.address.parse().during(|| format!("route {}", route.name))?;
        let mut config = Config::new();
        config.hostaddr(address.ip()).host(address.ip().to_string()).port(address.port());
        config.user(&order.user).password(&order.password).dbname("postgres").application_name("row-checker");
        config.connect_timeout(CONNECT_LIMIT).keepalives(false);
        let direct = !matches!(route.name.as_str(), "vip" | "haproxy");
        Ok(Self { config: Arc::new(config), run: order.run, direct })
    }
}

/// One client.
pub(super) struct Client {
    number: u32,
    route: String,
    target: Target,
    records: RecordSender,
    phases: watch::Receiver<Phase>,
    seq: u64,
}

/// An open session.
struct Session {
    client: tokio_postgres::Client,
    insert: Statement,
    node: String,
    system_id: i64,
    /// Set by the server's warning that a commit did not wait for the followers.
    wait_cancelled: Arc<AtomicBool>,
}

/// What to do with the session after an attempt.
enum Next {
    Keep,
    Reconnect,
}

impl Client {
    pub(super) fn new(
        number: u32,
        route: &str,
        target: Target,
        records: RecordSender,
        phases: watch::Receiver<Phase>,
    ) -> Self {
        Self { number, route: route.into(), target, records, phases, seq: 0 }
    }

    fn phase(&self) -> Phase {
        *self.phases.borrow()
    }

    /// Writes from start to end, reconnecting whenever the session is lost.
    pub(super) async fn write_always(mut self) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.phase() != Phase::Stop {
            pace.tick().await;
            let sent_ns = boot_ns();
            let Ok(session) = Session::open(&self.target).await else {
                self.turned_away(sent_ns);
                continue;
            };
            while self.phase() != Phase::Stop {
                pace.tick().await;
                match self.attempt(&session, STATEMENT_LIMIT).await {
                    Next::Keep => {}
                    Next::Reconnect => break,
                }
            }
        }
    }

    /// A node that lets nobody in has been asked as well: its port gate is shut, or it is down.
    fn turned_away(&mut self, sent_ns: u64) {
        if self.target.direct {
            self.seq += 1;
            self.record(Answer::Refused, sent_ns, String::new(), 0);
        }
    }

    /// Opens one session while all is calm, uses it only during faults, and never opens another within the same fault.
    pub(super) async fn write_during_faults(mut self) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = None;
        while self.phase() != Phase::Stop {
            pace.tick().await;
            match (self.phase(), &session) {
                (Phase::Calm, None) => session = Session::open(&self.target).await.ok(),
                (Phase::Fault, Some(open)) => {
                    if matches!(self.attempt(open, STICKY_LIMIT).await, Next::Reconnect) {
                        session = None;
                    }
                }
                (Phase::Calm, Some(_)) | (Phase::Fault, None) | (Phase::Stop, _) => {}
            }
        }
    }

    /// One row; what became of it goes to the log. Ends early when the run does.
    async fn attempt(&mut self, session: &Session, limit: Duration) -> Next {
        self.seq += 1;
        let seq = self.seq;
        let sent_ns = boot_ns();
        let mut phases = self.phases.clone();
        let answer = tokio::select! {
            biased;
            answer = timeout(limit, session.insert(&self.target, self.number, seq, sent_ns)) => answer.ok(),
            _ = phases.wait_for(|phase| *phase == Phase::Stop) => None,
        };
        let (answer, timeline, next) = match answer {
            Some(Ok(timeline)) if session.wait_cancelled.swap(false, Ordering::AcqRel) => {
                (Answer::Unknown, timeline, Next::Keep)
            }
            Some(Ok(timeline)) => (Answer::Acknowledged, timeline, Next::Keep),
            Some(Err(error)) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
                (Answer::Refused, 0, if self.target.direct { Next::Keep } else { Next::Reconnect })
            }
            Some(Err(_)) | None => (Answer::Unknown, 0, Next::Reconnect),
        };
        self.record(answer, sent_ns, session.node.clone(), timeline);
        next
    }

    /// What became of the present row, known now.
    fn record(&self, answer: Answer, sent_ns: u64, node: String, timeline: u32) {
        self.records.record(Attempt {
            answer,
            client: self.number,
            route: self.route.clone(),
            seq: self.seq,
            sent_ns,
            answered_ns: boot_ns(),
            node,
            timeline,
        });
    }
}

impl Session {
    async fn open(target: &Target) -> Outcome<Self> {
        timeout(LOGIN_LIMIT, Self::log_in(target)).await.during(|| "log-in".into())?.during(|| "log-in".into())
    }

    async fn log_in(target: &Target) -> Result<Self, tokio_postgres::Error> {
        let (client, mut connection) = target.config.connect(NoTls).await?;
        let wait_cancelled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&wait_cancelled);
        // Ends with the connection: when the client is dropped or the server closes it.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    // The warning comes before the commit's answer on the same stream, so the flag is set in time.
                    if notice.message().contains("synchronous replication") {
                        flag.store(true, Ordering::Release);
                    }
                }
            }
        });
        let row = client.query_one(IDENTITY, &[]).await?;
        let insert = client.prepare(INSERT).await?;
        Ok(Self { client, insert, node: row.get(0), system_id: row.get(1), wait_cancelled })
    }

    async fn insert(&self, target: &Target, client: u32, seq: u64, sent_ns: u64) -> Result<u32, tokio_postgres::Error> {
        let (client, seq, sent_ns) = (client.cast_signed(), seq.cast_signed(), sent_ns.cast_signed());
        let row = self
            .client
            .query_one(&self.insert, &[&target.run, &client, &seq, &self.node, &self.system_id, &sent_ns])
            .await?;
        Ok(row.get::<_, i32>(0).cast_unsigned())
    }
}
