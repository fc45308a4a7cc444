//! Settings.

use std::time::Duration;

use runtime::settings::Reader;
use secrecy::SecretString;

/// How RabbitMQ is reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// `amqp://` or, with TLS, `amqps://`, with user, password and virtual host (`%2f` is the default one).
    pub url: SecretString,
    /// What every exchange and queue name starts with; tests and deployments that share a broker differ here.
    pub prefix: String,
    /// The longest pause between two attempts to connect.
    pub reconnect_max: Duration,
    /// Queues that nobody has used for so long delete themselves, with their messages. For tests only.
    pub queues_expire: Option<Duration>,
}

impl Config {
    /// Reads `AMQP_URL`, `AMQP_PREFIX` and `AMQP_RECONNECT_MAX_MS`, and in the dev profile `AMQP_QUEUES_EXPIRE_MS`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            url: reader.secret_or_dev(
                "AMQP_URL",
                "amqp://guest:guest@127.0.0.1:5672/%2f",
                "where RabbitMQ is, for example amqp://user:password@host:5672/%2f; amqps:// for TLS",
            ),
            prefix: reader.text("AMQP_PREFIX", "", "what every exchange and queue name starts with, when several deployments share a broker"),
            reconnect_max: reader.duration_ms(
                "AMQP_RECONNECT_MAX_MS",
                Duration::from_secs(5),
                Duration::from_millis(50)..=Duration::from_secs(60),
                "the longest pause between two attempts to reach RabbitMQ",
            ),
            queues_expire: queues_expire(reader),
        }
    }
}

/// Tests that are killed clean nothing up, so the broker does; anywhere else an event waits for its consumer however long that takes.
fn queues_expire(reader: &mut Reader) -> Option<Duration> {
    if !reader.profile().is_dev() {
        return None;
    }
    let expire = reader.duration_ms(
        "AMQP_QUEUES_EXPIRE_MS",
        Duration::ZERO,
        Duration::ZERO..=Duration::from_secs(86_400),
        "for tests: queues that nobody has used for so long are deleted with their messages; 0: never",
    );
    (!expire.is_zero()).then_some(expire)
}
