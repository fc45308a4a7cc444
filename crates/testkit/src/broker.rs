//! RabbitMQ for one test: names of its own, which the broker forgets by itself.

use std::time::Duration;

use events::{Broker, Config};
use kernel::{Clock, Ids};

use crate::Proxy;

/// Queues of a test that nobody has used for so long are deleted by the broker, also when the test was killed.
const QUEUES_EXPIRE: Duration = Duration::from_secs(600);

/// How to reach the test broker, with names that no other test uses.
///
/// # Panics
/// Without a test server: the message says how to start it.
pub fn amqp() -> Config {
    Config {
        url: server_url("TESTKIT_AMQP_URL").into(),
        prefix: unique_prefix(),
        reconnect_max: Duration::from_millis(200),
        queues_expire: Some(QUEUES_EXPIRE),
    }
}

/// The same through a proxy that can fail.
pub fn amqp_through(proxy: &Proxy) -> Config {
    Config {
        url: proxy.url_of(&server_url("TESTKIT_AMQP_URL")).into(),
        ..amqp()
    }
}

/// A connection to the test broker, with names that no other test uses.
pub fn broker() -> Broker {
    Broker::connect(amqp(), Clock::system()).expect("the URL of the test broker can be read")
}

/// Short, and different for every test of every process.
pub(crate) fn unique_prefix() -> String {
    let id = Ids::random(Clock::system()).next().simple().to_string();
    format!("t{}.", &id[id.len() - 12..])
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are configured by one variable per server, before there are settings"
)]
pub(crate) fn server_url(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `./dev test`, or `./dev up` once and `. deploy/local/test-env.sh`"))
}
