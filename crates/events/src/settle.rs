//! Ends an attempt: acknowledges, sends to a retry queue, or buries.

use std::time::Duration;

use chrono::SecondsFormat;
use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, FieldTable};
use runtime::Shutdown;

use crate::delivery::Verdict;
use crate::publish::{number_header, properties};
use crate::{Broker, Queue};

/// Which attempt the message is for, from 1.
pub(crate) const ATTEMPT: &str = "x-attempt";
/// Why the last attempt failed: a stable reason, never a message, which could hold personal data.
pub(crate) const REASON: &str = "x-reason";
/// When the last attempt failed, RFC 3339.
pub(crate) const FAILED_AT: &str = "x-failed-at";
/// How often the message was taken out of the dead letters.
pub(crate) const REPLAYS: &str = "x-replays";
/// When the relay published it, in milliseconds since 1970. Retries and replays have none: their pauses are no time in the queue.
pub(crate) const PUBLISHED_AT: &str = "x-published-at";
/// The W3C trace context, for tools that do not read the envelope.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// First pause when the broker refuses a retry or a dead letter; it doubles up to [`AGAIN_MAX`].
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// How long an exchange with the broker that is under way may still take once the process ends. A connection that dies or falls silent at
/// that moment may never answer, and what waits for it can be repeated by the next process.
const LAST_EXCHANGE: Duration = Duration::from_secs(3);
/// An acknowledgement is one small write.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// The attempt that a message is for.
pub(crate) fn attempt_of(properties: &BasicProperties) -> u32 {
    number_header(properties, ATTEMPT).unwrap_or(1).max(1)
}

/// Carries the verdict out. A message leaves its queue only after its successor is confirmed, so a crash between the two repeats an
/// attempt and loses nothing. Returns `false` when the message stays with the broker, which will hand it out again.
pub(crate) async fn settle(
    broker: &Broker,
    queue: &Queue,
    message: &Message,
    verdict: &Verdict,
    shutdown: &Shutdown,
) -> bool {
    let target = match verdict {
        Verdict::Done => None,
        Verdict::Retry { pause, reason } => {
            Some((broker.names().retry(queue.name, *pause), reason, 1))
        }
        Verdict::Dead { reason } => Some((broker.names().dead(queue.name), reason, 0)),
    };
    if let Some((target, reason, next)) = target {
        let properties = failed(
            broker,
            message,
            reason,
            attempt_of(&message.properties) + next,
        );
        if !put(broker, &target, message, properties, shutdown).await {
            return false;
        }
    }
    fail::fail_point!("consumer.before_ack", |_| false);
    // Bounded: an acknowledgement on a connection that dies at this moment may never be answered, and it would hold up the drain.
    let acknowledged =
        tokio::time::timeout(ACK_TIMEOUT, message.acker.ack(BasicAckOptions::default())).await;
    matches!(acknowledged, Ok(Ok(true)))
}

/// Puts the successor of a failed message into its queue, as often as it takes while the original is ours.
async fn put(
    broker: &Broker,
    target: &str,
    message: &Message,
    properties: BasicProperties,
    shutdown: &Shutdown,
) -> bool {
    let mut pause = AGAIN_FIRST;
    loop {
        let put = broker
            .publisher()
            .put(broker, target, &message.data, properties.clone());
        match until_the_end(shutdown, put).await {
            Some(Ok(())) => return true,
            None => return false,
            // The channel is gone: the broker gives the original to somebody else.
            Some(Err(_)) if !message.acker.usable() => return false,
            Some(Err(error)) => {
                tracing::warn!(queue = target, error = %error.chain(), "a failed event cannot be put aside yet and is held");
            }
        }
        if shutdown.or(tokio::time::sleep(pause)).await.is_none() {
            return false;
        }
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

/// What `exchange` answers, or nothing when the process ends and the exchange outlasts [`LAST_EXCHANGE`].
pub(crate) async fn until_the_end<T>(
    shutdown: &Shutdown,
    exchange: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        answer = exchange => Some(answer),
        () = async {
            shutdown.begun().await;
            tokio::time::sleep(LAST_EXCHANGE).await;
        } => None,
    }
}

fn failed(broker: &Broker, message: &Message, reason: &str, attempt: u32) -> BasicProperties {
    let failed_at = broker
        .clock()
        .now()
        .to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut headers = FieldTable::default();
    headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(attempt.into()));
    headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    headers.insert(FAILED_AT.into(), AMQPValue::LongString(failed_at.into()));
    if let Some(replays) = number_header(&message.properties, REPLAYS) {
        headers.insert(REPLAYS.into(), AMQPValue::LongLongInt(replays.into()));
    }
    let known = message
        .properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get(TRACEPARENT));
    if let Some(traceparent) = known {
        headers.insert(TRACEPARENT.into(), traceparent.clone());
    }
    let id = message
        .properties
        .message_id()
        .as_ref()
        .map_or("", |id| id.as_str());
    properties(id, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exchange_that_is_never_answered_is_given_up_when_the_process_ends() {
        let shutdown = Shutdown::new();
        let prompt = until_the_end(&shutdown, std::future::ready(1)).await;
        assert_eq!(prompt, Some(1));
        shutdown.begin();
        let prompt = until_the_end(&shutdown, std::future::ready(1)).await;
        assert_eq!(prompt, Some(1), "an answer that is there counts");
        let silent = until_the_end(&shutdown, std::future::pending::<()>());
        let ended = tokio::time::timeout(LAST_EXCHANGE * 2, silent).await;
        assert_eq!(ended.unwrap(), None);
    }
}
