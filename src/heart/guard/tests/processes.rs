//! PostgreSQL, its tools and the daemon.

use super::super::super::protocol::PostgresStop;
use super::*;

#[test]
fn when_the_postmaster_ends_everything_left_is_killed_at_once() {
    let mut world = World::leading();
    let effects = world.step(Event::Reaped { pid: POSTMASTER, exit_code: Some(1) });
    assert_eq!(effects[..2], [Effect::KillPostgres, Effect::Push]);
    assert!(world.guard.wants_census(world.now));
}

#[test]
fn a_fast_stop_escalates_at_its_time_and_a_repeated_one_signals_once() {
    let mut world = World::leading();
    let stop = |mode, kill_at| HeartOrder::StopPostgres { stop: PostgresStop { mode, kill_at } };
    let kill_at = world.now.plus(ms(300));
    assert_eq!(acts(&world.request(CONNECTION, DAEMON, stop(StopMode::Fast, kill_at)).0)[0], FAST);
    let repeated = world.request(CONNECTION, DAEMON, stop(StopMode::Fast, kill_at.plus(S))).0;
    assert!(!repeated.contains(&FAST));
    assert_eq!(acts(&world.request(CONNECTION, DAEMON, stop(StopMode::Immediate, kill_at)).0)[0], QUIT);
    assert_eq!(acts(&world.tick(ms(299))), []);
    assert_eq!(acts(&world.tick(ms(1))), [Effect::KillPostgres]);
}

#[test]
fn the_postmaster_starts_only_when_nothing_is_left() {
    let mut world = World::new();
    let (effects, answer) = {
        world.step(Event::Census { postgres: 2, tool: 0 });
        world.request(CONNECTION, DAEMON, HeartOrder::StartPostgres { start: start() })
    };
    assert_eq!(acts(&effects).len(), 1);
    refused(answer.expect("an answer"), "left");
    world.step(Event::Census { postgres: 0, tool: 0 });
    world.start_postgres();
    assert_eq!(world.guard.view().postgres, PostgresProcess::Running { pid: POSTMASTER, start: 1 });
    refused(world.order(HeartOrder::StartPostgres { start: start() }), "runs already");
}

#[test]
fn before_the_first_census_postgresql_is_not_gone() {
    assert_eq!(Guard::new(1, at(1), None).view().postgres, PostgresProcess::Ending { left: 0 });
}

#[test]
fn a_tool_excludes_postgresql_but_for_a_base_backup() {
    let mut world = World::new();
    world.start_postgres();
    refused(world.start_tool("pg_rewind"), "not gone");
    assert_eq!(world.start_tool("pg_basebackup"), Ok(()));
    refused(world.start_tool("pg_basebackup"), "runs already");
    let mut world = World::new();
    assert_eq!(world.start_tool("initdb"), Ok(()));
    refused(world.order(HeartOrder::StartPostgres { start: start() }), "a tool works");
}

#[test]
fn a_tools_outcome_waits_for_its_descendants() {
    let mut world = World::new();
    world.start_tool("initdb").expect("started");
    world.step(Event::Reaped { pid: TOOL, exit_code: Some(3) });
    assert_eq!(world.guard.view().tool_running, Some(9));
    assert_eq!(acts(&world.step(Event::Census { postgres: 0, tool: 1 })), [Effect::KillTool]);
    world.step(Event::Census { postgres: 0, tool: 0 });
    let state = world.guard.view();
    assert_eq!((state.tool_running, state.tool_finished), (None, Some(ToolOutcome { id: 9, exit_code: Some(3) })));
}

#[test]
fn cancelling_answers_when_the_tool_and_its_descendants_are_gone() {
    let mut world = World::new();
    assert_eq!(world.order(HeartOrder::CancelTool), Ok(()), "nothing to cancel");
    world.start_tool("initdb").expect("started");
    let (effects, answer) = world.request(CONNECTION, DAEMON, HeartOrder::CancelTool);
    assert_eq!((acts(&effects), answer), (vec![Effect::KillTool], None));
    world.step(Event::Reaped { pid: TOOL, exit_code: None });
    let effects = world.step(Event::Census { postgres: 0, tool: 0 });
    assert!(matches!(effects.as_slice(), [Effect::Push, Effect::Reply { refused: None, .. }]), "{effects:?}");
}

#[test]
fn a_second_daemon_is_answered_only_after_the_first_and_its_tool_are_dead() {
    let mut world = World::new();
    world.start_tool("initdb").expect("started");
    let (effects, answer) = world.request(2, 101, attach());
    assert_eq!(acts(&effects), [Effect::CloseConnection(1), Effect::KillDaemon, Effect::KillTool]);
    assert_eq!(answer, None);
    refused(world.order(HeartOrder::ReleaseVips), "not attached");
    world.step(Event::DaemonEnded);
    world.step(Event::Reaped { pid: TOOL, exit_code: None });
    let effects = world.step(Event::Census { postgres: 0, tool: 0 });
    assert!(
        matches!(effects.as_slice(), [Effect::Adopt(2), Effect::Push, Effect::Reply { refused: None, .. }]),
        "{effects:?}"
    );
    assert_eq!(world.guard.attached(), Some(2));
}

/// What the test above would not forgive: no simulated node has two daemons, so this bug is seen here.
#[test]
fn with_the_bug_planted_the_first_daemon_lives_on() {
    let _planted = leaderl_decision::planted::Planted::TwoDaemons.plant();
    let mut world = World::new();
    let (effects, answer) = world.request(2, 101, attach());
    assert!(!acts(&effects).contains(&Effect::KillDaemon), "{effects:?}");
    assert_eq!((answer, world.guard.attached()), (Some(Ok(())), Some(2)));
}

#[test]
fn a_disconnected_daemon_that_lives_on_is_still_killed_before_the_next() {
    let mut world = World::new();
    world.step(Event::Disconnected { connection: CONNECTION });
    let (effects, answer) = world.request(2, 101, attach());
    assert_eq!((acts(&effects), answer), (vec![Effect::KillDaemon], None));
}

#[test]
fn the_same_process_may_attach_again() {
    let mut world = World::new();
    let (effects, answer) = world.request(2, DAEMON, attach());
    assert_eq!(acts(&effects)[..2], [Effect::CloseConnection(1), Effect::Adopt(2)]);
    assert_eq!(answer, Some(Ok(())));
}

#[test]
fn the_state_is_sent_before_the_answer_that_speaks_of_it() {
    let mut world = World::new();
    let arm = HeartOrder::Arm { lease: lease(7, "a", 1, world.now, world.now.plus(4 * S)) };
    let mut effects = world.request(CONNECTION, DAEMON, arm).0;
    effects.retain(|it| !matches!(it, Effect::SetGate { .. }));
    assert!(matches!(effects.as_slice(), [Effect::Push, Effect::Reply { .. }]), "{effects:?}");
}
