//! How a daemon ends: handing over in order, demoting nothing, or fencing first.

use super::world::{LIMIT, World};
use leaderl::actors::api::admin_protocol::Intervention;
use leaderl::actors::api::control::StopMode;
use leaderl::daemon::DaemonError;
use std::time::Duration;

/// Every moment's place in the order of a planned demotion.
fn place(what: &str) -> Option<usize> {
    ["PostgreSQL is told to stop", "PostgreSQL is gone", "VIP off"].iter().position(|step| *step == what)
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_demotes_in_order_and_hands_over_before_the_tree_stops() {
    let world = World::new().await;
    let mut daemons = world.whole().await;
    let epoch = world.epoch();
    let mut leader = daemons.remove(0);
    assert!(world.serves(1));

    leader.sigterm();
    world.until("the seat is empty", || world.leader()["kind"] == "vacancy").await;
    assert!(
        !leader.has_ended() && leader.ctx.neighbours.status_http.actor().is_ok(),
        "the key goes before the tree does"
    );
    let vacancy = world.leader();
    assert_eq!(vacancy["left_by"], leader.ctx.guid.0.as_str());
    assert!(vacancy["final_position"]["lsn"].is_string(), "{vacancy}");
    let ctx = leader.ctx.clone();
    leader.ended().await.unwrap();
    assert!(ctx.neighbours.election.actor().is_err());

    let story = world.story_of(1);
    let order: Vec<usize> = story.iter().filter_map(|moment| place(&moment.what)).collect();
    assert_eq!(order, [0, 1, 2], "{story:#?}");
    let demotion = story.iter().filter(|moment| place(&moment.what).is_some());
    assert!(demotion.clone().all(|moment| !moment.leader), "`/leader` says 503 before PostgreSQL is told: {story:#?}");
    assert!(demotion.clone().all(|moment| moment.daemon), "the tree stops last: {story:#?}");

    world.until("another node serves", || world.serves(2) || world.serves(3)).await;
    assert_eq!(world.epoch(), epoch.next());
    let heir = if world.serves(2) { 1 } else { 2 };
    world.until("the VIP is there", || world.nodes[heir].kernel.vips().len() == 1).await;
    assert!(world.nodes[0].kernel.vips().is_empty());
    assert!(world.copies.primary(&world.nodes[heir].guid) && !world.copies.primary(&world.nodes[0].guid));
}

#[tokio::test(start_paused = true)]
async fn an_election_that_is_killed_while_it_hands_over_is_followed_by_one_that_does() {
    // From before the first step to after the vacancy: the checkpoint takes 50 ms, the stop 30.
    for after_ms in (0..130).step_by(13) {
        let world = World::new().await;
        let mut daemons = world.whole().await;
        let epoch = world.epoch();
        let mut leader = daemons.remove(0);
        leader.sigterm();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        let _stopped_already = leader.control.inside.get().unwrap().intervene("election", Intervention::Kill).await;
        let began = tokio::time::Instant::now();
        leader.ended().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(3), "killed after {after_ms} ms: {:?}", began.elapsed());
        let story: Vec<String> = world.story_of(1).into_iter().map(|moment| moment.what).collect();
        let order: Vec<usize> = story.iter().filter_map(|what| place(what)).collect();
        assert_eq!(order, [0, 1, 2], "killed after {after_ms} ms: {story:?}");
        let keys = world.store.history(&world.keys().leader());
        let vacancy = keys.iter().rfind(|value| value["kind"] == "vacancy").unwrap();
        assert!(vacancy["final_position"]["lsn"].is_string(), "killed after {after_ms} ms: {vacancy}");
        world.until("another node serves", || world.serves(2) || world.serves(3)).await;
        assert!(began.elapsed() < Duration::from_secs(3), "nobody had to wait for the lease to run out");
        assert_eq!(world.epoch(), epoch.next());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_announced_as_restart_or_upgrade_demotes_nothing_and_the_next_daemon_goes_on() {
    for mode in [StopMode::Restart, StopMode::Upgrade] {
        let world = World::new().await;
        let mut daemons = world.whole().await;
        let epoch = world.epoch();
        let mut leader = daemons.remove(0);
        leader.control.announce(mode, leader.ctx.clock.now());
        leader.sigterm();
        leader.ended().await.unwrap();
        assert_eq!(world.leader()["guid"], world.nodes[0].guid.0.as_str(), "the key is kept");
        assert_eq!(world.nodes[0].heart.view().armed.map(|lease| lease.epoch), Some(epoch), "heart guards it");
        assert_eq!(world.nodes[0].kernel.vips().len(), 1);

        tokio::time::sleep(Duration::from_millis(500)).await;
        let _next = world.daemon(1);
        world.until("the next daemon serves", || world.serves(1)).await;
        tokio::time::sleep(LIMIT / 4).await;
        assert_eq!(world.epoch(), epoch, "{mode:?}: nobody else has led");
        assert_eq!(world.nodes[0].kernel.vips().len(), 1);
        assert!(world.copies.commit(&world.nodes[0].guid, 100));
        let story = world.story_of(1);
        assert!(story.is_empty(), "nothing happened to PostgreSQL or the VIP: {story:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_back_after_an_announced_restart_and_heart_fences_by_its_deadline() {
    let world = World::new().await;
    let mut daemons = world.whole().await;
    let mut leader = daemons.remove(0);
    leader.control.announce(StopMode::Restart, leader.ctx.clock.now());
    leader.sigterm();
    leader.ended().await.unwrap();
    world.until("another node serves", || world.serves(2) || world.serves(3)).await;
    assert!(world.nodes[0].kernel.vips().is_empty() && !world.copies.primary(&world.nodes[0].guid));
    let story: Vec<String> = world.story_of(1).into_iter().map(|moment| moment.what).collect();
    assert_eq!(story[..2], ["heart fences", "PostgreSQL is told to quit"]);
}

#[tokio::test(start_paused = true)]
async fn a_root_that_gives_up_fences_the_node_before_the_daemon_ends() {
    let world = World::new().await;
    let mut daemons = world.whole().await;
    let leader = daemons.remove(0);
    let control = leader.control.clone();
    let inside = control.inside.get().unwrap();
    while !leader.has_ended() {
        // Dead again as soon as it runs: restarting does not help.
        let _not_now = inside.intervene("vip", Intervention::Kill).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let fenced = !world.copies.primary(&world.nodes[0].guid) && world.nodes[0].kernel.vips().is_empty();
    assert!(fenced, "before the process ends: {:#?}", world.story_of(1));
    let outcome = leader.ended().await;
    assert!(matches!(outcome, Err(DaemonError::GaveUp(_))), "{outcome:?}");
    world.until("another node serves", || world.serves(2) || world.serves(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_root_that_gives_up_on_a_follower_leaves_its_copy_streaming() {
    let world = World::new().await;
    let mut daemons = world.whole().await;
    let follower = daemons.remove(1);
    let control = follower.control.clone();
    let inside = control.inside.get().unwrap();
    while !follower.has_ended() {
        let _not_now = inside.intervene("membership", Intervention::Kill).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(follower.ended().await, Err(DaemonError::GaveUp(_))));
    assert!(world.copies.commit(&world.nodes[0].guid, 100));
    assert_eq!(world.copies.end_of(&world.nodes[1].guid), world.copies.end_of(&world.nodes[0].guid));
    assert!(world.serves(1) && world.story_of(2).is_empty());
}
