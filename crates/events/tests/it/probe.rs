//! A small service that emits and consumes.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use db::{Db, Outbox};
use events::{Broker, Config, Delivery, Ladder, Queue};
use kernel::{Clock, Ids, RequestContext, Result};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use proto::auth::v1::{UserCreated, UserEmailVerified};
use runtime::{Shutdown, Tasks};
use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use testkit::{TENANT_A, TestDb};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

static MIGRATOR: Migrator = sqlx::migrate!("tests/it/migrations");
/// Fail points are global to the process: a test that sets one has the process for itself.
static WEATHER: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

pub enum Weather {
    Calm { _shared: OwnedRwLockReadGuard<()> },
    Storm { _alone: OwnedRwLockWriteGuard<()> },
}

pub struct Probe {
    pub database: TestDb,
    pub db: Db,
    pub config: Config,
    pub broker: Broker,
    pub tasks: Tasks,
    pub shutdown: Shutdown,
    weather: Weather,
}

impl Probe {
    pub async fn new() -> Self {
        Self::with(testkit::amqp()).await
    }

    pub async fn with(config: Config) -> Self {
        let weather = Weather::Calm {
            _shared: Arc::clone(&WEATHER).read_owned().await,
        };
        Self::start(config, weather).await
    }

    /// With the process for itself.
    pub async fn alone() -> Self {
        let weather = Weather::Storm {
            _alone: Arc::clone(&WEATHER).write_owned().await,
        };
        Self::start(testkit::amqp(), weather).await
    }

    async fn start(config: Config, weather: Weather) -> Self {
        let database = TestDb::new("probe", &MIGRATOR).await;
        let db = database.db().await;
        let broker = Broker::connect(config.clone(), Clock::system()).unwrap();
        Self {
            database,
            db,
            config,
            broker,
            tasks: Tasks::new(),
            shutdown: Shutdown::new(),
            weather,
        }
    }

    /// Makes a fail point act while `work` runs.
    pub async fn failing<T>(&self, point: &str, work: impl Future<Output = T>) -> T {
        assert!(
            matches!(self.weather, Weather::Storm { .. }),
            "fail points need the process alone"
        );
        fail::cfg(point, "return").unwrap();
        let result = work.await;
        fail::remove(point);
        result
    }

    pub fn outbox(&self) -> Outbox {
        Outbox::connect(&self.database.config()).unwrap()
    }

    pub async fn flush(&self) -> usize {
        events::flush(&self.outbox(), &self.broker).await.unwrap()
    }

    pub fn start_relay(&self) {
        self.tasks.spawn(
            "relay",
            events::relay(self.outbox(), self.broker.clone(), self.shutdown.clone()),
        );
    }

    pub fn start_consumer<F>(
        &self,
        queue: Queue,
        handler: impl Fn(Delivery) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.tasks.spawn(
            queue.name,
            events::consume(self.broker.clone(), queue, self.shutdown.clone(), handler),
        );
    }

    pub async fn stop(&self) {
        self.shutdown.begin();
        assert!(
            self.tasks.drain(Duration::from_secs(10)).await,
            "still alive: {:?}",
            self.tasks.alive()
        );
    }

    /// Emits `count` events `user.created` in one transaction; subject and user are `<subject>` and a running number.
    pub async fn emit(&self, subject: &str, count: usize) {
        let mut tx = self.db.tenant(&ctx()).await.unwrap();
        for n in 0..count {
            tx.emit(
                subject,
                &UserCreated {
                    user_id: n.to_string(),
                    source: "seed".into(),
                },
            )
            .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Emits an event that no test binds a queue to.
    pub async fn emit_unbound(&self) {
        let mut tx = self.db.tenant(&ctx()).await.unwrap();
        tx.emit(
            "somebody",
            &UserEmailVerified {
                user_id: "1".into(),
            },
        )
        .unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn waiting(&self) -> usize {
        self.database.events().await.len()
    }

    pub async fn effects(&self) -> i64 {
        sqlx::query_scalar("select count(*) from probe.effects")
            .fetch_one(&mut self.database.admin().await)
            .await
            .unwrap()
    }

    /// A channel past the product, to do what the product never does.
    pub async fn raw(&self) -> (Connection, Channel) {
        let url = testkit::amqp().url;
        let connection = Connection::connect(url.expose_secret(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        (connection, channel)
    }

    /// Puts bytes into a queue.
    pub async fn inject(&self, queue: &Queue, body: &[u8]) {
        let (_connection, channel) = self.raw().await;
        let name = format!("{}{}", self.config.prefix, queue.name);
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let confirm = channel
            .basic_publish(
                "".into(),
                name.as_str().into(),
                options,
                body,
                BasicProperties::default(),
            )
            .await;
        assert!(
            confirm.unwrap().await.unwrap().take_message().is_none(),
            "{name} exists"
        );
    }

    pub async fn delete(&self, queue: &Queue) {
        let (_connection, channel) = self.raw().await;
        let name = format!("{}{}", self.config.prefix, queue.name);
        channel
            .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    /// Messages that wait in a queue with this suffix.
    pub async fn depth(&self, name: &str) -> u32 {
        let (_connection, channel) = self.raw().await;
        let name = format!("{}{name}", self.config.prefix);
        let declared = channel
            .queue_declare(
                name.as_str().into(),
                QueueDeclareOptions::durable().passive(),
                FieldTable::default(),
            )
            .await;
        declared.unwrap().message_count()
    }
}

pub fn ctx() -> RequestContext {
    testkit::context()
        .user(testkit::ANN)
        .tenant(TENANT_A)
        .with(|b| {
            b.traceparent(Some(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            ))
        })
        .build()
}

pub fn users() -> Queue {
    Queue::new("probe.users", ["user.created"]).ladder(quick())
}

/// Three retries, 40 ms apart and more.
pub fn quick() -> Ladder {
    Ladder::of([40, 80, 120].map(Duration::from_millis))
}

/// What a handler has seen.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Delivery>>>);

impl Seen {
    pub fn note(&self, delivery: &Delivery) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delivery.clone());
    }

    pub fn all(&self) -> Vec<Delivery> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// The numbers of the users of the events, in the order of arrival.
    pub fn numbers(&self) -> Vec<usize> {
        self.all().iter().map(number).collect()
    }

    /// A handler that notes and succeeds.
    pub fn handler(
        &self,
    ) -> impl Fn(Delivery) -> std::future::Ready<Result<()>> + Send + Sync + use<> {
        let seen = self.clone();
        move |delivery| {
            seen.note(&delivery);
            std::future::ready(Ok(()))
        }
    }
}

pub fn number(delivery: &Delivery) -> usize {
    delivery
        .payload::<UserCreated>()
        .unwrap()
        .user_id
        .parse()
        .unwrap()
}

/// The handler as services write it: the effect and the note that it was applied, in one transaction.
pub async fn apply(db: &Db, delivery: &Delivery) -> Result<()> {
    let mut tx = db.tenant(&delivery.ctx).await?;
    if tx
        .first_delivery(delivery.consumer(), delivery.event_id())
        .await?
    {
        sqlx::query("insert into probe.effects (tenant_id, id, event_id) values ($1, $2, $3)")
            .bind(tx.tenant_id().uuid())
            .bind(random_id())
            .bind(delivery.event_id())
            .execute(tx.conn())
            .await
            .map_err(db::classify)?;
    }
    tx.commit().await
}

pub fn random_id() -> Uuid {
    Ids::random(Clock::system()).next()
}
