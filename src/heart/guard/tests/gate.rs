//! The port gate.

use super::super::super::protocol::PostgresStop;
use super::super::gate::{GATE_LOOK, GATE_PATIENCE, GATE_REFRESH, GatePlan, Passage, Sessions};
use super::*;
use leaderl_decision::model::Door;
use proptest::prelude::*;

impl World {
    fn door(&mut self, epoch: u64, door: Door) -> Result<(), String> {
        self.order(HeartOrder::SetDoor { epoch: Epoch(epoch), door })
    }

    /// PostgreSQL ends and is reaped.
    fn gone(&mut self) -> Vec<Effect> {
        self.step(Event::Reaped { pid: POSTMASTER, exit_code: Some(0) });
        self.step(Event::Census { postgres: 0, tool: 0 })
    }

    fn plan(&self) -> GatePlan {
        self.guard.gate.ordered().clone().unwrap_or_default()
    }
}

/// The orders to the gate among the effects: members, clients, and whose sessions end first.
fn set(effects: &[Effect]) -> Vec<(Passage, Passage, Option<Sessions>)> {
    let order = |it: &Effect| match it {
        Effect::SetGate { plan, ends, .. } => Some((plan.member_passage, plan.client_passage, *ends)),
        Effect::CloseGate => Some((Passage::Shut, Passage::Shut, None)),
        _ => None,
    };
    effects.iter().filter_map(order).collect()
}

use Passage::{Ending, Free, Shut, Until};

#[test]
fn it_begins_shut_to_everybody_and_members_wait_until_nothing_of_an_earlier_heart_is_left() {
    let mut guard = Guard::new(1, at(1000), None);
    assert_eq!(set(&guard.step(Event::Tick, at(1000))), [(Shut, Shut, None)]);
    assert_eq!(set(&guard.step(Event::Census { postgres: 2, tool: 0 }, at(1000))), []);
    let effects = guard.step(Event::Census { postgres: 0, tool: 0 }, at(1000));
    assert_eq!(set(&effects), [(Free, Shut, Some(Sessions::Everybodys))]);
}

#[test]
fn the_epochs_life_from_arming_to_the_standby_after_it() {
    let mut world = World::new();
    world.start_postgres();
    let deadline = world.now.plus(4 * S);
    let arm = HeartOrder::Arm { lease: lease(7, "a", 1, world.now, deadline) };
    let effects = world.request(CONNECTION, DAEMON, arm).0;
    assert_eq!(set(&effects), [(Until(deadline), Shut, None)], "members are bounded before anything is promoted");
    let open = HeartOrder::SetDoor { epoch: Epoch(7), door: Door::Open };
    let effects = world.request(CONNECTION, DAEMON, open.clone()).0;
    assert_eq!(set(&effects), [(Until(deadline), Until(deadline), Some(Sessions::Clients))]);
    assert_eq!(world.guard.view().gate.open_for, Some(Epoch(7)));
    assert_eq!(set(&world.request(CONNECTION, DAEMON, open).0), [], "a repeated order costs nothing");
    assert_eq!(world.door(7, Door::Ending), Ok(()));
    assert_eq!(world.plan().client_passage, Ending(deadline));
    assert_eq!(world.door(7, Door::Shut), Ok(()));
    assert_eq!((world.plan().member_passage, world.plan().client_passage), (Until(deadline), Shut));
    assert_eq!(set(&world.gone()), [], "armed until the daemon has let go");
    let effects = world.request(CONNECTION, DAEMON, HeartOrder::Disarm { epoch: Epoch(7) }).0;
    assert_eq!(set(&effects), [(Free, Shut, Some(Sessions::Everybodys))]);
}

#[test]
fn after_the_deadline_nobody_passes_until_every_process_is_reaped() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    let effects = world.tick(ms(3500));
    assert_eq!(effects[0], Effect::CloseGate, "before anything else");
    assert_eq!(set(&effects), [(Shut, Shut, None)], "once is enough");
    assert_eq!(world.guard.view().gate.open_for, None);
    assert_eq!(set(&world.tick(ms(300))), [(Shut, Shut, None)], "asserted again, in case somebody flushed it");
    assert_eq!(set(&world.step(Event::Reaped { pid: POSTMASTER, exit_code: None })), []);
    assert_eq!(set(&world.step(Event::Census { postgres: 1, tool: 0 })), []);
    assert_eq!(
        set(&world.step(Event::Census { postgres: 0, tool: 0 })),
        [(Free, Shut, Some(Sessions::Everybodys))],
        "what waits in dead sockets is thrown away before members may pass"
    );
}

#[test]
fn it_opens_again_only_under_a_newer_epoch() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    world.door(7, Door::Ending).expect("ending");
    refused(world.door(7, Door::Open), "shut for epoch 7");
    world.door(7, Door::Shut).expect("shut");
    assert_eq!(world.door(7, Door::Ending), Ok(()), "late, and of no effect");
    assert_eq!(world.plan().client_passage, Shut);
    assert_eq!(world.guard.view().gate.closed_for, Some(Epoch(7)));
    let fence_at = world.now.plus(4 * S);
    world.order(HeartOrder::Arm { lease: lease(8, "b", 1, world.now, fence_at) }).expect("armed");
    assert_eq!(world.plan().client_passage, Shut, "not by arming alone");
    assert_eq!(world.guard.view().gate.closed_for, None);
    refused(world.door(7, Door::Open), "armed for epoch 8");
    refused(world.door(7, Door::Shut), "armed for epoch 8");
    let open = HeartOrder::SetDoor { epoch: Epoch(8), door: Door::Open };
    let effects = world.request(CONNECTION, DAEMON, open).0;
    assert_eq!(set(&effects), [(Until(fence_at), Until(fence_at), Some(Sessions::Clients))]);
}

#[test]
fn doors_that_are_refused() {
    let mut world = World::new();
    refused(world.door(7, Door::Open), "not armed");
    assert_eq!(world.door(7, Door::Shut), Ok(()), "what is not armed is shut");
    world.lead();
    refused(world.door(6, Door::Open), "armed for epoch 7");
    refused(world.door(8, Door::Open), "armed for epoch 7");
    world.step(Event::Terminate);
    refused(world.door(7, Door::Open), "ending");
    assert_eq!(world.door(7, Door::Shut), Ok(()));
    world.tick(ms(3500));
    refused(world.door(7, Door::Open), "");
}

#[test]
fn the_deadline_is_renewed_every_200_ms_and_the_idle_gate_is_looked_at() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    let renewed = lease(7, "a", 2, world.now, world.now.plus(5 * S));
    let deadline = renewed.fence_at;
    assert_eq!(set(&world.request(CONNECTION, DAEMON, HeartOrder::Renewed { lease: renewed }).0), []);
    assert_eq!(set(&world.tick(GATE_REFRESH - ms(1))), []);
    assert_eq!(set(&world.tick(ms(1))), [(Until(deadline), Until(deadline), None)]);
    let mut idle = World::new();
    assert_eq!(set(&idle.tick(GATE_LOOK)), [(Free, Shut, None)]);
    assert_eq!(idle.guard.next_wake(), Some(idle.now.plus(GATE_LOOK)));
}

#[test]
fn a_refresh_that_returns_after_the_deadline_is_followed_by_the_fence() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    let plan = world.plan();
    world.now = world.now.plus(5 * S);
    let late = Event::GateSet { plan, ends: None, asked: None, failed: None };
    let effects = world.guard.step(late, world.now);
    assert_eq!(effects[..2], [Effect::CloseGate, QUIT]);
    assert_eq!(world.guard.view().gate.open_for, None);
}

#[test]
fn an_opening_that_returns_after_the_deadline_is_refused() {
    let mut world = World::leading();
    let asked = Asker { connection: CONNECTION, id: 77 };
    let plan = GatePlan { epoch: Some(Epoch(7)), client_passage: Until(at(5000)), ..world.plan() };
    world.now = world.now.plus(5 * S);
    let late = Event::GateSet { plan, ends: Some(Sessions::Clients), asked: Some(asked), failed: None };
    let effects = world.guard.step(late, world.now);
    assert!(
        effects.contains(&Effect::Reply { to: asked, refused: Some("fenced meanwhile".to_owned()) }),
        "{effects:?}"
    );
}

#[test]
fn without_the_gate_nothing_counts_as_armed_but_the_deadline_runs() {
    let mut world = World::new();
    world.start_postgres();
    world.gate_fails = Some("no table".to_owned());
    let arm = HeartOrder::Arm { lease: lease(7, "a", 1, world.now, world.now.plus(4 * S)) };
    refused(world.order(arm.clone()), "no port gate: no table");
    assert_eq!(world.guard.view().armed, None);
    refused(world.door(7, Door::Open), "no table");
    assert_eq!(world.guard.view().gate.open_for, None);
    assert!(acts(&world.tick(ms(3500))).contains(&QUIT));
    world.gate_fails = None;
    world.gone();
    let arm = HeartOrder::Arm { lease: lease(8, "a", 1, world.now, world.now.plus(4 * S)) };
    assert_eq!(world.order(arm), Ok(()));
    assert!(world.guard.view().armed.is_some());
}

#[test]
fn a_gate_that_stays_away_is_reported_after_a_second_and_forgotten_when_it_is_back() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    world.gate_fails = Some("busy".to_owned());
    world.tick(GATE_REFRESH);
    assert_eq!(world.guard.view().gate.failure, None, "once is no reason to step down");
    assert_eq!(world.guard.view().gate.open_for, Some(Epoch(7)));
    world.tick(GATE_PATIENCE);
    assert_eq!(world.guard.view().gate.failure.as_deref(), Some("busy"));
    world.gate_fails = None;
    world.tick(GATE_REFRESH);
    assert_eq!(world.guard.view().gate.failure, None);
}

#[test]
fn sockets_that_could_not_be_destroyed_keep_members_out_of_nothing_but_are_tried_again() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    world.tick(ms(3500));
    world.gate_fails = Some("busy".to_owned());
    assert_eq!(set(&world.gone()), [(Free, Shut, Some(Sessions::Everybodys))]);
    world.gate_fails = None;
    assert_eq!(set(&world.tick(GATE_LOOK)), [(Free, Shut, Some(Sessions::Everybodys))]);
    assert_eq!(set(&world.tick(GATE_LOOK)), [(Free, Shut, None)]);
}

#[test]
fn the_members_are_kept_for_the_next_daemon_and_bounded_in_number() {
    let mut world = World::new();
    let members: Vec<std::net::IpAddr> = vec![Ipv4Addr::new(10, 0, 0, 2).into()];
    assert_eq!(world.order(HeartOrder::SetMembers { members: members.clone() }), Ok(()));
    world.step(Event::DaemonEnded);
    assert_eq!(
        (world.guard.view().gate.members, world.plan().members),
        (members, vec![Ipv4Addr::new(10, 0, 0, 2).into()])
    );
    let many = vec![Ipv4Addr::LOCALHOST.into(); 65];
    let mut world = World::new();
    refused(world.order(HeartOrder::SetMembers { members: many }), "more than");
}

#[test]
fn another_daemon_finds_the_gate_as_it_was() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    let adopted = lease(7, "b", 5, world.now, world.now.plus(4 * S));
    assert_eq!(world.order(HeartOrder::Arm { lease: adopted }), Ok(()));
    assert_eq!(world.guard.view().gate.open_for, Some(Epoch(7)));
}

#[test]
fn switched_off_it_is_never_touched_and_says_so() {
    let mut world = World::with(Some("switched off"));
    world.lead();
    assert_eq!(world.door(7, Door::Open), Ok(()));
    let gate = world.guard.view().gate;
    assert_eq!((gate.off.as_deref(), gate.open_for), (Some("switched off"), Some(Epoch(7))));
    assert_eq!(set(&world.tick(ms(300))), []);
    assert_eq!(world.door(7, Door::Ending), Ok(()));
    refused(world.door(7, Door::Open), "shut for epoch 7");
}

#[test]
fn told_to_end_it_leaves_the_gate_shut() {
    let mut world = World::leading();
    world.door(7, Door::Open).expect("open");
    world.step(Event::Terminate);
    let effects = world.gone();
    assert_eq!(set(&effects).last(), Some(&(Shut, Shut, None)));
    assert!(effects.contains(&Effect::Exit));
}

#[derive(Clone, Debug)]
enum Move {
    Wait(u64),
    Arm(u64),
    Renew,
    Door(u64, Door),
    Start,
    Stop,
    Postmaster,
    Census(u32),
    Disarm,
    GateFails(bool),
    Freeze(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0..600u64).prop_map(Move::Wait),
        (1..5u64).prop_map(Move::Arm),
        Just(Move::Renew),
        (1..5u64, prop_oneof![Just(Door::Open), Just(Door::Ending), Just(Door::Shut)])
            .prop_map(|(epoch, door)| Move::Door(epoch, door)),
        Just(Move::Start),
        Just(Move::Stop),
        Just(Move::Postmaster),
        (0..3u32).prop_map(Move::Census),
        Just(Move::Disarm),
        any::<bool>().prop_map(Move::GateFails),
        (0..6000u64).prop_map(Move::Freeze),
    ]
}

impl World {
    fn make(&mut self, one: Move) -> Vec<Effect> {
        let now = self.now;
        let armed = self.guard.armed.as_ref().map_or(Epoch(1), |lease| lease.epoch);
        let a_lease = |epoch| lease(epoch, "n", now.0, now, now.plus(3 * S));
        let order = match one {
            Move::Wait(after) => return self.tick(ms(after)),
            Move::Freeze(after) => {
                self.now = now.plus(ms(after));
                return Vec::new();
            }
            Move::Start => {
                if self.guard.postgres_gone() {
                    self.start_postgres();
                }
                return Vec::new();
            }
            Move::Postmaster => return self.step(Event::Reaped { pid: POSTMASTER, exit_code: None }),
            Move::Census(left) => {
                let left = if self.guard.postmaster_pid().is_some() { left + 1 } else { left };
                return self.step(Event::Census { postgres: left, tool: 0 });
            }
            Move::GateFails(so) => {
                self.gate_fails = so.then(|| "refused".to_owned());
                return Vec::new();
            }
            Move::Arm(epoch) => HeartOrder::Arm { lease: a_lease(epoch) },
            Move::Renew => HeartOrder::Renewed { lease: a_lease(armed.0) },
            Move::Door(epoch, door) => HeartOrder::SetDoor { epoch: Epoch(epoch), door },
            Move::Stop => {
                HeartOrder::StopPostgres { stop: PostgresStop { mode: StopMode::Fast, kill_at: now.plus(S) } }
            }
            Move::Disarm => HeartOrder::Disarm { epoch: armed },
        };
        self.request(CONNECTION, DAEMON, order).0
    }
}

/// The kernel's gate, as the last order that it took left it.
#[derive(Default)]
struct Kernel {
    plan: GatePlan,
    /// Epochs for which clients' older sessions were ended.
    ended: Vec<Option<Epoch>>,
}

impl Kernel {
    /// Whether there was anything to take.
    fn take(&mut self, effects: &[Effect]) -> bool {
        for effect in effects {
            match effect {
                Effect::CloseGate => self.plan = GatePlan::default(),
                Effect::SetGate { plan, ends, .. } => {
                    self.ended.extend(ends.map(|_| plan.epoch));
                    self.plan = plan.clone();
                }
                _ => {}
            }
        }
        !set(effects).is_empty()
    }

    fn lets_clients_pass(&self, now: Timestamp) -> bool {
        match self.plan.client_passage {
            Shut => false,
            Ending(until) | Until(until) => now < until,
            Free => true,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: clients pass only under an epoch whose older sessions were ended, before its last
    /// deadline; when the kernel obeys, only under the newest; and members are bounded whenever anything counts as armed.
    #[test]
    fn nobody_passes_without_the_present_epoch_and_a_live_deadline(moves in prop::collection::vec(moves(), 1..60)) {
        let mut world = World::new();
        let mut kernel = Kernel::default();
        let mut deadlines = std::collections::BTreeMap::new();
        for one in moves {
            let effects = world.make(one);
            deadlines.extend(world.guard.armed.iter().map(|armed| (armed.epoch, armed.fence_at)));
            let took = world.gate_fails.is_none() && kernel.take(&effects);
            if kernel.lets_clients_pass(world.now) {
                let epoch = kernel.plan.epoch.expect("clients pass under an epoch");
                prop_assert!(world.now < deadlines[&epoch], "clients pass after the deadline of {epoch}");
                prop_assert!(kernel.ended.contains(&Some(epoch)), "older sessions of {epoch} live");
                let newest = world.guard.view().armed.is_some_and(|armed| armed.epoch == epoch);
                prop_assert!(newest || !took, "clients pass under {epoch}, which is not armed");
            }
            if world.guard.view().armed.is_some() {
                prop_assert!(kernel.plan.member_passage != Free, "members pass without a limit although armed");
            }
        }
    }
}
