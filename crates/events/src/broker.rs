//! The connections to RabbitMQ: kept up, reported, and never a reason not to start.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use kernel::{Clock, Error, Result};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use crate::Config;
use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::topology::Names;

/// First pause before connecting again; it doubles up to the configured maximum.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// How long one attempt to connect may take: a broker that accepts and stays silent is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection is looked at that has reported nothing.
const LOOK: Duration = Duration::from_millis(250);
/// Seconds of silence asked for; a broker behind a black hole is noticed after about twice this.
const HEARTBEAT_SECONDS: u16 = 10;
/// Longest wait for one answer of the broker (declare, confirm, get).
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// RabbitMQ, perhaps. Cloning is cheap; the connections end with the last clone.
///
/// Two connections, each opened when first needed: one publishes, one consumes. A broker that runs out of memory or disk stops
/// reading from publishers; consumers must still be able to acknowledge then, or nothing would ever drain.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    config: Config,
    uri: AMQPUri,
    names: Names,
    clock: Clock,
    metrics: Metrics,
    publishing: Link,
    consuming: OnceLock<Link>,
    publisher: Publisher,
    turn: tokio::sync::Mutex<()>,
}

impl Broker {
    /// Starts connecting in the background. A broker that is down is reported once in the log and by [`Broker::is_up`].
    ///
    /// Fails only when the URL cannot be read. Must be called within a Tokio runtime.
    pub fn connect(config: Config, clock: Clock) -> Result<Self> {
        let mut uri: AMQPUri = config
            .url
            .expose_secret()
            .parse()
            .map_err(|cause: String| {
                Error::internal(cause).context("AMQP_URL is not an amqp:// or amqps:// URL")
            })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let publishing = Link::open(uri.clone(), "publish", config.reconnect_max);
        let names = Names::new(&config);
        Ok(Self(Arc::new(Inner {
            config,
            uri,
            names,
            clock,
            metrics: Metrics::new(),
            publishing,
            consuming: OnceLock::new(),
            publisher: Publisher::default(),
            turn: tokio::sync::Mutex::default(),
        })))
    }

    /// Whether every connection in use stands; for the readiness report, which must not depend on it.
    pub fn is_up(&self) -> bool {
        self.0.publishing.is_up() && self.0.consuming.get().is_none_or(Link::is_up)
    }

    /// Whether the publishing connection stands.
    pub(crate) fn can_publish(&self) -> bool {
        self.0.publishing.is_up()
    }

    /// Waits until the publishing connection stands.
    pub async fn up(&self) {
        self.0.publishing.up().await;
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The publisher of retries, dead letters and replays.
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }

    /// The right to look through the unrouted events, among the consumers of this process.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// A fresh channel of the publishing connection; `Unavailable` when it is down.
    pub(crate) async fn publishing_channel(&self) -> Result<Channel> {
        self.0.publishing.channel().await
    }

    /// A fresh channel of the consuming connection; waits a moment for a connection that is being opened.
    pub(crate) async fn consuming_channel(&self) -> Result<Channel> {
        let inner = &self.0;
        let link = inner
            .consuming
            .get_or_init(|| Link::open(inner.uri.clone(), "consume", inner.config.reconnect_max));
        answer(async {
            link.up().await;
            Ok(())
        })
        .await?;
        link.channel().await
    }
}

/// One connection that is opened again whenever it is lost.
struct Link(watch::Receiver<Option<Arc<Connection>>>);

impl Link {
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the last handle of the broker, also in the middle of a drain, which must not wait for it"
    )]
    fn open(uri: AMQPUri, role: &'static str, pause_max: Duration) -> Self {
        let (state, receiver) = watch::channel(None);
        tokio::spawn(keep_up(uri, role, pause_max, state));
        Self(receiver)
    }

    fn is_up(&self) -> bool {
        self.0
            .borrow()
            .as_ref()
            .is_some_and(|connection| connection.status().connected())
    }

    async fn up(&self) {
        let mut receiver = self.0.clone();
        // The sender lives as long as a receiver does, so this ends with a connection only.
        let _connection = receiver.wait_for(Option::is_some).await;
    }

    async fn channel(&self) -> Result<Channel> {
        let connection = self.0.borrow().clone();
        let connection =
            connection.ok_or_else(|| Error::unavailable("rabbitmq", "not connected"))?;
        answer(async { connection.create_channel().await.map_err(failure) }).await
    }
}

/// The life of a link: connect, stand, lose, pause, again. One line in the log per outage.
async fn keep_up(
    uri: AMQPUri,
    role: &'static str,
    pause_max: Duration,
    state: watch::Sender<Option<Arc<Connection>>>,
) {
    let mut pause = RECONNECT_FIRST;
    let mut reported = false;
    loop {
        let opened = tokio::select! {
            () = state.closed() => return,
            opened = open(uri.clone(), role) => opened,
        };
        match opened {
            Ok(connection) => {
                if std::mem::take(&mut reported) {
                    tracing::info!(role, "rabbitmq is reachable again");
                }
                pause = RECONNECT_FIRST;
                let connection = Arc::new(connection);
                state.send_replace(Some(Arc::clone(&connection)));
                tokio::select! {
                    () = state.closed() => return close(&connection).await,
                    reason = lost(&connection, role) => {
                        tracing::warn!(role, reason, "the connection to rabbitmq was lost; events wait in the outbox until it is back");
                        reported = true;
                    }
                }
                state.send_replace(None);
            }
            Err(reason) if reported => {
                tracing::debug!(role, reason, "rabbitmq is still out of reach")
            }
            Err(reason) => {
                tracing::warn!(
                    role,
                    reason,
                    "rabbitmq is out of reach; events wait in the outbox until it is back"
                );
                reported = true;
            }
        }
        let jittered = pause.mul_f64(0.5 + rand::random::<f64>() * 0.5);
        tokio::select! {
            () = state.closed() => return,
            () = tokio::time::sleep(jittered) => {}
        }
        pause = (pause * 2).min(pause_max);
    }
}

async fn open(uri: AMQPUri, role: &'static str) -> Result<Connection, String> {
    let properties =
        ConnectionProperties::default().with_connection_name(format!("tenantry {role}").into());
    match tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// Resolves with the reason when the connection is gone.
async fn lost(connection: &Connection, role: &'static str) -> String {
    let mut happenings = Box::pin(connection.events_listener());
    // What happened before the listener stood is found by looking.
    let mut look = tokio::time::interval(LOOK);
    let mut last = "closed by the broker".to_owned();
    loop {
        tokio::select! {
            happening = happenings.next() => match happening {
                // Errors of single channels come here as well; those who use the channel deal with them.
                Some(Event::Error(error)) => last = error.to_string(),
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(role, reason, "rabbitmq takes no messages now; events wait in the outbox");
                }
                Some(Event::ConnectionUnblocked) => tracing::info!(role, "rabbitmq takes messages again"),
                Some(_) => {}
                None => return last,
            },
            _ = look.tick() => {}
        }
        if !connection.status().connected() {
            return last;
        }
    }
}

async fn close(connection: &Connection) {
    let closed =
        tokio::time::timeout(Duration::from_secs(1), connection.close(200, "OK".into())).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("the connection to rabbitmq did not close in order");
    }
}

/// What the broker or the way to it did wrong, in the words of the contract: always `Unavailable`, for whatever was not confirmed
/// stays where it was and is tried again.
pub(crate) fn failure(error: lapin::Error) -> Error {
    Error::unavailable("rabbitmq", error)
}

/// Bounds the wait for an answer of the broker.
pub(crate) async fn answer<T>(exchange: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("rabbitmq", "no answer in time")))
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("names", &self.0.names)
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}
