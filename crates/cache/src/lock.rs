//! A lock with an expiry, for work that should not be done twice at once. Never for correctness: that is PostgreSQL's.

use std::sync::LazyLock;
use std::time::Duration;

use kernel::{Result, TenantId};
use redis::Script;

use crate::Cache;

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    )
});
static EXTEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0",
    )
});

/// A lock that is held. Dropping it without [`Lock::release`] leaves it to its expiry.
#[derive(Debug)]
pub struct Lock {
    cache: Cache,
    key: String,
    token: String,
}

impl Lock {
    /// Takes the lock `name` of a tenant for at most `lifetime`; nothing when somebody else holds it.
    ///
    /// Fails with `Unavailable` when Redis does not answer: the caller decides whether to go on without.
    pub async fn acquire(
        cache: &Cache,
        tenant_id: TenantId,
        name: &str,
        lifetime: Duration,
    ) -> Result<Option<Self>> {
        let key = cache.keys().tenant(tenant_id, "lock", name);
        let token = format!("{:032x}", rand::random::<u128>());
        let set = redis::cmd("SET")
            .arg(&key)
            .arg(&token)
            .arg("NX")
            .arg("PX")
            .arg(millis(lifetime))
            .to_owned();
        let taken: Option<String> = cache
            .call(async |mut redis| set.query_async(&mut redis).await)
            .await?;
        Ok(taken.map(|_| Self {
            cache: cache.clone(),
            key,
            token,
        }))
    }

    /// Moves the expiry to `lifetime` from now; `false` when the lock was lost meanwhile.
    pub async fn extend(&self, lifetime: Duration) -> Result<bool> {
        let mut call = EXTEND.key(&self.key);
        call.arg(&self.token).arg(millis(lifetime));
        let done: i64 = self
            .cache
            .call(async |mut redis| call.invoke_async(&mut redis).await)
            .await?;
        Ok(done == 1)
    }

    /// Frees the lock, unless it has expired and belongs to somebody else by now; `false` then.
    pub async fn release(self) -> Result<bool> {
        let mut call = RELEASE.key(&self.key);
        call.arg(&self.token);
        let done: i64 = self
            .cache
            .call(async |mut redis| call.invoke_async(&mut redis).await)
            .await?;
        Ok(done == 1)
    }
}

fn millis(lifetime: Duration) -> u64 {
    u64::try_from(lifetime.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
