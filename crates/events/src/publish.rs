//! Publishing with confirms.

use kernel::{Error, Result};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

use crate::Broker;
use crate::broker::{answer, failure};

/// CloudEvents' own media type for one event in JSON.
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Publishes single messages, one channel for all callers, opened anew after a failure.
#[derive(Default)]
pub(crate) struct Publisher(tokio::sync::Mutex<Option<Channel>>);

impl Publisher {
    /// Puts a message straight into a queue and returns when the broker has it on disk.
    ///
    /// Fails with `Unavailable`; the message may or may not be stored then, so the caller tries again.
    pub(crate) async fn put(
        &self,
        broker: &Broker,
        queue: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<()> {
        let channel = self.channel(broker).await?;
        let outcome =
            answer(async { confirmed(send(&channel, "", queue, body, properties).await?).await })
                .await;
        match outcome {
            Ok(Stored::Yes) => Ok(()),
            Ok(Stored::Refused) => Err(Error::unavailable(
                "rabbitmq",
                format!("queue {queue} is full or has lost its majority"),
            )),
            Ok(Stored::Returned) => Err(Error::unavailable(
                "rabbitmq",
                format!("queue {queue} does not exist"),
            )),
            Err(error) => {
                self.0.lock().await.take();
                Err(error)
            }
        }
    }

    async fn channel(&self, broker: &Broker) -> Result<Channel> {
        let mut current = self.0.lock().await;
        if let Some(channel) = current
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = confirming_channel(broker).await?;
        *current = Some(channel.clone());
        Ok(channel)
    }
}

/// A channel on which the broker confirms every message.
pub(crate) async fn confirming_channel(broker: &Broker) -> Result<Channel> {
    let channel = broker.publishing_channel().await?;
    answer(async {
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(failure)
    })
    .await?;
    Ok(channel)
}

/// Sends a message that must reach a queue; the confirm is awaited separately, so that many can be under way.
pub(crate) async fn send(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    channel
        .basic_publish(
            exchange.into(),
            routing_key.into(),
            options,
            body,
            properties,
        )
        .await
        .map_err(failure)
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is on disk in every queue that it was routed to.
    Yes,
    /// A queue is full or has lost its majority.
    Refused,
    /// No queue took it, not even the one for events without a consumer.
    Returned,
}

pub(crate) async fn confirmed(confirm: PublisherConfirm) -> Result<Stored> {
    match confirm.await.map_err(failure)? {
        Confirmation::Ack(None) => Ok(Stored::Yes),
        Confirmation::Ack(Some(_)) => Ok(Stored::Returned),
        Confirmation::Nack(_) => Ok(Stored::Refused),
        Confirmation::NotRequested => Err(Error::internal(
            "a channel without confirms was used to publish",
        )),
    }
}

/// Properties of a durable event.
pub(crate) fn properties(event_id: &str, headers: FieldTable) -> BasicProperties {
    const PERSISTENT: u8 = 2;
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(event_id.into())
        .with_headers(headers)
}

/// A header's text, whichever of the two string types it came as.
pub(crate) fn text_header(properties: &BasicProperties, key: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(key)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// A header's number, whichever of the integer types it came as.
pub(crate) fn number_header(properties: &BasicProperties, key: &str) -> Option<u32> {
    u32::try_from(long_header(properties, key)?).ok()
}

/// The same for what does not fit into 32 bits.
pub(crate) fn long_header(properties: &BasicProperties, key: &str) -> Option<i64> {
    let number = match properties.headers().as_ref()?.inner().get(key)? {
        AMQPValue::LongLongInt(n) => *n,
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        _ => return None,
    };
    Some(number)
}
