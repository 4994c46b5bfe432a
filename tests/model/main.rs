//! The shipped decisions, explored: every order of events within bounds, on three nodes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod begins;
mod bounds;
mod canon;
mod choices;
mod explore;
mod faults;
mod first;
mod hasher;
mod heart;
mod keeper;
mod lens;
mod live;
mod log;
mod look;
mod machine;
mod moves;
mod nature;
mod pass;
mod properties;
mod relations;
mod report;
mod rules;
mod script;
mod sending;
mod sets;
mod store;
mod story;
mod world;
