//! Forming a cluster: the first node, a further one, and one that goes for good.
//!
//! Each command can be repeated after it failed half-way: `forming.json` in the state directory says what was begun.

pub mod create;
pub mod join;
mod node;
pub mod remove;
