//! Settings.

use std::time::Duration;

use runtime::settings::Reader;
use secrecy::SecretString;

/// An exchange takes a tenth of a millisecond next door; who waits longer than this is better off without Redis.
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(200);

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// `redis://` or, with TLS, `rediss://`; user, password and database as usual.
    pub url: SecretString,
    /// What every key starts with; tests and deployments that share a Redis differ here.
    pub prefix: String,
    /// The longest that one exchange, connecting included, may take before the caller goes on without Redis.
    pub timeout: Duration,
}

impl Config {
    /// Reads `REDIS_URL`, `REDIS_PREFIX` and `REDIS_TIMEOUT_MS`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            url: reader.secret_or_dev(
                "REDIS_URL",
                "redis://127.0.0.1:6379/0",
                "where Redis or Valkey is, for example redis://:password@host:6379/0; rediss:// for TLS",
            ),
            prefix: reader.text("REDIS_PREFIX", "", "what every key starts with, when several deployments share a Redis"),
            timeout: reader.duration_ms(
                "REDIS_TIMEOUT_MS",
                TIMEOUT_DEFAULT,
                Duration::from_millis(5)..=Duration::from_secs(5),
                "the longest wait for Redis before a request goes on without it",
            ),
        }
    }
}
