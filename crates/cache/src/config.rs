//! Settings.

use std::fmt;
use std::time::Duration;

/// How Redis is reached.
#[derive(Clone)]
pub struct Config {
    /// `redis://` or, with TLS, `rediss://`; user, password and database as usual.
    pub url: String,
    /// What every key starts with; tests and deployments that share a Redis differ here.
    pub prefix: String,
    /// The longest that one exchange, connecting included, may take before the caller goes on without Redis.
    pub timeout: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("prefix", &self.prefix).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
