//! Deadlines, leases and the VIP.

use super::super::super::protocol::PostgresStop;
use super::super::orders::vip_lifetime;
use super::*;

#[test]
fn the_fence_acts_half_a_second_before_the_deadline_and_kills_300_ms_later() {
    let mut world = World::leading();
    assert_eq!(acts(&world.tick(ms(3499))), []);
    assert_eq!(acts(&world.tick(ms(1))), [Effect::CloseGate, QUIT, Effect::RemoveVips(vec![vip()])]);
    let state = world.guard.view();
    assert_eq!((state.armed, state.fenced, state.vips), (None, Some(Epoch(7)), vec![]));
    assert_eq!(acts(&world.tick(ms(299))), []);
    assert_eq!(acts(&world.tick(ms(1))), [Effect::KillPostgres]);
    assert_eq!(world.step(Event::Census { postgres: 3, tool: 0 })[0], Effect::KillPostgres, "again until none is left");
    world.step(Event::Reaped { pid: POSTMASTER, exit_code: None });
    assert_ne!(world.guard.view().postgres, PostgresProcess::Gone, "the postmaster's end is not enough");
    world.step(Event::Census { postgres: 1, tool: 0 });
    assert_eq!(world.guard.view().postgres, PostgresProcess::Ending { left: 1 });
    world.step(Event::Census { postgres: 0, tool: 0 });
    assert_eq!(world.guard.view().postgres, PostgresProcess::Gone);
}

#[test]
fn a_guardian_that_was_frozen_past_the_deadline_kills_at_once_and_before_it_reads_a_renewal() {
    let mut world = World::leading();
    world.now = world.now.plus(10 * S);
    let fresh = lease(7, "a", 2, world.now, world.now.plus(4 * S));
    let (effects, answer) = world.request(CONNECTION, DAEMON, HeartOrder::Renewed { lease: fresh });
    assert_eq!(acts(&effects)[..4], [Effect::CloseGate, QUIT, Effect::RemoveVips(vec![vip()]), Effect::KillPostgres]);
    refused(answer.expect("an answer"), "epoch 7 is fenced");
}

#[test]
fn a_renewal_moves_the_deadline() {
    let mut world = World::leading();
    for seq in 2..20 {
        world.tick(ms(500));
        let renewal = lease(7, "a", seq, world.now, world.now.plus(4 * S));
        assert_eq!(world.order(HeartOrder::Renewed { lease: renewal }), Ok(()));
    }
    assert_eq!(world.guard.view().fenced, None);
    assert_eq!(acts(&world.tick(ms(3499))), []);
    assert_eq!(acts(&world.tick(ms(1))).len(), 3);
}

#[test]
fn the_daemons_end_changes_nothing_but_the_deadline_runs_on() {
    let mut world = World::leading();
    assert_eq!(acts(&world.step(Event::Disconnected { connection: CONNECTION })), []);
    assert_eq!(acts(&world.step(Event::DaemonEnded)), []);
    assert_eq!(acts(&world.tick(ms(3500))).len(), 3);
}

#[test]
fn leases_that_are_refused() {
    let mut world = World::leading();
    let now = world.now;
    let later = now.plus(5 * S);
    let table = [
        (lease(7, "b", 2, now, later), "another nonce"),
        (lease(8, "a", 2, now, later), "armed for epoch 7, not 8"),
        (lease(6, "a", 2, now, later), "armed for epoch 7, not 6"),
        (lease(7, "a", 0, now, later), "older"),
        (lease(7, "a", 2, now, now.plus(3 * S)), "older"),
        (lease(7, "a", 2, at(0), now), "passed"),
        (lease(7, "a", 2, at(0), now.minus(S)), "passed"),
        (lease(7, "a", 2, at(0), now.plus(ms(500))), "too near"),
        (lease(7, "a", 2, now.plus(S), later), "clock"),
    ];
    for (lease, why) in table {
        refused(world.order(HeartOrder::Renewed { lease }), why);
    }
    refused(world.order(HeartOrder::Arm { lease: lease(6, "c", 1, now, later) }), "older than 7");
    world.tick(ms(3500));
    for epoch in [6, 7] {
        let late = lease(epoch, "d", 1, world.now, world.now.plus(5 * S));
        refused(world.order(HeartOrder::Arm { lease: late }), "fenced");
    }
}

#[test]
fn another_daemon_adopts_the_epoch_with_a_nonce_of_its_own() {
    let mut world = World::leading();
    let adopted = lease(7, "b", 5, world.now, world.now.plus(4 * S));
    assert_eq!(world.order(HeartOrder::Arm { lease: adopted.clone() }), Ok(()));
    assert_eq!(world.guard.view().vips, [vip()], "adoption leaves the VIP");
    let old = lease(7, "a", 6, world.now, world.now.plus(5 * S));
    refused(world.order(HeartOrder::Renewed { lease: old }), "another nonce");
    assert_eq!(world.guard.view().armed, Some(adopted));
}

#[test]
fn a_newer_epoch_takes_the_older_ones_vip_away() {
    let mut world = World::leading();
    let lease = lease(8, "b", 1, world.now, world.now.plus(4 * S));
    let (effects, answer) = world.request(CONNECTION, DAEMON, HeartOrder::Arm { lease });
    assert_eq!((effects[0].clone(), answer), (Effect::RemoveVips(vec![vip()]), Some(Ok(()))));
    refused(world.assign(7), "armed for epoch 8");
}

#[test]
fn an_armed_node_without_postgresql_is_fenced_at_the_deadline_itself() {
    let mut world = World::new();
    world.order(HeartOrder::Arm { lease: lease(7, "a", 1, world.now, world.now.plus(4 * S)) }).expect("armed");
    assert_eq!(acts(&world.tick(ms(3999))), []);
    assert_eq!(acts(&world.tick(ms(1))), [Effect::CloseGate]);
    assert_eq!(world.guard.view().fenced, Some(Epoch(7)));
}

#[test]
fn disarming_waits_for_postgresql_and_takes_the_vip() {
    let mut world = World::leading();
    refused(world.order(HeartOrder::Disarm { epoch: Epoch(7) }), "not gone");
    world.step(Event::Reaped { pid: POSTMASTER, exit_code: Some(0) });
    refused(world.order(HeartOrder::Disarm { epoch: Epoch(7) }), "not gone");
    world.step(Event::Census { postgres: 0, tool: 0 });
    refused(world.order(HeartOrder::Disarm { epoch: Epoch(6) }), "armed for epoch 7");
    let (effects, answer) = world.request(CONNECTION, DAEMON, HeartOrder::Disarm { epoch: Epoch(7) });
    assert_eq!((effects[0].clone(), answer), (Effect::RemoveVips(vec![vip()]), Some(Ok(()))));
    assert_eq!(world.order(HeartOrder::Disarm { epoch: Epoch(7) }), Ok(()), "may be repeated");
}

#[test]
fn a_fence_during_a_fast_stop_quits_and_kills_by_its_own_times() {
    let mut world = World::leading();
    let stop = PostgresStop { mode: StopMode::Fast, kill_at: world.now.plus(60 * S) };
    world.order(HeartOrder::StopPostgres { stop }).expect("begun");
    assert!(acts(&world.tick(ms(3500))).contains(&QUIT));
    assert_eq!(acts(&world.tick(ms(300))), [Effect::KillPostgres]);
}

#[test]
fn the_vip_needs_an_armed_epoch_with_more_than_a_second_left() {
    let mut world = World::new();
    refused(world.assign(7), "not armed");
    world.order(HeartOrder::Arm { lease: lease(7, "a", 1, world.now, world.now.plus(4 * S)) }).expect("armed");
    refused(world.assign(6), "not 6");
    assert_eq!(world.assign(7), Ok(()));
    world.tick(ms(3000));
    refused(world.assign(7), "too near");
}

#[test]
fn lifetimes_end_before_the_deadline_with_the_kernels_rounding() {
    for (left_ms, seconds) in
        [(4320, Some(4)), (4319, Some(3)), (3240, Some(3)), (1080, Some(1)), (1079, None), (0, None)]
    {
        assert_eq!(vip_lifetime(at(1000), at(1000 + left_ms)), seconds, "{left_ms} ms left");
    }
    assert_eq!(vip_lifetime(at(2000), at(1000)), None);
}

#[test]
fn the_vip_is_refreshed_every_200_ms_and_not_below_one_second() {
    let mut world = World::leading();
    let mut refreshes = Vec::new();
    for _ in 0..34 {
        let effects = world.tick(ms(100));
        refreshes.extend(effects.iter().filter_map(|it| match it {
            Effect::RefreshVips { valid_s, .. } => Some(*valid_s),
            _ => None,
        }));
    }
    assert_eq!(refreshes, [3, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1], "one each 200 ms until 1.08 s are left");
}

/// Simulator, seeds 18021 and 1005: a heart that stood still until the address had expired brought it back although PostgreSQL had ended.
#[test]
fn an_address_is_neither_refreshed_nor_bound_for_a_postmaster_that_has_ended() {
    let refreshes = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::RefreshVips { .. }));
    let mut world = World::leading();
    world.now = world.now.plus(ms(2500));
    let ended = world.step(Event::Reaped { pid: POSTMASTER, exit_code: Some(0) });
    assert!(!refreshes(&ended), "the news comes before the time: {ended:?}");
    world.step(Event::Census { postgres: 0, tool: 0 });
    world.start_postgres();
    refused(world.assign(7), "PostgreSQL of epoch 7 has ended");
    for _ in 0..10 {
        let effects = world.tick(ms(100));
        assert!(!refreshes(&effects), "{effects:?}");
        world.step(Event::Census { postgres: 0, tool: 0 });
        assert!(world.guard.next_wake().is_none_or(|at| at > world.now), "and nothing is done at once again and again");
    }
}

#[test]
fn a_refresh_that_returns_after_the_deadline_is_undone_at_once() {
    let mut world = World::leading();
    let refresh = Event::VipsRefreshed { asked: None, valid_s: 3, failed: None };
    world.now = world.now.plus(5 * S);
    let effects = world.guard.step(refresh, world.now);
    assert_eq!(effects[..3], [Effect::CloseGate, QUIT, Effect::RemoveVips(vec![vip()])]);
}

#[test]
fn a_refresh_that_would_outlive_the_deadline_is_shortened_or_undone() {
    let late = |after: Duration| {
        let mut world = World::leading();
        let now = world.now.plus(after);
        world.guard.timers(now);
        world.guard.effects.clear();
        let mut effects = world.guard.step(Event::VipsRefreshed { asked: None, valid_s: 3, failed: None }, now);
        effects.retain(|it| !matches!(it, Effect::SetGate { .. }));
        effects
    };
    assert!(matches!(late(ms(1500)).as_slice(), [Effect::RefreshVips { valid_s: 2, .. }]));
    assert_eq!(late(ms(3000)), [Effect::RemoveVips(vec![vip()])]);
}

#[test]
fn an_address_that_the_kernel_refuses_is_reported_and_dropped() {
    let mut world = World::new();
    world.order(HeartOrder::Arm { lease: lease(7, "a", 1, world.now, world.now.plus(4 * S)) }).expect("armed");
    let asked = Asker { connection: CONNECTION, id: 77 };
    let order = HeartOrder::AssignVips { epoch: Epoch(7), vips: vec![vip()] };
    let request = Event::Request { connection: CONNECTION, pid: DAEMON, request: HeartRequest { id: 77, order } };
    world.guard.step(request, world.now);
    let failed = Event::VipsRefreshed { asked: Some(asked), valid_s: 3, failed: Some("no eth0".to_owned()) };
    let effects = world.guard.step(failed, world.now);
    assert!(effects.contains(&Effect::Reply { to: asked, refused: Some("no eth0".to_owned()) }), "{effects:?}");
    assert_eq!(effects[0], Effect::RemoveVips(vec![vip()]));
    assert_eq!(world.guard.view().vips, []);
}

#[test]
fn told_to_end_it_stops_postgresql_then_the_vip_then_itself() {
    let mut world = World::leading();
    assert_eq!(acts(&world.step(Event::Terminate)), [FAST]);
    refused(world.assign(7), "ending");
    world.step(Event::Reaped { pid: POSTMASTER, exit_code: Some(0) });
    let effects = acts(&world.step(Event::Census { postgres: 0, tool: 0 }));
    assert_eq!(effects, [Effect::RemoveVips(vec![vip()]), Effect::Exit]);
}

#[test]
fn it_wakes_for_whatever_comes_first() {
    let mut world = World::with(Some("none in this test"));
    world.lead();
    assert_eq!(world.guard.next_wake(), Some(world.now.plus(VIP_REFRESH)));
    world.order(HeartOrder::ReleaseVips).expect("released");
    assert_eq!(world.guard.next_wake(), Some(world.now.plus(ms(3500))));
    let stop = PostgresStop { mode: StopMode::Fast, kill_at: world.now.plus(S) };
    world.order(HeartOrder::StopPostgres { stop }).expect("begun");
    world.step(Event::Census { postgres: 1, tool: 0 });
    assert_eq!(world.guard.next_wake(), Some(world.now.plus(LOOK_SELDOM)));
}
