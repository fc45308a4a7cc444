//! Logs and traces of a process.

mod export;
mod fields;
mod format;
mod layer;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::settings::Reader;
pub use layer::{Format, Sink};

/// Drivers tell at `info` what only their authors want to know, and a channel that the broker closes is the answer to a question of ours.
const FILTER_DEFAULT: &str = "info,hyper=warn,h2=warn,tower=warn,lapin=warn,lapin::channel=off,sqlx=warn,rustls=warn,opentelemetry=warn,actix_server=warn";

/// A collector that is down must not hold up the end of the process.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Whether spans leave the process; when they do not, nobody needs to pay for making trace contexts.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// How a process logs and traces.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// Directives of `tracing`'s filter.
    pub filter: String,
    /// JSON lines, or text for people.
    pub format: Format,
    /// Where spans go by OTLP over gRPC; empty means nowhere.
    pub otlp_endpoint: String,
    /// The share of traces that start here and are kept, 0 to 1; a caller's decision is followed.
    pub trace_ratio: f64,
}

impl TelemetrySettings {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        let filter = reader.text(
            "TENANTRY_LOG",
            FILTER_DEFAULT,
            "what is logged, for example info,rpc::access=debug",
        );
        if let Err(error) = EnvFilter::try_new(&filter) {
            reader.problem(
                "TENANTRY_LOG",
                format!("cannot be read: {error}"),
                "directives such as info,sqlx=debug",
            );
        }
        let format = match reader
            .choice(
                "TENANTRY_LOG_FORMAT",
                "json",
                &["json", "text"],
                "json for machines, text for people",
            )
            .as_str()
        {
            "text" => Format::Text,
            _ => Format::Json,
        };
        Self {
            filter,
            format,
            otlp_endpoint: reader.text("OTEL_EXPORTER_OTLP_ENDPOINT", "", "where traces go by OTLP over gRPC, for example http://localhost:4317; empty: nowhere"),
            trace_ratio: reader.number("TENANTRY_TRACE_RATIO", 0.1, 0.0..=1.0, "share of traces that are kept when the caller has not decided"),
        }
    }
}

/// Keeps the exporter; [`Telemetry::flush`] sends what it still holds.
#[must_use = "without flushing, the last spans are lost"]
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sends what is still held and stops exporting.
    pub fn flush(self) {
        if let Some(Err(error)) = self
            .0
            .map(|provider| provider.shutdown_with_timeout(FLUSH_MAX))
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Starts logging to standard output and, with an endpoint, tracing. Fails when the process has a subscriber already.
pub fn init(settings: &TelemetrySettings, service: &'static str) -> anyhow::Result<Telemetry> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = if settings.otlp_endpoint.is_empty() {
        None
    } else {
        Some(export::provider(settings, service)?)
    };
    let traces = provider.as_ref().map(|provider| {
        opentelemetry::global::set_tracer_provider(provider.clone());
        EXPORTING.store(true, Ordering::Relaxed);
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tenantry"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // The exporter's own connection must not make spans about sending spans.
            .with_filter(
                Targets::new()
                    .with_default(LevelFilter::INFO)
                    .with_targets(export::QUIET.map(|target| (target, LevelFilter::OFF))),
            )
    });
    let filter = EnvFilter::try_new(&settings.filter).context("TENANTRY_LOG")?;
    let logs =
        layer::LogLayer::new(service, settings.format, standard_output()).with_filter(filter);
    tracing::subscriber::set_global_default(Registry::default().with(traces).with(logs))
        .context("a log subscriber is installed already")?;
    Ok(Telemetry(provider))
}

/// A subscriber that writes to `sink` instead of standard output: for tests of what is logged.
pub fn subscriber(
    service: &'static str,
    format: Format,
    filter: &str,
    sink: Sink,
) -> impl Subscriber + Send + Sync {
    Registry::default()
        .with(layer::LogLayer::new(service, format, sink).with_filter(EnvFilter::new(filter)))
}

/// Whether spans leave the process.
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

fn standard_output() -> Sink {
    // One locked write per line keeps lines whole; a closed pipe must not stop a service.
    Arc::new(|line: &[u8]| {
        let _ = std::io::stdout().lock().write_all(line);
    })
}
