//! Exchanges and queues: what they are called and how they are declared.
//!
//! ```text
//! <prefix>events (topic) ──binding──> <queue> ──delivery limit──> <queue>.dead
//!        │ nobody bound                  ^ TTL
//!        └──> <prefix>events.unrouted    └── <queue>.retry.60s, <queue>.retry.300s, ...
//! ```
//! Every queue is a quorum queue: replicated, and a confirm means that the message is on disk. A queue that is full refuses
//! (`reject-publish`), so the publisher keeps the message instead of the broker dropping it.

use std::time::Duration;

use kernel::Result;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::Config;
use crate::broker::failure;

/// A message that was handed out so often without an answer kills its consumers: it goes to the dead letters.
const DELIVERIES_MAX: i64 = 20;
/// Dead letters at most; a full queue keeps its messages where they are, which the backlog alert sees.
const DEAD_MAX: i64 = 100_000;
/// Looking at dead letters counts as a delivery on the broker, so their limit must never be met.
const DELIVERIES_UNLIMITED: i64 = 1_000_000_000;
/// Events without a consumer that are kept for a day, in case their consumer is about to be deployed.
const UNROUTED_MAX: i64 = 10_000;
const UNROUTED_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long to wait before each further attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// One minute, five, fifteen, an hour, six hours; then the dead letters.
    pub fn mvp() -> Self {
        Self::of_minutes(&[1, 5, 15, 60, 360])
    }

    /// Ten retries over two days and a half.
    pub fn standard() -> Self {
        Self::of_minutes(&[1, 5, 15, 60, 180, 360, 720, 720, 720, 1440])
    }

    /// Fifteen retries over eight days.
    pub fn enterprise() -> Self {
        Self::of_minutes(&[
            1, 2, 5, 10, 15, 30, 60, 180, 360, 720, 1440, 1440, 1440, 2880, 2880,
        ])
    }

    /// Steps of any length; for tests, and for consumers whose source comes back faster than a minute.
    pub fn of(steps: impl IntoIterator<Item = Duration>) -> Self {
        Self(steps.into_iter().collect())
    }

    fn of_minutes(minutes: &[u64]) -> Self {
        Self(
            minutes
                .iter()
                .map(|m| Duration::from_secs(m * 60))
                .collect(),
        )
    }

    /// The pause after the failed attempt number `attempt` (from 1); nothing when that was the last one.
    pub fn pause_after(&self, attempt: u32) -> Option<Duration> {
        self.0
            .get(usize::try_from(attempt.max(1)).unwrap_or(usize::MAX) - 1)
            .copied()
    }
}

/// A consumer's queue. The name is `<consumer>.<what>`, for example `tenant.audit`.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Without the prefix. Also the consumer's name in the inbox: renaming it handles old events again.
    pub name: &'static str,
    /// Routing keys (event types, or patterns such as `record.*`) of the events to receive.
    pub bindings: Vec<&'static str>,
    /// Messages handled at the same time; also what the broker hands out in advance.
    pub concurrency: u16,
    /// Pauses between attempts.
    pub ladder: Ladder,
    /// The longest that one attempt may take.
    pub handler_timeout: Duration,
    /// The longest that a shutdown waits for attempts that are under way.
    pub drain_timeout: Duration,
}

impl Queue {
    /// A queue with eight messages at a time, the MVP ladder, 30 seconds per attempt and 20 seconds to drain.
    pub fn new(name: &'static str, bindings: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            name,
            bindings: bindings.into_iter().collect(),
            concurrency: 8,
            ladder: Ladder::mvp(),
            handler_timeout: Duration::from_secs(30),
            // Less than the 25 seconds that a process has for its orderly end.
            drain_timeout: Duration::from_secs(20),
        }
    }

    /// Sets how many messages are handled at the same time.
    #[must_use]
    pub fn concurrency(mut self, messages: u16) -> Self {
        self.concurrency = messages.max(1);
        self
    }

    /// Sets the pauses between attempts.
    #[must_use]
    pub fn ladder(mut self, ladder: Ladder) -> Self {
        self.ladder = ladder;
        self
    }

    /// Sets the longest that one attempt may take.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// Sets the longest that a shutdown waits for attempts that are under way.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }
}

/// Names with the deployment's prefix, and how long what they name lives.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    queues_expire: Option<Duration>,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            prefix: config.prefix.clone(),
            queues_expire: config.queues_expire,
        }
    }

    pub(crate) fn exchange(&self) -> String {
        format!("{}events", self.prefix)
    }

    pub(crate) fn unrouted(&self) -> String {
        format!("{}events.unrouted", self.prefix)
    }

    pub(crate) fn queue(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn dead(&self, name: &str) -> String {
        format!("{}{name}.dead", self.prefix)
    }

    pub(crate) fn retry(&self, name: &str, pause: Duration) -> String {
        if pause.subsec_millis() == 0 {
            format!("{}{name}.retry.{}s", self.prefix, pause.as_secs())
        } else {
            format!("{}{name}.retry.{}ms", self.prefix, pause.as_millis())
        }
    }
}

/// Declares the exchange and what catches events that nobody is bound to.
///
/// An event without a consumer is normal and must not hold up the relay: it goes to a bounded queue, from which a consumer that is
/// declared for the first time takes what it has missed. A message that the broker *returns* in spite of this means that the
/// topology is broken; the relay then keeps the row and declares everything anew.
pub(crate) async fn declare_exchange(channel: &Channel, names: &Names) -> Result<()> {
    let auto_delete = names.queues_expire.is_some();
    let durable = ExchangeDeclareOptions {
        durable: true,
        auto_delete,
        ..Default::default()
    };
    let unrouted = names.unrouted();
    channel
        .exchange_declare(
            unrouted.as_str().into(),
            ExchangeKind::Fanout,
            durable,
            FieldTable::default(),
        )
        .await
        .map_err(failure)?;
    let arguments = Arguments::quorum(DELIVERIES_UNLIMITED)
        .number("x-max-length", UNROUTED_MAX)
        .text("x-overflow", "drop-head")
        .millis("x-message-ttl", UNROUTED_LIFETIME);
    declare(channel, names, &unrouted, arguments).await?;
    bind(channel, &unrouted, &unrouted, "").await?;
    let arguments = Arguments::default().text("alternate-exchange", &unrouted);
    channel
        .exchange_declare(
            names.exchange().as_str().into(),
            ExchangeKind::Topic,
            durable,
            arguments.0,
        )
        .await
        .map_err(failure)
}

/// Declares a consumer's queue, its retry queues and its bindings. The dead-letter queue comes last, see [`declare_dead`].
pub(crate) async fn declare_queue(channel: &Channel, names: &Names, queue: &Queue) -> Result<()> {
    let name = names.queue(queue.name);
    let arguments = Arguments::quorum(DELIVERIES_MAX).dead_letters_to(&names.dead(queue.name));
    declare(channel, names, &name, arguments).await?;
    for pause in &queue.ladder.0 {
        let arguments = Arguments::quorum(DELIVERIES_UNLIMITED)
            .millis("x-message-ttl", *pause)
            .dead_letters_to(&name);
        declare(channel, names, &names.retry(queue.name, *pause), arguments).await?;
    }
    for key in &queue.bindings {
        bind(channel, &name, &names.exchange(), key).await?;
    }
    Ok(())
}

/// Declares the dead-letter queue. Its existence marks a consumer whose declaration was completed once.
pub(crate) async fn declare_dead(channel: &Channel, names: &Names, queue: &str) -> Result<()> {
    let arguments = Arguments::quorum(DELIVERIES_UNLIMITED)
        .number("x-max-length", DEAD_MAX)
        .text("x-overflow", "reject-publish");
    declare(channel, names, &names.dead(queue), arguments).await
}

async fn declare(
    channel: &Channel,
    names: &Names,
    name: &str,
    mut arguments: Arguments,
) -> Result<()> {
    if let Some(unused) = names.queues_expire {
        arguments = arguments.millis("x-expires", unused);
    }
    let declared = channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments.0)
        .await;
    declared.map(drop).map_err(|error| {
        failure(error).context(format!("while declaring queue {name} (if it exists with other arguments, delete it when it is empty)"))
    })
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<()> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(failure)
}

#[derive(Default)]
struct Arguments(FieldTable);

impl Arguments {
    fn quorum(deliveries_max: i64) -> Self {
        Self::default()
            .text("x-queue-type", "quorum")
            .number("x-delivery-limit", deliveries_max)
    }

    fn text(mut self, key: &str, value: &str) -> Self {
        self.0
            .insert(key.into(), AMQPValue::LongString(value.into()));
        self
    }

    fn number(mut self, key: &str, value: i64) -> Self {
        self.0.insert(key.into(), AMQPValue::LongLongInt(value));
        self
    }

    fn millis(self, key: &str, value: Duration) -> Self {
        self.number(key, i64::try_from(value.as_millis()).unwrap_or(i64::MAX))
    }

    /// Through the default exchange, at least once: the message leaves its queue only when the target has confirmed it.
    fn dead_letters_to(self, queue: &str) -> Self {
        self.text("x-dead-letter-exchange", "")
            .text("x-dead-letter-routing-key", queue)
            .text("x-dead-letter-strategy", "at-least-once")
            .text("x-overflow", "reject-publish")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_ends_after_its_last_step() {
        let ladder = Ladder::mvp();
        let pauses: Vec<_> = (1..)
            .map_while(|attempt| ladder.pause_after(attempt))
            .map(|p| p.as_secs())
            .collect();
        assert_eq!(pauses, [60, 300, 900, 3600, 21_600]);
        let tries = |ladder: Ladder| {
            (1..)
                .map_while(|attempt| ladder.pause_after(attempt))
                .count()
        };
        assert_eq!(
            (tries(Ladder::standard()), tries(Ladder::enterprise())),
            (10, 15)
        );
        assert_eq!(Ladder::of([]).pause_after(1), None);
    }

    #[test]
    fn retry_queues_are_named_after_their_pause() {
        let names = Names {
            prefix: "x.".into(),
            queues_expire: None,
        };
        assert_eq!(
            names.retry("tenant.audit", Duration::from_secs(60)),
            "x.tenant.audit.retry.60s"
        );
        assert_eq!(
            names.retry("tenant.audit", Duration::from_millis(50)),
            "x.tenant.audit.retry.50ms"
        );
    }
}
