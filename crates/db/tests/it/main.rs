//! The database layer against a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bootstrap;
mod cursor_properties;
mod cursors;
mod gate;
mod hazards;
mod idempotency;
mod isolation;
mod metrics;
mod migrations;
mod outbox;
mod pool;
mod probe;
mod read;
mod roles;
mod write;
