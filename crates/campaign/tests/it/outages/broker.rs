//! The broker past the product: to do what an operator's mistake does.

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use secrecy::ExposeSecret as _;
use serde_json::Value;

pub struct RawBroker {
    prefix: String,
    _connection: Connection,
    channel: Channel,
}

impl RawBroker {
    /// With the names of `config`.
    pub async fn connect(config: &events::Config) -> Self {
        let connection = Connection::connect(
            testkit::amqp().url.expose_secret(),
            ConnectionProperties::default(),
        )
        .await
        .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        Self {
            prefix: config.prefix.clone(),
            _connection: connection,
            channel,
        }
    }

    fn name(&self, queue: &str) -> String {
        format!("{}{queue}", self.prefix)
    }

    /// Empties a queue and answers how many messages that were.
    pub async fn purge(&self, queue: &str) -> u32 {
        let name = self.name(queue);
        let purged = self
            .channel
            .queue_purge(name.as_str().into(), QueuePurgeOptions::default());
        purged.await.unwrap()
    }

    /// Deletes a queue with everything in it, also what consumers have in hand.
    pub async fn delete(&self, queue: &str) -> u32 {
        let name = self.name(queue);
        let deleted = self
            .channel
            .queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        deleted.await.unwrap()
    }

    /// Messages that nobody holds.
    pub async fn depth(&self, queue: &str) -> u32 {
        let name = self.name(queue);
        let passive = QueueDeclareOptions::durable().passive();
        let declared =
            self.channel
                .queue_declare(name.as_str().into(), passive, FieldTable::default());
        declared.await.unwrap().message_count()
    }

    /// Puts bytes into a queue, as the attempt of that number.
    pub async fn inject(&self, queue: &str, body: &[u8], attempt: i64) {
        let name = self.name(queue);
        let mut headers = FieldTable::default();
        headers.insert("x-attempt".into(), AMQPValue::LongLongInt(attempt));
        let confirm = self.channel.basic_publish(
            "".into(),
            name.as_str().into(),
            BasicPublishOptions {
                mandatory: true,
                immediate: false,
            },
            body,
            BasicProperties::default()
                .with_delivery_mode(2)
                .with_headers(headers),
        );
        let confirmed = confirm.await.unwrap().await.unwrap();
        assert!(confirmed.take_message().is_none(), "{name} exists");
    }

    /// The same for an event.
    pub async fn inject_event(&self, queue: &str, event: &Value, attempt: i64) {
        self.inject(queue, event.to_string().as_bytes(), attempt)
            .await;
    }
}
