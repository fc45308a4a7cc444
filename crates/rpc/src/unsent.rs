//! Calls that a connection gave back unsent.
//!
//! A server that ends says so by a GOAWAY and still finishes what has reached it. A call that was on its way to the connection at that moment
//! is given back: the server has seen nothing of it, so it goes to another connection, which leads to another replica. A call that may
//! have been seen is never repeated here; whoever made it knows whether that is safe.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use proto::policy;
use tonic::body::Body;

/// Attempts in all: one replica may end while another one has just done so.
pub(crate) const ATTEMPTS: usize = 3;

/// A call, kept until it is known that it left.
pub(crate) struct Kept {
    parts: http::request::Parts,
    body: KeptBody,
}

enum KeptBody {
    /// One message, encoded: sent as often as it takes.
    Message(Bytes),
    Stream(Lent),
}

impl Kept {
    /// Takes the body out of a request. One message is encoded as it is read, so this never waits; a body that goes on is not touched.
    pub(crate) async fn of(request: Request<Body>) -> Result<Self, tonic::Status> {
        let (parts, body) = request.into_parts();
        let is_streamed = policy::of(parts.uri.path()).is_none_or(|policy| policy.client_streaming);
        let body = match is_streamed {
            true => KeptBody::Stream(Lent::of(body)),
            false => KeptBody::Message(body.collect().await?.to_bytes()),
        };
        Ok(Self { parts, body })
    }

    /// The request, for the next attempt.
    pub(crate) fn request(&self) -> Request<Body> {
        let body = match &self.body {
            KeptBody::Message(message) => Body::new(Full::new(message.clone())),
            KeptBody::Stream(lent) => Body::new(lent.clone()),
        };
        Request::from_parts(self.parts.clone(), body)
    }

    /// Whether another attempt would send all of it: of a body that goes on, no attempt has read yet.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.body {
            KeptBody::Message(_) => true,
            KeptBody::Stream(lent) => !lent.lock().is_begun,
        }
    }
}

/// A body that goes on, lent to one attempt after the other.
#[derive(Clone)]
struct Lent(Arc<Mutex<Stream>>);

struct Stream {
    body: Body,
    /// An attempt has read of it; what was read is gone.
    is_begun: bool,
}

impl Lent {
    fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Stream {
            body,
            is_begun: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let mut stream = self.lock();
        stream.is_begun = true;
        Pin::new(&mut stream.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

/// An error, what caused it, and so on.
pub(crate) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    // A closure cannot say that the cause lives as long as the error.
    fn beneath<'e>(error: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
        (**error).source()
    }
    std::iter::successors(Some(error), beneath)
}

/// Whether the server has certainly seen nothing of a call that failed like this.
pub(crate) fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        // It was waiting for the connection when that ended, or for a free stream of it. hyper drops the latter without a word and calls that an
        // error of its user; the others of that kind are about requests and bodies that we do not make.
        let is_given_back = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_canceled() || error.is_user());
        // Its stream is above the last one that the server took, or the server refused it before any work.
        let is_refused = cause.downcast_ref::<h2::Error>().is_some_and(|error| {
            let reason = error.reason();
            error.is_remote()
                && ((error.is_go_away() && reason == Some(Reason::NO_ERROR))
                    || (error.is_reset() && reason == Some(Reason::REFUSED_STREAM)))
        });
        is_given_back || is_refused
    })
}
