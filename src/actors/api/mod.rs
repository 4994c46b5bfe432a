//! What the outside asks: HTTP, the admin socket, the journal.

pub mod actor_report;
pub mod admin_protocol;
pub mod admin_requests;
pub mod admin_socket;
pub mod cluster_report;
pub mod control;
pub mod facts;
pub mod http_routes;
pub mod journal;
pub mod metrics;
pub mod orders;
pub mod status_http;
#[cfg(test)]
pub(crate) mod testing;
