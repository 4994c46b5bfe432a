//! What the outside asks: HTTP, the admin socket, the journal.

pub mod admin_socket;
pub mod journal;
pub mod status_http;
