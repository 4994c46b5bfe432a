//! Directed beginnings: legal moves, one after another, to where an exploration is to begin.

use super::bounds::Bounds;
use super::canon::renamed;
use super::moves::{Move, Mover, Step};
use super::story;
use super::world::World;

/// A move, and a word that what it says must have (a look may end in several ways; the first that has it is taken).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Go(pub(crate) Move, pub(crate) &'static str);

/// Goes the whole way. A move that is not possible ends the test with the way so far: the script is wrong, not the decisions.
pub(crate) fn walk(bounds: &Bounds, mover: &mut Mover<'_>, first: World) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut world = first;
    for Go(wanted, word) in bounds.begins {
        let is_meant =
            |step: &Step| step.what == *wanted && (word.is_empty() || step.said.iter().any(|said| said.contains(word)));
        let possible = mover.steps(&world);
        let Some(step) = possible.iter().find(|step| is_meant(step)) else {
            let others: Vec<String> = possible.iter().map(|step| format!("{:?} {:?}", step.what, step.said)).collect();
            let others = others.join("\n");
            panic!("{wanted:?} {word:?} cannot follow\n{}but\n{others}", story::tell(&first, &steps));
        };
        assert!(step.broken.is_none(), "broken on the way:\n{}", story::tell(&first, &steps));
        world = renamed(bounds, &step.world);
        steps.push(step.clone());
    }
    steps
}
