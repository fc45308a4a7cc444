//! Values that are expensive to get and may be a little old.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::{Error, ErrorCode, Result, TenantId};
use moka::Expiry;
use moka::future::Cache as Memory;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Cache;

/// How a [`Cached`] behaves.
#[derive(Clone, Debug)]
pub struct CachedOptions {
    /// Part of the key in Redis; one noun, for example `kit`.
    pub space: &'static str,
    /// Values kept in the process.
    pub capacity: u64,
    /// How old a value may get. The real age varies by a tenth, so that values loaded together do not expire together.
    pub lifetime: Duration,
}

/// A cache by tenant and key. However many callers miss at once, one loads and the others wait for its result.
///
/// Failures are not kept. Cloning is cheap.
#[derive(Clone)]
pub struct Cached<T: Clone + Send + Sync + 'static> {
    memory: Memory<(TenantId, String), T>,
    options: CachedOptions,
    redis: Option<Cache>,
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    /// Keeps values in this process only.
    pub fn in_process(options: CachedOptions) -> Self {
        let memory = Memory::builder()
            .max_capacity(options.capacity)
            .expire_after(Jittered(options.lifetime))
            .build();
        Self {
            memory,
            options,
            redis: None,
        }
    }

    /// Forgets a value, in this process.
    pub async fn forget(&self, tenant_id: TenantId, key: &str) {
        self.memory.invalidate(&(tenant_id, key.to_owned())).await;
    }

    /// The value, loaded when it is absent or too old.
    pub async fn get_or_load<F>(&self, tenant_id: TenantId, key: &str, load: F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.memory
            .try_get_with((tenant_id, key.to_owned()), load)
            .await
            .map_err(|error| shared(&error))
    }
}

impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Cached<T> {
    /// Keeps values in this process and, for the other processes, in Redis. A Redis that is away is passed over.
    pub fn shared(cache: Cache, options: CachedOptions) -> Self {
        Self {
            redis: Some(cache),
            ..Self::in_process(options)
        }
    }

    /// As [`Cached::get_or_load`], looking into Redis before loading.
    pub async fn get_or_share<F>(&self, tenant_id: TenantId, key: &str, load: F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.get_or_load(tenant_id, key, async {
            let Some(cache) = &self.redis else {
                return load.await;
            };
            let name = cache.keys().tenant(tenant_id, self.options.space, key);
            if let Some(value) = self.read(cache, &name).await {
                return Ok(value);
            }
            let value = load.await?;
            self.write(cache, &name, &value).await;
            Ok(value)
        })
        .await
    }

    /// Forgets a value, in this process and in Redis. Other processes keep theirs until it expires.
    pub async fn forget_everywhere(&self, tenant_id: TenantId, key: &str) {
        self.forget(tenant_id, key).await;
        let Some(cache) = &self.redis else { return };
        let mut del = redis::cmd("DEL");
        del.arg(cache.keys().tenant(tenant_id, self.options.space, key));
        let done = cache
            .call(async |mut redis| del.query_async::<()>(&mut redis).await)
            .await;
        if let Err(error) = done {
            tracing::debug!(error = %error.chain(), "a cached value could not be removed from redis and will expire there");
        }
    }

    async fn read(&self, cache: &Cache, name: &str) -> Option<T> {
        let mut get = redis::cmd("GET");
        get.arg(name);
        let found = cache
            .call(async |mut redis| get.query_async::<Option<Vec<u8>>>(&mut redis).await)
            .await;
        // A value of an older version of the program may not decode; loading it anew replaces it.
        serde_json::from_slice(&found.ok()??).ok()
    }

    async fn write(&self, cache: &Cache, name: &str, value: &T) {
        let Ok(bytes) = serde_json::to_vec(value) else {
            return;
        };
        let mut set = redis::cmd("SET");
        let millis = u64::try_from(jitter(self.options.lifetime).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        set.arg(name).arg(bytes).arg("PX").arg(millis);
        let done = cache
            .call(async |mut redis| set.query_async::<()>(&mut redis).await)
            .await;
        if let Err(error) = done {
            tracing::debug!(error = %error.chain(), "a value could not be shared through redis");
        }
    }
}

/// Several callers wait for one load, so its failure is rebuilt for each of them; the cause stays in the chain.
fn shared(error: &Arc<Error>) -> Error {
    let cause = error.chain();
    let mut copy = Error::new(
        error.error_code(),
        error.reason().to_owned(),
        error.message().to_owned(),
    )
    .with_violations(error.violations().to_vec());
    for (key, value) in error.details() {
        copy = copy.with_detail(key.clone(), value);
    }
    if let Some(after) = error.retry_after() {
        copy = copy.with_retry_after(after);
    }
    match error.error_code() {
        ErrorCode::NotFound => copy,
        _ => copy.caused_by(cause),
    }
}

fn jitter(lifetime: Duration) -> Duration {
    lifetime.mul_f64(0.9 + rand::random::<f64>() * 0.1)
}

struct Jittered(Duration);

impl<K, V> Expiry<K, V> for Jittered {
    fn expire_after_create(&self, _: &K, _: &V, _: Instant) -> Option<Duration> {
        Some(jitter(self.0))
    }

    fn expire_after_update(
        &self,
        _: &K,
        _: &V,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(jitter(self.0))
    }
}
