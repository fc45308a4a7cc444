//! The consumer loop.

use std::sync::Arc;
use std::time::Duration;

use db::Envelope;
use futures::StreamExt;
use kernel::Result;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use runtime::Shutdown;
use tokio::task::JoinSet;

use crate::broker::{answer, failure};
use crate::delivery::{Verdict, attempt, read};
use crate::missed;
use crate::publish::long_header;
use crate::settle::{PUBLISHED_AT, attempt_of, settle};
use crate::{Broker, Delivery, Queue};

/// How often the length of a queue and the number of its dead letters are reported.
const REPORT: Duration = Duration::from_secs(15);
/// Pause before a queue is consumed again after a failure.
const AGAIN: Duration = Duration::from_millis(500);
/// After the drain, how long to wait for the last acknowledgements to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long and how often to look whether messages have come back to their queue.
const PUT_BACK_TIMEOUT: Duration = Duration::from_secs(1);
const PUT_BACK_LOOK: Duration = Duration::from_millis(5);

/// Hands the events of a queue to `handler` until `shutdown`, then finishes what is under way.
///
/// A handler answers `Ok` when the event is dealt with. `Unavailable`, `Timeout`, `Conflict` and `Limited` mean that it is tried again
/// after the next pause of the ladder; every other error, a panic, and the last pause send it to the dead letters. Events come at
/// least once and in no promised order: the handler calls `tx.first_delivery(delivery.consumer(), delivery.event_id())` in the
/// transaction of its effect. A broker that is down is waited for.
pub async fn consume<H, F>(broker: Broker, queue: Queue, shutdown: Shutdown, handler: H)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let worker = Arc::new(Worker {
        broker,
        queue,
        handler,
        shutdown,
    });
    tokio::join!(
        work(&worker),
        report(&worker.broker, &worker.queue, &worker.shutdown)
    );
}

async fn work<H, F>(worker: &Arc<Worker<H>>)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    let mut reported = false;
    while !worker.shutdown.is_begun() {
        match Box::pin(worker.session(&mut under_way)).await {
            Ok(Ended::Shutdown) => return,
            Ok(Ended::Cancelled) => {
                tracing::warn!(
                    queue = worker.queue.name,
                    "the broker ended the consumer; the queue is declared anew"
                );
                reported = false;
            }
            // An outage is reported by the connection; a queue that cannot be declared is this queue's own trouble.
            Err(error) if worker.broker.is_up() && !reported => {
                tracing::warn!(queue = worker.queue.name, error = %error.chain(), "the queue cannot be consumed; trying on");
                reported = true;
            }
            Err(error) => {
                tracing::debug!(queue = worker.queue.name, error = %error.chain(), "the queue cannot be consumed yet")
            }
        }
        worker.shutdown.or(tokio::time::sleep(AGAIN)).await;
    }
    worker.finish(&mut under_way).await;
}

/// Reports how much waits and how much is dead. An outage of the broker leaves the last figures standing.
async fn report(broker: &Broker, queue: &Queue, shutdown: &Shutdown) {
    loop {
        let looked = async {
            let waiting = missed::look(broker, &broker.names().queue(queue.name)).await?;
            let dead = missed::look(broker, &broker.names().dead(queue.name)).await?;
            Ok::<_, kernel::Error>((waiting, dead))
        };
        let pause = match shutdown.or(looked).await {
            None => return,
            Some(Ok((Some(waiting), Some(dead)))) => {
                broker
                    .metrics()
                    .depth(queue.name, waiting as u64, dead as u64);
                REPORT
            }
            // Not declared yet, or out of reach; the consumer itself says so.
            Some(_) => AGAIN,
        };
        if shutdown.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Declares a queue with its retry and dead-letter queues, as [`consume`] does by itself. Events emitted from then on are kept for it.
pub async fn declare(broker: &Broker, queue: &Queue) -> Result<()> {
    let channel = broker.consuming_channel().await?;
    missed::declare(broker, &channel, queue).await?;
    close(&channel).await;
    Ok(())
}

enum Ended {
    Shutdown,
    Cancelled,
}

struct Worker<H> {
    broker: Broker,
    queue: Queue,
    handler: H,
    shutdown: Shutdown,
}

impl<H, F> Worker<H>
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    /// Consumes on one channel until the shutdown or until the channel is gone.
    async fn session(self: &Arc<Self>, under_way: &mut JoinSet<()>) -> Result<Ended> {
        let opened = self.shutdown.or(Box::pin(self.open())).await;
        let Some(opened) = opened else {
            return Ok(Ended::Shutdown);
        };
        let (channel, mut messages) = opened?;
        tracing::info!(queue = self.queue.name, "consuming");
        loop {
            let free = under_way.len() < usize::from(self.queue.concurrency);
            tokio::select! {
                biased;
                () = self.shutdown.begun() => {
                    self.drain(&channel, &messages, under_way).await;
                    return Ok(Ended::Shutdown);
                }
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                message = messages.next(), if free => match message {
                    Some(Ok(message)) => {
                        let worker = Arc::clone(self);
                        under_way.spawn(async move { worker.work(message).await; });
                    }
                    Some(Err(error)) => return Err(failure(error)),
                    None => return Ok(Ended::Cancelled),
                },
            }
        }
    }

    async fn open(&self) -> Result<(Channel, Consumer)> {
        let channel = self.broker.consuming_channel().await?;
        missed::declare(&self.broker, &channel, &self.queue).await?;
        answer(async {
            channel
                .basic_qos(self.queue.concurrency, BasicQosOptions::default())
                .await
                .map_err(failure)?;
            let name = self.broker.names().queue(self.queue.name);
            let messages = channel
                .basic_consume(
                    name.as_str().into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await
                .map_err(failure)?;
            Ok((channel, messages))
        })
        .await
    }

    /// One message from its arrival to its end; answers the verdict when it was carried out.
    async fn work(&self, message: Message) -> Option<Verdict> {
        let verdict = judge(&self.broker, &self.queue, &message, &self.handler).await?;
        // A failed event is still put aside during a shutdown, as long as the drain lasts.
        settle(
            &self.broker,
            &self.queue,
            &message,
            &verdict,
            &self.shutdown,
        )
        .await
        .then_some(verdict)
    }

    /// Takes no more messages and lets those under way end; what then remains goes back to the queue with the channel.
    async fn drain(&self, channel: &Channel, messages: &Consumer, under_way: &mut JoinSet<()>) {
        let cancel = channel.basic_cancel(messages.tag(), BasicCancelOptions::default());
        if !matches!(
            tokio::time::timeout(CLOSE_TIMEOUT, cancel).await,
            Ok(Ok(()))
        ) {
            tracing::debug!(
                queue = self.queue.name,
                "the consumer could not be cancelled in order"
            );
        }
        self.finish(under_way).await;
        close(channel).await;
    }

    async fn finish(&self, under_way: &mut JoinSet<()>) {
        let ended = tokio::time::timeout(self.queue.drain_timeout, async {
            while under_way.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            tracing::warn!(
                queue = self.queue.name,
                events = under_way.len(),
                "events were still being handled at the end; they will be handled again"
            );
            under_way.shutdown().await;
        }
    }
}

/// One attempt at a message, or nothing when the attempt must look as if the process had died.
pub(crate) async fn judge<H, F>(
    broker: &Broker,
    queue: &Queue,
    message: &Message,
    handler: &H,
) -> Option<Verdict>
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Result<()>>,
{
    fail::fail_point!("consumer.before_handler", |_| None);
    if let Some(published_at) = long_header(&message.properties, PUBLISHED_AT) {
        let queued = broker.clock().now().timestamp_millis() - published_at;
        // Two machines' clocks may differ by more than the time in the queue.
        broker
            .metrics()
            .queued(queue.name, queued.max(0) as f64 / 1000.0);
    }
    let started = broker.clock().instant();
    let verdict = match read(&message.data) {
        Ok(envelope) => run(broker, queue, message, envelope, handler).await,
        Err(verdict) => {
            tracing::error!(
                queue = queue.name,
                ?verdict,
                "a message is no event and is among the dead letters"
            );
            verdict
        }
    };
    let seconds = broker
        .clock()
        .instant()
        .saturating_duration_since(started)
        .as_secs_f64();
    broker
        .metrics()
        .consumed(queue.name, verdict.name(), seconds);
    Some(verdict)
}

async fn run<H, F>(
    broker: &Broker,
    queue: &Queue,
    message: &Message,
    envelope: Envelope,
    handler: &H,
) -> Verdict
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Result<()>>,
{
    attempt(
        queue,
        broker.clock(),
        envelope,
        attempt_of(&message.properties),
        handler,
    )
    .await
}

/// Puts back the `held` messages that the channel has taken from `queue`, and closes it.
///
/// A quorum queue takes messages back some time after it was told to, so this waits for them: whoever looks next shall see them.
pub(crate) async fn put_back(channel: &Channel, queue: &str, held: usize) {
    let returned = async {
        let rest = depth(channel, queue).await?;
        let everything = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        channel.basic_nack(0, everything).await.map_err(failure)?;
        while held > 0 && depth(channel, queue).await? < rest + held {
            tokio::time::sleep(PUT_BACK_LOOK).await;
        }
        Ok::<_, kernel::Error>(())
    };
    if !matches!(
        tokio::time::timeout(PUT_BACK_TIMEOUT, returned).await,
        Ok(Ok(()))
    ) {
        tracing::debug!(
            queue,
            "messages were not seen to come back; closing the channel puts them back at the latest"
        );
    }
    close(channel).await;
}

/// How many messages of a queue nobody holds.
pub(crate) async fn depth(channel: &Channel, queue: &str) -> Result<usize> {
    let passive = QueueDeclareOptions::durable().passive();
    let declared = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
        .map_err(failure)?;
    Ok(declared.message_count() as usize)
}

/// Closes a channel; what it had not acknowledged goes back to its queue.
pub(crate) async fn close(channel: &Channel) {
    let closed = tokio::time::timeout(CLOSE_TIMEOUT, channel.close(200, "OK".into())).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("a channel did not close in order");
    }
}
