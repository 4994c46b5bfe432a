//! AdminSocketActor: the CLI's way in, a Unix socket whose callers the kernel names.

/// What AdminSocketActor hears.
#[derive(Debug)]
pub enum AdminSocketMessage {
    /// Timer: check that the socket file is still ours.
    Tick,
}
