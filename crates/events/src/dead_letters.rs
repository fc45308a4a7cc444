//! Events that could not be handled: look at them, and give them another life.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use db::Envelope;
use kernel::Result;
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use crate::Broker;
use crate::broker::{answer, failure};
use crate::consume::{close, depth, put_back};
use crate::publish::{number_header, properties, text_header};
use crate::settle::{ATTEMPT, FAILED_AT, REASON, REPLAYS, TRACEPARENT, attempt_of};
use crate::topology::declare_dead;

/// Dead letters looked at or replayed in one call.
pub const DEAD_LETTERS_MAX: usize = 1_000;
/// The reason of a message that killed its consumers until the broker gave up on it.
const GIVEN_UP: &str = "events.delivery_limit";

/// One dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The event's id; nothing when the message is no event.
    pub event_id: Option<Uuid>,
    /// The event, when it can be read.
    pub envelope: Option<Envelope>,
    /// Why it is here: the reason of the last error, or `events.…` when the event itself was at fault.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the last one failed.
    pub failed_at: Option<DateTime<Utc>>,
    /// How often it was replayed before.
    pub replays: u32,
}

/// Which dead letters to replay.
#[derive(Clone, Debug)]
pub enum Selection {
    /// The oldest ones, at most so many.
    Oldest(usize),
    /// These events.
    Events(BTreeSet<Uuid>),
}

/// Answers the oldest dead letters of a queue, at most `limit` and at most [`DEAD_LETTERS_MAX`]. They stay where they are.
///
/// While somebody looks, the same letters are invisible to others.
pub async fn list(broker: &Broker, queue: &str, limit: usize) -> Result<Vec<DeadLetter>> {
    let held = hold(broker, queue, limit.min(DEAD_LETTERS_MAX)).await?;
    let letters = held.messages.iter().map(read).collect();
    put_back(
        &held.channel,
        &broker.names().dead(queue),
        held.messages.len(),
    )
    .await;
    Ok(letters)
}

/// How many dead letters a queue has.
pub async fn count(broker: &Broker, queue: &str) -> Result<usize> {
    let channel = broker.consuming_channel().await?;
    let name = broker.names().dead(queue);
    let counted = answer(async {
        declare_dead(&channel, broker.names(), queue).await?;
        depth(&channel, &name).await
    })
    .await?;
    close(&channel).await;
    Ok(counted)
}

/// Puts dead letters back into their queue, with a fresh ladder, and answers how many that were.
///
/// Each is injected once: it leaves the dead letters only after the queue has confirmed it. A crash in between repeats it, which
/// the consumer's inbox sees.
pub async fn replay(broker: &Broker, queue: &str, selection: &Selection) -> Result<usize> {
    let wanted = match selection {
        Selection::Oldest(limit) => (*limit).min(DEAD_LETTERS_MAX),
        Selection::Events(_) => DEAD_LETTERS_MAX,
    };
    let held = hold(broker, queue, wanted).await?;
    let target = broker.names().queue(queue);
    let mut replayed = 0;
    let mut outcome = Ok(());
    for message in &held.messages {
        let chosen = match selection {
            Selection::Oldest(_) => true,
            Selection::Events(ids) => read(message).event_id.is_some_and(|id| ids.contains(&id)),
        };
        if !chosen {
            continue;
        }
        outcome = inject(broker, &target, message).await;
        if outcome.is_err() {
            break;
        }
        replayed += 1;
    }
    put_back(
        &held.channel,
        &broker.names().dead(queue),
        held.messages.len() - replayed,
    )
    .await;
    outcome.map(|()| replayed)
}

async fn inject(broker: &Broker, target: &str, message: &Message) -> Result<()> {
    let mut headers = FieldTable::default();
    let replays = number_header(&message.properties, REPLAYS).unwrap_or(0) + 1;
    headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(1));
    headers.insert(REPLAYS.into(), AMQPValue::LongLongInt(replays.into()));
    if let Some(traceparent) = text_header(&message.properties, TRACEPARENT) {
        headers.insert(
            TRACEPARENT.into(),
            AMQPValue::LongString(traceparent.into()),
        );
    }
    let id = message
        .properties
        .message_id()
        .as_ref()
        .map_or("", |id| id.as_str());
    broker
        .publisher()
        .put(broker, target, &message.data, properties(id, headers))
        .await?;
    message
        .acker
        .ack(BasicAckOptions::default())
        .await
        .map_err(failure)?;
    Ok(())
}

struct Held {
    channel: lapin::Channel,
    messages: Vec<Message>,
}

/// Takes letters without acknowledging them.
async fn hold(broker: &Broker, queue: &str, limit: usize) -> Result<Held> {
    let channel = broker.consuming_channel().await?;
    let name = broker.names().dead(queue);
    answer(async {
        declare_dead(&channel, broker.names(), queue).await?;
        let mut messages = Vec::new();
        while messages.len() < limit {
            let found = channel
                .basic_get(name.as_str().into(), BasicGetOptions::default())
                .await
                .map_err(failure)?;
            let Some(found) = found else { break };
            messages.push(found.delivery);
        }
        Ok(Held { channel, messages })
    })
    .await
}

fn read(message: &Message) -> DeadLetter {
    let envelope: Option<Envelope> = serde_json::from_slice(&message.data).ok();
    let failed_at = text_header(&message.properties, FAILED_AT)
        .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
        .map(|at| at.to_utc());
    DeadLetter {
        event_id: envelope.as_ref().map(|envelope| envelope.id),
        envelope,
        reason: text_header(&message.properties, REASON).unwrap_or_else(|| GIVEN_UP.to_owned()),
        attempts: attempt_of(&message.properties),
        failed_at,
        replays: number_header(&message.properties, REPLAYS).unwrap_or(0),
    }
}
