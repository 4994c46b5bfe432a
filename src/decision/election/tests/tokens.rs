//! Rule R7: by which token a last leader's own bid is a proof.

use super::rules::settled;
use super::*;

#[test]
fn r7_a_last_leader_with_an_emptied_disk_is_no_proof() {
    let mut world = World::following();
    world.me = n(1);
    world.pass(5_001);
    world.detached(position(1, 10));
    world.bid_of(1, position(1, 10)).token = token(1, "somebody-elses");
    assert!(matches!(completeness(world.view(), Revision(30)), Completeness::Missing { .. }));
    world.bid_of(1, position(1, 10)).token = token(1, "n1-first");
    assert!(matches!(completeness(world.view(), Revision(30)), Completeness::Complete { .. }));
}

#[test]
fn r7_a_leader_that_never_promoted_is_a_proof_with_the_copy_it_took_the_epoch_with() {
    let mut world = World::following();
    world.me = n(1);
    world.pass(5_001);
    world.detached(position(1, 1000));
    world.postgres.token = token(1, "n1-first");
    world.bid_of(1, position(1, 1000)).token = token(1, "n1-first");
    let claim = claim_of(&settled(&mut world).1).unwrap().clone();
    let taken = claim.epoch;
    assert_eq!(taken.taken_with, token(1, "n1-first"));
    // It dies before the token of epoch 2 is in its PGDATA; V is empty, so that nobody else can prove anything.
    let now = world.now;
    let view = world.view();
    view.epoch = Some(seen(taken, 70, now));
    view.history.insert(Epoch(2), claim.history);
    view.voters.as_mut().unwrap().record.voters.clear();
    assert!(matches!(completeness(world.view(), Revision(30)), Completeness::Complete { .. }));
    world.bid_of(1, position(1, 999)).token = token(1, "n1-first");
    let judged = completeness(world.view(), Revision(30));
    assert!(matches!(judged, Completeness::Missing { .. }), "put back from before it took the epoch: {judged:?}");
    world.bid_of(1, position(1, 1000)).token = None;
    assert!(matches!(completeness(world.view(), Revision(30)), Completeness::Missing { .. }));
}

#[test]
fn r7_only_the_node_that_took_the_newest_epoch_keeps_the_token_that_proves_its_copy() {
    for (me, keeps_token) in [(1, true), (2, false), (3, false)] {
        let mut world = World::following();
        world.me = n(me);
        world.pass(5_001);
        world.detached(position(1, 1000));
        let (_, commands) = world.look(world.confirmed());
        assert_eq!(order_of(&commands), Some(&PostgresOrder::Detach { revision: Revision(30), keeps_token }));
    }
}
