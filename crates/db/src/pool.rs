//! The private pool, with what sqlx 0.9 leaves open closed.
//!
//! Two defects of sqlx 0.9.0 would mix tenants (upstream issues 4385 and 4393). A `begin` that is dropped while BEGIN is in flight hands the connection back inside an
//! open transaction with the tenant still set, and a statement that fails after BEGIN leaves the connection aborted for ever. So BEGIN runs in
//! a task of its own, which nobody can drop half-way, and each connection is examined before it goes back. `tests/it/hazards.rs` fails without either.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, Postgres, Row as _, SqlSafeStr as _,
    Transaction,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::classify::is_broken_connection;
use crate::examine::unfit_because;
use crate::metrics::{Measure, PoolUse};

/// A server that does not answer BEGIN, or a question about its session, within this time (or the acquire timeout, if that is longer) is silent:
/// the caller is told so instead of waiting for its own deadline, and the connection is given up.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// After this many reads a kept connection passes the pool's own examination (age, settings) once.
const READS_BETWEEN_CHECKS: u32 = 256;

/// Simple protocol on purpose: now() equals statement_timestamp() only outside a transaction, and a prepared statement takes two messages.
/// Answers in one round trip: no tenant is left, and no transaction is open or aborted.
const IS_CLEAN: &str = "select coalesce(current_setting('app.tenant_id', true), '') = '' and now() = statement_timestamp()";

/// A pool whose connections nobody outside of this crate can get.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    connections: PgPool,
    /// One per connection, so that a connection kept in `warm` can never starve somebody who waits in sqlx's own queue:
    /// whoever holds a permit finds a connection either in `warm` or in `connections`.
    permits: Arc<Semaphore>,
    /// Connections that finished a read and are known to be clean; they skip the examination, which would cost more than the read.
    warm: Mutex<Vec<Kept>>,
    acquire_timeout: Duration,
    size: u32,
    measure: Arc<Measure>,
    /// Set when the server turned out to know our role as an unfit one.
    refused: Arc<OnceLock<String>>,
}

struct Kept {
    connection: PoolConnection<Postgres>,
    reads: u32,
    /// The thread that opened it, and whose event loop hears its answers.
    home: ThreadId,
}

/// A connection on loan, with the right to it.
pub(crate) struct Lease {
    kept: Kept,
    permit: OwnedSemaphorePermit,
    since: Instant,
}

impl Lease {
    /// When it began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.kept.connection
    }
}

/// An open transaction, with the right to its connection.
pub(crate) struct Begun {
    pub(crate) transaction: Transaction<'static, Postgres>,
    pub(crate) permit: OwnedSemaphorePermit,
    /// Since when the connection serves it.
    pub(crate) since: Instant,
}

impl Pool {
    /// Opens nothing yet.
    pub(crate) fn new(
        options: PgConnectOptions,
        size: u32,
        acquire_timeout: Duration,
        measure: Arc<Measure>,
    ) -> Self {
        let refused = Arc::new(OnceLock::new());
        let noted = Arc::clone(&refused);
        // The driver would log the SQL of slow statements; `Measure` says which operation it was instead (requirement DB-11).
        let options = options.disable_statement_logging();
        let connections = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(acquire_timeout)
            // A connection that died while idle is found at its first use and replaced there, which spares each request a round trip.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let noted = Arc::clone(&noted);
                Box::pin(async move {
                    match unfit_because(connection).await? {
                        None => Ok(()),
                        Some(why) => Err(sqlx::Error::Configuration(
                            noted.get_or_init(|| why).clone().into(),
                        )),
                    }
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    let examined = connection.fetch_one(sqlx::raw_sql(IS_CLEAN));
                    // A connection to a silent server must not keep its place for ever.
                    tokio::time::timeout(SILENCE_MAX, examined)
                        .await
                        .map_err(|_| silent())??
                        .try_get_unchecked::<bool, _>(0)
                })
            })
            .connect_lazy_with(options);
        let permits = Arc::new(Semaphore::new(size as usize));
        Self(Arc::new(Inner {
            connections,
            permits,
            warm: Mutex::new(Vec::new()),
            acquire_timeout,
            size,
            measure,
            refused,
        }))
    }

    /// Lends a connection, or fails within the acquire timeout.
    pub(crate) async fn lease(&self) -> Result<Lease, sqlx::Error> {
        // One limit for both queues: a caller is told to come back before its own patience ends.
        let asked = self.0.measure.instant();
        let lease = tokio::time::timeout(self.0.acquire_timeout, self.lease_patiently()).await;
        let since = self.0.measure.waited(asked);
        match lease {
            Ok(Ok((kept, permit))) => Ok(Lease {
                kept,
                permit,
                since,
            }),
            Ok(Err(error)) => Err(self.explain(error)),
            Err(_) => Err(self.explain(sqlx::Error::PoolTimedOut)),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the pool is private to this module; everybody else begins with Db"
    )]
    async fn lease_patiently(&self) -> Result<(Kept, OwnedSemaphorePermit), sqlx::Error> {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let here = std::thread::current().id();
        let kept = self.take_warm(here);
        let kept = match kept {
            Some(kept) => kept,
            None => Kept {
                connection: self.0.connections.acquire().await?,
                reads: 0,
                home: here,
            },
        };
        Ok((kept, permit))
    }

    /// The connection used last, but rather one whose answers this thread hears itself: another thread's would have to be woken first.
    fn take_warm(&self, here: ThreadId) -> Option<Kept> {
        let mut warm = self.warm();
        let at = warm.iter().rposition(|kept| kept.home == here);
        let at = at.or_else(|| warm.len().checked_sub(1))?;
        Some(warm.remove(at))
    }

    fn warm(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A role that turned unfit while we ran shows as a timeout in sqlx; this says what it is.
    fn explain(&self, error: sqlx::Error) -> sqlx::Error {
        match self.0.refused.get() {
            Some(why) => sqlx::Error::Configuration(format!("the database role {why}").into()),
            None => error,
        }
    }

    /// Takes back a connection that has just finished a statement outside of any transaction.
    pub(crate) fn keep(&self, lease: Lease) {
        let Lease {
            mut kept, permit, ..
        } = lease;
        kept.reads += 1;
        if kept.reads < READS_BETWEEN_CHECKS && !self.0.connections.is_closed() {
            self.warm().push(kept);
        }
        // Only now: the permit promises that the connection can be found.
        drop(permit);
    }

    /// Opens a transaction by `statement`, which begins with BEGIN, in one round trip.
    #[expect(
        clippy::disallowed_methods,
        reason = "BEGIN must outlive a caller that goes away; the task ends with its statement"
    )]
    pub(crate) async fn begin(&self, statement: String) -> Result<Begun, sqlx::Error> {
        let pool = self.clone();
        match tokio::spawn(async move { pool.begin_undisturbed(statement).await }).await {
            Ok(begun) => begun,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(sqlx::Error::PoolClosed),
            },
        }
    }

    async fn begin_undisturbed(&self, statement: String) -> Result<Begun, sqlx::Error> {
        let mut tries = self.0.size;
        loop {
            let Lease {
                kept,
                permit,
                since,
            } = self.lease().await?;
            let begin = Transaction::begin(
                kept.connection,
                Some(AssertSqlSafe(statement.clone()).into_sql_str()),
            );
            let patience = self.0.acquire_timeout.max(SILENCE_MAX);
            let Ok(begun) = tokio::time::timeout(patience, begin).await else {
                return Err(silent());
            };
            match begun {
                Ok(transaction) => {
                    return Ok(Begun {
                        transaction,
                        permit,
                        since,
                    });
                }
                // Nothing has happened yet, so another connection may do it; after a restart of the server all idle ones are dead.
                Err(error) if is_broken_connection(&error) && tries > 0 => tries -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// How often a read may be tried again on another connection.
    pub(crate) fn size(&self) -> u32 {
        self.0.size
    }

    /// Connections that serve somebody right now.
    pub(crate) fn in_use(&self) -> u64 {
        u64::from(self.0.size).saturating_sub(self.0.permits.available_permits() as u64)
    }

    /// For whoever watches the pool without keeping it.
    pub(crate) fn weak(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.0))
    }

    /// Closes every connection; whoever asks afterwards gets `Unavailable`.
    pub(crate) async fn close(&self) {
        self.0.permits.close();
        let kept = std::mem::take(&mut *self.warm());
        drop(kept);
        self.0.connections.close().await;
    }
}

/// The failure of a server that keeps the connection and says nothing.
pub(crate) fn silent() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// A pool that may be gone.
pub(crate) struct WeakPool(std::sync::Weak<Inner>);

impl WeakPool {
    /// How it is used; `None` when it is gone.
    pub(crate) fn observe(&self) -> Option<PoolUse> {
        let pool = Pool(self.0.upgrade()?);
        let idle = pool.0.connections.num_idle() + pool.warm().len();
        Some(PoolUse {
            used: pool.in_use(),
            idle: idle as u64,
            max: u64::from(pool.size()),
        })
    }
}

#[cfg(test)]
mod tests;
