//! Every actor of the leader ends in the middle of its work: nothing is released, nothing is lost.

use super::world::{Daemon, LIMIT, World};
use leaderl::actors::api::actor_report::ActorNode;
use leaderl::actors::api::admin_protocol::Intervention;
use leaderl::actors::api::control::StopMode;
use std::time::Duration;
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

async fn actors(daemon: &Daemon) -> Vec<ActorNode> {
    let tree = daemon.control.inside.get().unwrap().tree().await.unwrap();
    tree.flat().into_iter().skip(1).cloned().collect()
}

fn states(actors: &[ActorNode]) -> Vec<(&str, &str)> {
    let workers = actors.iter().filter(|actor| actor.kind == "worker");
    workers.map(|actor| (actor.id.as_str(), actor.state.as_str())).collect()
}

/// Watches a leader for `time`: what clients would have noticed.
async fn noticed(world: &World, time: Duration) -> Vec<String> {
    let (began, end) = (Instant::now(), Instant::now() + time);
    let (mut unserved, mut unbound, mut refused) = (0, 0, 0);
    while Instant::now() < end {
        unserved += u32::from(!world.serves(1));
        unbound += u32::from(world.nodes[0].kernel.vips().is_empty());
        refused += u32::from(!world.copies.commit(&world.nodes[0].guid, 8));
        tokio::time::sleep(MS).await;
    }
    let mut noticed = Vec::new();
    let mut note = |count: u32, what: &str| (count > 0).then(|| noticed.push(format!("{what} for {count} ms")));
    note(unserved, "/leader said 503");
    note(unbound, "there was no VIP");
    note(refused, "commits were refused");
    noticed.extend(world.story_of(1).into_iter().map(|moment| format!("{} ms: {}", moment.at_ms, moment.what)));
    assert!(began.elapsed() >= time);
    noticed
}

#[tokio::test(start_paused = true)]
async fn an_actor_of_the_leader_is_killed_and_no_client_notices() {
    let world = World::new().await;
    let daemons = world.whole().await;
    let (leader, epoch) = (&daemons[0], world.epoch());
    let mut wrong = Vec::new();
    let before = actors(leader).await;
    for actor in before.iter().filter(|actor| actor.kind == "worker") {
        for how in [Intervention::Kill, Intervention::Restart] {
            leader.control.inside.get().unwrap().intervene(&actor.id, how).await.unwrap();
            // Longer than 2D/3: a lost renewal or a lost order would show.
            let noticed = noticed(&world, 3600 * MS).await;
            if !noticed.is_empty() || world.epoch() != epoch {
                wrong.push(format!("{how:?} {}: {noticed:?}, epoch {}", actor.id, world.epoch()));
            }
            assert_eq!(states(&before), states(&actors(leader).await), "{how:?} {}", actor.id);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    tokio::time::sleep(LIMIT).await;
    assert!(world.serves(1) && world.epoch() == epoch);
}

#[tokio::test(start_paused = true)]
async fn a_whole_branch_of_the_leader_is_killed_and_no_client_notices() {
    let world = World::new().await;
    let daemons = world.whole().await;
    let (leader, epoch) = (&daemons[0], world.epoch());
    let before = actors(leader).await;
    for branch in before.iter().filter(|actor| actor.kind == "supervisor") {
        leader.control.inside.get().unwrap().intervene(&branch.id, Intervention::Kill).await.unwrap();
        let noticed = noticed(&world, 3600 * MS).await;
        assert!(noticed.is_empty() && world.epoch() == epoch, "{}: {noticed:#?}", branch.id);
        // No more often than the root grants.
        tokio::time::sleep(30_000 * MS).await;
        assert_eq!(states(&before), states(&actors(leader).await), "{}", branch.id);
    }
}

/// Kills the actor at 13 moments spread over the time between two renewals (D/10), no more often than is granted.
async fn at_any_moment(id: &str) {
    let world = World::new().await;
    let daemons = world.whole().await;
    let (leader, epoch) = (&daemons[0], world.epoch());
    // A server as slow as a busy one: what a restarted actor does not know yet, it does not know for a while.
    world.copies.answer_after(30 * MS);
    let began = Instant::now();
    for number in 0..13 {
        tokio::time::sleep_until(began + (number + 1) * 7000 * MS + number * 40 * MS).await;
        leader.control.inside.get().unwrap().intervene(id, Intervention::Kill).await.unwrap();
        let noticed = noticed(&world, 600 * MS).await;
        assert!(noticed.is_empty(), "{id}, number {number}: {noticed:?}");
    }
    assert!(world.serves(1) && world.epoch() == epoch, "{id}");
}

#[tokio::test(start_paused = true)]
async fn an_election_is_killed_at_any_moment_of_a_renewal() {
    at_any_moment("election").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_is_killed_at_any_moment_of_a_renewal() {
    at_any_moment("etcd_session").await;
}

#[tokio::test(start_paused = true)]
async fn a_heart_link_is_killed_at_any_moment_of_a_renewal() {
    at_any_moment("heart_link").await;
}

#[tokio::test(start_paused = true)]
async fn a_replication_actor_is_killed_at_any_moment_of_a_renewal() {
    at_any_moment("pg_replication").await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_actor_has_its_orders_at_the_elections_next_look() {
    let world = World::new().await;
    let daemons = world.whole().await;
    let leader = &daemons[0];
    for (id, state) in [("etcd_session", "renewing"), ("voters", "keeping"), ("vip", "here")] {
        leader.control.inside.get().unwrap().intervene(id, Intervention::Kill).await.unwrap();
        tokio::time::sleep(60 * MS).await;
        let found = actors(leader).await.into_iter().find(|actor| actor.id == id).unwrap();
        assert_eq!(found.state, state, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_branch_that_gives_up_fences_nobody_counts_as_offline_and_is_tried_again() {
    let world = World::new().await;
    let daemons = world.whole().await;
    let (leader, epoch) = (&daemons[0], world.epoch());
    let lifecycle = async |id: &str| {
        let all = actors(leader).await;
        all.into_iter().find(|actor| actor.id == id).map(|actor| actor.lifecycle)
    };
    while lifecycle("search").await.as_deref() != Some("down") {
        let _not_now = leader.control.inside.get().unwrap().intervene("es", Intervention::Kill).await;
        tokio::time::sleep(5 * MS).await;
    }
    let view = leader.ctx.board.search.borrow().clone();
    assert_eq!((view.role.as_str(), view.problems[0].code.as_str()), ("offline", "search-actor-down"));
    let noticed = noticed(&world, 29_000 * MS).await;
    assert!(noticed.is_empty() && world.epoch() == epoch, "{noticed:?}");
    assert_eq!(lifecycle("es").await, None);
    tokio::time::sleep(2000 * MS).await;
    assert_eq!(lifecycle("es").await.as_deref(), Some("running"));
    assert_eq!(leader.ctx.board.search.borrow().role, "off", "it looks again");
}

#[tokio::test(start_paused = true)]
async fn actors_of_the_followers_are_killed_while_a_lease_runs_out_and_nobody_waits_longer() {
    for id in ["etcd_session", "heart_link", "election", "pg_replication", "membership"] {
        let world = World::new().await;
        let mut daemons = world.whole().await;
        // The leader's daemon is gone for good without a word.
        let mut leader = daemons.remove(0);
        leader.control.announce(StopMode::Restart, leader.ctx.clock.now());
        leader.sigterm();
        leader.ended().await.unwrap();
        let gone = Instant::now();
        for after_ms in [1500, 4000] {
            tokio::time::sleep_until(gone + after_ms * MS).await;
            for follower in &daemons {
                follower.control.inside.get().unwrap().intervene(id, Intervention::Kill).await.unwrap();
            }
        }
        world.until("another node serves", || world.serves(2) || world.serves(3)).await;
        assert!(gone.elapsed() < 5600 * MS, "{id}: {:?}", gone.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_of_the_voters_that_is_killed_while_it_waits_goes_on_waiting() {
    let world = World::new().await;
    let daemons = world.whole().await;
    let leader = &daemons[0];
    // Nobody streams any more: commits wait until the leader degrades, after 2 s.
    world.copies.cut(&world.nodes[0].guid);
    let began = Instant::now();
    assert!(!world.copies.commit(&world.nodes[0].guid, 8));
    for after_ms in [700, 1400, 2100] {
        tokio::time::sleep_until(began + after_ms * MS).await;
        leader.control.inside.get().unwrap().intervene("voters", Intervention::Kill).await.unwrap();
    }
    world.until("commits return", || world.copies.commit(&world.nodes[0].guid, 8)).await;
    assert!(began.elapsed() < 3000 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_election_that_is_killed_remembers_how_often_its_node_lost_the_leadership() {
    let world = World::new().await;
    let daemons = world.whole().await;
    let epoch = world.epoch();
    world.nodes[0].heart.postgres_crashes();
    // The same node may be the quickest to lead again.
    world.until("a new leader", || world.epoch() > epoch && (1..=3).any(|number| world.serves(number))).await;
    let faults = || daemons[0].ctx.board.election.borrow().faults.len();
    assert_eq!(faults(), 1);
    daemons[0].control.inside.get().unwrap().intervene("election", Intervention::Kill).await.unwrap();
    tokio::time::sleep(1000 * MS).await;
    assert_eq!(faults(), 1);
}
