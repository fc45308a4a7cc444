//! Runs a consumer until its queue is empty: for tests, which never sleep.

use kernel::Result;
use lapin::options::BasicGetOptions;
use runtime::Shutdown;

use crate::broker::failure;
use crate::consume::{close, judge};
use crate::delivery::Verdict;
use crate::missed;
use crate::settle::settle;
use crate::{Broker, Delivery, Queue};

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Events that were dealt with.
    pub done: usize,
    /// Events that went into a retry queue; they come back after their pause.
    pub retried: usize,
    /// Events that went to the dead letters.
    pub dead: usize,
}

/// Handles what stands in the queue, one event after another, until it is empty. Everything else is as in [`crate::consume`].
///
/// With [`crate::flush`] before it, a test sees every effect of what it did, without a running worker and without waiting.
pub async fn drain<H, F>(broker: &Broker, queue: &Queue, handler: H) -> Result<Drained>
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Result<()>>,
{
    let channel = broker.consuming_channel().await?;
    missed::declare(broker, &channel, queue).await?;
    let name = broker.names().queue(queue.name);
    let shutdown = Shutdown::new();
    let mut drained = Drained::default();
    while let Some(found) = channel
        .basic_get(name.as_str().into(), BasicGetOptions::default())
        .await
        .map_err(failure)?
    {
        let Some(verdict) = judge(broker, queue, &found.delivery, &handler).await else {
            break;
        };
        if !settle(broker, queue, &found.delivery, &verdict, &shutdown).await {
            break;
        }
        match verdict {
            Verdict::Done => drained.done += 1,
            Verdict::Retry { .. } => drained.retried += 1,
            Verdict::Dead { .. } => drained.dead += 1,
        }
    }
    close(&channel).await;
    Ok(drained)
}
