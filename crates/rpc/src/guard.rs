//! What stands before every method: limits, identity, policy, deadline, and the last line of defence against panics.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use kernel::{Clock, Error, ErrorCode, Ids, RequestContext, Result};
use proto::policy::MethodPolicy;
use runtime::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::Service;
use tracing::{Instrument, Span, field};

use crate::body::{Arriving, Watched};
use crate::context;
use crate::record::{Call, Instruments, Record, note};
use crate::server::Limits;
use crate::status::to_status;
use crate::token::Verifier;
use crate::trace;

/// Methods of gRPC itself that need no policy.
const INFRASTRUCTURE: [&str; 2] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
];

/// A guarded set of services. Cloned for every connection and every call within the process.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) shared: Arc<Shared>,
    pub(crate) routes: Routes,
}

pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) verifier: Verifier,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) limits: Limits,
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) instruments: Instruments,
    pub(crate) shutdown: Shutdown,
    /// Calls in flight, so that the end of the process waits for them.
    pub(crate) open: TaskTracker,
}

impl Service<Request<Body>> for Guard {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (shared, routes) = (Arc::clone(&self.shared), self.routes.clone());
        Box::pin(async move { Ok(shared.handle(routes, request).await) })
    }
}

impl Shared {
    async fn handle(&self, mut routes: Routes, request: Request<Body>) -> Response<Body> {
        let Some(policy) = proto::policy::of(request.uri().path()) else {
            return self.without_policy(&mut routes, request).await;
        };
        let is_stream = policy.client_streaming || policy.server_streaming;
        let seats = if is_stream {
            &self.streams
        } else {
            &self.calls
        };
        let Ok(seat) = Arc::clone(seats).try_acquire_owned() else {
            self.instruments.count_shed(policy.path);
            let error = Error::new(
                ErrorCode::ServiceUnavailable,
                "service.overloaded",
                "too many requests at once; try again shortly",
            );
            return to_status(&error.with_retry_after(Duration::from_secs(1))).into_http();
        };
        let (record, admitted) = self.admit(policy, &request);
        let span = record.span().clone();
        let (ctx, budget) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return self.refuse(record, &error),
        };
        if is_stream {
            self.stream(
                routes,
                request,
                Call::new(ctx, record.failure()),
                (record, seat),
            )
            .instrument(span)
            .await
        } else {
            self.unary(
                routes,
                request,
                Call::new(ctx, record.failure()),
                (record, budget),
            )
            .instrument(span)
            .await
        }
    }

    /// Opens the record and builds the context with the time that the call has.
    fn admit(
        &self,
        policy: &'static MethodPolicy,
        request: &Request<Body>,
    ) -> (Record, Result<(RequestContext, Duration)>) {
        let headers = request.headers();
        let request_id =
            context::request_id(headers).map_or_else(|| self.ids.next().to_string(), str::to_owned);
        let incoming = context::traceparent(headers);
        let builder = context::admit(policy, headers, &self.verifier).and_then(|builder| {
            context::describe(builder, policy, headers, &self.verifier, peer(request))
        });
        let span = span(self.name, policy, &request_id, incoming);
        let traceparent = trace::adopt(&span, incoming);
        let record = Record::open(policy.path, &self.clock, span, &self.instruments);
        let budget = timeout(headers).map_or(self.limits.deadline, |asked| {
            asked.min(self.limits.deadline)
        });
        let admitted = builder.map(|builder| {
            let is_stream = policy.client_streaming || policy.server_streaming;
            let deadline = (!is_stream).then(|| self.clock.instant() + budget);
            let ctx = builder
                .request_id(request_id)
                .traceparent(traceparent)
                .deadline(deadline)
                .build();
            identify(record.span(), &ctx);
            (ctx, budget)
        });
        (record, admitted)
    }

    async fn unary(
        &self,
        mut routes: Routes,
        mut request: Request<Body>,
        call: Call,
        (record, budget): (Record, Duration),
    ) -> Response<Body> {
        let _open = self.open.token();
        request.extensions_mut().insert(call.clone());
        let work = AssertUnwindSafe(routes.call(request)).catch_unwind();
        let response = match tokio::time::timeout(budget, work).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(_)) => call
                .fail(&Error::internal("the handler panicked"))
                .into_http(),
            Err(_) => {
                let text = format!("the method did not answer within {} ms", budget.as_millis());
                let error = Error::new(
                    ErrorCode::DeadlineExceeded,
                    "service.deadline",
                    "it took longer than its deadline",
                );
                call.fail(&error.caused_by(text)).into_http()
            }
        };
        record.close(code_of(response.headers()));
        response
    }

    async fn stream(
        &self,
        mut routes: Routes,
        mut request: Request<Body>,
        call: Call,
        (record, seat): (Record, OwnedSemaphorePermit),
    ) -> Response<Body> {
        let open = self.open.token();
        request.extensions_mut().insert(call.clone());
        let request = request.map(|body| Body::new(Arriving(body)));
        let response = match AssertUnwindSafe(routes.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Err(_) => call
                .fail(&Error::internal("the handler panicked"))
                .into_http(),
        };
        if response.headers().contains_key("grpc-status") {
            record.close(code_of(response.headers()));
            return response;
        }
        // The call ends with its body: the record, the seat and the mark of being open go with it.
        response.map(|body| {
            Body::new(Watched::new(
                body,
                call,
                self.shutdown.clone(),
                (record, seat, open),
            ))
        })
    }

    fn refuse(&self, record: Record, error: &Error) -> Response<Body> {
        record.span().in_scope(|| note(error));
        // Nobody has set it before: the handler never ran.
        let _ = record.failure().set(error.error_code());
        let response: Response<Body> = to_status(error).into_http();
        record.close(code_of(response.headers()));
        response
    }

    async fn without_policy(&self, routes: &mut Routes, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if INFRASTRUCTURE.iter().any(|known| path.starts_with(known)) {
            let Ok(response) = routes.call(request).await;
            return response;
        }
        tracing::info!(path = %path.escape_debug(), "a method that the contract does not know was called");
        tonic::Status::unimplemented("the contract has no such method").into_http()
    }
}

fn span(
    service: &'static str,
    policy: &MethodPolicy,
    request_id: &str,
    incoming: Option<&str>,
) -> Span {
    tracing::info_span!(
        parent: None,
        "rpc",
        otel.name = policy.path,
        otel.kind = "server",
        rpc.system = "grpc",
        rpcService = service,
        method = "gRPC",
        path = policy.path,
        requestId = request_id,
        traceId = incoming.and_then(|value| value.split('-').nth(1)),
        tenantId = field::Empty,
        actorType = field::Empty,
        userId = field::Empty,
        serviceId = field::Empty,
    )
}

/// Puts ids of tenant and actor on every line of the call.
fn identify(span: &Span, ctx: &RequestContext) {
    if let Some(tenant_id) = ctx.tenant_id() {
        span.record("tenantId", field::display(tenant_id));
    }
    let principal = ctx.principal();
    span.record("actorType", principal.kind());
    match principal {
        kernel::Principal::Service { id } => span.record("serviceId", field::display(id)),
        kernel::Principal::Internal { service, .. } => span.record("serviceId", service.as_str()),
        _ => span,
    };
    if let Some(user_id) = principal.user_id() {
        span.record("userId", field::display(user_id));
    }
}

fn peer(request: &Request<Body>) -> Option<IpAddr> {
    let extensions = request.extensions();
    let plain = extensions
        .get::<TcpConnectInfo>()
        .and_then(TcpConnectInfo::remote_addr);
    let secured = || {
        extensions
            .get::<TlsConnectInfo<TcpConnectInfo>>()
            .and_then(|info| info.get_ref().remote_addr())
    };
    plain.or_else(secured).map(|address| address.ip())
}

/// How long the caller waits, by gRPC's `grpc-timeout`: up to eight digits and a unit. A little is kept back for the way home.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    let asked = match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    };
    Some(asked - (asked / 20).min(Duration::from_millis(20)))
}

/// The status of an answer that is complete; an answer with a body has none yet and has succeeded so far.
fn code_of(headers: &HeaderMap) -> tonic::Code {
    headers.get("grpc-status").map_or(tonic::Code::Ok, |value| {
        tonic::Code::from_bytes(value.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read() {
        let check = |text: &'static str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                http::HeaderValue::from_static(text),
            )]);
            assert_eq!(
                timeout(&headers).map(|t| u64::try_from(t.as_millis()).unwrap()),
                expected,
                "{text}"
            );
        };
        check("1S", Some(980));
        check("100m", Some(95));
        check("2000000u", Some(1980));
        check("123456789S", None);
        check("S", None);
        check("", None);
        check("1x", None);
        check("-1S", None);
    }
}
