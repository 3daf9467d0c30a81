//! Traces for an OpenTelemetry collector: spans of requests, of what is made and read for them, by OTLP over HTTP to where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` says. In builds with the feature `otel` alone; others say that they are none.

use std::error::Error;

use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Variables that say where to (OpenTelemetry's specification of exporters).
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

fn are_wanted() -> bool {
    ENDPOINTS.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Where spans go, until it ends.
#[cfg(feature = "otel")]
#[derive(Debug)]
pub(crate) struct Traces(opentelemetry_sdk::trace::SdkTracerProvider);

#[cfg(feature = "otel")]
impl Traces {
    /// As the environment says; `None` if it names no collector. To be called outside a runtime, as it makes one of its own.
    pub(crate) fn of_environment() -> Result<Option<Traces>, Box<dyn Error>> {
        if !are_wanted() {
            return Ok(None);
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build()?;
        let mut resource = opentelemetry_sdk::Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("headwater");
        }
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Traces(provider)))
    }

    /// Makes `subscriber` the one of this process, and sends its spans.
    pub(crate) fn install<S>(traces: Option<&Traces>, subscriber: S)
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        use opentelemetry::trace::TracerProvider;
        use tracing_subscriber::layer::SubscriberExt;
        let layer = traces.map(|traces| tracing_opentelemetry::layer().with_tracer(traces.0.tracer("headwater")));
        subscriber.with(layer).init();
    }

    /// Sends what waits. Blocks.
    pub(crate) fn end(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "not all spans were sent");
        }
    }
}

/// There are none.
#[cfg(not(feature = "otel"))]
#[derive(Debug)]
pub(crate) enum Traces {}

#[cfg(not(feature = "otel"))]
impl Traces {
    pub(crate) fn of_environment() -> Result<Option<Traces>, Box<dyn Error>> {
        Ok(None)
    }

    pub(crate) fn install<S>(_: Option<&Traces>, subscriber: S)
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        subscriber.init();
        if are_wanted() {
            tracing::warn!(
                "the environment names a collector of traces, and this program was built without the feature `otel`"
            );
        }
    }

    pub(crate) fn end(self) {
        match self {}
    }
}
