//! The database of a run.

use std::future::Future;
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

/// Drops what an interrupted run left behind and creates it anew.
pub(super) fn create(admin_url: &str, name: &str) -> Result<()> {
    execute(
        admin_url,
        &format!("drop database if exists {name} with (force)"),
    )?;
    execute(
        admin_url,
        &format!("create database {name} template template0"),
    )
}

/// Drops it.
pub(super) fn discard(admin_url: &str, name: &str) -> Result<()> {
    execute(
        admin_url,
        &format!("drop database if exists {name} with (force)"),
    )
}

/// The last statement that a role's backends ran and that contains `part`.
pub(super) fn last_statement(admin_url: &str, role: &str, part: &str) -> Result<String> {
    let wanted = "select query from pg_catalog.pg_stat_activity where usename = $1 and query like '%' || $2 || '%' order by query_start desc limit 1";
    block_on(async {
        let mut connection = connect(admin_url).await?;
        let found: Option<String> = sqlx::query_scalar(wanted)
            .bind(role)
            .bind(part)
            .fetch_optional(&mut connection)
            .await?;
        connection.close().await?;
        found.with_context(|| format!("{role} ran no statement with `{part}`"))
    })
}

/// Runs statements in a database as the administrator, whom row-level security does not bind.
pub(super) fn run(admin_url: &str, database: &str, statements: &str) -> Result<()> {
    block_on(async {
        let mut connection = open(admin_url, database).await?;
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
            .await?;
        Ok(connection.close().await?)
    })
}

/// The rows of a query without parameters.
pub(super) fn rows<T>(admin_url: &str, database: &str, query: &str) -> Result<Vec<T>>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    block_on(async {
        let mut connection = open(admin_url, database).await?;
        let rows = sqlx::query_as(AssertSqlSafe(query))
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        Ok(rows)
    })
}

fn execute(admin_url: &str, statement: &str) -> Result<()> {
    block_on(async {
        let mut connection = connect(admin_url).await?;
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(statement)))
            .await?;
        Ok(connection.close().await?)
    })
}

async fn connect(admin_url: &str) -> Result<PgConnection> {
    open(admin_url, "postgres").await
}

/// A connection to one of the server's databases.
pub(super) async fn open(url: &str, database: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url).context("no PostgreSQL address")?;
    options
        .database(database)
        .connect()
        .await
        .context("cannot reach PostgreSQL; start it with `./dev infra`")
}

pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
