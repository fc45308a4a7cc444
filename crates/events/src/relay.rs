//! From the outbox to the broker.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use db::{Leader, Outbox, OutboxRow};
use kernel::{Error, Result, TenantId};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, PublisherConfirm};
use runtime::Shutdown;
use serde::Deserialize;

use crate::Broker;
use crate::broker::{ANSWER_TIMEOUT, answer};
use crate::publish::{Stored, confirmed, confirming_channel, properties, send};
use crate::settle::{PUBLISHED_AT, TRACEPARENT, until_the_end};
use crate::topology::declare_exchange;

/// Events published before their confirms are awaited. One confirm costs a disk write of the broker, and a batch shares it:
/// larger batches gain nothing measurable and are published again as a whole after a crash.
const BATCH: u16 = 500;
/// How often an idle relay looks by itself, should a notification be lost, and reports its backlog.
const LOOK: Duration = Duration::from_secs(5);
/// First pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Publishes what stands in the outbox, as soon as it is committed, until `shutdown`.
///
/// One process per service does it at a time; the others stand by. A row is put aside when the broker has confirmed its event, so an event
/// is published at least once. Events of one subject are published in order; after a failure the failed event and all later ones of
/// its subject are published again, in order. A broker or a database that is down is waited for.
pub async fn relay(outbox: Outbox, broker: Broker, shutdown: Shutdown) {
    let mut pause = PAUSE_FIRST;
    while let Some(leader) = outbox.lead(&shutdown).await {
        let mut relay = Relay {
            source: outbox.schema(),
            leader,
            broker: &broker,
            channel: None,
            reported: None,
        };
        let failed = loop {
            if shutdown.is_begun() {
                return;
            }
            match until_the_end(&shutdown, Box::pin(relay.turn(&shutdown))).await {
                Some(Ok(())) => pause = PAUSE_FIRST,
                Some(Err(failed)) => break failed,
                // What was not confirmed stays in the outbox.
                None => return,
            }
        };
        broker.metrics().interrupted(outbox.schema());
        // Outages of the broker are reported by its connection.
        if broker.can_publish() {
            tracing::warn!(source = outbox.schema(), error = %failed.chain(), "the outbox relay was interrupted and starts again");
        }
        if shutdown.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Publishes what stands in the outbox now and answers how many events that were: for tests, and for a last look before the end.
pub async fn flush(outbox: &Outbox, broker: &Broker) -> Result<usize> {
    let leader = outbox
        .lead(&Shutdown::new())
        .await
        .ok_or_else(|| Error::internal("nobody asked the relay to stop"))?;
    let mut relay = Relay {
        source: outbox.schema(),
        leader,
        broker,
        channel: None,
        reported: None,
    };
    answer(async {
        broker.up().await;
        Ok(())
    })
    .await?;
    let mut published = 0;
    loop {
        match relay.publish_batch().await? {
            0 => return Ok(published),
            events => published += events,
        }
    }
}

struct Relay<'a> {
    source: &'a str,
    leader: Leader,
    broker: &'a Broker,
    channel: Option<Channel>,
    reported: Option<Instant>,
}

impl Relay<'_> {
    /// Publishes one batch, or waits for one.
    async fn turn(&mut self, shutdown: &Shutdown) -> Result<()> {
        self.report().await?;
        if !self.broker.can_publish() {
            let reachable = async {
                self.broker.up().await;
                // A connection that has just been lost may still look as if it stood.
                tokio::time::sleep(PAUSE_FIRST).await;
            };
            // Asking for the backlog again after a while shows whether the lead was lost meanwhile.
            let _back = shutdown.or(tokio::time::timeout(LOOK, reachable)).await;
            return Ok(());
        }
        if self.publish_batch().await? == 0 {
            return shutdown.or(self.leader.wait(LOOK)).await.unwrap_or(Ok(()));
        }
        Ok(())
    }

    /// Publishes the first waiting events and puts those aside that the broker has confirmed.
    async fn publish_batch(&mut self) -> Result<usize> {
        let rows = self.leader.batch(BATCH).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let channel = self.channel().await?;
        fail::fail_point!("relay.before_publish", |_| Err(Error::unavailable(
            "relay",
            "fail point"
        )));
        let published_at = self.broker.clock().now().timestamp_millis();
        let exchange = self.broker.names().exchange();
        let (stored, failed) = publish(&channel, &exchange, &rows, published_at).await;
        fail::fail_point!("relay.after_publish", |_| Err(Error::unavailable(
            "relay",
            "fail point"
        )));
        if failed.is_some() {
            self.channel = None;
        }
        if !stored.is_empty() {
            fail::fail_point!("relay.before_delete", |_| Err(Error::unavailable(
                "relay",
                "fail point"
            )));
            self.leader.done(&stored).await?;
            self.broker.metrics().published(self.source, stored.len());
        }
        failed.map_or(Ok(stored.len()), Err)
    }

    async fn channel(&mut self) -> Result<Channel> {
        if let Some(channel) = self
            .channel
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = confirming_channel(self.broker).await?;
        answer(declare_exchange(&channel, self.broker.names())).await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// Reports the backlog, unless that was done a moment ago: an event must not cost a count of its own.
    async fn report(&mut self) -> Result<()> {
        let now = self.broker.clock().instant();
        if self
            .reported
            .is_some_and(|at| now.saturating_duration_since(at) < LOOK)
        {
            return Ok(());
        }
        self.reported = Some(now);
        let backlog = self.leader.backlog().await?;
        let now = self.broker.clock().now();
        let lag = backlog
            .oldest
            .map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
        self.broker
            .metrics()
            .outbox(self.source, u64::try_from(backlog.rows).unwrap_or(0), lag);
        Ok(())
    }
}

/// Sends all, then awaits all confirms. Answers the rows that are done, and what went wrong if anything did.
async fn publish(
    channel: &Channel,
    exchange: &str,
    rows: &[OutboxRow],
    published_at: i64,
) -> (Vec<i64>, Option<Error>) {
    let mut failed = None;
    let mut sent: Vec<(&OutboxRow, PublisherConfirm)> = Vec::with_capacity(rows.len());
    for row in rows {
        let properties = properties(&row.id.to_string(), headers(&row.envelope, published_at));
        match send(
            channel,
            exchange,
            &row.event_type,
            row.envelope.as_bytes(),
            properties,
        )
        .await
        {
            Ok(confirm) => sent.push((row, confirm)),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    fail::fail_point!("relay.before_confirm");
    let mut stored = Vec::with_capacity(sent.len());
    // A subject with a failed event keeps all later ones, so that they are published again after it.
    let mut held: HashSet<(TenantId, &str)> = HashSet::new();
    let confirms = async {
        for (row, confirm) in sent {
            match confirmed(confirm).await {
                Ok(Stored::Yes) if !held.contains(&(row.tenant_id, row.subject.as_str())) => {
                    stored.push(row.seq)
                }
                Ok(Stored::Yes) => {}
                Ok(refused) => {
                    held.insert((row.tenant_id, &row.subject));
                    failed.get_or_insert_with(|| refusal(refused, &row.event_type));
                }
                Err(error) => {
                    held.insert((row.tenant_id, &row.subject));
                    failed.get_or_insert(error);
                }
            }
        }
    };
    if tokio::time::timeout(ANSWER_TIMEOUT, confirms)
        .await
        .is_err()
    {
        failed = Some(Error::unavailable("rabbitmq", "no confirm in time"));
    }
    (stored, failed)
}

fn refusal(stored: Stored, event_type: &str) -> Error {
    let why = match stored {
        Stored::Returned => "the exchange has lost its queue for events without a consumer",
        Stored::Refused | Stored::Yes => "a queue is full or has lost its majority",
    };
    Error::unavailable("rabbitmq", format!("{event_type} was not taken: {why}"))
}

/// The trace context stands in the envelope; it is repeated as a header for tools that do not read that.
fn headers(envelope: &str, published_at: i64) -> FieldTable {
    #[derive(Deserialize)]
    struct Traced<'a> {
        #[serde(borrow, default)]
        traceparent: Option<Cow<'a, str>>,
    }
    let mut headers = FieldTable::default();
    headers.insert(PUBLISHED_AT.into(), AMQPValue::LongLongInt(published_at));
    if let Ok(Traced {
        traceparent: Some(traceparent),
    }) = serde_json::from_str(envelope)
    {
        headers.insert(
            TRACEPARENT.into(),
            AMQPValue::LongString(traceparent.as_bytes().into()),
        );
    }
    headers
}
