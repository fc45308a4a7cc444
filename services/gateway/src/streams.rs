//! Answers that go on: server-streaming methods as Server-Sent Events, files as they come.
//!
//! Dropping the body, which happens as soon as the client is gone, cancels the call.

use std::sync::Arc;
use std::time::Duration;

use actix_http::body::{BodyStream, BoxBody};
use actix_http::header::{self, HeaderValue};
use actix_http::{Response, StatusCode};
use bytes::Bytes;
use futures::stream;
use kernel::{Error, ErrorCode, Locale};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Streaming;

use crate::authn::{Access, Authn, Credential, Origin};
use crate::problem::{self, About};
use crate::routes::{Method, table};
use crate::transcode;
use crate::upstream::Upstream;
use proto::json::{self, Selection};
use proto::wire;

/// How long a client waits before it connects again.
const RETRY: &str = "retry: 2000\n\n";

/// Who listens, kept so that the right to listen can be looked at again.
pub struct Listener {
    pub access: Arc<Access>,
    /// The headers that carried the credential.
    pub headers: actix_http::header::HeaderMap,
    pub authn: Arc<Authn>,
    pub auth: Upstream,
}

/// Everything that an event stream needs.
pub struct Events {
    pub method: &'static Method,
    pub messages: Streaming<Bytes>,
    pub selection: Option<Selection>,
    pub request_id: String,
    pub traceparent: String,
    pub locale: Locale,
    pub heartbeat: Duration,
    pub shutdown: runtime::Shutdown,
    /// Nobody for public methods.
    pub listener: Option<Listener>,
}

enum State {
    Opening,
    Running,
    Ended,
}

/// Answers with the messages of a stream as events. The last event is `end`, `error` (a problem) or `reconnect`.
pub fn events(events: Events) -> Response<BoxBody> {
    let mut response = Response::new(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that collect answers would hold events back.
    headers.insert(
        header::HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    let mut ticks = interval(events.heartbeat);
    // The first tick of an interval is at once, and the answer has just begun.
    ticks.reset();
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let changes = events
        .listener
        .as_ref()
        .map(|listener| listener.authn.changes());
    let source = Source {
        events,
        ticks,
        changes,
        state: State::Opening,
        sent: 0,
    };
    let body = stream::unfold(source, |mut source| async move {
        source
            .next()
            .await
            .map(|part| (Ok::<_, std::convert::Infallible>(part), source))
    });
    response.set_body(BoxBody::new(BodyStream::new(Box::pin(body))))
}

struct Source {
    events: Events,
    ticks: tokio::time::Interval,
    changes: Option<tokio::sync::watch::Receiver<u64>>,
    state: State,
    sent: u64,
}

impl Source {
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            State::Opening => {
                self.state = State::Running;
                Some(Bytes::from_static(RETRY.as_bytes()))
            }
            State::Running => Some(self.wait().await),
            State::Ended => None,
        }
    }

    async fn wait(&mut self) -> Bytes {
        loop {
            let changes = &mut self.changes;
            let changed = async {
                match changes {
                    // The sender lives as long as the process.
                    Some(changes) => changes.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.events.shutdown.begun() => return self.end("reconnect", "{}"),
                _ = changed => {
                    if let Err(error) = self.recheck().await {
                        return self.fail(&error);
                    }
                }
                message = self.events.messages.message() => return match message {
                    Ok(Some(message)) => self.event(&message),
                    Ok(None) => self.end("end", "{}"),
                    Err(status) => self.broken(status),
                },
                _ = self.ticks.tick() => {
                    if let Err(error) = self.recheck().await {
                        return self.fail(&error);
                    }
                    return Bytes::from_static(b": \n\n");
                }
            }
        }
    }

    /// Whoever lost the right to ask has also lost the right to go on listening.
    async fn recheck(&self) -> Result<(), Error> {
        let Some(listener) = &self.events.listener else {
            return Ok(());
        };
        let Some(credential) = Credential::read(&listener.headers)? else {
            return Ok(());
        };
        let origin = Origin {
            id: &self.events.request_id,
            traceparent: &self.events.traceparent,
            locale: self.events.locale,
        };
        let access = listener
            .authn
            .resolve(&listener.auth, &credential, &origin)
            .await?;
        if access.tenant_id != listener.access.tenant_id
            || access.actor_id != listener.access.actor_id
        {
            return Err(Error::new(
                ErrorCode::InvalidToken,
                "access.token_invalid",
                "the credential is not valid",
            ));
        }
        access.check(self.events.method.policy)
    }

    fn event(&mut self, message: &[u8]) -> Bytes {
        self.sent += 1;
        let events = &self.events;
        let json = json::write(
            &table().shapes,
            events.method.output,
            message,
            events.selection.as_ref(),
        );
        let mut out = format!("id: {}\ndata: ", self.sent).into_bytes();
        // The writer puts no line ends into JSON, so the document is one `data` line.
        out.extend_from_slice(&json);
        out.extend_from_slice(b"\n\n");
        Bytes::from(out)
    }

    fn broken(&mut self, status: tonic::Status) -> Bytes {
        // A service that stops ends its streams; the next one is a reconnect away.
        if status.code() == tonic::Code::Unavailable {
            return self.end("reconnect", "{}");
        }
        let error = rpc::from_peer(status);
        self.fail(&error)
    }

    fn fail(&mut self, error: &Error) -> Bytes {
        if problem::status_of(error.error_code()).is_server_error() {
            tracing::error!(requestId = %self.events.request_id, error.code = error.error_code().as_str(), "an event stream failed: {}", error.chain());
        }
        let trace_id = self.events.traceparent.get(3..35);
        let about = About {
            request_id: &self.events.request_id,
            trace_id,
            locale: self.events.locale,
            method: Some(self.events.method),
        };
        self.end("error", &problem::body(error, &about).to_string())
    }

    fn end(&mut self, event: &str, data: &str) -> Bytes {
        self.state = State::Ended;
        Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
    }
}

/// Answers with the parts of a file as they come. What fails half way breaks the connection, so that no client takes a part for the whole.
pub async fn file(mut parts: Streaming<Bytes>) -> Result<Response<BoxBody>, Error> {
    let first = parts
        .message()
        .await
        .map_err(rpc::from_peer)?
        .unwrap_or_default();
    let (content_type, data) = transcode::read_http_body(&first);
    let mut response = Response::new(StatusCode::OK);
    let value = HeaderValue::from_str(content_type)
        .ok()
        .filter(|value| !value.is_empty());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        value.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    let first = Bytes::copy_from_slice(data);
    let rest = stream::unfold(parts, |mut parts| async move {
        match parts.message().await {
            Ok(Some(message)) => Some((Ok(data_of(&message)), parts)),
            Ok(None) => None,
            Err(status) => Some((Err(std::io::Error::other(status.to_string())), parts)),
        }
    });
    let all = futures::StreamExt::chain(stream::iter([Ok(first)]), rest);
    Ok(response.set_body(BoxBody::new(BodyStream::new(Box::pin(all)))))
}

fn data_of(message: &Bytes) -> Bytes {
    let data = wire::Fields(message)
        .filter(|(number, _)| *number == 2)
        .last();
    match data {
        Some((_, wire::Raw::Bytes(bytes))) => message.slice_ref(bytes),
        _ => Bytes::new(),
    }
}

/// Answers to `HEAD` on a stream: what a `GET` would begin with, without opening the stream.
pub fn head_only() -> Response<BoxBody> {
    let mut response = Response::with_body(StatusCode::OK, BoxBody::new(()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    response
}
