//! The lease's timetable and the order of a demotion.

use super::*;
use crate::records::{RequestKind, RequestRecord};

fn serving() -> (World, State) {
    let (world, hold) = World::leading();
    (world, State::Holding(Hold { stage: Stage::Serving, ..hold }))
}

#[test]
fn voters_bid_at_two_thirds_of_d_and_take_the_seat_at_d() {
    let mut world = World::following();
    world.pass(3_300);
    let (state, commands) = world.look(State::Observing(Observing::default()));
    assert!(matches!(order_of(&commands), Some(PostgresOrder::Follow(_))), "a late renewal is no failover");
    world.pass(40);
    let (_, commands) = world.look(state);
    assert!(commands.contains(&Command::ReadLeader));
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    world.bid_of(3, position(1, 900));
    world.pass(1_600);
    let (state, commands) = world.look(world.confirmed());
    assert!(claim_of(&commands).is_none(), "4.94 s after the last renewal");
    world.pass(61);
    assert!(claim_of(&world.look(state).1).is_some(), "5.001 s after it");
}

#[test]
fn a_holder_steps_down_at_half_of_d_counted_from_the_sending() {
    let (mut world, state) = serving();
    world.pass(2_499);
    let (state, _) = world.look(state);
    assert!(matches!(state, State::Holding(_)));
    world.pass(1);
    let (state, commands) = world.look(state);
    let State::SteppingDown(down) = &state else { panic!("{state:?}") };
    assert_eq!((down.cause.code.as_str(), down.planned), ("lease-in-doubt", false));
    assert!(commands.contains(&Command::ReleaseVip));
    assert_eq!(commands.iter().find(|c| matches!(c, Command::SetDoor { .. })), Some(&door(Door::Shut)));
    assert_eq!(order_of(&commands), Some(&PostgresOrder::Stop { fast: false }));
}

fn door(door: Door) -> Command {
    Command::SetDoor { epoch: Epoch(2), door }
}

#[test]
fn clients_are_let_in_by_the_gate_first_and_the_vip_after_it() {
    let (mut world, state) = serving();
    world.gate().open_for = None;
    let (state, commands) = world.look(state);
    assert!(commands.contains(&door(Door::Open)));
    assert!(!commands.iter().any(|c| matches!(c, Command::AssignVip { .. })));
    assert_eq!(reasons(&state, &world.facts())[0].code, "opening");
    world.gate().open_for = Some(Epoch(2));
    let (state, commands) = world.look(state);
    assert!(commands.contains(&Command::AssignVip { epoch: Epoch(2) }) && !commands.contains(&door(Door::Open)));
    assert_eq!(reasons(&state, &world.facts()), []);
}

#[test]
fn the_gate_opens_only_when_the_voters_have_it() {
    let (mut world, hold) = World::leading();
    world.gate().open_for = None;
    world.primary().followers.clear();
    let (state, commands) = world.look(State::Holding(hold));
    assert!(matches!(&state, State::Holding(hold) if hold.stage == Stage::AwaitingVoters), "{state:?}");
    assert!(!commands.iter().any(|c| matches!(c, Command::SetDoor { .. })), "{commands:?}");
}

#[test]
fn a_leader_whose_gate_is_lost_or_was_shut_hands_over_in_order() {
    for shut in [false, true] {
        let (mut world, state) = serving();
        if shut {
            world.gate().closed_for = Some(Epoch(2));
        } else {
            world.gate().failure = Some("the kernel refuses".into());
        }
        let (state, commands) = world.look(state);
        let State::SteppingDown(down) = &state else { panic!("{state:?}") };
        assert_eq!((down.cause.code.as_str(), down.planned), (if shut { "gate-shut" } else { "no-gate" }, true));
        assert!(commands.contains(&door(Door::Ending)), "{commands:?}");
        world.postgres.state = PostgresState::Standby { streaming_from: None };
        assert_eq!(world.facts().ineligible().iter().any(|reason| reason.code == "no-gate"), !shut);
    }
}

#[test]
fn a_daemon_that_finds_its_hold_without_postgres_shuts_the_gate_before_it_resigns() {
    let (mut world, _) = World::leading();
    world.postgres.state = PostgresState::Down { initialised: true };
    world.heart.as_mut().unwrap().postgres_gone = true;
    let (state, commands) = world.look(State::Undecided);
    assert_eq!((state.name(), commands), ("undecided", vec![door(Door::Shut)]));
    world.gate().shut_for = Some(Epoch(2));
    let (_, commands) = world.look(state);
    assert!(commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })), "{commands:?}");
}

#[test]
fn a_renewal_moves_the_deadline_from_its_own_sending() {
    let (mut world, state) = serving();
    world.pass(2_000);
    let t0 = world.now.minus(Duration::from_millis(800));
    let event = Event::Renewed { nonce: Nonce("n2-won".into()), seq: 5, t0, revision: Revision(75) };
    let (state, _) = step(state, &event, &world.facts());
    assert_eq!(state.hold().unwrap().t0, t0);
    world.pass(1_700);
    assert!(matches!(world.look(state).0, State::SteppingDown(_)), "2.5 s after the sending, 1.7 s after the answer");
}

#[test]
fn stepping_down_is_one_way() {
    let (mut world, state) = serving();
    world.pass(2_500);
    let (state, _) = world.look(state);
    let late = Event::Renewed { nonce: Nonce("n2-won".into()), seq: 6, t0: world.now, revision: Revision(76) };
    let (state, commands) = step(state, &late, &world.facts());
    assert!(matches!(state, State::SteppingDown(_)));
    assert!(!commands.iter().any(|c| matches!(c, Command::AssignVip { .. })));
}

#[test]
fn nothing_is_resigned_before_every_process_is_reaped_the_gate_is_shut_and_the_vip_is_gone() {
    let (mut world, state) = serving();
    let (state, _) = step(state, &Event::HoldLost { nonce: Nonce("n2-won".into()) }, &world.facts());
    let (state, commands) = world.look(state);
    assert!(!commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })));
    world.postgres.state = PostgresState::Down { initialised: true };
    let (state, commands) = world.look(state);
    assert!(!commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })), "heart has not reaped all");
    world.heart.as_mut().unwrap().postgres_gone = true;
    let (state, commands) = world.look(state);
    assert!(!commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })), "the VIP may still be there");
    let (state, commands) = step(state, &Event::VipGone, &world.facts());
    assert!(!commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })), "answers may wait in sockets");
    assert!(commands.contains(&Command::SetDoor { epoch: Epoch(2), door: Door::Shut }));
    world.gate().shut_for = Some(Epoch(2));
    let (_, commands) = step(state, &Event::VipGone, &world.facts());
    assert!(commands.iter().any(|c| matches!(c, Command::SendVacancy { .. })));
}

fn ask(world: &mut World, kind: RequestKind) {
    let request =
        RequestRecord { schema: SCHEMA, kind, state: RequestState::Pending, epoch: Epoch(2), detail: String::new() };
    let now = world.now;
    world.view().requests.insert("r1".into(), seen(request, 90, now));
}

#[test]
fn a_planned_switchover_checkpoints_while_serving_and_names_its_successor() {
    let (mut world, state) = serving();
    world.posted(3);
    ask(&mut world, RequestKind::Promote { target: n(3) });
    let (state, commands) = world.look(state);
    assert!(commands.contains(&Command::Checkpoint));
    assert!(commands.contains(&Command::AssignVip { epoch: Epoch(2) }), "clients are served meanwhile");
    let (state, commands) = step(state, &Event::CheckpointEnded, &world.facts());
    assert_eq!(order_of(&commands), Some(&PostgresOrder::Stop { fast: true }));
    world.postgres.state = PostgresState::Down { initialised: true };
    world.postgres.final_position = Some(position(2, 1300));
    world.heart.as_mut().unwrap().postgres_gone = true;
    world.gate().shut_for = Some(Epoch(2));
    let (state, _) = world.look(state);
    let (_, commands) = step(state, &Event::VipGone, &world.facts());
    let vacancy = commands.iter().find_map(|c| match c {
        Command::SendVacancy { vacancy, .. } => Some(vacancy),
        _ => None,
    });
    let vacancy = vacancy.unwrap();
    assert_eq!((vacancy.designated.clone(), vacancy.final_position), (Some(n(3)), Some(position(2, 1300))));
}

#[test]
fn a_promotion_of_an_ineligible_or_unknown_node_is_refused_with_the_reason() {
    let (mut world, state) = serving();
    let status = world.posted(3);
    status.eligible = false;
    status.reasons =
        vec![crate::records::AgedReason { reason: Reason::new("unsynced", "this copy is not complete"), age_secs: 3 }];
    ask(&mut world, RequestKind::Promote { target: n(3) });
    let (state, commands) = world.look(state);
    assert!(matches!(state, State::Holding(_)));
    let refused = |c: &Command| {
        matches!(c, Command::UpdateRequest { state: RequestState::Refused, detail, .. }
        if detail.contains("n3") && detail.contains("not complete"))
    };
    assert!(commands.iter().any(refused));
    ask(&mut world, RequestKind::Demote);
    assert!(matches!(world.look(state).0, State::Holding(_)), "nobody could take over");
}

#[test]
fn a_designated_successor_goes_first_for_half_of_d() {
    let mut world = World::following();
    world.left_by(Some(1), Some(position(1, 990)), 40);
    let LeaderValue::Vacancy(vacancy) = &mut world.view().leader.as_mut().unwrap().record else { panic!() };
    vacancy.designated = Some(n(3));
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    let (state, commands) = world.look(world.confirmed());
    assert!(claim_of(&commands).is_none());
    world.pass(2_501);
    assert!(claim_of(&world.look(state).1).is_some());
}

#[test]
fn who_has_just_handed_over_lets_another_go_first_for_half_of_d() {
    let left = |another_may: bool| {
        let mut world = World::following();
        world.left_by(Some(2), Some(position(1, 1000)), 40);
        world.posted(3).eligible = another_may;
        world.detached(position(1, 1000));
        world.bid_of(2, position(1, 1000));
        world.bid_of(3, position(1, 1000));
        world
    };
    let mut world = left(true);
    let (state, commands) = world.look(world.confirmed());
    assert!(claim_of(&commands).is_none());
    world.pass(2_400);
    let (state, commands) = world.look(state);
    assert!(claim_of(&commands).is_none());
    world.pass(101);
    assert!(claim_of(&world.look(state).1).is_some(), "nobody took it");
    let world = left(false);
    assert!(claim_of(&world.look(world.confirmed()).1).is_some(), "nobody else can lead");
}

#[test]
fn a_crashed_postgres_is_resigned_at_once() {
    let (mut world, state) = serving();
    world.postgres.state = PostgresState::Down { initialised: true };
    world.heart.as_mut().unwrap().postgres_gone = true;
    let (state, commands) = world.look(state);
    assert!(matches!(&state, State::SteppingDown(down) if down.phase == DownPhase::Releasing), "{state:?}");
    assert!(!commands.contains(&Command::Checkpoint));
}

#[test]
fn a_fence_or_a_silent_or_dead_heart_ends_the_hold_at_once() {
    for broken in 0..3 {
        let (mut world, state) = serving();
        let event = if broken == 0 { Event::HeartSilent } else { Event::Look };
        match broken {
            1 => world.heart = None,
            2 => world.heart.as_mut().unwrap().fenced = Some(Epoch(2)),
            _ => {}
        }
        let (state, commands) = step(state, &event, &world.facts());
        assert!(matches!(&state, State::SteppingDown(down) if !down.planned));
        assert!(commands.contains(&Command::ReleaseVip));
    }
}

/// A frozen heart ends nothing by itself, and a daemon that kept renewing would hold the seat without serving anybody.
#[test]
fn a_silent_heart_is_killed_and_the_seat_is_not_renewed_any_more() {
    let (world, state) = serving();
    let (state, commands) = step(state, &Event::HeartSilent, &world.facts());
    let stop = Command::StopRenewing { nonce: Nonce("n2-won".into()) };
    assert!(commands.contains(&Command::KillHeart) && commands.contains(&stop), "{commands:?}");
    let (_, commands) = world.look(state);
    assert!(!commands.contains(&Command::KillHeart), "once");
    assert!(!commands.iter().any(|c| matches!(c, Command::Renew { .. })));
}

/// The machine stood still, or the daemon did: no renewal is under way whose acknowledgement could be missed.
#[test]
fn a_heart_that_misses_its_own_deadline_is_killed() {
    let (mut world, state) = serving();
    world.pass(20_000);
    let (state, commands) = world.look(state);
    assert!(matches!(&state, State::SteppingDown(down) if !down.planned));
    assert!(!commands.contains(&Command::KillHeart), "its word may be under way: {commands:?}");
    world.pass(166);
    let (state, commands) = world.look(state);
    assert!(!commands.contains(&Command::KillHeart), "{commands:?}");
    world.pass(1);
    let (state, commands) = world.look(state);
    assert!(commands.contains(&Command::KillHeart), "{commands:?}");
    let heart = world.heart.as_mut().unwrap();
    (heart.armed, heart.fenced) = (None, Some(Epoch(2)));
    assert!(!world.look(state).1.contains(&Command::KillHeart), "it has fenced: what lives on cannot be killed");
}

#[test]
fn a_heart_that_falls_silent_during_an_orderly_stop_is_killed_too() {
    let (world, state) = serving();
    let (state, _) = step(state, &Event::StopForGood, &world.facts());
    let (state, commands) = step(state, &Event::HeartSilent, &world.facts());
    assert!(matches!(&state, State::SteppingDown(down) if !down.planned));
    assert!(commands.contains(&Command::KillHeart), "{commands:?}");
}

#[test]
fn a_promotion_onto_the_wrong_timeline_is_resigned() {
    let (mut world, hold) = World::leading();
    world.primary().writable = false;
    world.postgres.problems = vec![Reason::new("wrong-timeline", "promotion made timeline 4 where 3 is recorded")];
    assert!(matches!(world.look(State::Holding(hold)).0, State::SteppingDown(_)));
}

#[test]
fn postgres_is_told_to_lead_only_once_heart_is_armed_for_this_very_hold() {
    let (mut world, hold) = World::leading();
    world.heart.as_mut().unwrap().armed = None;
    world.postgres.state = PostgresState::Standby { streaming_from: None };
    let (state, commands) = world.look(State::Holding(hold.clone()));
    assert!(order_of(&commands).is_none());
    assert!(commands.contains(&Command::Arm { hold: hold.clone() }));
    let expired = world.now;
    world.heart.as_mut().unwrap().armed = Some((Epoch(2), hold.nonce.clone(), expired));
    assert!(order_of(&world.look(state.clone()).1).is_none(), "a deadline that has passed arms nothing");
    world.heart.as_mut().unwrap().armed = Some((Epoch(2), hold.nonce, expired.plus(D)));
    assert!(matches!(order_of(&world.look(state).1), Some(PostgresOrder::Lead(_))));
}

#[test]
fn search_trouble_moves_the_leadership_only_to_a_node_whose_engine_is_healthy() {
    let (mut world, state) = serving();
    world.tripped.insert(ServiceName::Search, "no answer".into());
    world.posted(3);
    assert!(matches!(world.look(state.clone()).0, State::Holding(_)));
    world.posted(3).health.insert("search".into(), "ok".into());
    world.view().voters.as_mut().unwrap().record.voters = BTreeSet::from([n(3)]);
    assert!(matches!(world.look(state).0, State::SteppingDown(_)));
}

#[test]
fn a_node_that_lost_its_leadership_too_often_keeps_it_through_search_trouble() {
    let (mut world, state) = serving();
    world.tripped.insert(ServiceName::Search, "no answer".into());
    world.posted(3).health.insert("search".into(), "ok".into());
    world.view().voters.as_mut().unwrap().record.voters = BTreeSet::from([n(3)]);
    world.faults = vec![world.now; 3];
    assert!(matches!(world.look(state.clone()).0, State::Holding(_)));
    world.faults.pop();
    assert!(matches!(world.look(state).0, State::SteppingDown(_)));
}

#[test]
fn a_node_that_lost_its_leadership_too_often_lets_others_go_first_and_then_leads() {
    let mut world = World::following();
    world.faults = vec![world.now; 3];
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    world.bid_of(3, position(1, 1000));
    let (state, commands) = world.look(world.confirmed());
    assert!(claim_of(&commands).is_none());
    world.pass(400);
    let (state, commands) = world.look(state);
    assert!(claim_of(&commands).is_none(), "node 3 goes first");
    world.pass(2_200);
    assert!(claim_of(&world.look(state).1).is_some(), "nobody else has: an unreliable writer is better than none");
}

#[test]
fn a_step_down_that_somebody_asked_for_is_no_fault() {
    let by_fault = |state| matches!(state, State::SteppingDown(down) if down.by_fault());
    let (mut world, state) = serving();
    assert!(!by_fault(step(state.clone(), &Event::StopForGood, &world.facts()).0));
    world.pass(3_000);
    assert!(by_fault(world.look(state).0));
}

#[test]
fn a_control_state_that_went_back_means_no_takeover_and_fences_the_holder() {
    let (mut world, state) = serving();
    world.view().went_back = Some(Reason::new("control-state-went-back", "restored"));
    assert!(matches!(world.look(state).0, State::SteppingDown(_)));
    let mut world = World::following();
    world.pass(6_000);
    world.detached(position(1, 1000));
    world.bid_of(2, position(1, 1000));
    world.bid_of(3, position(1, 1000));
    world.view().went_back = Some(Reason::new("control-state-went-back", "restored"));
    assert_eq!(world.look(world.confirmed()).1, []);
}
