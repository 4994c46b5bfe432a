//! Breadth first: the first state that breaks a property has a shortest path.

use super::bounds::Bounds;
use super::canon::{fingerprint, renamed};
use super::first;
use super::moves::{Mover, Step};
use super::properties::Goal;
use super::script;
use super::world::World;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// What an exploration found.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) states: usize,
    pub(crate) moves: usize,
    pub(crate) depth: usize,
    /// Every state within the bounds was seen.
    pub(crate) complete: bool,
    pub(crate) took: Duration,
    pub(crate) different_looks: usize,
    /// What was broken, and the steps that lead there.
    pub(crate) broken: Option<(String, Vec<Step>)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<34} {:>10} states {:>11} moves  depth {:>3}  {:<8} {:>7.1} s",
            self.name,
            self.states,
            self.moves,
            self.depth,
            match (&self.broken, self.complete) {
                (Some(_), _) => "stopped",
                (None, true) => "complete",
                (None, false) => "cut off",
            },
            self.took.as_secs_f64(),
        )?;
        match &self.broken {
            Some((what, _)) => write!(f, "  BROKEN: {what}"),
            None => write!(f, "  holds"),
        }
    }
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

type Seen = HashMap<u128, u32, BuildHasherDefault<AsIs>>;

/// The states that were seen, each with the state it was first reached from.
#[derive(Default)]
struct Known {
    number: Seen,
    fingerprints: Vec<u128>,
    parents: Vec<u32>,
}

impl Known {
    /// The number of a state that is new.
    fn add(&mut self, fingerprint: u128, parent: u32) -> Option<u32> {
        let next = u32::try_from(self.fingerprints.len()).expect("fewer than four billion states");
        match self.number.entry(fingerprint) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(next);
                self.fingerprints.push(fingerprint);
                self.parents.push(parent);
                Some(next)
            }
        }
    }

    /// The fingerprints from the first state to this one.
    fn path(&self, mut state: u32) -> Vec<u128> {
        let mut path = vec![self.fingerprints[state as usize]];
        while state != 0 {
            state = self.parents[state as usize];
            path.push(self.fingerprints[state as usize]);
        }
        path.reverse();
        path
    }
}

/// Explores every state within the bounds, or until something is broken.
pub(crate) fn explore(bounds: &Bounds) -> Report {
    let began = Instant::now();
    let mut mover = Mover::new(bounds);
    let (begin, first) = begin(bounds, &mut mover);
    let mut known = Known::default();
    let mut report = Report {
        name: bounds.name,
        states: 1,
        moves: 0,
        depth: 0,
        complete: true,
        took: Duration::ZERO,
        different_looks: 0,
        broken: None,
    };
    known.add(fingerprint(bounds, &first), 0);
    let mut layer = vec![(0_u32, first)];
    'layers: while !layer.is_empty() {
        let mut next = Vec::new();
        for (number, world) in layer.drain(..) {
            for step in mover.steps(&world) {
                report.moves += 1;
                if let Some(what) = &step.broken {
                    let mut path = begin;
                    path.extend(retrace(bounds, &mut mover, first, &known.path(number)));
                    path.push(step.clone());
                    report.depth += 1;
                    report.broken = Some((what.clone(), path));
                    break 'layers;
                }
                if let Some(new) = known.add(fingerprint(bounds, &step.world), number) {
                    next.push((new, renamed(bounds, &step.world)));
                }
            }
            if bounds.most_states != 0 && known.fingerprints.len() >= bounds.most_states {
                report.complete = false;
                break 'layers;
            }
        }
        report.depth += usize::from(!next.is_empty());
        layer = next;
    }
    report.states = known.fingerprints.len();
    report.different_looks = mover.different_looks();
    report.took = began.elapsed();
    report
}

/// The directed beginning, and the state at its end.
fn begin(bounds: &Bounds, mover: &mut Mover<'_>) -> (Vec<Step>, World) {
    let first = renamed(bounds, &first::world(bounds));
    let steps = script::walk(bounds, mover, first);
    let world = steps.last().map_or(first, |step| renamed(bounds, &step.world));
    (steps, world)
}

/// The steps of a path of fingerprints, in one cluster whose nodes keep their names.
fn retrace(bounds: &Bounds, mover: &mut Mover<'_>, first: World, path: &[u128]) -> Vec<Step> {
    let mut world = first;
    let mut steps = Vec::new();
    for wanted in path.iter().skip(1) {
        let step = mover
            .steps(&world)
            .into_iter()
            .find(|step| fingerprint(bounds, &step.world) == *wanted)
            .expect("a state's likes have the same next states");
        world = renamed(bounds, &step.world);
        steps.push(step);
    }
    steps
}

/// Explores everything and looks for states from which the goal is out of reach. How many states there are, or the path to the
/// first of those.
pub(crate) fn reaches(bounds: &Bounds, goal: Goal) -> Result<usize, Vec<Step>> {
    let mut mover = Mover::new(bounds);
    let mut known = Known::default();
    let (mut begin, first) = begin(bounds, &mut mover);
    known.add(fingerprint(bounds, &first), 0);
    let mut worlds = vec![first];
    let mut sources: Vec<Vec<u32>> = vec![Vec::new()];
    let mut at = 0;
    while at < worlds.len() {
        for step in mover.steps(&worlds[at]) {
            let mark = fingerprint(bounds, &step.world);
            if known.add(mark, at as u32).is_some() {
                worlds.push(renamed(bounds, &step.world));
                sources.push(Vec::new());
            }
            sources[known.number[&mark] as usize].push(at as u32);
        }
        at += 1;
    }
    let mut within: Vec<bool> = worlds.iter().map(|world| goal.is_reached(world)).collect();
    let mut open: Vec<u32> = (0..worlds.len() as u32).filter(|state| within[*state as usize]).collect();
    while let Some(state) = open.pop() {
        for from in &sources[state as usize] {
            if !std::mem::replace(&mut within[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    match within.iter().position(|within| !within) {
        None => Ok(worlds.len()),
        Some(state) => {
            begin.extend(retrace(bounds, &mut mover, first, &known.path(state as u32)));
            Err(begin)
        }
    }
}
