//! R1-R15, each as the run it refuses.

use super::*;
use crate::records::{RequestKind, RequestRecord};

/// Node 2 and 3 have both bid for the stale key of node 1.
fn both_bid(world: &mut World, mine: Position, other: Position) {
    world.pass(5_001);
    world.detached(mine);
    world.bid_of(2, mine);
    world.bid_of(3, other);
}

pub(super) fn settled(world: &mut World) -> (State, Vec<Command>) {
    let (state, commands) = world.look(world.confirmed());
    if claim_of(&commands).is_some() {
        return (state, commands);
    }
    world.pass(400);
    world.look(state)
}

#[test]
fn r8_while_the_key_is_absent_nobody_bids_and_a_vacancy_of_unknown_holder_is_created() {
    let mut world = World::following();
    world.view().leader = None;
    world.detached(position(1, 1000));
    let (_, commands) = world.look(State::Observing(Observing::default()));
    assert!(commands.iter().any(|c| matches!(c, Command::CreateVacancy(v) if v.left_by.is_none())));
    assert!(bid_of(&commands).is_none() && claim_of(&commands).is_none() && order_of(&commands).is_none());
}

#[test]
fn r8_bids_of_the_first_absence_do_not_count_the_second_time() {
    let mut world = World::following();
    world.left_by(None, None, 40);
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    world.left_by(None, None, 45);
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    let (_, commands) = settled(&mut world);
    assert!(claim_of(&commands).is_none(), "node 3's bid names revision 40, the seat is at 45");
}

#[test]
fn r8_after_an_unknown_holder_d_runs_before_anyone_takes_the_seat() {
    let mut world = World::following();
    world.left_by(None, None, 40);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    world.bid_of(3, position(1, 1000));
    world.pass(4_000);
    assert!(claim_of(&settled(&mut world).1).is_none());
    world.pass(1_000);
    assert!(claim_of(&settled(&mut world).1).is_some());
}

#[test]
fn r11_a_hold_ends_with_the_sending_of_its_vacancy_whatever_becomes_of_it() {
    let (mut world, hold) = World::leading();
    world.postgres.state = PostgresState::Down { initialised: true };
    world.heart.as_mut().unwrap().postgres_gone = true;
    world.gate().shut_for = Some(Epoch(2));
    let (down, _) = world.look(State::Holding(Hold { stage: Stage::Serving, ..hold.clone() }));
    let (down, commands) = step(down, &Event::VipGone, &world.facts());
    assert!(commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })));
    assert!(down.hold().is_none(), "nothing of this hold exists any more");
    // The vacancy may be late: a renewal that commits meanwhile revives nothing.
    let late = Event::Renewed { nonce: hold.nonce, seq: 9, t0: world.now, revision: Revision(99) };
    let (after, commands) = step(down, &late, &world.facts());
    assert!(after.hold().is_none());
    assert!(order_of(&commands).is_none());
}

#[test]
fn r11_a_restarted_daemon_renews_before_it_promotes_or_serves() {
    let (world, _) = World::leading();
    let (state, commands) = world.look(State::Undecided);
    assert!(
        matches!(&commands[..], [Command::Adopt { holder, revision: Revision(70) }] if holder.nonce == world.nonce)
    );
    let (state, commands) = world.look(state);
    assert_eq!(commands, [], "nothing before the renewal is committed");
    let won = Event::ClaimWon { nonce: world.nonce.clone(), revision: Revision(71) };
    let (state, commands) = step(state, &won, &world.facts());
    assert!(matches!(commands[0], Command::Arm { .. }));
    assert_eq!(state.hold().unwrap().acquired_with, Nonce("n2-won".into()));
}

#[test]
fn r1_the_last_leader_becomes_a_voter_and_the_new_leader_leaves() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    let (_, commands) = settled(&mut world);
    let txn = claim_of(&commands).unwrap();
    assert_eq!(txn.voters.voters, BTreeSet::from([n(1), n(3)]));
    assert_eq!(txn.voters.quorum, 1);
}

#[test]
fn r1_the_last_leader_again_keeps_its_voters() {
    let mut world = World::following();
    world.me = n(1);
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.postgres.token = token(1, "n1-first");
    world.bid_of(1, position(1, 1000)).token = token(1, "n1-first");
    let (_, commands) = settled(&mut world);
    assert_eq!(claim_of(&commands).unwrap().voters.voters, BTreeSet::from([n(2), n(3)]));
}

#[test]
fn r1_without_the_last_leader_among_the_members_only_the_new_leader_is_complete() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    world.view().members.remove(&n(1));
    let (_, commands) = settled(&mut world);
    assert_eq!(claim_of(&commands).unwrap().voters.voters, BTreeSet::new());
}

#[test]
fn r9_the_new_timeline_exceeds_every_recorded_one() {
    let mut world = World::following();
    let unseen = HistoryRecord { timeline: Timeline(9), epoch: Epoch(2), ..world.view().history[&Epoch(1)].clone() };
    world.view().history.insert(Epoch(2), unseen);
    world.view().epoch.as_mut().unwrap().record.epoch = Epoch(2);
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    let (_, commands) = settled(&mut world);
    let txn = claim_of(&commands).unwrap();
    assert_eq!((txn.history.timeline, txn.history.parent_timeline), (Timeline(10), Timeline(2)));
    assert_eq!(txn.epoch.epoch, Epoch(3));
}

#[test]
fn r10_a_holder_never_bids_and_leads_only_under_a_newer_revision_than_its_promise() {
    let (mut world, hold) = World::leading();
    world.detached(position(1, 1000));
    world.postgres.promised = Revision(30);
    let (_, commands) = world.look(State::Holding(hold.clone()));
    assert!(bid_of(&commands).is_none());
    assert!(hold.revision > world.postgres.promised);
}

#[test]
fn r4_the_promise_is_ordered_after_a_linearizable_read_and_before_any_bid() {
    let mut world = World::following();
    world.pass(3_400);
    let (state, commands) = world.look(State::Observing(Observing::default()));
    assert!(commands.contains(&Command::ReadLeader));
    assert!(order_of(&commands).is_none(), "not before the read has answered");
    let (_, commands) = step(state, &Event::LeaderRead(Revision(30)), &world.facts());
    assert_eq!(order_of(&commands), Some(&PostgresOrder::Detach { revision: Revision(30), keeps_token: false }));
    assert!(bid_of(&commands).is_none(), "not before the proof");
}

#[test]
fn r4_a_read_that_shows_a_newer_revision_promises_nothing_for_the_old_one() {
    let mut world = World::following();
    world.pass(3_400);
    let (_, commands) = step(State::Observing(Observing::default()), &Event::LeaderRead(Revision(31)), &world.facts());
    assert!(order_of(&commands).is_none());
}

#[test]
fn r5_without_the_proof_of_this_very_revision_there_is_no_bid() {
    let mut world = World::following();
    world.detached(position(1, 1000));
    world.held_by(1, "n1-first", 33);
    world.pass(3_400);
    let (_, commands) = world.look(world.confirmed());
    assert!(bid_of(&commands).is_none(), "proven detached at 30, the seat is at 33");
}

#[test]
fn r7_an_unsynced_copy_neither_bids_nor_leads() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    world.postgres.unsynced = Some("base copy".into());
    let (_, commands) = settled(&mut world);
    assert!(claim_of(&commands).is_none());
    world.view().bids.clear();
    assert!(bid_of(&world.look(world.confirmed()).1).is_none());
}

#[test]
fn r12_whoever_is_past_the_final_position_of_a_resigned_leader_may_lead_though_a_voter_is_dead() {
    let mut world = World::following();
    world.left_by(Some(1), Some(position(1, 990)), 40);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    assert!(claim_of(&settled(&mut world).1).is_some());
    world.left_by(Some(1), Some(position(1, 1001)), 40);
    assert!(claim_of(&settled(&mut world).1).is_none(), "one byte short of what was acknowledged");
}

#[test]
fn r13_positions_order_by_epoch_first_so_an_unacknowledged_tail_does_not_win() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 5000), position(2, 1000));
    assert!(claim_of(&settled(&mut world).1).is_none());
    world.bid_of(3, position(1, 5000));
    assert!(claim_of(&settled(&mut world).1).is_some());
}

#[test]
fn r13_an_epoch_nobody_bids_on_is_left_out_of_the_lineage() {
    let mut world = World::following();
    let first = world.view().history[&Epoch(1)].clone();
    let unseen =
        HistoryRecord { epoch: Epoch(2), timeline: Timeline(3), parent_timeline: Timeline(2), ..first.clone() };
    let third = HistoryRecord { epoch: Epoch(3), timeline: Timeline(4), parent_timeline: Timeline(2), ..first };
    world.view().history.insert(Epoch(2), unseen);
    world.view().history.insert(Epoch(3), third);
    let epochs: Vec<_> = lineage_of(world.view(), Epoch(3)).iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [Epoch(1), Epoch(3)]);
}

#[test]
fn r14_missing_wal_is_fetched_from_a_higher_bidder_that_may_not_lead() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 2000));
    world.bid_of(3, position(1, 2000)).ineligible = vec![Reason::new("node-failover-off", "off")];
    let (state, commands) = world.look(world.confirmed());
    assert!(matches!(order_of(&commands), Some(PostgresOrder::Detach { .. })), "it is given a moment");
    world.pass(600);
    let (state, commands) = world.look(state);
    let Some(PostgresOrder::Follow(follow)) = order_of(&commands) else { panic!("{commands:?}") };
    assert!(follow.catch_up && follow.leader == n(3));
    assert!(claim_of(&commands).is_none());
    world.postgres.position = Some(position(1, 2000));
    let (_, commands) = world.look(state);
    assert!(matches!(order_of(&commands), Some(PostgresOrder::Detach { .. })), "caught up: promise and bid again");
}

#[test]
fn r14_the_order_to_fetch_wal_is_of_the_newest_epoch_though_that_was_never_promoted() {
    let mut world = World::following();
    let (mut leading, _) = World::leading();
    (world.view().epoch, world.view().history) = (leading.view().epoch.clone(), leading.view().history.clone());
    both_bid(&mut world, position(1, 1000), position(1, 2000));
    world.bid_of(3, position(1, 2000)).ineligible = vec![Reason::new("node-failover-off", "off")];
    let (state, _) = world.look(world.confirmed());
    world.pass(600);
    let (_, commands) = world.look(state);
    let Some(PostgresOrder::Follow(follow)) = order_of(&commands) else { panic!("{commands:?}") };
    assert_eq!(follow.epoch, Epoch(2), "PgReplicationActor refuses orders of an older one");
    assert_eq!(follow.lineage.last().map(|record| record.epoch), Some(Epoch(1)));
}

#[test]
fn r6_clients_are_let_in_only_when_a_voter_has_flushed_past_the_promotion_point() {
    let (mut world, hold) = World::leading();
    world.primary().followers.get_mut(&n(3)).unwrap().flushed = Lsn(999);
    let (state, commands) = world.look(State::Holding(hold));
    assert!(!commands.iter().any(|c| matches!(c, Command::AssignVip { .. })));
    world.primary().followers.get_mut(&n(3)).unwrap().flushed = Lsn(1000);
    let (state, commands) = world.look(state);
    assert!(commands.contains(&Command::AssignVip { epoch: Epoch(2) }));
    assert_eq!(state.hold().unwrap().stage, Stage::Serving);
}

#[test]
fn a_candidate_needs_v_minus_q_plus_one_bids() {
    let mut world = World::following();
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    let (_, commands) = settled(&mut world);
    assert!(claim_of(&commands).is_none());
    let whose = completeness(world.view(), Revision(30));
    assert_eq!(whose, Completeness::Missing { whose: vec![n(3)], needed: 1 });
    world.bid_of(3, position(1, 500));
    assert!(claim_of(&settled(&mut world).1).is_some());
}

#[test]
fn a_lesser_bid_does_not_campaign() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 1001));
    assert!(claim_of(&settled(&mut world).1).is_none());
}

#[test]
fn a_renewal_voids_all_bids() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    world.held_by(1, "n1-first", 31);
    let (_, commands) = settled(&mut world);
    assert!(claim_of(&commands).is_none());
    assert!(
        matches!(order_of(&commands), Some(PostgresOrder::Follow(follow)) if follow.leader_revision == Revision(31))
    );
}

#[test]
fn a_degraded_record_makes_nobody_but_the_last_leader_electable() {
    let mut world = World::following();
    let now = world.now;
    world.view().voters = Some(seen(voters(&[], 1), 25, now));
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    assert!(claim_of(&settled(&mut world).1).is_none());
}

#[test]
fn the_acquiring_transaction_compares_everything_it_rests_on() {
    let mut world = World::following();
    both_bid(&mut world, position(1, 1000), position(1, 900));
    let (_, commands) = settled(&mut world);
    let txn = claim_of(&commands).unwrap();
    assert_eq!(
        (txn.leader_revision, txn.voters_revision, txn.epoch_revision),
        (Revision(30), Revision(20), Revision(10))
    );
    assert_eq!(txn.bids, [(n(2), Revision(62)), (n(3), Revision(63))]);
    assert_eq!((txn.cluster_failover_revision, txn.node_failover_revision), (Revision(0), Revision(0)));
}

#[test]
fn with_failover_off_only_the_last_leader_takes_the_seat_again() {
    let mut world = World::following();
    let switch = crate::records::FailoverSwitch { schema: SCHEMA, enabled: false, reason: "upgrade".into() };
    let now = world.now;
    world.view().cluster_failover = Some(seen(switch, 44, now));
    both_bid(&mut world, position(1, 1000), position(1, 1000));
    assert!(claim_of(&settled(&mut world).1).is_none());
    world.me = n(1);
    world.bid_of(1, position(1, 1000)).token = token(1, "n1-first");
    assert!(claim_of(&settled(&mut world).1).is_some());
}

fn ask_to_force(world: &mut World, accept_data_loss: bool) {
    let kind = RequestKind::ForceLeader { target: n(2), accept_data_loss };
    let request =
        RequestRecord { schema: SCHEMA, kind, state: RequestState::Pending, epoch: Epoch(1), detail: String::new() };
    let now = world.now;
    world.view().requests.insert("r1".into(), seen(request, 90, now));
}

#[test]
fn force_leader_without_proof_needs_the_flag_that_names_the_loss() {
    let mut world = World::following();
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.postgres.token = token(0, "n2-mark");
    world.bid_of(2, position(1, 1000));
    ask_to_force(&mut world, false);
    let (_, commands) = settled(&mut world);
    assert!(claim_of(&commands).is_none());
    assert!(commands.iter().any(
        |c| matches!(c, Command::UpdateRequest { state: RequestState::Refused, detail, .. } if detail.contains("n3"))
    ));
    ask_to_force(&mut world, true);
    let (_, commands) = settled(&mut world);
    let txn = claim_of(&commands).unwrap();
    assert_eq!(txn.voters.voters, BTreeSet::new(), "nobody else is known to be complete");
    assert_eq!(txn.epoch.taken_with, None, "should it fall before it is promoted, its copy proves nothing either");
}
