//! The relay's side of the outbox: one leader per service reads, in order, and deletes what the broker has confirmed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{Result, TenantId};
use runtime::Shutdown;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, FromRow};
use uuid::Uuid;

use crate::classify::classify;
use crate::config::Config;
use crate::setup::{checked_name, options};

/// How soon a standby notices that the leader is gone, and how soon a lost server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Beyond this many waiting rows only "more than that" is of interest.
const BACKLOG_ROWS_MAX: i64 = 10_000;

/// The outbox of one service, seen by its relay.
pub struct Outbox {
    options: PgConnectOptions,
    schema: String,
}

/// One event that waits for the broker.
#[derive(Clone, Debug, FromRow)]
pub struct OutboxRow {
    /// The place in the queue; what [`Leader::done`] takes.
    pub seq: i64,
    /// The id of the event.
    pub id: Uuid,
    /// The type, which is the routing key.
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// What the event is about.
    pub subject: String,
    #[sqlx(try_from = "Uuid")]
    /// The tenant; nil for the platform's own.
    pub tenant_id: TenantId,
    /// The whole CloudEvents envelope as JSON.
    pub envelope: String,
}

/// How much waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Waiting rows, counted up to 10,000.
    pub rows: i64,
    /// When the oldest of them happened.
    pub oldest: Option<DateTime<Utc>>,
}

impl Outbox {
    /// Reads the settings; nothing is opened yet.
    pub fn connect(config: &Config) -> Result<Self> {
        let schema = checked_name(&config.schema)?.to_owned();
        let options = options("the relay's database url", config.relay_url.expose_secret())?;
        let options = options
            .application_name(&format!("{schema} relay"))
            .disable_statement_logging();
        Ok(Self { options, schema })
    }

    /// The service whose outbox this is.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Waits until this process leads: until the server can be reached and no other process holds the lock. `None` when `shutdown` begins first.
    ///
    /// Lock, queue and notifications share one session, so that whoever loses the session has lost the lead, and nobody else can take it earlier.
    pub async fn lead(&self, shutdown: &Shutdown) -> Option<Leader> {
        let mut complained = false;
        loop {
            match shutdown.or(self.try_lead()).await? {
                Ok(Some(leader)) => return Some(leader),
                Ok(None) => complained = false,
                Err(error) if !complained => {
                    tracing::warn!(schema = self.schema, %error, "the outbox relay cannot reach the database; trying again");
                    complained = true;
                }
                Err(_) => {}
            }
            shutdown.or(tokio::time::sleep(RETRY_PAUSE)).await?;
        }
    }

    async fn try_lead(&self) -> Result<Option<Leader>, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(RETRY_PAUSE)
            .idle_timeout(None)
            .max_lifetime(None)
            // Whoever gives up the lead closes the session, which frees the lock.
            .after_release(|_, _| Box::pin(async { Ok(false) }))
            .connect_lazy_with(self.options.clone());
        let mut session = PgListener::connect_with(&pool).await?;
        session.eager_reconnect(false);
        let leads: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('relay ' || $1, 0))")
                .bind(&self.schema)
                .fetch_one(&mut session)
                .await?;
        if !leads {
            return Ok(None);
        }
        session.listen(&format!("outbox_{}", self.schema)).await?;
        let schema = &self.schema;
        Ok(Some(Leader {
            session,
            read: format!(
                "select seq, id, type, subject, tenant_id, envelope::text as envelope from {schema}.outbox order by seq limit $1"
            ),
            delete: format!("delete from {schema}.outbox where seq = any($1)"),
            count: format!(
                "select (select count(*) from (select from {schema}.outbox limit {BACKLOG_ROWS_MAX}) as rows), \
                 (select (envelope ->> 'time')::timestamptz from {schema}.outbox order by seq limit 1)"
            ),
        }))
    }
}

/// The one process that empties the outbox. After any error the lead is lost: drop this and call [`Outbox::lead`] again.
pub struct Leader {
    session: PgListener,
    read: String,
    delete: String,
    count: String,
}

impl Leader {
    /// The first `limit` waiting events, in the order of their commits as far as they depend on each other. Asking again before [`Leader::done`] gives the same ones.
    pub async fn batch(&mut self, limit: u16) -> Result<Vec<OutboxRow>> {
        // Always from the beginning: a transaction that took its number earlier may commit later.
        sqlx::query_as(AssertSqlSafe(self.read.as_str()))
            .bind(i64::from(limit))
            .fetch_all(&mut self.session)
            .await
            .map_err(classify)
    }

    /// Removes what the broker has confirmed.
    pub async fn done(&mut self, seqs: &[i64]) -> Result<()> {
        sqlx::query(AssertSqlSafe(self.delete.as_str()))
            .bind(seqs)
            .execute(&mut self.session)
            .await
            .map_err(classify)?;
        Ok(())
    }

    /// Waits until a transaction with events commits, or for `patience`; fails when the session is lost.
    pub async fn wait(&mut self, patience: Duration) -> Result<()> {
        match tokio::time::timeout(patience, self.session.try_recv()).await {
            Ok(Ok(Some(_))) => {
                while self.session.next_buffered().is_some() {}
                Ok(())
            }
            Ok(Ok(None)) => Err(classify(sqlx::Error::Io(
                std::io::ErrorKind::ConnectionAborted.into(),
            ))),
            Ok(Err(error)) => Err(classify(error)),
            Err(_) => Ok(()),
        }
    }

    /// How much waits, for metrics.
    pub async fn backlog(&mut self) -> Result<Backlog> {
        let (rows, oldest) = sqlx::query_as(AssertSqlSafe(self.count.as_str()))
            .fetch_one(&mut self.session)
            .await
            .map_err(classify)?;
        Ok(Backlog { rows, oldest })
    }
}
