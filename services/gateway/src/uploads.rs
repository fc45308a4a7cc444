//! Bodies handed on while they arrive, in bounded memory.
//!
//! The HTTP side may not leave its thread and the gRPC side must be free to, so a short queue stands between them. A full queue stops
//! the reading, which stops the client. A body that breaks off cancels the call: its stream must never look complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_http::Payload;
use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::{Stream, StreamExt as _, stream};
use kernel::{Error, Result};
use rpc::Forward;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Response;

use crate::intake::{self, Parts};
use crate::routes::{BodyRule, Method};
use crate::transcode;
use crate::upstream::Upstream;

/// Parts of one message: large enough that framing costs little.
const PART_BYTES: usize = 128 * 1024;
/// Messages between reader and sender. With the part in hand an upload holds about 640 KiB.
const QUEUE: usize = 4;

/// An upload that has been checked and may go.
pub struct Upload<'u> {
    pub method: &'u Method,
    pub forward: Forward<'u>,
    /// The message with the parameters.
    pub head: Vec<u8>,
    pub content_type: &'u str,
    pub payload: Payload,
    /// How long the client may pause.
    pub pause_max: std::time::Duration,
}

/// Streams a body to its service and waits for the answer.
pub async fn send(upstream: &Upstream, upload: Upload<'_>) -> Result<Response<Bytes>> {
    let Upload {
        method,
        forward,
        mut head,
        content_type,
        payload,
        pause_max,
    } = upload;
    let BodyRule::Raw(index) = method.body else {
        return Err(Error::internal("only raw bodies are streamed"));
    };
    let number = crate::routes::table().shapes.get(method.input).fields[index].number;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let complete = Arc::new(AtomicBool::new(false));
    // The parameters go first and alone, so that the service can refuse before the file has arrived.
    transcode::put_http_body(&mut head, number, content_type, &[]);
    let is_complete = Arc::clone(&complete);
    let reading = async move {
        // A closed queue means that the service has answered already; its answer is what counts.
        if sender.send(Bytes::from(head)).await.is_err() {
            return Ok(());
        }
        read(
            payload,
            method.policy.body_bytes_max,
            number,
            pause_max,
            &sender,
        )
        .await?;
        is_complete.store(true, Ordering::Release);
        Ok(())
    };
    let calling = upstream.upload(method, &forward, messages(receiver, complete));
    let (reading, calling) = (std::pin::pin!(reading), std::pin::pin!(calling));
    match select(reading, calling).await {
        Either::Left((Ok(()), calling)) => calling.await,
        Either::Left((Err(error), _cancelled)) => Err(error),
        Either::Right((answer, _unread)) => answer,
    }
}

/// The messages of an upload. An end without `complete` is an abort, whichever thread sees it first.
fn messages(
    receiver: mpsc::Receiver<Bytes>,
    complete: Arc<AtomicBool>,
) -> impl Stream<Item = Option<Bytes>> + Send + 'static {
    let end = stream::once(async move { (!complete.load(Ordering::Acquire)).then_some(None) })
        .filter_map(std::future::ready);
    ReceiverStream::new(receiver).map(Some).chain(end)
}

async fn read(
    payload: Payload,
    max: u64,
    number: u32,
    pause_max: std::time::Duration,
    queue: &mpsc::Sender<Bytes>,
) -> Result<()> {
    let mut parts = Parts::new(payload, max);
    let mut pending = BytesMut::new();
    loop {
        let part = tokio::time::timeout(pause_max, parts.next())
            .await
            .unwrap_or_else(|_| Err(intake::too_slow()))?;
        let is_end = part.is_none();
        if let Some(part) = part {
            pending.extend_from_slice(&part);
        }
        if pending.len() >= PART_BYTES || (is_end && !pending.is_empty()) {
            let content = pending.split();
            let mut message = Vec::with_capacity(content.len() + 16);
            transcode::put_http_body(&mut message, number, "", &content);
            if queue.send(Bytes::from(message)).await.is_err() {
                return Ok(());
            }
        }
        if is_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(is_complete: bool) -> Vec<Option<Bytes>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let complete = Arc::new(AtomicBool::new(false));
        let messages = messages(receiver, Arc::clone(&complete));
        sender
            .send(Bytes::from_static(b"part"))
            .await
            .expect("the queue is open");
        complete.store(is_complete, Ordering::Release);
        drop(sender);
        messages.collect().await
    }

    #[tokio::test]
    async fn only_a_complete_body_ends_its_stream_in_peace() {
        let part = Some(Bytes::from_static(b"part"));
        assert_eq!(told(true).await, std::slice::from_ref(&part));
        assert_eq!(told(false).await, [part, None]);
    }
}
