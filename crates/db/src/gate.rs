//! The catalogue gate: what the live database must look like for row level security to hold.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, FromRow};

/// The rules, one row per violation; also for `psql`, on a restored backup for example.
pub const SQL: &str = include_str!("../sql/catalog_gate.sql");

/// One violated rule.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Finding {
    /// For example `R4`.
    pub rule: String,
    /// What violates it, for example `auth.users`; what an exception names.
    pub object: String,
    /// What is wrong.
    pub problem: String,
}

/// Examines the whole database, as an owner of a service's schema or as superuser. An empty answer is a pass.
///
/// Works inside a transaction too and leaves it as it was.
pub async fn check(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let mut savepoint = connection.begin().await?;
    // Expressions are printed relative to the search path, and the rules compare texts.
    savepoint.execute("set local search_path = ''").await?;
    let findings = sqlx::query_as(AssertSqlSafe(SQL))
        .fetch_all(&mut *savepoint)
        .await?;
    savepoint.rollback().await?;
    Ok(findings)
}
