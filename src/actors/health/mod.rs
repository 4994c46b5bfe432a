//! Health: one actor per service.

#[expect(clippy::module_inception, reason = "folder = supervisor, file = actor, and both are called health")]
pub mod health;
