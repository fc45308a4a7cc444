//! Spans on their way out by OTLP, redacted like logs.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};

use super::TelemetrySettings;
use crate::redact::{MASK, Treatment, scrub, treatment};

/// Targets on the path of the export itself.
pub(super) const QUIET: [&str; 5] = ["h2", "hyper", "tonic", "tower", "opentelemetry"];

/// A provider with a batch exporter of bounded memory: when the collector is down, spans are dropped.
pub(super) fn provider(
    settings: &TelemetrySettings,
    service: &'static str,
) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(settings.otlp_endpoint.as_str())
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(Redacting(exporter))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            settings.trace_ratio,
        ))))
        .with_resource(Resource::builder().with_service_name(service).build())
        .build())
}

/// Passes spans on without personal data.
#[derive(Debug)]
pub(super) struct Redacting<E>(pub(super) E);

impl<E: SpanExporter> SpanExporter for Redacting<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        for span in &mut batch {
            redact(&mut span.attributes);
            for event in &mut span.events.events {
                redact(&mut event.attributes);
                event.name = scrub(&event.name).into_owned().into();
            }
        }
        self.0.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn redact(attributes: &mut Vec<KeyValue>) {
    attributes.retain(|attribute| treatment(attribute.key.as_str()) != Treatment::Remove);
    for attribute in attributes {
        if treatment(attribute.key.as_str()) == Treatment::Mask {
            attribute.value = Value::from(MASK);
        } else if let Value::String(text) = &attribute.value {
            let clean = scrub(text.as_str()).into_owned();
            attribute.value = Value::from(clean);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Collected(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Collected {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn spans_leave_without_personal_data() {
        let collected = Collected::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(Redacting(collected.clone()))
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(
            tracing_subscriber::Registry::default().with(layer),
            || {
                let span = tracing::info_span!(
                    "work",
                    email = "ann@example.com",
                    password = "hunter2",
                    path = "/v1/me"
                );
                span.in_scope(|| {
                    tracing::info!(
                        token = "abc",
                        "mail for ann@example.com from {}",
                        "Bearer xyz"
                    )
                });
            },
        );
        let spans = collected.0.lock().unwrap();
        let text = format!("{:?} {:?}", spans[0].attributes, spans[0].events);
        assert!(text.contains("/v1/me") && text.contains(MASK), "{text}");
        for leaked in ["ann@example.com", "hunter2", "abc", "xyz"] {
            assert!(!text.contains(leaked), "{leaked}: {text}");
        }
    }
}
