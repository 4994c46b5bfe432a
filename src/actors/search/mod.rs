//! The search engine.

pub mod es;
