//! The bodies of streams: a question whose breaking off is told, and an answer that is watched to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Frame;
use kernel::Error;
use runtime::Shutdown;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;
use tonic::body::Body;
use tracing::Instrument;

use crate::record::{Call, Record};
use crate::status::to_status;

/// Ends with the status of the call in every case: also when the stream panics or the process stops.
pub(crate) struct Watched {
    body: Body,
    call: Call,
    stop: BoxFuture<'static, ()>,
    record: Option<Record>,
    is_done: bool,
    _held: (OwnedSemaphorePermit, TaskTrackerToken),
}

impl Watched {
    pub(crate) fn new(
        body: Body,
        call: Call,
        shutdown: Shutdown,
        held: (Record, OwnedSemaphorePermit, TaskTrackerToken),
    ) -> Self {
        let (record, seat, open) = held;
        let stop = async move { shutdown.begun().await }
            .instrument(tracing::Span::none())
            .boxed();
        Self {
            body,
            call,
            stop,
            record: Some(record),
            is_done: false,
            _held: (seat, open),
        }
    }

    fn finish(&mut self, code: tonic::Code) {
        self.is_done = true;
        if let Some(record) = self.record.take() {
            record.close(code);
        }
    }

    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.finish(status.code());
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(match status.add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(broken) => Err(broken),
        }))
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_done {
            return Poll::Ready(None);
        }
        let span = this
            .record
            .as_ref()
            .map_or_else(tracing::Span::none, |record| record.span().clone());
        let _entered = span.enter();
        let body = &mut this.body;
        let Ok(polled) = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) else {
            let status = this.call.fail(&Error::internal("the stream panicked"));
            return this.end_with(&status);
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = trailers
                        .get("grpc-status")
                        .map_or(tonic::Code::Ok, |value| {
                            tonic::Code::from_bytes(value.as_bytes())
                        });
                    this.finish(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(status))) => {
                this.finish(status.code());
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                this.finish(tonic::Code::Ok);
                Poll::Ready(None)
            }
            Poll::Pending if this.stop.poll_unpin(cx).is_ready() => this.end_with(&to_status(
                &Error::unavailable("streaming", "the process is stopping"),
            )),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_done
    }
}

/// The body of a streamed question. A caller that goes away half way is an error in it.
///
/// Without this, tonic would make the cancellation an orderly end, and half a file would look like a whole one.
pub(crate) struct Arriving(pub(crate) Body);

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map_err(|status| match status.code() {
            tonic::Code::Cancelled => {
                to_status(&Error::unavailable("streaming", "the caller went away"))
            }
            _ => status,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}
