//! Runs that the model checker (`tests/model`) found in earlier versions of these decisions.

use super::*;

/// Node 2 is deposed while it waits for its voters; node 3 has taken epoch 3 and, alone, degraded its own record.
#[test]
fn an_empty_voter_record_of_another_epoch_lets_nobody_in() {
    let (mut world, hold) = World::leading();
    world.primary().followers.clear();
    let now = world.now;
    let view = world.view();
    view.epoch.as_mut().unwrap().record.epoch = Epoch(3);
    view.voters = Some(seen(voters(&[], 3), 90, now));
    world.held_by(3, "n3-won", 90);
    let (state, commands) = world.look(State::Holding(Hold { stage: Stage::AwaitingVoters, ..hold }));
    assert!(matches!(state, State::SteppingDown(_)));
    assert!(!commands.iter().any(|command| matches!(command, Command::AssignVip { .. })), "{commands:?}");
}

/// Node 2 has bid for revision 30 and lost its disk; a clone that follows at revision 30 would confirm commits that the bid,
/// which still counts for revision 30, does not have.
#[test]
fn r7_a_node_that_remembers_no_promise_promises_before_it_follows() {
    let mut world = World::following();
    world.postgres = PostgresReport { state: PostgresState::Down { initialised: false }, ..PostgresReport::default() };
    let observing = State::Observing(Observing::default());
    let (state, commands) = world.look(observing);
    assert_eq!(order_of(&commands), Some(&PostgresOrder::Detach { revision: Revision(30), keeps_token: false }));
    world.postgres.promised = Revision(30);
    let (state, commands) = world.look(state);
    let Some(PostgresOrder::Follow(follow)) = order_of(&commands) else { panic!("{commands:?}") };
    assert_eq!(follow.leader_revision, world.postgres.promised, "not newer: PostgreSQL stays detached");
    world.held_by(1, "n1-first", 31);
    let Some(PostgresOrder::Follow(follow)) = order_of(&world.look(state).1).cloned() else { panic!() };
    assert!(follow.leader_revision > world.postgres.promised);
}

/// Not looked at yet is not the same as never promised: a follower whose replication actor restarts goes on streaming.
#[test]
fn nothing_is_ordered_of_a_postgres_that_nobody_has_looked_at() {
    let mut world = World::following();
    world.postgres = PostgresReport::default();
    assert_eq!(order_of(&world.look(State::Observing(Observing::default())).1), None);
}

/// A restarted daemon adopts its hold, whose epoch was promoted before and whose PostgreSQL has come up as a standby since.
#[test]
fn a_hold_whose_epoch_was_promoted_before_is_resigned() {
    let (mut world, hold) = World::leading();
    world.postgres.state = PostgresState::Standby { streaming_from: None };
    world.postgres.problems = vec![Reason::new("promoted-before", "once is enough")];
    let (state, _) = world.look(State::Holding(hold));
    assert!(matches!(state, State::SteppingDown(down) if down.planned && down.cause.code == "promoted-before"));
}
