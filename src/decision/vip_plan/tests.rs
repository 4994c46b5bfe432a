use super::*;
use proptest::prelude::*;

fn vip(last: u8, interface: &str) -> Vip {
    Vip { ip: IpAddr::from([10, 0, 0, last]), prefix: 32, interface: interface.to_owned() }
}

fn set(vips: &[Vip]) -> BTreeSet<Vip> {
    vips.iter().cloned().collect()
}

fn at_ms(ms: u64) -> Timestamp {
    Timestamp(1_000_000_000_000 + ms * 1_000_000)
}

const HERE: VipWish = VipWish::Here { epoch: Epoch(7) };

#[test]
fn undecided_changes_nothing_that_anybody_may_keep() {
    let facts = VipFacts {
        configured: set(&[vip(1, "eth0")]),
        bound: set(&[vip(1, "eth0"), vip(1, "eth1")]),
        guarded: set(&[vip(1, "eth0")]),
        ..VipFacts::default()
    };
    assert_eq!(plan(VipWish::Undecided, &facts), []);
}

#[test]
fn undecided_removes_a_copy_that_nobody_keeps() {
    let facts = VipFacts {
        configured: set(&[vip(1, "eth0")]),
        bound: set(&[vip(1, "eth0"), vip(1, "eth1")]),
        nobody_keeps: true,
        ..VipFacts::default()
    };
    let removed = [vip(1, "eth0"), vip(1, "eth1")].map(VipCommand::Remove);
    assert_eq!(plan(VipWish::Undecided, &facts), removed);
}

#[test]
fn without_a_configured_vip_nothing_is_ever_bound() {
    assert_eq!(plan(HERE, &VipFacts::default()), []);
    assert_eq!(plan(VipWish::Elsewhere, &VipFacts { released: true, ..VipFacts::default() }), []);
}

#[test]
fn the_first_assignment_of_an_epoch_asks_the_neighbours_before_it_binds() {
    let facts = VipFacts { configured: set(&[vip(1, "eth0")]), ..VipFacts::default() };
    assert_eq!(
        plan(HERE, &facts),
        [VipCommand::Probe(vip(1, "eth0")), VipCommand::Assign { epoch: Epoch(7), vips: set(&[vip(1, "eth0")]) }]
    );
}

#[test]
fn a_settled_assignment_needs_nothing_more() {
    let here = set(&[vip(1, "eth0")]);
    let facts = VipFacts {
        configured: here.clone(),
        bound: here.clone(),
        guarded: here,
        nobody_keeps: false,
        assigned: Some(Epoch(7)),
        probed: Some(Epoch(7)),
        released: false,
    };
    assert_eq!(plan(HERE, &facts), []);
    assert_eq!(plan(VipWish::Here { epoch: Epoch(8) }, &facts).len(), 2, "a new epoch is ordered anew");
}

#[test]
fn while_serving_a_copy_on_another_interface_is_removed() {
    let here = set(&[vip(1, "eth0")]);
    let facts = VipFacts {
        configured: here.clone(),
        bound: set(&[vip(1, "eth0"), vip(1, "lo")]),
        guarded: here,
        nobody_keeps: false,
        assigned: Some(Epoch(7)),
        probed: Some(Epoch(7)),
        released: false,
    };
    assert_eq!(plan(HERE, &facts), [VipCommand::Remove(vip(1, "lo"))]);
}

#[test]
fn release_goes_through_heart_first_and_sweeps_every_copy_even_if_heart_is_dead() {
    let facts = VipFacts {
        configured: set(&[vip(1, "eth0")]),
        bound: set(&[vip(1, "eth0"), vip(1, "eth1")]),
        ..VipFacts::default()
    };
    assert_eq!(
        plan(VipWish::Elsewhere, &facts),
        [VipCommand::Release, VipCommand::Remove(vip(1, "eth0")), VipCommand::Remove(vip(1, "eth1"))]
    );
}

#[test]
fn an_announcement_burst_is_followed_by_one_every_thirty_seconds() {
    let (mut announcing, mut sent) = (Announcing::default(), Vec::new());
    for ms in (0..100_000).step_by(50) {
        let (next, now) = announcing.step(set(&[vip(1, "eth0")]), false, at_ms(ms));
        announcing = next;
        if now {
            sent.push(ms);
        }
    }
    assert_eq!(sent, [0, 100, 300, 1_000, 5_000, 35_000, 65_000, 95_000]);
}

#[test]
fn an_address_that_went_and_came_back_is_announced_again_at_once() {
    let here = set(&[vip(1, "eth0")]);
    let (announcing, _) = Announcing::default().step(here.clone(), false, at_ms(0));
    let (announcing, now) = announcing.step(BTreeSet::new(), false, at_ms(10_000));
    assert!(!now, "what is not held is never announced");
    assert_eq!(announcing.next_at(), None);
    let (announcing, now) = announcing.step(here, false, at_ms(10_200));
    assert!(now);
    assert_eq!(announcing.next_at(), Some(at_ms(10_300)));
}

#[test]
fn an_address_lost_between_two_steps_is_announced_again_too() {
    let here = set(&[vip(1, "eth0")]);
    let (mut announcing, _) = Announcing::default().step(here.clone(), false, at_ms(0));
    announcing.forget_lost(&BTreeSet::new());
    assert!(announcing.step(here, false, at_ms(20)).1);
}

#[test]
fn a_foreign_claim_starts_a_new_burst_at_most_once_a_second() {
    let here = set(&[vip(1, "eth0")]);
    let (announcing, _) = Announcing::default().step(here.clone(), false, at_ms(0));
    let (announcing, now) = announcing.step(here.clone(), true, at_ms(50));
    assert!(!now);
    let (_, now) = announcing.step(here, true, at_ms(7_000));
    assert!(now);
}

#[test]
fn entries_of_the_settings_are_read_or_refused() {
    assert_eq!(parse_vip("10.0.0.100"), Ok(("10.0.0.100".parse().unwrap(), 32)));
    assert_eq!(parse_vip(" 10.0.0.100/24 "), Ok(("10.0.0.100".parse().unwrap(), 24)));
    assert_eq!(parse_vip("fd00::100"), Ok(("fd00::100".parse().unwrap(), 128)));
    for bad in
        ["", "eth0", "10.0.0.1/33", "10.0.0.1/0", "fd00::1/129", "0.0.0.0", "127.0.0.1", "224.0.0.1", "10.0.0.1/x"]
    {
        assert_eq!(parse_vip(bad), Err(BadVip(bad.to_owned())));
    }
}

/// Carries a command out in the facts, as heart and the kernel would.
fn apply(facts: &mut VipFacts, command: VipCommand, epoch: Epoch) {
    match command {
        VipCommand::Probe(_) => facts.probed = Some(epoch),
        VipCommand::Assign { epoch, vips } => {
            facts.bound.extend(vips.iter().cloned());
            facts.guarded = vips;
            facts.assigned = Some(epoch);
        }
        VipCommand::Release => {
            let guarded = std::mem::take(&mut facts.guarded);
            facts.bound.retain(|vip| !guarded.contains(vip));
            facts.assigned = None;
            facts.released = true;
        }
        VipCommand::Remove(vip) => {
            facts.bound.remove(&vip);
        }
    }
}

fn some_vips() -> impl Strategy<Value = BTreeSet<Vip>> {
    let one = (1u8..4, prop::sample::select(vec!["eth0", "eth1", "lo"])).prop_map(|(last, name)| vip(last, name));
    prop::collection::btree_set(one, 0..5)
}

proptest! {
    /// Cut the plan after any command, plan again, and the end is the same: exactly the configured addresses, or none.
    #[test]
    fn every_cut_of_a_plan_ends_at_the_same_place(
        configured in some_vips(), bound in some_vips(), guarded in some_vips(),
        here in any::<bool>(), cuts in prop::collection::vec(0usize..4, 0..4),
    ) {
        let wish = if here { HERE } else { VipWish::Elsewhere };
        let mut facts = VipFacts { configured, bound, guarded, ..VipFacts::default() };
        for cut in cuts {
            for command in plan(wish, &facts).into_iter().take(cut) {
                apply(&mut facts, command, Epoch(7));
            }
        }
        // heart adds, then this actor removes: the second round sees what the first one's removals left.
        for _ in 0..2 {
            for command in plan(wish, &facts) {
                apply(&mut facts, command, Epoch(7));
            }
        }
        let expected = if here { facts.configured.clone() } else { BTreeSet::new() };
        prop_assert_eq!(&facts.bound, &expected);
        prop_assert_eq!(&facts.guarded, &expected);
        prop_assert_eq!(plan(wish, &facts), []);
    }
}
