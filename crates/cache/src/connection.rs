//! The one connection of a process, opened when first needed.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kernel::{Clock, Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult};
use secrecy::ExposeSecret;

use crate::breaker::{Breaker, Change};
use crate::{Config, Keys, RateLimiter};

/// Redis, perhaps. Cloning is cheap; all clones share one multiplexed connection.
///
/// One connection instead of a pool: commands of all requests are pipelined on it, and no checkout costs a `PING`.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    client: redis::Client,
    options: AsyncConnectionConfig,
    timeout: Duration,
    keys: Keys,
    clock: Clock,
    breaker: Breaker,
    current: RwLock<Option<(u64, MultiplexedConnection)>>,
    connecting: tokio::sync::Mutex<u64>,
}

impl Cache {
    /// Prepares the connection and does no I/O: a Redis that is down is found out at first use.
    ///
    /// Fails only when the URL cannot be read.
    pub fn connect(config: &Config, clock: Clock) -> Result<Self> {
        let client = redis::Client::open(config.url.expose_secret()).map_err(|error| {
            Error::internal(error).context("REDIS_URL is not a redis:// or rediss:// URL")
        })?;
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout));
        let breaker = Breaker::new(clock.instant());
        Ok(Self(Arc::new(Inner {
            client,
            options,
            timeout: config.timeout,
            keys: Keys::new(&config.prefix),
            clock,
            breaker,
            current: RwLock::new(None),
            connecting: tokio::sync::Mutex::new(0),
        })))
    }

    /// A rate limiter; when Redis is away, each of `replicas` processes allows its share by itself.
    pub fn rate_limiter(&self, replicas: u32) -> RateLimiter {
        RateLimiter::new(self.clone(), replicas)
    }

    /// The layout of keys.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Asks whether Redis answers; for the readiness report, which must not depend on it.
    pub async fn ping(&self) -> Result<()> {
        self.call(async |mut redis| redis::cmd("PING").query_async::<()>(&mut redis).await)
            .await
    }

    /// Makes one exchange within the timeout; `Unavailable` at once while the breaker is open.
    pub(crate) async fn call<T, F>(
        &self,
        exchange: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let inner = &*self.0;
        if !inner.breaker.admits(inner.clock.instant()) {
            return Err(Error::unavailable(
                "redis",
                "not asked again so soon after it failed",
            ));
        }
        let attempt = async {
            let (generation, redis) = inner.connection().await?;
            exchange(redis)
                .await
                .inspect_err(|error| inner.forget(generation, error))
        };
        let result = match tokio::time::timeout(inner.timeout, attempt).await {
            Ok(result) => result,
            Err(_) => {
                inner.forget_any();
                Err(RedisError::from(std::io::Error::from(
                    std::io::ErrorKind::TimedOut,
                )))
            }
        };
        inner.judge(result)
    }
}

impl Inner {
    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        if let Some(found) = self.current() {
            return Ok(found);
        }
        // Callers that come together wait for one attempt instead of opening one connection each.
        let mut generation = self.connecting.lock().await;
        if let Some(found) = self.current() {
            return Ok(found);
        }
        let redis = self
            .client
            .get_multiplexed_async_connection_with_config(&self.options)
            .await?;
        *generation += 1;
        let found = (*generation, redis);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Drops a broken connection, unless somebody has replaced it meanwhile.
    fn forget(&self, generation: u64, error: &RedisError) {
        if is_answer(error) {
            return;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|(found, _)| *found == generation)
        {
            *current = None;
        }
    }

    fn forget_any(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn judge<T>(&self, result: RedisResult<T>) -> Result<T> {
        match result {
            Ok(value) => {
                self.note(self.breaker.succeeded());
                Ok(value)
            }
            Err(error) if is_answer(&error) => {
                self.note(self.breaker.succeeded());
                Err(Error::internal(error).context("while asking redis"))
            }
            Err(error) => {
                self.note(self.breaker.failed(self.clock.instant()));
                Err(Error::unavailable("redis", error))
            }
        }
    }

    fn note(&self, change: Change) {
        match change {
            Change::Opened => tracing::warn!(
                "redis does not answer: rate limits are counted per process and caches are bypassed until it is back"
            ),
            Change::Closed => tracing::info!("redis answers again"),
            Change::None => {}
        }
    }
}

/// Whether the server is alive and refused this one command, as opposed to being away, loading or demoted.
fn is_answer(error: &RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind};
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort | ServerErrorKind::NoScript
        ) | ErrorKind::UnexpectedReturnType
            | ErrorKind::Parse
    )
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}
