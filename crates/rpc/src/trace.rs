//! W3C trace context between processes. Costs nothing while no span leaves the process: the caller's context is handed on as it came.

use std::collections::HashMap;

use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};
use runtime::telemetry::is_exporting;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::metadata::TRACEPARENT;

struct One<'a>(&'a str);

impl Extractor for One<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[derive(Default)]
struct Carrier(HashMap<String, String>);

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

/// Makes `span` a child of the caller's and tells the trace context to hand on.
pub(crate) fn adopt(span: &Span, incoming: Option<&str>) -> Option<String> {
    if is_exporting() {
        join(span, incoming)
    } else {
        incoming.map(str::to_owned)
    }
}

fn join(span: &Span, incoming: Option<&str>) -> Option<String> {
    if let Some(incoming) = incoming {
        let parent =
            global::get_text_map_propagator(|propagator| propagator.extract(&One(incoming)));
        // It fails only for a span that the filter dropped, which then has no context to give on either.
        let _ = span.set_parent(parent);
    }
    of(span).or_else(|| incoming.map(str::to_owned))
}

/// The trace context of the current span.
pub(crate) fn current() -> Option<String> {
    if is_exporting() {
        of(&Span::current())
    } else {
        None
    }
}

fn of(span: &Span) -> Option<String> {
    let mut into = Carrier::default();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&span.context(), &mut into)
    });
    into.0.remove(TRACEPARENT)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_span_joins_the_trace_of_its_caller_and_hands_itself_on() {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let tracer = SdkTracerProvider::default().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let handed_on = join(&tracing::info_span!("call"), Some(incoming)).unwrap();
            assert!(
                handed_on.starts_with("00-0af7651916cd43dd8448eb211c80319c-"),
                "{handed_on}"
            );
            assert!(
                handed_on.ends_with("-01") && !handed_on.contains("b7ad6b7169203331"),
                "{handed_on}"
            );
            let fresh = join(&tracing::info_span!("call"), None).unwrap();
            assert!(
                !fresh.contains("0af7651916cd43dd8448eb211c80319c"),
                "{fresh}"
            );
        });
    }
}
