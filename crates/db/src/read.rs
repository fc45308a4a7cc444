//! Reads by one statement: the tenant is set and the rows are read in the same round trip, without a transaction.

use std::panic::Location;

use std::time::Duration;

use kernel::{Error, Result, TenantId};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, FromRow, Postgres, Type};
use tracing::Instrument as _;

use crate::classify::{classify, is_broken_connection};
use crate::handle::Db;
use crate::pool::silent;

/// The longest that a read may take. It is a look at a few rows, so one that takes longer has not arrived, or the server is drowning: either way the
/// caller had better come back than wait for its own deadline.
const READ_MAX: Duration = Duration::from_secs(2);

/// One read, from [`Db::read`]: `db.read(ctx, "select .. where id = $1").bind(id).optional::<Row>().await?`.
#[must_use = "a read does nothing until it is awaited by `optional` or `all`"]
pub struct Read<'a> {
    db: &'a Db,
    tenant_id: TenantId,
    sql: &'static str,
    arguments: PgArguments,
    problem: Option<sqlx::error::BoxDynError>,
    statement: &'static Location<'static>,
}

impl<'a> Read<'a> {
    /// `statement` is where the caller has it.
    pub(crate) fn new(
        db: &'a Db,
        tenant_id: TenantId,
        sql: &'static str,
        statement: &'static Location<'static>,
    ) -> Self {
        Self {
            db,
            tenant_id,
            sql,
            arguments: PgArguments::default(),
            problem: None,
            statement,
        }
    }

    /// Binds the next parameter: the first call is `$1`.
    pub fn bind<T>(mut self, value: T) -> Self
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        if let Err(problem) = self.arguments.add(value) {
            self.problem.get_or_insert(problem);
        }
        self
    }

    /// The row, if there is one.
    pub async fn optional<T>(self) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        Ok(self.all().await?.into_iter().next())
    }

    /// All rows; the statement says how many at most.
    pub async fn all<T>(self) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        // The hottest statement of the platform pays for a span only when somebody sees it.
        if !runtime::telemetry::is_exporting() {
            return self.fetch().await;
        }
        let span = tracing::info_span!(
            "db.read",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.namespace = self.db.0.schema,
        );
        self.fetch().instrument(span).await
    }

    async fn fetch<T>(mut self) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        if let Some(problem) = self.problem.take() {
            return Err(Error::internal(problem).context("while binding a parameter"));
        }
        let sql = read_statement(self.sql, self.arguments.len());
        self.arguments
            .add(self.tenant_id.uuid())
            .map_err(Error::internal)?;
        let pool = &self.db.0.pool;
        let mut tries = pool.size();
        loop {
            let mut lease = pool.lease().await.map_err(classify)?;
            let query =
                sqlx::query_as_with::<_, T, _>(AssertSqlSafe(sql.as_str()), self.arguments.clone());
            let since = lease.since();
            let fetched = tokio::time::timeout(READ_MAX, query.fetch_all(lease.connection())).await;
            self.db.0.measure.read(since, self.statement);
            let Ok(fetched) = fetched else {
                return Err(classify(silent()));
            };
            match fetched {
                Ok(rows) => {
                    pool.keep(lease);
                    return Ok(rows);
                }
                // A read may be repeated; after a restart of the server all idle connections are dead.
                Err(error) if is_broken_connection(&error) && tries > 0 => tries -= 1,
                Err(error) => return Err(classify(error)),
            }
        }
    }
}

/// What [`Db::read`] sends for a statement with that many parameters, for EXPLAIN: the tenant is one parameter more.
///
/// The tenant is set before the first row is read. `set_config(.., true)` ends with the statement, so nothing stays on the connection.
/// The lateral reference makes the setting the outer side of the join, and `offset 0` keeps the planner from pulling the query out of it.
/// Were the order ever another one, `app.tid()` would raise; it could not show another tenant's rows.
pub fn read_statement(sql: &str, parameters: usize) -> String {
    let tenant = parameters + 1;
    format!(
        "with tenant as materialized (select set_config('app.tenant_id', ${tenant}::uuid::text, true) as t) \
         select q.* from tenant cross join lateral (select * from ({sql}) as rows where tenant.t is not null offset 0) as q"
    )
}
