//! Spans of requests, only while they leave the process: otherwise a request pays nothing for them.
//!
//! Named as OpenTelemetry's conventions for HTTP want it: by method and route. A path holds the ids of customers, and a name for each of them
//! would be no name.

use actix_http::{Request, StatusCode};
use opentelemetry::global::get_text_map_propagator;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::arrival::Arrival;
use crate::handle::known_method;
use crate::pages::Pages;
use crate::routes::{Found, Verb, table};

/// The span of a request; none while spans stay here.
pub fn open(request: &Request, pages: &Pages, arrival: &Arrival) -> Option<Span> {
    runtime::telemetry::is_exporting().then(|| begin(request, pages, &arrival.request_id))
}

fn begin(request: &Request, pages: &Pages, request_id: &str) -> Span {
    let method = known_method(request.method());
    let route = route_of(request, pages);
    // What stands for all other methods is no word of the protocol, and the conventions want one in a name.
    let word = if method == "_OTHER" { "HTTP" } else { method };
    let name = route.map_or_else(|| word.to_owned(), |route| format!("{word} {route}"));
    tracing::info_span!(
        "http",
        otel.kind = "server",
        otel.name = %name,
        otel.status_code = field::Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        requestId = request_id,
    )
}

/// The template of a method's path, or the path of a page, of which there are few.
fn route_of<'r>(request: &'r Request, pages: &Pages) -> Option<&'r str> {
    let path = request.path();
    match table().find(Verb::of(request.method().as_str()), path) {
        Found::Method(method, _) => Some(method.template),
        Found::Other { .. } => None,
        Found::Nothing => pages.find(path).map(|_| path),
    }
}

/// Notes how the request ended. A refusal is the client's affair; only our failures make a span a failed one.
pub fn close(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Makes the span part of the caller's trace, and what is asked of the services part of the span.
pub fn continue_trace(span: &Span, arrival: &mut Arrival) {
    let carrier = std::collections::HashMap::from([(
        "traceparent".to_owned(),
        arrival.trace.parent().to_owned(),
    )]);
    // A span that is not sampled has no parent to set.
    let _ = span.set_parent(get_text_map_propagator(|propagator| {
        propagator.extract(&carrier)
    }));
    let mut out = std::collections::HashMap::new();
    get_text_map_propagator(|propagator| propagator.inject_context(&span.context(), &mut out));
    if let Some(parent) = out.remove("traceparent") {
        arrival.trace.replace(parent);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use actix_http::Method;
    use actix_http::test::TestRequest;
    use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use runtime::Profile;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Collected(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Collected {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    fn exported(method: &'static str, path: &str, status: u16) -> SpanData {
        let collected = Collected::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(collected.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::Registry::default().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let request = TestRequest::default()
                .method(method.parse::<Method>().unwrap())
                .uri(path)
                .finish();
            let span = begin(&request, &Pages::new(Profile::Production), "req-1");
            close(&span, StatusCode::from_u16(status).unwrap());
        });
        collected.0.lock().unwrap().remove(0)
    }

    #[test]
    fn spans_are_named_by_method_and_route_and_never_by_what_a_path_holds() {
        let id = "0190a0b0-0000-7000-8000-00000000000a";
        let record = format!("/v1/niches/catalog/package/records/{id}?limit=1");
        for (method, path, name) in [
            (
                "GET",
                record.as_str(),
                "GET /v1/niches/{niche}/{entity}/records/{record_id}",
            ),
            ("HEAD", "/v1/me", "HEAD /v1/me"),
            ("PUT", record.as_str(), "PUT"),
            ("GET", "/health/live", "GET /health/live"),
            ("GET", &format!("/docs/{id}"), "GET"),
            ("GET", &format!("/nowhere/{id}"), "GET"),
            ("BREW", &format!("/v1/tenants/{id}"), "HTTP"),
        ] {
            let span = exported(method, path, 200);
            assert_eq!(span.name, name, "{method} {path}");
            assert_eq!(span.span_kind, SpanKind::Server);
            assert!(!format!("{:?}", span.attributes).contains(id), "{span:?}");
        }
    }

    #[test]
    fn only_our_failures_make_a_failed_span() {
        for (status, expected) in [
            (200, Status::Unset),
            (404, Status::Unset),
            (503, Status::error("")),
        ] {
            let span = exported("GET", "/v1/me", status);
            assert_eq!(span.status, expected);
            let attributes = format!("{:?}", span.attributes);
            assert!(attributes.contains(&status.to_string()), "{attributes}");
        }
    }
}
