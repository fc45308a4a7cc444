//! PostgreSQL for a service: the tenant transaction, the outbox, idempotency, migrations and what proves that tenants stay apart.
//!
//! The pool is private. [`Db::tenant`] is the way to an executor, [`Db::across_tenants`] the loud one, [`Db::read`] and [`Db::write`] the fast
//! ones for single statements; all of them set the tenant that row level security compares with. README.md shows a service author what to write.
#![warn(missing_docs)]

pub mod bootstrap;
pub mod cursor;
pub mod gate;

mod classify;
mod config;
mod envelope;
mod examine;
mod handle;
mod metrics;
mod migrate;
mod once;
mod outbox;
mod outgoing;
mod pool;
mod read;
mod setup;
mod statements;
mod sweep;
mod tx;
mod wake;
mod write;

pub use bootstrap::{ServiceRoles, bootstrap};
pub use classify::{classify, foreign_key_violation, unique_violation};
pub use config::Config;
pub use envelope::{ENVELOPE_BYTES_MAX, Envelope};
pub use handle::Db;
pub use migrate::{migrate, migrate_with_patience};
pub use once::{IDEMPOTENCY_KEY_HOURS, Once};
pub use outbox::{Backlog, Leader, Outbox, OutboxRow, Republish};
pub use outgoing::AuditEntry;
pub use read::{Read, read_statement};
pub use setup::SetupError;
pub use sweep::keep_swept;
pub use tx::Tx;
pub use write::{Write, WriteSql, write_statement};

/// The type of what [`Tx::conn`] lends, so that services name no driver type in their signatures.
pub type Connection = sqlx::PgConnection;
