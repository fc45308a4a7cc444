//! What a consumer has missed before its queue existed.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;
use kernel::{Error, Ids, Result};
use lapin::Channel;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;

use crate::broker::{answer, failure};
use crate::consume::{close, depth, put_back};
use crate::publish::{Stored, confirmed, confirming_channel, properties, send};
use crate::topology::{declare_dead, declare_exchange, declare_queue};
use crate::{Broker, Queue};

/// How long to wait for another consumer that is looking through the unrouted events at the same time.
const TURN_PAUSE: Duration = Duration::from_millis(100);
const TURNS_MAX: u32 = 100;
/// Unrouted events come at once or not at all.
const SILENCE: Duration = Duration::from_secs(2);

/// Declares everything that `queue` needs. The first time, it also copies the events that came before it into the queue.
///
/// On a fresh installation a service publishes its first events before the consumers are up; these are not lost.
pub(crate) async fn declare(broker: &Broker, channel: &Channel, queue: &Queue) -> Result<()> {
    let names = broker.names();
    let known = look(broker, &names.queue(queue.name)).await?.is_some()
        && look(broker, &names.dead(queue.name)).await?.is_some();
    declare_exchange(channel, names).await?;
    declare_queue(channel, names, queue).await?;
    if !known {
        // Copied before the dead-letter queue is declared, so that a crash in between copies again.
        let copied = copy_missed(broker, queue).await?;
        if copied > 0 {
            tracing::info!(
                queue = queue.name,
                events = copied,
                "a new consumer takes over events that came before it"
            );
        }
    }
    declare_dead(channel, names, queue.name).await
}

/// How many messages of a queue nobody holds; nothing when there is no such queue. Asks on a channel of its own, which the broker closes then.
pub(crate) async fn look(broker: &Broker, name: &str) -> Result<Option<usize>> {
    const NOT_FOUND: u16 = 404;
    let channel = broker.consuming_channel().await?;
    let asked = answer(async {
        let passive = QueueDeclareOptions::durable().passive();
        let declared = channel.queue_declare(name.into(), passive, FieldTable::default());
        Ok(declared.await)
    });
    match asked.await? {
        Ok(queue) => {
            close(&channel).await;
            Ok(Some(queue.message_count() as usize))
        }
        Err(error) => match error.kind() {
            lapin::ErrorKind::ProtocolError(answer) if answer.get_id() == NOT_FOUND => Ok(None),
            _ => Err(failure(error)),
        },
    }
}

/// Copies matching events from the unrouted ones, when it is our turn.
async fn copy_missed(broker: &Broker, queue: &Queue) -> Result<usize> {
    let _ours = broker.turn().await;
    let turn = take_turn(broker).await?;
    let copied = look_through(broker, queue).await;
    let name = turn_name(broker);
    let deleted = turn.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
    answer(async { deleted.await.map_err(failure) }).await?;
    close(&turn).await;
    copied
}

/// Copies what matches. The originals stay, for other consumers that are new as well.
async fn look_through(broker: &Broker, queue: &Queue) -> Result<usize> {
    let unrouted = broker.names().unrouted();
    let marker = mark(broker, &unrouted).await?;
    let channel = broker.consuming_channel().await?;
    let mut held = hold(&channel, &unrouted).await?;
    if let Some(at) = held.iter().position(|message| id_of(message) == marker) {
        let done = held.remove(at);
        answer(async { done.ack(BasicAckOptions::default()).await.map_err(failure) }).await?;
    }
    let copied = copy(broker, queue, &held).await;
    // Within our turn: what is still held, the next consumer would not see.
    put_back(&channel, &unrouted, held.len()).await;
    copied
}

/// Puts a message of our own behind all that is on its way to the unrouted events, and answers its id.
///
/// An event that was routed before our binding may still wait for the disk, and what a consumer held that has died comes back some time
/// after its connection has ended. The queue takes everything in turn, so all of that is there when it has confirmed ours.
async fn mark(broker: &Broker, unrouted: &str) -> Result<String> {
    let id = Ids::random(broker.clock().clone()).next().to_string();
    let channel = confirming_channel(broker).await?;
    let sent = async {
        let ours = properties(&id, FieldTable::default());
        confirmed(send(&channel, "", unrouted, b"", ours).await?).await
    };
    let stored = answer(sent).await?;
    close(&channel).await;
    if stored != Stored::Yes {
        return Err(Error::unavailable(
            "rabbitmq",
            format!("queue {unrouted} takes nothing"),
        ));
    }
    Ok(id)
}

fn id_of(message: &Message) -> &str {
    let id = message.properties.message_id().as_ref();
    id.map_or("", |id| id.as_str())
}

/// Takes all unrouted events, without acknowledging them.
async fn hold(channel: &Channel, unrouted: &str) -> Result<Vec<Message>> {
    let waiting = depth(channel, unrouted).await?;
    let mut held = Vec::with_capacity(waiting);
    let mut messages = channel
        .basic_consume(
            unrouted.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(failure)?;
    // Fewer come when some expire meanwhile, so silence ends it as well.
    while held.len() < waiting {
        match tokio::time::timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => held.push(message.map_err(failure)?),
            Ok(None) | Err(_) => break,
        }
    }
    channel
        .basic_cancel(messages.tag(), BasicCancelOptions::default())
        .await
        .map_err(failure)?;
    Ok(held)
}

/// Sends all copies, then awaits all confirms: one by one, ten thousand would take minutes.
async fn copy(broker: &Broker, queue: &Queue, held: &[Message]) -> Result<usize> {
    let target = broker.names().queue(queue.name);
    let mut seen = HashSet::new();
    let wanted: Vec<&Message> = held
        .iter()
        .filter(|message| {
            queue
                .bindings
                .iter()
                .any(|pattern| matches(pattern, message.routing_key.as_str()))
        })
        .filter(|message| seen.insert(message.properties.message_id().clone()))
        .collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    let channel = confirming_channel(broker).await?;
    let mut confirms = Vec::with_capacity(wanted.len());
    for message in &wanted {
        confirms.push(
            send(
                &channel,
                "",
                &target,
                &message.data,
                message.properties.clone(),
            )
            .await?,
        );
    }
    for confirm in confirms {
        if answer(confirmed(confirm)).await? != Stored::Yes {
            return Err(Error::unavailable(
                "rabbitmq",
                format!("queue {target} did not take what it had missed"),
            ));
        }
    }
    close(&channel).await;
    Ok(wanted.len())
}

/// Only one consumer looks at a time: what one holds, another would not see. Within a process a mutex sees to that, between processes
/// an exclusive queue, which ends with its connection at the latest.
async fn take_turn(broker: &Broker) -> Result<Channel> {
    for _ in 0..TURNS_MAX {
        let channel = broker.consuming_channel().await?;
        let declared = channel
            .queue_declare(
                turn_name(broker).as_str().into(),
                QueueDeclareOptions::exclusive(),
                FieldTable::default(),
            )
            .await;
        if declared.is_ok() {
            return Ok(channel);
        }
        tokio::time::sleep(TURN_PAUSE).await;
    }
    Err(Error::unavailable(
        "rabbitmq",
        "other consumers look through the unrouted events for too long",
    ))
}

fn turn_name(broker: &Broker) -> String {
    format!("{}.turn", broker.names().unrouted())
}

/// Whether a topic pattern (`*` one word, `#` any number) matches a routing key.
fn matches(pattern: &str, key: &str) -> bool {
    fn words(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => {
                words(rest, key)
                    || key
                        .split_first()
                        .is_some_and(|(_, tail)| words(pattern, tail))
            }
            (Some((&head, rest)), Some((&word, tail))) => {
                (head == "*" || head == word) && words(rest, tail)
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
    words(
        &pattern.split('.').collect::<Vec<_>>(),
        &key.split('.').collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_broker_matches_them() {
        let check =
            |pattern, key, expected| assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        check("user.created", "user.created", true);
        check("user.*", "user.created", true);
        check("user.*", "user.email.verified", false);
        check("user.#", "user.email.verified", true);
        check("#", "anything.at.all", true);
        check("*.created", "user.created", true);
        check("*.created", "user.deleted", false);
        check("user.#", "user", true);
        check("user.created", "user", false);
    }
}
