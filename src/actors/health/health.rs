//! HealthActor: checks one service at a fixed tick and counts failures in a row.

/// What HealthActor hears.
#[derive(Debug)]
pub enum HealthMessage {
    /// Check now.
    Tick,
}
