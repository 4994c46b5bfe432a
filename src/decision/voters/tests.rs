//! The order of voter changes, and the runs that break when it is another.

use super::*;
use crate::model::Nonce;
use crate::records::{EpochRecord, MemberRecord, NodeStatus};

fn n(which: u8) -> NodeId {
    NodeId(format!("{which:032x}"))
}

fn set(which: &[u8]) -> BTreeSet<NodeId> {
    which.iter().map(|w| n(*w)).collect()
}

/// PostgreSQL and etcd as a leader sees them; node 1 leads epoch 1.
struct Cluster {
    now: Timestamp,
    record: Seen<VotersRecord>,
    primary: PrimaryReport,
    may_vote: BTreeSet<NodeId>,
    mode: ReplicationMode,
    state: VotersState,
    may_give_up: bool,
}

impl Cluster {
    fn new(recorded: &[u8], named: &[u8], streaming: &[u8]) -> Self {
        let record =
            VotersRecord { voters: set(recorded), quorum: 1, epoch: Epoch(1), version: 3, ..VotersRecord::default() };
        let mut cluster = Self {
            now: Timestamp(10_000_000_000),
            record: Seen { record, revision: Revision(20), at: Timestamp(0) },
            primary: PrimaryReport {
                sync_names: Some(set(named)),
                names_effective_at: Some(Lsn(500)),
                flushed: Lsn(600),
                ..PrimaryReport::default()
            },
            may_vote: set(&[2, 3]),
            mode: ReplicationMode::Quorum,
            state: VotersState { own_put: true, ..VotersState::default() },
            may_give_up: false,
        };
        cluster.stream(streaming, 600);
        cluster
    }

    fn stream(&mut self, streaming: &[u8], flushed: u64) {
        let row = FollowerReport { streaming: true, flushed: Lsn(flushed), counted: true };
        self.primary.followers = streaming.iter().map(|w| (n(*w), row)).collect();
    }

    fn next(&mut self) -> Option<VoterStep> {
        let facts = VotersFacts {
            now: self.now,
            epoch: Epoch(1),
            epoch_revision: Revision(10),
            record: &self.record,
            primary: &self.primary,
            may_vote: &self.may_vote,
            mode: self.mode,
            degrade_after: Duration::from_secs(2),
            may_give_up: self.may_give_up,
        };
        plan(&mut self.state, &facts)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.plus(Duration::from_millis(milliseconds));
    }

    fn apply(&mut self, step: &VoterStep) {
        match step {
            VoterStep::Put { record, .. } => {
                self.record.record = record.clone();
                self.record.revision = Revision(self.record.revision.0 + 1);
            }
            VoterStep::SetNames { names, .. } => self.primary.sync_names = Some(names.clone()),
        }
    }
}

fn short(step: Option<VoterStep>) -> String {
    let list =
        |names: &BTreeSet<NodeId>| names.iter().map(|x| x.0.trim_start_matches('0')).collect::<Vec<_>>().join(",");
    match step {
        None => "wait".into(),
        Some(VoterStep::Put { record, .. }) => format!("etcd {{{}}}", list(&record.voters)),
        Some(VoterStep::SetNames { names, .. }) => format!("pg {{{}}}", list(&names)),
    }
}

/// Follows the plan until it waits, changes nothing, or has taken ten steps.
fn story(cluster: &mut Cluster) -> String {
    let mut steps = Vec::new();
    for _ in 0..10 {
        let Some(step) = cluster.next() else { break };
        cluster.apply(&step);
        steps.push(short(Some(step)));
    }
    steps.join(" -> ")
}

#[test]
fn a_second_follower_is_added_in_etcd_first() {
    assert_eq!(story(&mut Cluster::new(&[2], &[2], &[2, 3])), "etcd {2,3} -> pg {2,3}");
}

#[test]
fn a_lost_follower_is_removed_in_postgres_first_and_in_etcd_after_the_catch_up() {
    let mut cluster = Cluster::new(&[2, 3], &[2, 3], &[3]);
    assert_eq!(short(cluster.next()), "wait", "a blink changes nothing");
    cluster.pass(500);
    cluster.stream(&[3], 499);
    assert_eq!(story(&mut cluster), "pg {3}", "node 3 lacks what only node 2 may have confirmed");
    cluster.stream(&[3], 500);
    assert_eq!(story(&mut cluster), "etcd {3}");
}

#[test]
fn degrading_goes_through_etcd_first() {
    let mut cluster = Cluster::new(&[2], &[2], &[]);
    assert_eq!(short(cluster.next()), "wait");
    cluster.pass(1_999);
    assert_eq!(short(cluster.next()), "wait");
    cluster.pass(1);
    assert_eq!(story(&mut cluster), "etcd {} -> pg {}");
}

#[test]
fn returning_from_degraded_goes_through_postgres_first() {
    let mut cluster = Cluster::new(&[], &[], &[3]);
    cluster.stream(&[3], 400);
    assert_eq!(story(&mut cluster), "pg {3}", "not in etcd before it has flushed everything acknowledged alone");
    cluster.stream(&[3], 500);
    assert_eq!(story(&mut cluster), "etcd {3}");
}

#[test]
fn strict_never_degrades() {
    let mut cluster = Cluster::new(&[2], &[2], &[]);
    cluster.mode = ReplicationMode::Strict;
    cluster.pass(60_000);
    assert_eq!(short(cluster.next()), "wait");
}

/// Each voter's copy has diverged: none streams before it is rewound, and none is rewound while it votes.
#[test]
fn a_strict_leader_gives_its_voters_up_before_it_has_let_anybody_in() {
    let mut cluster = Cluster::new(&[2, 3], &[2, 3], &[]);
    cluster.mode = ReplicationMode::Strict;
    cluster.may_give_up = true;
    assert_eq!(short(cluster.next()), "wait");
    cluster.pass(9_999);
    assert_eq!(short(cluster.next()), "wait");
    cluster.pass(1);
    assert_eq!(story(&mut cluster), "etcd {}", "the names stay");
    cluster.stream(&[2], 500);
    assert_eq!(
        story(&mut cluster),
        "pg {2} -> etcd {2}",
        "the rewound one has flushed everything; the other is rebuilt"
    );
}

fn waiting_for_a_remake(which: u8) -> NodeStatus {
    NodeStatus {
        schema: SCHEMA,
        guid: n(which),
        seq: 1,
        role: "follower".into(),
        following: None,
        pg: "syncing".into(),
        search: "offline".into(),
        partially_synced: false,
        needs_remake: true,
        eligible: true,
        reasons: Vec::new(),
        position: None,
        lag_bytes: None,
        system_identifier: None,
        health: BTreeMap::new(),
        epoch: Epoch(1),
        holds_key: false,
        writable: false,
        serves: false,
    }
}

/// Simulator, seed 7714: one voter's disk was lost after clients were let in, and the other's copy had diverged.
#[test]
fn voters_are_given_up_for_remaking_only_when_each_has_said_that_it_waits_for_that() {
    let record = VotersRecord { voters: set(&[2, 3]), ..VotersRecord::default() };
    let mut view = ClusterView::default();
    for which in [2, 3] {
        assert!(!all_must_be_remade(&view, &record), "nothing is known of n{which}");
        let record = waiting_for_a_remake(which);
        view.nodes.insert(n(which), seen(record));
    }
    assert!(all_must_be_remade(&view, &record));
    assert!(!all_must_be_remade(&view, &VotersRecord::default()), "there is nobody to give up");
    view.nodes.get_mut(&n(3)).unwrap().record.needs_remake = false;
    assert!(!all_must_be_remade(&view, &record), "that one may only be late");
}

fn member(which: u8) -> MemberRecord {
    MemberRecord {
        schema: SCHEMA,
        guid: n(which),
        name: format!("n{which}"),
        address: format!("10.0.0.{which}"),
        version: "1".into(),
        postgres_port: 5432,
        etcd_client_url: String::new(),
        etcd_peer_url: String::new(),
        search_ports: None,
    }
}

fn seen<T>(record: T) -> Seen<T> {
    Seen { record, revision: Revision(1), at: Timestamp(0) }
}

/// Simulator, seed 18683: cut off from etcd, a follower was rewound to what the leader before had, and streamed from the new one the
/// moment it was back; its last word was from before all that.
#[test]
fn who_enters_the_record_has_posted_that_it_follows_this_leader_and_who_is_in_it_need_not() {
    let view = |epoch: u64, following: Option<u8>, unsynced: bool, voters: &[u8]| {
        let mut view = ClusterView::default();
        let taken = EpochRecord {
            schema: SCHEMA,
            epoch: Epoch(2),
            guid: n(1),
            nonce: Nonce("first".to_owned()),
            taken_with: None,
        };
        view.epoch = Some(seen(taken));
        view.voters = Some(seen(VotersRecord { voters: set(voters), ..VotersRecord::default() }));
        view.members.insert(n(3), seen(member(3)));
        let mut status = waiting_for_a_remake(3);
        (status.epoch, status.following, status.partially_synced) = (Epoch(epoch), following.map(n), unsynced);
        view.nodes.insert(n(3), seen(status));
        view
    };
    let may = |epoch, following, unsynced, voters: &[u8]| {
        !may_vote(&view(epoch, following, unsynced, voters), &n(1)).is_empty()
    };
    assert!(may(2, Some(1), false, &[2]));
    assert!(!may(1, Some(1), false, &[2]), "posted under the epoch before, when this node led as well");
    assert!(!may(2, Some(2), false, &[2]));
    assert!(!may(2, None, false, &[2]));
    assert!(!may(2, Some(1), true, &[2]));
    assert!(may(1, Some(2), false, &[3]), "V names it: it stays as long as it streams");
    assert!(!may(2, Some(1), true, &[3]));
}

#[test]
fn async_keeps_nobody_in_the_record() {
    let mut cluster = Cluster::new(&[2], &[2], &[2]);
    cluster.mode = ReplicationMode::Async;
    assert_eq!(story(&mut cluster), "etcd {} -> pg {}");
}

#[test]
fn r2_names_change_only_after_an_own_put_of_the_record() {
    let mut cluster = Cluster::new(&[], &[2], &[]);
    cluster.state.own_put = false;
    cluster.next();
    cluster.pass(2_000);
    assert_eq!(short(cluster.next()), "etcd {}", "a late put of the predecessor could still name others");
    cluster.state.own_put = true;
    assert_eq!(short(cluster.next()), "pg {}");
}

#[test]
fn r2_every_put_compares_the_record_and_the_epoch() {
    let mut cluster = Cluster::new(&[2], &[2], &[2, 3]);
    let Some(VoterStep::Put { voters_revision, epoch_revision, record, .. }) = cluster.next() else { panic!() };
    assert_eq!((voters_revision, epoch_revision, record.version), (Revision(20), Revision(10), 4));
}

#[test]
fn r3_names_that_are_not_proven_effective_allow_no_step() {
    let mut cluster = Cluster::new(&[2], &[2], &[2, 3]);
    cluster.primary.names_effective_at = None;
    assert_eq!(short(cluster.next()), "wait");
    cluster.primary.names_effective_at = Some(Lsn(500));
    cluster.primary.sync_names = None;
    assert_eq!(short(cluster.next()), "wait");
}

#[test]
fn r7_an_unsynced_follower_never_becomes_a_voter() {
    let mut cluster = Cluster::new(&[2], &[2], &[2, 3]);
    cluster.may_vote = set(&[2]);
    assert_eq!(short(cluster.next()), "wait");
}

#[test]
fn r15_after_a_takeover_the_dead_old_leader_leaves_as_soon_as_one_follower_has_passed() {
    let mut cluster = Cluster::new(&[2, 3], &[2, 3], &[3]);
    cluster.next();
    cluster.pass(500);
    assert_eq!(story(&mut cluster), "pg {3} -> etcd {3}");
}

#[test]
fn a_replacement_joins_before_the_lost_voter_leaves() {
    let mut cluster = Cluster::new(&[2], &[2], &[3]);
    cluster.next();
    cluster.pass(500);
    assert_eq!(story(&mut cluster), "etcd {2,3} -> pg {2,3} -> pg {3} -> etcd {3}");
}

/// Whatever streams when, V always contains every name, and PostgreSQL waits for somebody whenever V has members.
#[test]
fn cut_after_any_step_the_plan_ends_the_same_and_never_breaks_the_invariant() {
    for recorded in [&[][..], &[2], &[3], &[2, 3]] {
        for streaming in [&[][..], &[2], &[3], &[2, 3]] {
            let mut cluster = Cluster::new(recorded, recorded, streaming);
            for _ in 0..40 {
                cluster.pass(300);
                let Some(step) = cluster.next() else { continue };
                // Between the two halves of a change the record is never smaller than what PostgreSQL waits for,
                // except on the way back from degraded, where nobody else is electable yet.
                cluster.apply(&step);
                cluster.state = VotersState { own_put: true, ..VotersState::default() };
                let names = cluster.primary.sync_names.clone().unwrap();
                let voters = &cluster.record.record.voters;
                assert!(voters.is_empty() || (names.is_subset(voters) && !names.is_empty()), "{step:?}");
                cluster.pass(2_500);
            }
            if !streaming.is_empty() {
                assert_eq!(cluster.record.record.voters, set(streaming), "{recorded:?} with {streaming:?}");
            }
        }
    }
}
