//! What the relay and the consumers report. No tenant is ever a label.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

/// From a handler that found nothing to do to the longest timeout of a handler, and on to a queue that lags by an hour.
const SECONDS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0,
];

pub(crate) struct Metrics {
    published: Counter<u64>,
    interrupted: Counter<u64>,
    consumed: Counter<u64>,
    queued: Histogram<f64>,
    handler: Histogram<f64>,
    depth: Gauge<u64>,
    dead_letters: Gauge<u64>,
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
            interrupted: meter
                .u64_counter("events.publish.failures")
                .with_description(
                    "times that publishing broke off; what was not confirmed is published again",
                )
                .build(),
            consumed: meter
                .u64_counter("events.consumed")
                .with_description("attempts to handle an event, by result: done, retried or dead")
                .build(),
            queued: meter
                .f64_histogram("events.queue.duration")
                .with_unit("s")
                .with_boundaries(SECONDS.to_vec())
                .with_description("time from the publication of an event to its first attempt")
                .build(),
            depth: meter
                .u64_gauge("events.queue.depth")
                .with_description("messages that wait in a queue and that nobody holds")
                .build(),
            dead_letters: meter
                .u64_gauge("events.dead_letters")
                .with_description("dead letters that somebody should look at")
                .build(),
            handler: meter
                .f64_histogram("events.handler.duration")
                .with_unit("s")
                .with_boundaries(SECONDS.to_vec())
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

    pub(crate) fn interrupted(&self, source: &str) {
        self.interrupted
            .add(1, &[KeyValue::new("source", source.to_owned())]);
    }

    pub(crate) fn queued(&self, queue: &'static str, seconds: f64) {
        self.queued
            .record(seconds, &[KeyValue::new("queue", queue)]);
    }

    pub(crate) fn depth(&self, queue: &'static str, waiting: u64, dead: u64) {
        let labels = [KeyValue::new("queue", queue)];
        self.depth.record(waiting, &labels);
        self.dead_letters.record(dead, &labels);
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
