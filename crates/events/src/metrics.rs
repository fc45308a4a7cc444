//! What the relay and the consumers report. No tenant is ever a label.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

pub(crate) struct Metrics {
    published: Counter<u64>,
    consumed: Counter<u64>,
    handler: Histogram<f64>,
    lag: Gauge<f64>,
    backlog: Gauge<u64>,
}

impl Metrics {
    /// Instruments of the global meter; the process installs its provider before it connects.
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("events");
        Self {
            published: meter
                .u64_counter("events.published")
                .with_description("events of the outbox that the broker has confirmed")
                .build(),
            consumed: meter
                .u64_counter("events.consumed")
                .with_description("attempts to handle an event, by result: done, retried or dead")
                .build(),
            handler: meter
                .f64_histogram("events.handler.duration")
                .with_unit("s")
                .with_description("how long one attempt took")
                .build(),
            lag: meter
                .f64_gauge("events.outbox.lag")
                .with_unit("s")
                .with_description("age of the oldest event that is not published")
                .build(),
            backlog: meter
                .u64_gauge("events.outbox.backlog")
                .with_description("events that are not published")
                .build(),
        }
    }

    pub(crate) fn published(&self, source: &str, events: usize) {
        self.published
            .add(events as u64, &[KeyValue::new("source", source.to_owned())]);
    }

    pub(crate) fn outbox(&self, source: &str, events: u64, oldest_seconds: f64) {
        let labels = [KeyValue::new("source", source.to_owned())];
        self.lag.record(oldest_seconds, &labels);
        self.backlog.record(events, &labels);
    }

    pub(crate) fn consumed(&self, queue: &'static str, result: &'static str, seconds: f64) {
        self.consumed.add(
            1,
            &[
                KeyValue::new("queue", queue),
                KeyValue::new("result", result),
            ],
        );
        self.handler
            .record(seconds, &[KeyValue::new("queue", queue)]);
    }
}
