//! Redis for one test: a key prefix of its own. Every key that the product writes expires, so nothing has to be cleaned up.

use std::time::Duration;

use cache::{Cache, Config};
use kernel::Clock;

use crate::Proxy;
use crate::broker::{server_url, unique_prefix};

/// Generous, so that a busy machine does not look like an outage; tests of outages set their own.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach the test Redis, with keys that no other test uses.
///
/// # Panics
/// Without a test server: the message says how to start it.
pub fn redis() -> Config {
    Config {
        url: server_url("TESTKIT_REDIS_URL").into(),
        prefix: unique_prefix(),
        timeout: TIMEOUT,
    }
}

/// The same through a proxy that can fail, with the timeout of production.
pub fn redis_through(proxy: &Proxy) -> Config {
    let url = proxy.url_of(&server_url("TESTKIT_REDIS_URL"));
    Config {
        url: url.into(),
        timeout: Duration::from_millis(200),
        ..redis()
    }
}

/// A connection to the test Redis, with keys that no other test uses.
pub fn cache() -> Cache {
    Cache::connect(&redis(), Clock::system()).expect("the URL of the test Redis can be read")
}
