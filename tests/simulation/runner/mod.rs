//! What is run: one seed with its story, or many with a report.

use crate::world::log::Log;
use crate::world::profile::Profile;
use crate::world::sim::Sim;
use crate::world::{SEC, World, lock, random};
use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let began = std::time::Instant::now();
    let run = std::thread::spawn(move || {
        random::seed(seed);
        let mut profile = Profile::of(seed);
        profile.nodes = 3;
        profile.mode = leaderl_decision::model::ReplicationMode::Quorum;
        profile.rates = vec![1_000_000; 3];
        profile.ttl = 5 * SEC;
        let mut world = World::new(seed, profile, Log::new(true, true));
        world.clients.until = 170 * SEC;
        world.begin();
        world.start_clients();
        world.at(60 * SEC, |w| {
            let leader = w.serving().unwrap_or(0);
            w.cut_power(leader);
            w.count_fault("power");
            w.after(30 * SEC, move |w| w.restore_power(leader));
        });
        let mut sim = Sim::new(world);
        sim.run_until(180 * SEC);
        let mut w = lock(&sim.world);
        w.check_history();
        println!("{}\n{:?}\n{:?}", w.state_of_all(), w.counts, w.truth.violations);
        println!("hash {:x} redundant {}", w.log.hash(), w.is_redundant());
    });
    let _ = run.join();
    println!("{:?}", began.elapsed());
    ExitCode::SUCCESS
}
