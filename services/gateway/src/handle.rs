//! Every request goes through here: routing, the answer's common headers, the log line and the figures.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use actix_http::header::{self, HeaderValue};
use actix_http::{
    ConnectionType, HttpMessage as _, Method as HttpMethod, Request, Response, StatusCode,
};
use futures::FutureExt as _;
use kernel::{Error, ErrorCode};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use runtime::Process;
use tracing::Instrument as _;

use crate::arrival::Arrival;
use crate::authn::Authn;
use crate::browsers::Browsers;
use crate::call::{Call, Findings};
use crate::compress;
use crate::config::Config;
use crate::conn::Pulse;
use crate::intake;
use crate::limits::{self, Limits};
use crate::pages::{NOT_READY, Pages};
use crate::problem::{self, About};
use crate::routes::{Answer, Found, Method, Verb, table};
use crate::seats::{OVERLOADED, Seats};
use crate::spans;
use crate::upstream::Upstreams;

/// What all threads share.
pub struct Shared {
    pub config: Config,
    pub process: Process,
    pub authn: Arc<Authn>,
    pub limits: Limits,
    pub seats: Seats,
    pub browsers: Browsers,
    pub pages: Pages,
    pub durations: Histogram<f64>,
}

/// One thread's half of the gateway.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub upstreams: Upstreams,
}

/// What a request turned out to be, for the log.
#[derive(Default)]
struct Story {
    method: Option<&'static Method>,
    findings: Findings,
    error: Option<Error>,
}

impl Story {
    /// Whoever polls until we are ready, or comes when we are full, is told so; a line for each would bury the others.
    fn is_turned_away(&self, error: &Error) -> bool {
        error.reason() == NOT_READY || error.reason() == OVERLOADED && !self.findings.asked
    }
}

impl Worker {
    /// Answers a request. Never fails: whatever goes wrong is an answer too.
    pub async fn handle(&self, mut request: Request) -> Response<BoxBody> {
        let shared = &self.shared;
        let started = shared.process.clock.instant();
        let mut arrival = Arrival::read(
            &request,
            &shared.process.ids,
            started,
            &shared.config.trusted_proxies,
        );
        let origin = shared.browsers.origin(request.headers());
        let mut story = Story::default();
        let span = spans::open(&request, &shared.pages, &arrival);
        if let Some(span) = &span {
            spans::continue_trace(span, &mut arrival);
        }
        let payload = request.take_payload();
        let answering =
            AssertUnwindSafe(self.answer(&request, payload, &arrival, &mut story)).catch_unwind();
        let outcome = match span.clone() {
            Some(span) => answering.instrument(span).await,
            None => answering.await,
        };
        let outcome = outcome.unwrap_or_else(|_| Err(Error::internal("a handler panicked")));
        let mut response = outcome.unwrap_or_else(|error| {
            let about = About {
                request_id: &arrival.request_id,
                trace_id: Some(arrival.trace.id()),
                locale: arrival.locale,
                method: story.method.filter(|_| story.findings.asked),
            };
            let mut response = problem::respond(&error, &about);
            if let (ErrorCode::MethodNotAllowed, Some(allow)) =
                (error.error_code(), error.details().get("allow"))
            {
                let value = HeaderValue::from_str(allow).expect("the table holds names of methods");
                response.headers_mut().insert(header::ALLOW, value);
            }
            story.error = Some(error);
            response
        });
        self.dress(&mut response, &arrival, origin, &story);
        self.conclude(&request, &mut response);
        if let Some(span) = &span {
            spans::close(span, response.status());
        }
        self.log(&request, &arrival, &story, response.status());
        compress::shrink(request.headers(), response)
    }

    /// Says that the connection ends, when it does.
    ///
    /// A server that ends tells its clients to take the next request elsewhere, and does so while it still takes them all: a connection that
    /// is closed at a moment of the server's choosing may carry a request already.
    fn conclude(&self, request: &Request, response: &mut Response<BoxBody>) {
        let pulse = pulse_of(request);
        if self.shared.process.health.is_draining()
            || is_last(request)
            || pulse.is_some_and(|pulse| pulse.has_ended())
        {
            response
                .head_mut()
                .set_connection_type(ConnectionType::Close);
            if let Some(pulse) = pulse {
                pulse.end();
            }
        }
    }

    /// Whatever was sent after the last request of a connection is not to be done (RFC 9112, section 9.6), but may have been read with it.
    fn refuse_after_last(&self, request: &Request) -> Result<(), Error> {
        if !pulse_of(request).is_some_and(|pulse| pulse.has_ended()) {
            return Ok(());
        }
        let (code, pause) = match self.shared.process.health.is_draining() {
            true => (ErrorCode::ServiceUnavailable, Duration::from_secs(1)),
            false => (ErrorCode::MalformedRequest, Duration::ZERO),
        };
        let message = "the connection was to end before this request; send it on another one";
        let error = Error::new(code, "request.after_last", message);
        Err(match pause.is_zero() {
            true => error,
            false => error.with_retry_after(pause),
        })
    }

    async fn answer(
        &self,
        request: &Request,
        payload: actix_http::Payload,
        arrival: &Arrival,
        story: &mut Story,
    ) -> Result<Response<BoxBody>, Error> {
        self.refuse_after_last(request)?;
        intake::check_headers(request)?;
        let path = request.path();
        let verb = Verb::of(request.method().as_str());
        let found = table().find(verb, path);
        let allow = match found {
            Found::Method(method, captures) => {
                story.method = Some(method);
                // Streams last, so the services bound them themselves.
                let is_brief =
                    !method.streams_in && matches!(method.answer, Answer::Json | Answer::Raw);
                let _seat = match is_brief {
                    true => self.shared.seats.take(method.policy.owner)?,
                    false => None,
                };
                let call = Call {
                    worker: self,
                    method,
                    captures: &captures,
                    request,
                    arrival,
                };
                return call.run(payload, &mut story.findings).await;
            }
            Found::Other { allow } => allow,
            Found::Nothing => match self.shared.pages.find(path) {
                Some(_) if matches!(*request.method(), HttpMethod::GET | HttpMethod::HEAD) => {
                    return self
                        .shared
                        .pages
                        .show(path, request, &self.shared.process)
                        .await;
                }
                Some(allow) => allow,
                None => {
                    return Err(Error::new(
                        ErrorCode::RouteNotFound,
                        "request.route_not_found",
                        "there is nothing at this path",
                    ));
                }
            },
        };
        if request.method() == HttpMethod::OPTIONS {
            return Ok(self.options(request, allow));
        }
        let message = format!("this path does not take the method {}", request.method());
        let error = Error::new(
            ErrorCode::MethodNotAllowed,
            "request.method_not_allowed",
            message,
        );
        Err(error
            .with_detail("method", request.method())
            .with_detail("allow", allow))
    }

    fn options(&self, request: &Request, allow: &str) -> Response<BoxBody> {
        let mut response = Response::with_body(StatusCode::NO_CONTENT, BoxBody::new(()));
        let headers = response.headers_mut();
        headers.insert(
            header::ALLOW,
            HeaderValue::from_str(allow).expect("the table holds names of methods"),
        );
        if Browsers::is_preflight(request)
            && self.shared.browsers.origin(request.headers()).is_some()
        {
            self.shared.browsers.allow(headers);
        }
        response
    }

    fn dress(
        &self,
        response: &mut Response<BoxBody>,
        arrival: &Arrival,
        origin: Option<HeaderValue>,
        story: &Story,
    ) {
        let status = response.status();
        let headers = response.headers_mut();
        let id = HeaderValue::from_str(&arrival.request_id).expect("request ids are visible ASCII");
        headers.insert(header::HeaderName::from_static("x-request-id"), id);
        if let Some(verdict) = &story.findings.verdict {
            limits::dress(headers, verdict);
        }
        self.shared.browsers.dress(headers, origin, status);
    }

    fn log(&self, request: &Request, arrival: &Arrival, story: &Story, status: StatusCode) {
        let elapsed = self
            .shared
            .process
            .clock
            .instant()
            .saturating_duration_since(arrival.started);
        let route = story.method.map_or("-", |method| method.template);
        self.shared.durations.record(
            elapsed.as_secs_f64(),
            &[
                KeyValue::new("http.request.method", known_method(request.method())),
                KeyValue::new("http.route", route),
                KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
            ],
        );
        let path = story
            .method
            .map_or_else(|| request.path(), |method| method.template);
        let access = story.findings.access.as_deref();
        let millis = elapsed.as_secs_f64() * 1000.0;
        macro_rules! line {
            ($level:ident, $text:literal, $($more:tt)*) => {
                tracing::$level!(
                    requestId = %arrival.request_id,
                    traceId = arrival.trace.id(),
                    tenantId = access.and_then(|access| access.tenant_id.as_deref()),
                    actorType = access.map_or("anonymous", |access| access.actor_type.as_str()),
                    userId = access.filter(|access| access.actor_type != "service").map(|access| access.actor_id.as_str()),
                    serviceId = access.filter(|access| access.actor_type == "service").map(|access| access.actor_id.as_str()),
                    method = request.method().as_str(),
                    path,
                    statusCode = status.as_u16(),
                    latency_ms = millis,
                    $($more)*
                    $text
                )
            };
        }
        match &story.error {
            None => line!(info, "request",),
            Some(error) => {
                let code = error.error_code();
                if story.is_turned_away(error) {
                    line!(debug, "request refused", reason = error.reason(),);
                } else if status.is_server_error() {
                    line!(
                        error,
                        "request failed",
                        error.code = code.as_str(),
                        reason = error.reason(),
                        cause = error.chain(),
                    );
                } else if matches!(code, ErrorCode::ForbiddenAction | ErrorCode::TenantMismatch) {
                    line!(
                        warn,
                        "request refused",
                        error.code = code.as_str(),
                        reason = error.reason(),
                    );
                } else {
                    line!(
                        info,
                        "request refused",
                        error.code = code.as_str(),
                        reason = error.reason(),
                    );
                }
            }
        }
    }
}

fn pulse_of(request: &Request) -> Option<&Rc<Pulse>> {
    request.conn_data::<Rc<Pulse>>()
}

/// Whether nothing after this request may be read as another one: the client said so, or it asked for a tunnel that it does not get.
fn is_last(request: &Request) -> bool {
    request.head().connection_type() != ConnectionType::KeepAlive
        || request.method() == HttpMethod::CONNECT
        || request.headers().contains_key(header::UPGRADE)
}

/// Methods of the outside world become one label, or a stranger could fill the memory with labels.
pub fn known_method(method: &HttpMethod) -> &'static str {
    match *method {
        HttpMethod::GET => "GET",
        HttpMethod::HEAD => "HEAD",
        HttpMethod::POST => "POST",
        HttpMethod::PUT => "PUT",
        HttpMethod::PATCH => "PATCH",
        HttpMethod::DELETE => "DELETE",
        HttpMethod::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// Whether there is anything in a body that could be packed, and how much.
pub fn body_bytes(response: &Response<BoxBody>) -> Option<u64> {
    match response.body().size() {
        BodySize::Sized(bytes) => Some(bytes),
        BodySize::None | BodySize::Stream => None,
    }
}

#[cfg(test)]
mod tests {
    use kernel::ErrorCode;

    use super::*;

    #[test]
    fn only_what_we_turn_away_ourselves_is_no_error_in_the_log() {
        let failed = |reason: &'static str| {
            Error::new(ErrorCode::ServiceUnavailable, reason, "not right now")
        };
        let story = |asked| Story {
            method: None,
            findings: Findings {
                asked,
                ..Findings::default()
            },
            error: None,
        };
        assert!(story(false).is_turned_away(&failed(NOT_READY)));
        assert!(story(false).is_turned_away(&failed(OVERLOADED)));
        // A service that is full is a failure that somebody should see.
        assert!(!story(true).is_turned_away(&failed(OVERLOADED)));
        assert!(!story(false).is_turned_away(&failed("service.unavailable")));
    }
}
