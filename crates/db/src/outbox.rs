//! The relay's side of the outbox: one leader per service reads, in order, and puts aside what the broker has confirmed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{Result, TenantId};
use runtime::Shutdown;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, FromRow};
use uuid::Uuid;

use crate::classify::classify;
use crate::config::Config;
use crate::examine::unfit_because;
use crate::setup::{checked_name, options};

/// How soon a standby notices that the leader is gone, and how soon a lost server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Beyond this many waiting rows only "more than that" is of interest.
const BACKLOG_ROWS_MAX: i64 = 10_000;

/// Published rows that one statement looks at: it ends far below the statement timeout.
const REPUBLISH_ROWS: i64 = 5_000;

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

/// Which published events to publish again. Every condition narrows the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Republish {
    /// Published at this time or later.
    pub since: DateTime<Utc>,
    /// Published before this time; nothing means until now.
    pub until: Option<DateTime<Utc>>,
    /// Of one of these types; none means all.
    pub types: Vec<String>,
    /// About this subject alone.
    pub subject: Option<String>,
    /// Of this tenant alone.
    pub tenant_id: Option<Uuid>,
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

    /// Puts published events back into the outbox, in the order in which they were published, and answers how many. The relay does the rest.
    ///
    /// They keep their ids, so a consumer that has applied one already recognises it. A run that breaks off has put back the first of them;
    /// running it again puts back the others as well. What was swept meanwhile is gone.
    pub async fn republish(&self, wanted: &Republish) -> Result<u64> {
        let mut connection = self.options.connect().await.map_err(classify)?;
        let schema = &self.schema;
        // What is published again comes back with a higher number, so the last one of now ends the work.
        let bounds = format!(
            "select coalesce((select seq from {schema}.outbox_published where published_at < $1 order by seq desc limit 1), 0), \
             coalesce((select max(seq) from {schema}.outbox_published), 0)"
        );
        let (mut after, last): (i64, i64) = sqlx::query_as(AssertSqlSafe(bounds))
            .bind(wanted.since)
            .fetch_one(&mut connection)
            .await
            .map_err(classify)?;
        let put_back = put_back_statement(schema);
        let mut total = 0;
        while after < last {
            let (rows, through, _): (i64, i64, String) =
                sqlx::query_as(AssertSqlSafe(put_back.as_str()))
                    .bind(after)
                    .bind(last)
                    .bind(REPUBLISH_ROWS)
                    .bind(wanted.until)
                    .bind(&wanted.types)
                    .bind(wanted.subject.as_deref())
                    .bind(wanted.tenant_id)
                    .fetch_one(&mut connection)
                    .await
                    .map_err(classify)?;
            total += rows.unsigned_abs();
            after = through;
        }
        // A goodbye that fails changes nothing: what is in the outbox will be published.
        drop(connection.close().await);
        Ok(total)
    }

    async fn try_lead(&self) -> Result<Option<Leader>, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(RETRY_PAUSE)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    match unfit_because(connection).await? {
                        None => Ok(()),
                        Some(why) => Err(sqlx::Error::Configuration(
                            format!("refusing to relay, the database role {why}").into(),
                        )),
                    }
                })
            })
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
        // A crash that swallows the news of a confirm has the event published once more, as at any other moment, so nobody waits for the disk.
        session.execute("set synchronous_commit = off").await?;
        session.listen(&format!("outbox_{}", self.schema)).await?;
        let schema = &self.schema;
        Ok(Some(Leader {
            session,
            read: format!(
                "select seq, id, type, subject, tenant_id, envelope::text as envelope from {schema}.outbox order by seq limit $1"
            ),
            put_aside: format!(
                "with done as (delete from {schema}.outbox where seq = any($1) returning seq, tenant_id, id, type, subject, envelope) \
                 insert into {schema}.outbox_published (tenant_id, id, type, subject, envelope, published_at) \
                 select tenant_id, id, type, subject, envelope, statement_timestamp() from done order by seq"
            ),
            count: format!(
                "select (select count(*) from (select from {schema}.outbox limit {BACKLOG_ROWS_MAX}) as rows), \
                 (select (envelope ->> 'time')::timestamptz from {schema}.outbox order by seq limit 1)"
            ),
        }))
    }
}

/// Looks at the next published rows, moves those that are wanted, and answers how many that were and how far it has looked.
fn put_back_statement(schema: &str) -> String {
    format!(
        "with seen as (select * from {schema}.outbox_published where seq > $1 and seq <= $2 order by seq limit $3), \
         gone as (delete from {schema}.outbox_published p using seen s where p.seq = s.seq \
           and ($4::timestamptz is null or s.published_at < $4) and (cardinality($5::text[]) = 0 or s.type = any($5)) \
           and ($6::text is null or s.subject = $6) and ($7::uuid is null or s.tenant_id = $7) \
           returning p.seq, p.tenant_id, p.id, p.type, p.subject, p.envelope), \
         back as (insert into {schema}.outbox (tenant_id, id, type, subject, envelope) \
           select tenant_id, id, type, subject, envelope from gone order by seq returning 1) \
         select (select count(*) from back), coalesce((select max(seq) from seen), $2), pg_notify('outbox_{schema}', '')::text"
    )
}

/// The one process that empties the outbox. After any error the lead is lost: drop this and call [`Outbox::lead`] again.
pub struct Leader {
    session: PgListener,
    read: String,
    put_aside: String,
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

    /// Puts aside what the broker has confirmed: for some days it can be published again.
    pub async fn done(&mut self, seqs: &[i64]) -> Result<()> {
        sqlx::query(AssertSqlSafe(self.put_aside.as_str()))
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
