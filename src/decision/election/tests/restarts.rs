//! What a restarted election makes of what it finds, and what may be lost with the one before.

use super::*;

fn stop(world: &World, state: State) -> (State, Vec<Command>) {
    step(state, &Event::StopForGood, &world.facts())
}

#[test]
fn a_lost_adoption_is_looked_at_anew_and_releases_nothing() {
    let (mut world, _) = World::leading();
    world.heart.as_mut().unwrap().vip_held = true;
    let (adopting, _) = world.look(State::Undecided);
    let State::Claiming(claim) = &adopting else { panic!("{adopting:?}") };
    let lost = Event::ClaimLost { nonce: claim.hold.nonce.clone() };
    assert_eq!(step(adopting.clone(), &lost, &world.facts()), (State::Undecided, Vec::new()));
    world.pass(5001);
    assert_eq!(world.look(adopting), (State::Undecided, Vec::new()), "the same when nobody says what became of it");
    // The key went to somebody else meanwhile: then this node observes.
    world.held_by(1, "n1-again", 90);
    assert!(matches!(world.look(State::Undecided).0, State::Observing(_)));
}

#[test]
fn a_lost_claim_of_a_new_epoch_goes_back_to_observing() {
    let (world, hold) = World::leading();
    let claiming = State::Claiming(Claiming { hold: hold.clone(), adopts: false, since: world.now });
    let (state, _) = step(claiming, &Event::ClaimLost { nonce: hold.nonce }, &world.facts());
    assert!(matches!(state, State::Observing(_)));
}

#[test]
fn who_observes_its_own_key_lets_nobody_of_its_own_renew_it() {
    let (world, _) = World::leading();
    let (_, commands) = world.look(State::Observing(Observing::default()));
    assert!(commands.contains(&Command::StopRenewing { nonce: Nonce("n2-won".into()) }), "{commands:?}");
    let others = World::following();
    let (_, commands) = others.look(State::Observing(Observing::default()));
    assert!(!commands.iter().any(|command| matches!(command, Command::StopRenewing { .. })), "{commands:?}");
}

#[test]
fn a_stop_that_comes_before_the_first_decision_adopts_first_and_hands_over_then() {
    let (mut world, _) = World::leading();
    let (adopting, _) = stop(&world, State::Undecided);
    let State::Claiming(claim) = &adopting else { panic!("{adopting:?}") };
    let won = Event::ClaimWon { nonce: claim.hold.nonce.clone(), revision: Revision(80) };
    world.heart.as_mut().unwrap().armed = Some((Epoch(2), claim.hold.nonce.clone(), world.now.plus(D)));
    let (holding, _) = step(adopting, &won, &world.facts());
    let (down, commands) = stop(&world, holding);
    assert!(matches!(down, State::SteppingDown(_)), "{down:?}");
    assert!(commands.contains(&Command::OrderPostgres(PostgresOrder::Stop { fast: true })), "{commands:?}");
}

#[test]
fn a_restart_between_the_stop_and_the_vacancy_does_not_lose_where_the_copy_ended() {
    let (mut world, _) = World::leading();
    world.postgres.state = PostgresState::Down { initialised: true };
    world.postgres.final_position = Some(position(2, 1300));
    world.heart.as_mut().unwrap().postgres_gone = true;
    *world.gate() = GateFacts { shut_for: Some(Epoch(2)), ..GateFacts::default() };
    let vacancy = |world: &World| {
        world.look(State::Undecided).1.into_iter().find_map(|command| match command {
            Command::SendVacancy { vacancy, .. } => Some(vacancy),
            _ => None,
        })
    };
    assert_eq!(vacancy(&world).unwrap().final_position, Some(position(2, 1300)));
    world.postgres.unsynced = Some("copied".into());
    assert_eq!(vacancy(&world).unwrap().final_position, None, "such a copy proves nothing");
    world.postgres.unsynced = None;
    world.postgres.final_position = Some(position(1, 1300));
    assert_eq!(vacancy(&world).unwrap().final_position, None, "that is where an earlier epoch ended");
}

/// Simulator, seed 2622: heart stood still, and the adoption of its daemon's successor got no answer from etcd.
#[test]
fn an_adoption_that_hangs_does_not_wait_for_a_heart_that_slept_through_its_deadline() {
    let (mut world, hold) = World::leading();
    world.heart.as_mut().unwrap().armed =
        Some((hold.epoch, hold.nonce.clone(), world.now.plus(Duration::from_secs(1))));
    let (state, commands) = world.look(State::Undecided);
    assert!(commands.iter().any(|command| matches!(command, Command::Adopt { .. })), "{commands:?}");
    world.pass(1_166);
    let (state, commands) = world.look(state);
    assert!(!commands.contains(&Command::KillHeart));
    world.pass(1);
    assert!(world.look(state).1.contains(&Command::KillHeart));
}

#[test]
fn who_holds_nothing_ends_a_heart_that_slept_through_the_deadline_of_a_daemon_before() {
    let kills = |world: &World, state: State| world.look(state).1.contains(&Command::KillHeart);
    let (mut world, hold) = World::leading();
    let observing = || State::Observing(Observing::default());
    // etcd is not heard: nothing can be adopted, and nobody else will tell this heart anything.
    let view = world.view.take();
    world.heart.as_mut().unwrap().armed = Some((hold.epoch, hold.nonce.clone(), world.now));
    world.pass(166);
    assert!(!kills(&world, State::Undecided) && !kills(&world, observing()), "its word may be under way");
    world.pass(1);
    assert!(kills(&world, State::Undecided) && kills(&world, observing()), "two thirds and a thirtieth of D are over");
    world.view = view;
    world.held_by(1, "n1-won", 90);
    assert!(kills(&world, observing()), "somebody else leads already");
    world.heart.as_mut().unwrap().fenced = Some(hold.epoch);
    assert!(!kills(&world, observing()), "it has fenced");
    world.heart.as_mut().unwrap().fenced = None;
    world.heart.as_mut().unwrap().armed = None;
    assert!(!kills(&world, observing()), "a follower's heart is left alone");
}

/// Found by the model checker: it had given its voters up, fell, and took the seat back before one of them had voted again.
#[test]
fn a_strict_leader_that_is_promoted_again_without_voters_still_waits_for_one_of_the_others() {
    let names = |mode: ReplicationMode, epoch: u64| {
        let (mut world, hold) = World::leading();
        world.mode = mode;
        let view = world.view();
        view.voters.as_mut().unwrap().record.voters.clear();
        let history = view.history.last_key_value().unwrap().1.clone();
        view.history.insert(Epoch(epoch), history);
        let facts = world.facts();
        let hold = Hold { epoch: Epoch(epoch), ..hold };
        match super::super::orders::lead(facts.cluster.unwrap(), &facts, &hold) {
            Some(PostgresOrder::Lead(order)) => order.sync_names,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(names(ReplicationMode::Strict, 2), BTreeSet::from([n(1), n(3)]));
    assert_eq!(names(ReplicationMode::Strict, 1), BTreeSet::new(), "a new cluster has nobody to wait for yet");
    assert_eq!(names(ReplicationMode::Quorum, 2), BTreeSet::new());
}
