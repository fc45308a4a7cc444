//! Writes each event as one line that carries the fields of the spans around it.

use std::cell::RefCell;
use std::sync::Arc;

use kernel::Clock;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::format;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// For people at a terminal.
    Text,
}

/// Takes one finished line, with its line end.
pub type Sink = Arc<dyn Fn(&[u8]) + Send + Sync>;

pub(super) struct LogLayer {
    service: &'static str,
    format: Format,
    sink: Sink,
    clock: Clock,
}

impl LogLayer {
    pub(super) fn new(service: &'static str, format: Format, sink: Sink) -> Self {
        Self {
            service,
            format,
            sink,
            clock: Clock::system(),
        }
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Fields);

thread_local! {
    /// Reused, so that a line costs no allocation of its own.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields));
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(SpanFields(fields)) = extensions.get_mut() {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // From the innermost span outwards: what is nearer to the event wins.
        for span in ctx.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            let Some(SpanFields(outer)) = extensions.get() else {
                continue;
            };
            for (name, value) in &outer.values {
                if !fields.values.iter().any(|(known, _)| known == name) {
                    fields.values.push((name, value.clone()));
                }
            }
        }
        let line = format::Line {
            now: self.clock.now(),
            service: self.service,
            metadata: event.metadata(),
            fields: &fields,
        };
        LINE.with(|buffer| match buffer.try_borrow_mut() {
            Ok(mut buffer) => self.write(&line, &mut buffer),
            // A sink that logs would come back here.
            Err(_) => self.write(&line, &mut Vec::new()),
        });
    }
}

impl LogLayer {
    fn write(&self, line: &format::Line<'_>, buffer: &mut Vec<u8>) {
        buffer.clear();
        match self.format {
            Format::Json => line.json(buffer),
            Format::Text => line.text(buffer),
        }
        (self.sink)(buffer);
    }
}
