//! OpenTelemetry instruments, read in the Prometheus format.

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// Seconds: from a cached answer to the longest deadline. Fixed for every latency, so that dashboards can be shared.
pub const LATENCY_BUCKETS_S: [f64; 13] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Makes instruments and renders what they measured. Clones share one registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Metrics {
    /// A registry of its own; `service` becomes `service.name`.
    ///
    /// # Panics
    /// Never in practice: a fresh registry cannot hold a conflicting collector.
    pub fn new(service: &str) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .build()
            .expect("a fresh registry takes the exporter");
        let resource = Resource::builder_empty()
            .with_service_name(service.to_owned())
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(resource)
            .build();
        Self { provider, registry }
    }

    /// A meter for one crate or service; its instruments appear in [`Self::render`].
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.provider.meter(scope)
    }

    /// Makes this the provider behind `opentelemetry::global::meter`, for crates that are not handed a `Metrics`.
    pub fn install_globally(&self) {
        opentelemetry::global::set_meter_provider(self.provider.clone());
    }

    /// Everything measured so far, in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot render metrics");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new("demo");
        metrics
            .meter("demo")
            .u64_counter("demo.things")
            .build()
            .add(3, &[]);
        let text = metrics.render();
        assert!(
            text.contains(r#"demo_things_total{otel_scope_name="demo"} 3"#),
            "{text}"
        );
        assert!(text.contains(r#"service_name="demo""#), "{text}");
    }
}
