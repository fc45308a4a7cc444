//! Commands of one statement: the tenant is set, and effect, events, audit entries and idempotency key are written, in one round trip.
//!
//! A statement outside of a transaction is a transaction of its own, so all of it happens or nothing. What it spares are the round trips of
//! BEGIN, of each part, of COMMIT and of the examination of the connection, which cost more processor time than the rows.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use chrono::TimeDelta;
use kernel::{Error, RequestContext, Result, TenantId};
use proto::Event;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Postgres, Type};
use tracing::Instrument as _;

use crate::classify::{deadline_passed, is_broken_connection, is_lock_timeout, unique_violation};
use crate::handle::Db;
use crate::once::{IDEMPOTENCY_KEY_HOURS, Key, running};
use crate::outgoing::{AuditEntry, Author, Noted};
use crate::pool::silent;

/// The longest that a write may take. It is longer than the lock timeout of the runtime roles (two seconds), so that whoever waits for another command is
/// told that; without any answer by then the server is silent, and the caller had better come back than wait for its own deadline.
const WRITE_MAX: Duration = Duration::from_secs(3);

/// The parts of a command of one statement. Their parameters are the caller's `$1`, `$2` ...
pub struct WriteSql {
    /// A query that changes nothing: the command has its effect when this finds a row. It names the tenant, like every query of a service.
    pub only_if: &'static str,
    /// The effect: parts of a WITH clause, each of which selects `from go`, a relation of one row or, when nothing may happen, none.
    pub effect: &'static str,
    /// The constraint that a repetition violates, because the effect inserts a row under an id that its caller has made. A connection that breaks off
    /// tells nobody whether the statement has happened, so it is sent again; then this one tells.
    pub own_key: &'static str,
}

/// One command, from [`Db::write`].
#[must_use = "a write does nothing until it is awaited by `run`"]
pub struct Write<'a> {
    db: &'a Db,
    ctx: &'a RequestContext,
    tenant_id: TenantId,
    sql: &'static WriteSql,
    arguments: PgArguments,
    problem: Option<sqlx::error::BoxDynError>,
    noted: Noted,
    key: Option<(Key, Vec<u8>)>,
    statement: &'static Location<'static>,
}

impl<'a> Write<'a> {
    /// `statement` is where the caller has it.
    pub(crate) fn new(
        db: &'a Db,
        ctx: &'a RequestContext,
        sql: &'static WriteSql,
        statement: &'static Location<'static>,
    ) -> Result<Self> {
        Ok(Self {
            db,
            ctx,
            tenant_id: ctx.require_tenant()?,
            sql,
            arguments: PgArguments::default(),
            problem: None,
            noted: Noted::default(),
            key: None,
            statement,
        })
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

    /// Notes an event, like [`crate::Tx::emit`].
    pub fn emit<E: Event>(mut self, subject: impl fmt::Display, event: &E) -> Result<Self> {
        let author = self.author();
        self.noted.event(author, subject.to_string(), event)?;
        Ok(self)
    }

    /// Notes who did what, like [`crate::Tx::audit`].
    pub fn audit(mut self, entry: AuditEntry) -> Result<Self> {
        let author = self.author();
        self.noted.audit(author, entry)?;
        Ok(self)
    }

    /// Keeps the answer for repetitions, when the caller gave an `Idempotency-Key`.
    pub fn answer<R: prost::Message>(
        mut self,
        request: &impl prost::Message,
        answer: &R,
    ) -> Result<Self> {
        if let Some(key) = Key::of(self.ctx, self.tenant_id, request)? {
            self.key = Some((key, answer.encode_to_vec()));
        }
        Ok(self)
    }

    /// Sends it. Answers whether it had its effect: not when `only_if` found nothing, and not when the idempotency key is known already.
    /// Then nothing at all was written, and [`Db::once`] finds out what is the matter.
    ///
    /// `explain` classifies a failed statement, [`crate::classify`] for example.
    pub async fn run(self, explain: impl FnOnce(sqlx::Error) -> Error) -> Result<bool> {
        if !runtime::telemetry::is_exporting() {
            return self.send(explain).await;
        }
        let span = tracing::info_span!(
            "db.write",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.namespace = self.db.0.schema,
        );
        self.send(explain).instrument(span).await
    }

    async fn send(mut self, explain: impl FnOnce(sqlx::Error) -> Error) -> Result<bool> {
        let has_events = !self.noted.is_empty();
        let has_key = self.key.is_some();
        let sql = write_statement(&self.db.0.schema, self.sql, self.arguments.len(), has_key);
        self.complete().map_err(Error::internal)?;
        fail::fail_point!("db::before_commit", |_| Err(Error::internal(
            "fail point db::before_commit"
        )));
        let written = match self.try_each_connection(&sql).await {
            Ok(written) => written,
            Err(Failure::Deadline) => return Err(deadline_passed()),
            // Whoever holds the key is still at it.
            Err(Failure::Statement(error)) if has_key && is_lock_timeout(&error) => {
                return Err(running().caused_by(error));
            }
            Err(Failure::Statement(error)) => return Err(explain(error)),
        };
        if written && has_events {
            self.db.0.wake.after_commit(&self.db.0.pool);
        }
        fail::fail_point!("db::after_commit", |_| Err(Error::internal(
            "fail point db::after_commit"
        )));
        Ok(written)
    }

    /// Adds the parameters of [`write_statement`] behind the caller's.
    fn complete(&mut self) -> Result<(), sqlx::error::BoxDynError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let columns = std::mem::take(&mut self.noted).into_columns();
        let arguments = &mut self.arguments;
        arguments.add(self.tenant_id.uuid())?;
        arguments.add(columns.ids)?;
        arguments.add(columns.types)?;
        arguments.add(columns.subjects)?;
        arguments.add(columns.envelopes)?;
        if let Some((key, answer)) = self.key.take() {
            let now = self.db.0.clock.now();
            arguments.add(key.reservation.actor_id)?;
            arguments.add(key.reservation.handler)?;
            arguments.add(key.reservation.key)?;
            arguments.add(key.fingerprint)?;
            arguments.add(answer)?;
            arguments.add(now + TimeDelta::hours(IDEMPOTENCY_KEY_HOURS))?;
            arguments.add(now)?;
        }
        Ok(())
    }

    async fn try_each_connection(&self, sql: &str) -> Result<bool, Failure> {
        let pool = &self.db.0.pool;
        let mut tries = pool.size();
        let mut is_repeated = false;
        loop {
            let patience = self.patience()?;
            let mut lease = pool.lease().await?;
            let query =
                sqlx::query_scalar_with::<_, i64, _>(AssertSqlSafe(sql), self.arguments.clone());
            let since = lease.since();
            let sent = tokio::time::timeout(patience, query.fetch_one(lease.connection())).await;
            self.db.0.measure.write(since, self.statement);
            match sent {
                Ok(Ok(rows)) => {
                    pool.keep(lease);
                    return Ok(rows > 0);
                }
                Ok(Err(error))
                    if is_repeated && unique_violation(&error) == Some(self.sql.own_key) =>
                {
                    return Ok(true);
                }
                Ok(Err(error)) if is_broken_connection(&error) && tries > 0 => {
                    tries -= 1;
                    is_repeated = true;
                }
                Ok(Err(error)) => return Err(Failure::Statement(error)),
                Err(_) if patience < WRITE_MAX => return Err(Failure::Deadline),
                Err(_) => return Err(Failure::Statement(silent())),
            }
        }
    }

    /// How long the statement may take: less than usual when the caller has less time left.
    fn patience(&self) -> Result<Duration, Failure> {
        let Some(deadline) = self.ctx.deadline() else {
            return Ok(WRITE_MAX);
        };
        let left = deadline.saturating_duration_since(self.db.0.clock.instant());
        match left.is_zero() {
            true => Err(Failure::Deadline),
            false => Ok(left.min(WRITE_MAX)),
        }
    }

    fn author(&self) -> Author<'a> {
        Author {
            db: self.db,
            ctx: self.ctx,
            tenant_id: self.tenant_id,
        }
    }
}

enum Failure {
    Deadline,
    Statement(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Statement(error)
    }
}

/// What [`Db::write`] sends, for EXPLAIN. Behind the caller's parameters come the tenant, four columns of events and, with a key, its seven.
///
/// As in [`crate::read_statement`], the setting comes first because everything else hangs on its row: `allowed` is joined laterally to it, `go` comes
/// out of `allowed`, and every effect out of `go`. Were the order ever another one, `app.tid()` would raise and nothing be written.
/// A known key keeps its row, so that `go` is empty; an expired one is taken over; a running holder is waited for.
pub fn write_statement(schema: &str, sql: &WriteSql, parameters: usize, has_key: bool) -> String {
    let [
        tenant,
        ids,
        types,
        subjects,
        envelopes,
        actor,
        handler,
        key,
        fingerprint,
        response,
        expires,
        now,
    ] = std::array::from_fn(|n| parameters + 1 + n);
    let WriteSql {
        only_if, effect, ..
    } = sql;
    let go = match has_key {
        false => "select one from allowed".to_owned(),
        true => format!(
            "insert into {schema}.idempotency_keys as k (tenant_id, actor_id, handler, key, fingerprint, response, expires_at) \
             select ${tenant}, ${actor}, ${handler}, ${key}, ${fingerprint}, ${response}, ${expires} from allowed \
             on conflict (tenant_id, actor_id, handler, key) do update \
             set fingerprint = excluded.fingerprint, response = excluded.response, expires_at = excluded.expires_at where k.expires_at <= ${now} \
             returning 1 as one"
        ),
    };
    format!(
        "with tenant as materialized (select set_config('app.tenant_id', ${tenant}::uuid::text, true) as t), \
         allowed as materialized (select 1 as one from tenant cross join lateral (select from ({only_if}) as found where tenant.t is not null limit 1) as q), \
         go as ({go}), {effect}, \
         events as (insert into {schema}.outbox (tenant_id, id, type, subject, envelope) \
           select ${tenant}, e.id, e.type, e.subject, e.envelope::jsonb \
           from go, unnest(${ids}::uuid[], ${types}::text[], ${subjects}::text[], ${envelopes}::text[]) with ordinality as e (id, type, subject, envelope, n) \
           order by e.n) \
         select count(*) from go"
    )
}
