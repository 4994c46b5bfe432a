//! PostgreSQL.

pub mod pg_replication;
