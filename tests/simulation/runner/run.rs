//! One seed: the quiet start, the faults, the core of two, everything healed; what broke on the way.

use crate::faults::{Planned, plan};
use crate::oracles::Violation;
use crate::oracles::liveness::{leader_bound, redundancy_bound};
use crate::world::counts::Counts;
use crate::world::log::Log;
use crate::world::profile::Profile;
use crate::world::sim::Sim;
use crate::world::{SEC, Time, World, lock, note, random};
use leaderl_decision::planted::Planted;

/// A seed is watched at least for so long: what is whole must stay so.
const SHORTEST: Time = 180 * SEC;

/// How a seed is run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    /// Print every line at once.
    pub(crate) loud: bool,
    /// Keep every line.
    pub(crate) whole: bool,
    /// Only these of the planned faults, by number; `None`: all.
    pub(crate) only: Option<Vec<usize>>,
    /// Bugs to plant.
    pub(crate) planted: Vec<Planted>,
}

/// What a run brought.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ended {
    pub(crate) counts: Counts,
    pub(crate) violations: Vec<Violation>,
    pub(crate) hash: u64,
    pub(crate) story: String,
}

impl Order {
    pub(crate) fn quiet(seed: u64) -> Self {
        Self { seed, loud: false, whole: false, only: None, planted: Vec::new() }
    }
}

/// Runs a seed on a thread of its own: std's hash maps draw their keys once per thread.
pub(crate) fn run_on_a_thread(order: Order) -> Ended {
    let thread = std::thread::Builder::new().name(format!("seed-{}", order.seed)).stack_size(16 << 20);
    let ended = thread.spawn(move || run_here(&order)).ok().and_then(|thread| thread.join().ok());
    ended.unwrap_or_else(|| Ended::broken("I7", "the run panicked"))
}

impl Ended {
    pub(crate) fn broken(invariant: &str, text: &str) -> Self {
        let violation = Violation { invariant: invariant.to_owned(), at: 0, text: text.to_owned() };
        Self { violations: vec![violation], ..Self::default() }
    }
}

/// The faults that an order lets come.
pub(crate) fn faults_of(order: &Order) -> Vec<Planned> {
    let profile = Profile::of(order.seed);
    let planned = plan(order.seed, profile.faults, profile.faulty).into_iter().enumerate();
    let chosen = |number: &usize| order.only.as_ref().is_none_or(|only| only.contains(number));
    planned.filter(|(number, _)| chosen(number)).map(|(_, fault)| fault).collect()
}

fn run_here(order: &Order) -> Ended {
    random::seed(order.seed);
    // Every daemon of this run lives on this thread.
    let _planted: Vec<_> = order.planted.iter().map(|bug| bug.plant()).collect();
    let profile = Profile::of(order.seed);
    let faults = faults_of(order);
    let mut world = World::new(order.seed, profile.clone(), Log::new(order.whole, order.loud));
    note!(world, "seed {} with {profile:?}", order.seed);
    world.clients.until = Time::MAX;
    world.begin();
    world.start_clients();
    world.plan_faults(&faults);
    let mut sim = Sim::new(world);
    phases(&mut sim, &profile);
    let mut w = lock(&sim.world);
    w.counts.simulated_ns = w.now;
    let panics = super::panics();
    if panics > 0 {
        w.violate("I7", format!("{panics} panics in the daemons' code"));
    }
    Ended {
        counts: w.counts.clone(),
        violations: w.truth.violations.clone(),
        hash: w.log.hash(),
        story: if order.whole || !w.truth.violations.is_empty() { w.log.text() } else { String::new() },
    }
}

fn phases(sim: &mut Sim, profile: &Profile) {
    let faulty_until = 24 * SEC + profile.faulty;
    sim.run_until(faulty_until);
    let bounds = {
        let mut w = lock(&sim.world);
        w.heal_everything();
        (leader_bound(&w), redundancy_bound(&w))
    };
    if lock(&sim.world).truth.restored {
        // Nobody leads before an operator has confirmed the control state.
        return;
    }
    if profile.wild_clocks {
        // Beyond the tolerated ratio only I3 is promised.
        sim.run_until(SHORTEST);
        return lock(&sim.world).check_history();
    }
    let led = wait(sim, bounds.0, |w, since| w.serving().is_some() && w.acknowledged_since(since));
    if !led {
        return blame(sim, "I5", "nobody serves and acknowledges within the bound");
    }
    let redundant = wait(sim, bounds.1, |w, _| w.is_redundant());
    if !redundant {
        return blame(sim, "I9", "the cluster is not whole again within the bound");
    }
    sim.run_until(SHORTEST);
    lock(&sim.world).check_history();
}

/// Runs until the condition holds, at most so long; looks every second.
fn wait(sim: &mut Sim, bound: Time, holds: impl Fn(&World, Time) -> bool) -> bool {
    let began = lock(&sim.world).now;
    loop {
        let now = {
            let w = lock(&sim.world);
            if holds(&w, began) || !w.truth.violations.is_empty() {
                return true;
            }
            w.now
        };
        if now > began + bound {
            return false;
        }
        sim.run_until(now + SEC / 2);
    }
}

fn blame(sim: &mut Sim, invariant: &'static str, text: &str) {
    let mut w = lock(&sim.world);
    let state = w.state_of_all();
    w.violate(invariant, format!("{text}\n    {state}"));
}
