//! Every state with every event, and random runs: what must never be ordered, whatever happens.

use super::*;
use proptest::prelude::*;

fn events() -> Vec<Event> {
    let nonce = || Nonce("n2-won".into());
    vec![
        Event::Look,
        Event::LeaderRead(Revision(70)),
        Event::EffectEnded,
        Event::ClaimWon { nonce: nonce(), revision: Revision(71) },
        Event::ClaimLost { nonce: nonce() },
        Event::Renewed { nonce: nonce(), seq: 3, t0: Timestamp(100_000_000_000), revision: Revision(72) },
        Event::HoldLost { nonce: nonce() },
        Event::HeartSilent,
        Event::CheckpointEnded,
        Event::VipGone,
        Event::VacancySent,
        Event::StopForGood,
    ]
}

fn states(hold: &Hold) -> Vec<State> {
    let mut states = vec![
        State::Undecided,
        State::Observing(Observing::default()),
        State::Claiming(Claiming { hold: hold.clone(), adopts: false, since: hold.since }),
        State::Claiming(Claiming { hold: hold.clone(), adopts: true, since: hold.since }),
    ];
    for stage in [Stage::Promoting, Stage::AwaitingVoters, Stage::Serving] {
        states.push(State::Holding(Hold { stage, ..hold.clone() }));
    }
    for phase in [DownPhase::Checkpointing, DownPhase::Stopping, DownPhase::Releasing, DownPhase::Vacating] {
        states.push(State::SteppingDown(SteppingDown {
            hold: hold.clone(),
            cause: Reason::new("test", "test"),
            planned: phase == DownPhase::Checkpointing,
            designated: None,
            since: hold.since,
            phase,
            request: None,
            was_writable: true,
        }));
    }
    states
}

/// What no pair of state and event may order.
fn check(before: &State, world: &World, after: &State, commands: &[Command]) {
    let armed = world.heart.as_ref().is_some_and(|h| h.armed.as_ref().is_some_and(|(_, _, at)| *at > world.now));
    let gone = world.heart.as_ref().is_some_and(|h| h.postgres_gone);
    for command in commands {
        match command {
            Command::OrderPostgres(PostgresOrder::Lead(order)) => {
                assert!(armed && before.hold().or(after.hold()).is_some_and(|hold| hold.epoch == order.epoch));
            }
            Command::AssignVip { epoch } => {
                assert!(world.facts().is_gate_open(*epoch), "the VIP before the gate");
                assert!(after.hold().is_some_and(|hold| hold.epoch == *epoch), "{before:?} -> {after:?}");
            }
            Command::SetDoor { epoch, door: Door::Open } => {
                let letting_in = match after {
                    State::Holding(hold) => hold.stage == Stage::Serving && hold.epoch == *epoch,
                    State::SteppingDown(down) => down.phase == DownPhase::Checkpointing && down.hold.epoch == *epoch,
                    State::Undecided | State::Observing(_) | State::Claiming(_) => false,
                };
                assert!(letting_in, "the gate opened outside of serving: {before:?} -> {after:?}");
            }
            Command::SendVacancy { hold, .. } => {
                assert!(gone, "resigned with processes alive: {before:?}");
                assert!(world.facts().is_gate_shut(hold.epoch), "resigned before the gate was shut: {before:?}");
            }
            Command::PutBid(_) | Command::Claim(_) => assert!(before.hold().is_none(), "{before:?}"),
            _ => {}
        }
    }
    if after.hold().is_some_and(|hold| world.now.since(hold.t0) >= D / 2) {
        assert!(matches!(after, State::SteppingDown(_)), "still holding past D/2: {after:?}");
    }
}

#[test]
fn every_state_meets_every_event() {
    let (world, hold) = World::leading();
    for state in states(&hold) {
        for event in events() {
            let (after, commands) = step(state.clone(), &event, &world.facts());
            check(&state, &world, &after, &commands);
        }
    }
}

fn postgres_states() -> impl Strategy<Value = PostgresState> {
    let (mut world, _) = World::leading();
    let primary = world.primary().clone();
    prop_oneof![
        Just(PostgresState::Unknown),
        Just(PostgresState::Down { initialised: true }),
        Just(PostgresState::Starting),
        Just(PostgresState::Standby { streaming_from: None }),
        Just(PostgresState::Promoting { epoch: Epoch(2) }),
        Just(PostgresState::Primary(primary)),
        Just(PostgresState::Stopping),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_runs_order_nothing_forbidden(
        moves in proptest::collection::vec(
            (0_usize..12, 0_u64..900, postgres_states(), any::<bool>(), any::<bool>(), 0_u8..4, 0_u8..3), 1..60)
    ) {
        let (mut world, hold) = World::leading();
        let mut state = State::Holding(hold);
        for (event, pass, postgres, gone, heart_there, seat, gate) in moves {
            world.pass(pass);
            let down = matches!(postgres, PostgresState::Down { .. });
            world.postgres.state = postgres;
            let armed = world.now.plus(Duration::from_millis(500));
            world.heart = heart_there.then(|| HeartFacts {
                armed: state.hold().map(|hold| (hold.epoch, hold.nonce.clone(), armed)),
                fenced: None,
                postgres_gone: gone && down,
                vip_held: false,
                gate: GateFacts {
                    open_for: state.hold().map(|hold| hold.epoch).filter(|_| gate == 1),
                    shut_for: state.hold().map(|hold| hold.epoch).filter(|_| gate == 2),
                    ..GateFacts::default()
                },
            });
            match seat {
                0 => world.left_by(Some(2), None, 200),
                1 => world.view().leader = None,
                2 => world.held_by(3, "other", 300),
                _ => world.held_by(2, "n2-won", 70),
            }
            let event = events()[event].clone();
            let (after, commands) = step(state.clone(), &event, &world.facts());
            check(&state, &world, &after, &commands);
            state = after;
        }
    }
}
