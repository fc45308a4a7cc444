//! The database layer against a real PostgreSQL.

mod bootstrap;
mod cursors;
mod gate;
mod hazards;
mod idempotency;
mod isolation;
mod migrations;
mod outbox;
mod pool;
mod probe;
mod read;
mod roles;
