//! StatusHttpActor: serves `GET /leader`, `/health`, `/status`, `/metrics` from memory only.

/// What StatusHttpActor hears.
#[derive(Debug)]
pub enum StatusHttpMessage {
    /// Timer: check that every listener still listens.
    Tick,
}
