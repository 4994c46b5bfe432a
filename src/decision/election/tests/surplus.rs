//! What a last leader wrote and nobody acknowledged keeps nobody from a leader for ever (rules R12, R13, R14).

use super::*;

/// Node 1 resigned at 1001; nodes 2 and 3, its voters, have bid, node 2 the higher position.
fn resigned() -> World {
    let mut world = World::following();
    world.left_by(Some(1), Some(position(1, 1001)), 40);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    world.bid_of(3, position(1, 900));
    world
}

/// Looks again and again for so long; what the last look led to.
fn looks_for(world: &mut World, mut state: State, milliseconds: u64) -> (State, Vec<Command>) {
    let mut commands = Vec::new();
    for _ in 0..milliseconds / 100 {
        world.pass(100);
        world.view().heard_at = world.now;
        (state, commands) = world.look(state);
        if claim_of(&commands).is_some() {
            break;
        }
    }
    (state, commands)
}

/// The same, from its first look at the seat.
fn watches(world: &mut World, milliseconds: u64) -> (State, Vec<Command>) {
    let state = world.confirmed();
    looks_for(world, state, milliseconds)
}

fn codes(world: &World, state: &State) -> Vec<String> {
    reasons(state, &world.facts()).into_iter().map(|reason| reason.code).collect()
}

#[test]
fn the_voters_lead_without_what_a_resigned_leader_had_alone_once_it_has_been_waited_for() {
    let mut world = resigned();
    let (state, commands) = watches(&mut world, 4_900);
    assert!(claim_of(&commands).is_none(), "its disk may only be slow to come back");
    assert_eq!(codes(&world, &state), ["surplus-awaited"]);
    let (_, commands) = looks_for(&mut world, state, 500);
    let txn = claim_of(&commands).unwrap();
    assert_eq!(txn.history.fork_lsn, Lsn(1000));
    assert_eq!(txn.voters.voters, BTreeSet::from([n(1), n(3)]), "proven, so the record stays");
    let told = commands.iter().any(|c| matches!(c, Command::Record { text, .. } if text.contains("given up")));
    assert!(told, "the journal says so: {commands:?}");
}

#[test]
fn a_voter_behind_another_voter_never_leads_however_long_it_waits() {
    let mut world = resigned();
    world.me = n(3);
    world.detached(position(1, 900));
    let (state, commands) = watches(&mut world, 20_000);
    assert!(claim_of(&commands).is_none());
    assert_eq!(codes(&world, &state), ["behind-best"]);
}

#[test]
fn without_enough_voters_the_final_position_stays_the_only_proof() {
    let mut world = resigned();
    world.view().bids.remove(&n(3));
    let (state, commands) = watches(&mut world, 20_000);
    assert!(claim_of(&commands).is_none());
    assert_eq!(codes(&world, &state), ["behind-best"]);
}

#[test]
fn a_leader_that_acknowledged_alone_is_waited_for_without_end() {
    let mut world = resigned();
    world.view().voters.as_mut().unwrap().record.voters.clear();
    let (_, commands) = watches(&mut world, 20_000);
    assert!(claim_of(&commands).is_none());
}

#[test]
fn strict_follows_the_same_rule() {
    let mut world = resigned();
    world.mode = ReplicationMode::Strict;
    let (_, commands) = watches(&mut world, 5_500);
    assert!(claim_of(&commands).is_some());
}

#[test]
fn async_takes_the_best_copy_after_its_window_as_ever() {
    let mut world = resigned();
    world.mode = ReplicationMode::Async;
    let (_, commands) = watches(&mut world, 1_500);
    assert!(claim_of(&commands).is_none(), "what lies beyond may have been acknowledged: the window is not cut short");
    let (_, commands) = watches(&mut world, 500);
    assert!(claim_of(&commands).is_some());
}

#[test]
fn a_last_leader_that_bid_and_was_lost_keeps_nobody_from_leading() {
    let mut world = resigned();
    world.bid_of(1, position(1, 1002)).token = token(1, "n1-first");
    let (state, commands) = watches(&mut world, 4_900);
    assert!(claim_of(&commands).is_none(), "it leads itself, if it lives");
    let (_, commands) = looks_for(&mut world, state, 500);
    assert!(claim_of(&commands).is_some());
}

#[test]
fn what_was_not_acknowledged_is_fetched_for_a_while_from_a_last_leader_that_may_not_lead() {
    let mut world = resigned();
    let bid = world.bid_of(1, position(1, 1002));
    (bid.token, bid.ineligible) = (token(1, "n1-first"), vec![Reason::new("node-failover-off", "off")]);
    let (state, commands) = watches(&mut world, 1_000);
    assert!(matches!(order_of(&commands), Some(PostgresOrder::Follow(follow)) if follow.catch_up));
    // It cannot be had: the copy detaches again, and is proven to stand where it stood.
    let (_, commands) = looks_for(&mut world, state, 5_000);
    assert!(matches!(order_of(&commands), Some(PostgresOrder::Detach { .. })));
    assert!(claim_of(&commands).is_some());
}

#[test]
fn wal_is_fetched_from_a_copy_that_lives_though_an_equal_bid_was_left_by_one_that_is_gone() {
    let mut world = World::following();
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    world.bid_of(3, position(1, 2000));
    let bid = world.bid_of(1, position(1, 2000));
    (bid.token, bid.ineligible) = (token(1, "n1-first"), vec![Reason::new("node-failover-off", "off")]);
    let (_, commands) = watches(&mut world, 1_000);
    assert!(matches!(order_of(&commands), Some(PostgresOrder::Follow(follow)) if follow.leader == n(1)));
}

/// The last leader bids more than anybody acknowledged and loses its disk; the only voter is switched off.
#[test]
fn once_the_surplus_is_given_up_a_copy_behind_catches_up_with_a_voter_that_may_not_lead() {
    let mut world = resigned();
    world.me = n(3);
    world.detached(position(1, 900));
    world.view().voters.as_mut().unwrap().record.voters = BTreeSet::from([n(2)]);
    world.bid_of(1, position(1, 1002)).token = token(1, "n1-first");
    world.bid_of(2, position(1, 1000)).ineligible = vec![Reason::new("node-failover-off", "off")];
    let (state, commands) = watches(&mut world, 4_900);
    assert!(
        matches!(order_of(&commands), Some(PostgresOrder::Detach { .. })),
        "the last leader leads itself, if it lives"
    );
    let (state, commands) = looks_for(&mut world, state, 500);
    assert!(
        matches!(order_of(&commands), Some(PostgresOrder::Follow(follow)) if follow.catch_up && follow.leader == n(2))
    );
    world.detached(position(1, 1000));
    world.bid_of(3, position(1, 1000));
    let (_, commands) = looks_for(&mut world, state, 500);
    assert_eq!(claim_of(&commands).unwrap().history.fork_lsn, Lsn(1000));
}
