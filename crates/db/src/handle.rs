//! The handle that a service holds.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Clock, Ids, RequestContext, Result, TenantId};
use secrecy::ExposeSecret as _;
use sqlx::Executor as _;
use tracing::Instrument as _;

use crate::classify::{classify, deadline_passed};
use crate::config::Config;
use crate::examine::examine;
use crate::metrics::{Held, Measure};
use crate::pool::Pool;
use crate::read::Read;
use crate::setup::{checked_name, options as options_of};
use crate::statements::Statements;
use crate::tx::{Shown, Tx};
use crate::wake::Wake;
use crate::write::{Write, WriteSql};

/// The statement timeout of the runtime roles; a request that has less time left gets less.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Days that a consumer's memory of applied events lasts; later duplicates are replays that somebody asked for.
const INBOX_DAYS: i32 = 30;
/// Hours that a published event can be published again: a weekend and the night before.
const PUBLISHED_HOURS: i32 = 72;
/// What is published again must still be known to whoever has applied it.
const _: () = assert!(PUBLISHED_HOURS < INBOX_DAYS * 24);
/// Rows that one sweep removes of each table at most, so that it stays far from the statement timeout.
const SWEEP_ROWS: i32 = 5_000;

/// One service's part of the database. Cloning is cheap.
#[derive(Clone)]
pub struct Db(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) measure: Arc<Measure>,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
    pub(crate) schema: String,
    pub(crate) statements: Statements,
    pub(crate) wake: Wake,
}

impl Db {
    /// Connects as the runtime role.
    ///
    /// Fails when this role or the relay's could see through row level security, when a tenant's table is not protected, or when a connection
    /// string cannot be read.
    /// A server that is down is no failure: each use answers `Unavailable` until it is back, and [`Db::ping`] tells readiness.
    pub async fn connect(config: &Config, ids: Ids, clock: Clock) -> Result<Self> {
        let schema = checked_name(&config.schema)?;
        let options =
            options_of("the database url", config.url.expose_secret())?.application_name(schema);
        let relay = options_of("the relay's database url", config.relay_url.expose_secret())?
            .application_name(schema);
        match examine(&options, &relay, schema).await {
            Ok(()) => {}
            Err(error) if error.is_unreachable() => {
                tracing::warn!(schema, %error, "the database cannot be reached; going on, and trying again at each request");
            }
            Err(error) => return Err(error.into()),
        }
        let measure = Arc::new(Measure::new(schema, config.slow_after, clock.clone()));
        let pool = Pool::new(
            options,
            config.pool_max.max(1),
            config.acquire_timeout,
            Arc::clone(&measure),
        );
        crate::metrics::watch(&pool, schema);
        Ok(Self(Arc::new(Inner {
            pool,
            measure,
            ids,
            clock,
            schema: schema.to_owned(),
            statements: Statements::new(schema),
            wake: Wake::new(schema),
        })))
    }

    /// Opens a transaction within the caller's tenant, in one round trip. `TENANT_REQUIRED` without one.
    pub async fn tenant(&self, ctx: &RequestContext) -> Result<Tx> {
        self.begin(ctx, ctx.require_tenant()?).await
    }

    /// Opens a transaction within `tenant_id`, whatever tenant the caller is bound to: for a worker, for platform staff, and for use cases that lead into a tenant
    /// (accepting an invitation). The use case has checked that the caller may.
    pub async fn tenant_of(&self, ctx: &RequestContext, tenant_id: TenantId) -> Result<Tx> {
        self.begin(ctx, tenant_id).await
    }

    /// Opens a transaction in the platform's own scope: global tables, and rows of the nil tenant. No tenant's row is visible in it.
    ///
    /// `reason` says to a reader of the code and of the trace why no tenant is given.
    pub async fn across_tenants(&self, ctx: &RequestContext, reason: &'static str) -> Result<Tx> {
        tracing::debug!(reason, "a transaction across tenants");
        self.begin(ctx, TenantId::PLATFORM).await
    }

    /// Starts a read by one statement, in one round trip and without a transaction, within the caller's tenant or else the platform's scope.
    ///
    /// A slow one is logged by the place of this call.
    #[track_caller]
    pub fn read<'a>(&'a self, ctx: &RequestContext, sql: &'static str) -> Read<'a> {
        let tenant_id = ctx.tenant_id().unwrap_or(TenantId::PLATFORM);
        Read::new(self, tenant_id, sql, Location::caller())
    }

    /// Starts a command of one statement, in one round trip and without a transaction around it, within the caller's tenant. `TENANT_REQUIRED` without one.
    ///
    /// For commands that happen often, and whose every part is known beforehand. A slow one is logged by the place of this call.
    #[track_caller]
    pub fn write<'a>(
        &'a self,
        ctx: &'a RequestContext,
        sql: &'static WriteSql,
    ) -> Result<Write<'a>> {
        Write::new(self, ctx, sql, Location::caller())
    }

    /// Answers whether the server takes statements from us.
    pub async fn ping(&self) -> Result<()> {
        let mut tries = self.0.pool.size();
        loop {
            let mut lease = self.0.pool.lease().await.map_err(classify)?;
            match lease.connection().execute("select 1").await {
                Ok(_) => {
                    self.0.pool.keep(lease);
                    return Ok(());
                }
                Err(error) if crate::classify::is_broken_connection(&error) && tries > 0 => {
                    tries -= 1
                }
                Err(error) => return Err(classify(error)),
            }
        }
    }

    /// Removes expired idempotency keys, the memory of old events, and events published long ago, of all tenants. Answers how many rows; call again while it is not zero.
    pub async fn sweep_expired(&self, ctx: &RequestContext) -> Result<u64> {
        let mut tx = self.across_tenants(ctx, "expiry knows no tenant").await?;
        let removed: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(self.0.statements.sweep.as_str()))
                .bind(self.0.clock.now())
                .bind(INBOX_DAYS)
                .bind(PUBLISHED_HOURS)
                .bind(SWEEP_ROWS)
                .fetch_one(tx.conn())
                .await
                .map_err(classify)?;
        tx.commit().await?;
        Ok(removed.unsigned_abs())
    }

    /// Connections that serve somebody right now, and how many there can be.
    pub fn pool_use(&self) -> (u64, u64) {
        (self.0.pool.in_use(), u64::from(self.0.pool.size()))
    }

    /// The schema, which is also the service's name.
    pub fn schema(&self) -> &str {
        &self.0.schema
    }

    /// Closes all connections. Transactions that are open finish first.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    pub(crate) async fn begin(&self, ctx: &RequestContext, tenant_id: TenantId) -> Result<Tx> {
        let mut statement = format!("BEGIN; SET LOCAL app.tenant_id = '{}'", tenant_id.uuid());
        if let Some(deadline) = ctx.deadline() {
            let left = deadline.saturating_duration_since(self.0.clock.instant());
            if left.is_zero() {
                return Err(deadline_passed());
            }
            if left < STATEMENT_TIMEOUT {
                statement.push_str(&format!(
                    "; SET LOCAL statement_timeout = {}",
                    left.as_millis().max(1)
                ));
            }
        }
        let span = tracing::info_span!(
            "db.transaction",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.namespace = self.0.schema,
        );
        let begun = self.0.pool.begin(statement).instrument(span.clone()).await;
        let begun = begun.map_err(classify)?;
        let held = Held::new(&self.0.measure, ctx, begun.since);
        let shown = Shown {
            _span: span,
            _held: held,
        };
        Ok(Tx::new(self.clone(), ctx.clone(), tenant_id, begun, shown))
    }
}
