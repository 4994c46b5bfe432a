//! One story: a cluster is made, grows, changes its leader in an orderly way, loses a leader, and remakes what diverged.

use crate::node::Node;
use leaderl::actors::postgres::pg_replication::PgReplicationMessage;
use leaderl_decision::model::{Epoch, NodeId, Nonce, Revision, Timeline};
use leaderl_decision::postgres_report::{FollowOrder, LeadOrder, PostgresOrder, PostgresReport, PostgresState};
use leaderl_decision::records::{HistoryRecord, MemberRecord, SCHEMA};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the election would know.
struct Cluster {
    lineage: Vec<HistoryRecord>,
    members: BTreeMap<NodeId, MemberRecord>,
}

impl Cluster {
    fn others(&self, node: &Node) -> BTreeMap<NodeId, MemberRecord> {
        self.members.iter().filter(|(guid, _)| **guid != node.guid()).map(|(g, m)| (g.clone(), m.clone())).collect()
    }

    /// Records an epoch, as the acquiring transaction does, and orders it.
    async fn lead(&mut self, node: &Node, epoch: u64, timeline: u32, sync: &[&Node]) -> Duration {
        let (fork_lsn, parent) = node.report().detached.map(|(_, at)| (at.lsn, at.timeline)).expect("detached");
        self.lineage.push(HistoryRecord {
            schema: SCHEMA,
            epoch: Epoch(epoch),
            timeline: Timeline(timeline),
            parent_timeline: parent,
            fork_lsn,
            node: node.guid(),
        });
        node.arm(epoch).await;
        let began = Instant::now();
        node.order(PostgresOrder::Lead(LeadOrder {
            epoch: Epoch(epoch),
            nonce: Nonce(format!("nonce{epoch}")),
            timeline: Timeline(timeline),
            highest_timeline: Timeline(timeline - 1),
            sync_names: sync.iter().map(|node| node.guid()).collect(),
            sync_quorum: 1,
            members: self.others(node),
            first_epoch: epoch == 1,
        }));
        node.until("writable", |report| matches!(&report.state, PostgresState::Primary(p) if p.writable)).await;
        began.elapsed()
    }

    fn follow(&self, node: &Node, leader: &Node, epoch: u64, revision: i64) {
        node.order(PostgresOrder::Follow(FollowOrder {
            leader: leader.guid(),
            address: "127.0.0.1".into(),
            port: leader.port(),
            epoch: Epoch(epoch),
            leader_revision: Revision(revision),
            lineage: self.lineage.clone(),
            named_voter: false,
            members: self.others(node),
            catch_up: false,
        }));
    }
}

fn streams_from(leader: &Node) -> impl Fn(&PostgresReport) -> bool {
    let leader = leader.guid();
    move |report| report.state == PostgresState::Standby { streaming_from: Some(leader.clone()) }
}

async fn in_sync(node: &Node, leader: &Node) -> Duration {
    let streams = streams_from(leader);
    node.until("streams, in sync", |report| streams(report) && report.unsynced.is_none()).await
}

async fn detach(node: &Node, revision: i64) -> Duration {
    node.order(PostgresOrder::Detach { revision: Revision(revision), keeps_token: false });
    let is_detached = |report: &PostgresReport| report.detached.is_some_and(|(at, _)| at == Revision(revision));
    node.until("detached", is_detached).await
}

async fn stop(node: &Node) -> Duration {
    node.order(PostgresOrder::Stop { fast: true });
    node.until("down", |report| report.state == PostgresState::Down { initialised: true }).await
}

async fn set_names(leader: &Node, epoch: u64, names: &[&Node]) -> Duration {
    let names: std::collections::BTreeSet<NodeId> = names.iter().map(|node| node.guid()).collect();
    let message = PgReplicationMessage::SetSyncNames { epoch: Epoch(epoch), names: names.clone(), quorum: 1 };
    leader.tell(message);
    let proven = |report: &PostgresReport| matches!(&report.state, PostgresState::Primary(p) if p.sync_names.as_ref() == Some(&names) && p.names_effective_at.is_some());
    leader.until("names proven", proven).await
}

fn took(what: &str, time: Duration) {
    println!("  {what}: {} ms", time.as_millis());
}

pub(crate) async fn three_copies_take_turns() {
    let mut a = Node::new("a", 1, true).await;
    let (b, c) = (Node::new("b", 2, false).await, Node::new("c", 3, false).await);
    let members = [&a, &b, &c].map(|node| (node.guid(), node.member())).into();
    let mut cluster = Cluster { lineage: Vec::new(), members };

    first_leader(&a, &mut cluster).await;
    base_copies(&a, &b, &c, &cluster).await;
    waits_for_names(&a, &b).await;
    switchover(&a, &b, &c, &mut cluster).await;
    a.restart_actor().await;
    let streams = streams_from(&b);
    cluster.follow(&a, &b, 2, 11);
    a.until("streams after its actor's restart", |report| streams(report)).await;
    unplanned(&a, &b, &c, &mut cluster).await;
    rebuilt(&a, &c, &cluster).await;
    adopted_and_killed(&a, c).await;
}

async fn first_leader(a: &Node, cluster: &mut Cluster) {
    took("start and first detach proof", detach(a, 1).await);
    let (_, at) = a.report().detached.expect("detached");
    assert_eq!((at.epoch, at.timeline), (Epoch(0), Timeline(1)));
    let row = a.client().await.query_one("show synchronous_standby_names", &[]).await.expect("a setting");
    assert_eq!(row.get::<_, String>(0), "ANY 1 (\"nobody\")", "commits wait from the first one on");
    took("first epoch: lead ordered to writable", cluster.lead(a, 1, 2, &[]).await);
    took("names proven (with two checkpoints)", set_names(a, 1, &[]).await);
    assert_eq!(a.primary().timeline, Timeline(2));
    assert_eq!(a.report().token.map(|token| token.epoch), Some(Epoch(1)));
    let client = a.client().await;
    client.batch_execute("create table rows (n int)").await.expect("a table");
}

async fn base_copies(a: &Node, b: &Node, c: &Node, cluster: &Cluster) {
    cluster.follow(b, a, 1, 5);
    cluster.follow(c, a, 1, 5);
    took("base copy to in sync", in_sync(b, a).await);
    in_sync(c, a).await;
    assert!(!b.data().join("leaderl.token").exists(), "a clone carries no token");
    a.until("both followers stream", |report| {
        matches!(&report.state, PostgresState::Primary(p) if p.followers.values().filter(|row| row.streaming).count() == 2)
    })
    .await;
}

/// Commits wait exactly for those named.
async fn waits_for_names(a: &Node, b: &Node) {
    took("names proven, from none to one", set_names(a, 1, &[b]).await);
    assert!(a.primary().followers[&b.guid()].counted);
    let client = a.client().await;
    client.execute("insert into rows select generate_series(1, 1000)", &[]).await.expect("acknowledged");
}

async fn switchover(a: &Node, b: &Node, c: &Node, cluster: &mut Cluster) {
    a.ctx.postgres.checkpoint(Duration::from_secs(10)).await.expect("a checkpoint");
    let began = Instant::now();
    took("switchover: fast stop to final position", stop(a).await);
    let last = a.report().final_position.expect("a final position");
    assert_eq!(last.epoch, Epoch(1));
    a.disarm(1).await;
    let (one, two) = tokio::join!(detach(b, 10), detach(c, 10));
    took("switchover: detach proof of the first", one);
    took("switchover: detach proof of the second", two);
    let (_, at) = b.report().detached.expect("detached");
    assert!(at >= last, "{at:?} has the whole shutdown record at {last:?}");
    took("switchover: lead ordered to writable", cluster.lead(b, 2, 3, &[c]).await);
    took("switchover: whole gap without etcd", began.elapsed());
    let refollow = Instant::now();
    cluster.follow(c, b, 2, 11);
    cluster.follow(a, b, 2, 11);
    in_sync(c, b).await;
    took("switchover: re-follow", refollow.elapsed());
    b.until("names proven", |report| {
        matches!(&report.state, PostgresState::Primary(p) if p.sync_names.as_ref() == Some(&[c.guid()].into()))
    })
    .await;
    took("old leader back as follower", in_sync(a, b).await);
    assert_eq!(b.rows().await, 1000);
}

/// The leader is lost with a commit that nobody else has; timelines 4 and 5 are taken by epochs that nobody followed.
async fn unplanned(a: &Node, b: &Node, c: &Node, cluster: &mut Cluster) {
    let first_mark = c.report().token.expect("marked with its first promise");
    assert_eq!(first_mark.epoch, Epoch(0));
    let (one, two) = tokio::join!(detach(a, 20), detach(c, 20));
    let mark = c.report().token.expect("marked again with the next");
    assert!(mark.epoch == Epoch(0) && mark.nonce != first_mark.nonce, "{mark:?} after {first_mark:?}");
    took("detach proof beside a living leader", one.max(two));
    set_names(b, 2, &[]).await;
    let client = b.client().await;
    client.execute("insert into rows select generate_series(1, 10)", &[]).await.expect("acknowledged alone");
    drop(client);
    b.order(PostgresOrder::Stop { fast: false });
    took("immediate stop", b.until("down", |report| report.state == PostgresState::Down { initialised: true }).await);
    assert_eq!(b.report().final_position, None, "it did not end cleanly");
    b.disarm(2).await;
    took("takeover: lead ordered to writable", cluster.lead(c, 3, 6, &[]).await);
    assert_eq!(c.primary().timeline, Timeline(6));
    let rewind = Instant::now();
    cluster.follow(b, c, 3, 21);
    cluster.follow(a, c, 3, 21);
    in_sync(a, c).await;
    took("re-follow across a gap of timelines", rewind.elapsed());
    in_sync(b, c).await;
    took("deposed leader: recovery, rewind, in sync", rewind.elapsed());
    assert!(!b.data().join("leaderl.token").exists(), "a rewound copy carries no token");
    c.client().await.execute("insert into rows values (0)", &[]).await.expect("a row");
    b.shows(1001).await;
}

/// A copy that must be made anew, beside the old one.
async fn rebuilt(a: &Node, c: &Node, cluster: &Cluster) {
    stop(a).await;
    let mark = r#"{"cause": "test", "work": "copy-needed", "target": null}"#;
    let path = a.ctx.settings.node.state_dir.join("marks/unsynced.json");
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("marks");
    std::fs::write(path, mark).expect("a mark");
    // As a rewind leaves it that was killed.
    let parent = a.data().parent().expect("a directory").to_path_buf();
    std::fs::write(parent.join("pg_control.before-rewind"), "saved").expect("a saved control file");
    let began = Instant::now();
    cluster.follow(a, c, 3, 22);
    a.until("marked", |report| report.unsynced.is_some()).await;
    in_sync(a, c).await;
    took("rebuilt beside the old copy, in sync", began.elapsed());
    assert!(parent.join("data.old-3/PG_VERSION").exists(), "the old copy is kept");
    assert!(parent.join("data.old-3/pg_control.before-rewind").exists(), "with what was saved from it");
    assert!(!parent.join("pg_control.before-rewind").exists());
    assert!(!parent.join("data.new").exists());
}

async fn adopted_and_killed(a: &Node, mut c: Node) {
    let pid = c.postmaster();
    let flushed = c.primary().flushed;
    c.restart_actor().await;
    c.until("seen again", |report| matches!(report.state, PostgresState::Primary(_))).await;
    assert_eq!(c.postmaster(), pid, "an actor's restart leaves PostgreSQL alone");
    assert!(c.primary().flushed >= flushed);
    // A promise is kept across the actor's restart, too.
    assert_eq!(a.report().promised, Revision(20));
    let began = Instant::now();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("killed");
    c.until("down", |report| matches!(report.state, PostgresState::Down { .. })).await;
    took("killed postmaster: reported down", began.elapsed());
}
