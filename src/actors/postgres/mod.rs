//! PostgreSQL.

mod carry_out;
mod pass;
pub mod pg_replication;
