//! Traces in a build that can send them: OTLP over HTTP, protobuf, from a thread of the SDK's own.
//!
//! The SDK reads the standard `OTEL_…` variables itself (endpoint, headers, timeout, sampler, service name). What it
//! sends goes through `ureq`, which is here anyway for downloading models, TLS included.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::WithHttpConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::Filter;
use tracing_subscriber::layer::Layer;

use super::{RequestEnd, is_wanted};

/// Longest answer of a collector that is read.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// Longest time that one sending takes; the SDK gives up on its own as `OTEL_EXPORTER_OTLP_TIMEOUT` says.
const SENDING: Duration = Duration::from_secs(10);

/// The one exporter of the process, as there is one subscriber.
static PROVIDER: Mutex<Option<SdkTracerProvider>> = Mutex::new(None);

/// Records spans.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The layer that records the spans of this program, when the variables say where to send them.
///
/// # Errors
/// When they name a place that cannot be sent to.
pub fn layer() -> Result<Option<SpanLayer>, String> {
    if !is_wanted() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Sender::new())
        .build()
        .map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
    let layer: OpenTelemetryLayer<Registry, SdkTracer> =
        OpenTelemetryLayer::new(provider.tracer("diarist")).with_location(false).with_threads(false);
    *PROVIDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(provider);
    Ok(Some(layer.with_filter(OwnSpans::filter()).boxed()))
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before what is said here.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some()
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|text| text.contains("service.name="));
    let builder = Resource::builder().with_attribute(version);
    if named { builder.build() } else { builder.with_service_name("diarist").build() }
}

/// Which spans are recorded: this program's, down to stages and chunks, whatever the log's level is. Events are the
/// log's alone: they hold what was said in recordings.
struct OwnSpans;

impl OwnSpans {
    fn filter() -> impl Filter<Registry> + Send + Sync + 'static {
        FilterFn::new(|metadata: &Metadata<'_>| {
            metadata.is_span()
                && metadata.target().starts_with("diarist")
                && *metadata.level() <= Level::DEBUG
        })
        .with_max_level_hint(Level::DEBUG)
    }
}

/// The span around a request, a part of the caller's trace when it sent W3C's `traceparent`. Not entered yet.
pub fn request_span(request_id: &str, header: impl Fn(&str) -> Option<String>) -> Span {
    let span = tracing::info_span!("request", request_id, otel.kind = "server");
    let carrier: HashMap<String, String> = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), header(name)?)))
        .collect();
    // Without a sound header this is a trace of its own, and without the layer no trace at all.
    if carrier.contains_key("traceparent") {
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
    span
}

/// Writes down how a request ended, by OpenTelemetry's names.
pub fn end_request(span: &Span, end: RequestEnd<'_>) {
    span.context().span().update_name(format!("{} {}", end.method, end.route));
    span.set_attribute("http.request.method", end.method);
    span.set_attribute("http.route", end.route);
    span.set_attribute("http.response.status_code", i64::from(end.status));
    if !end.model.is_empty() {
        span.set_attribute("diarist.model", end.model.to_owned());
        span.set_attribute("diarist.audio_s", end.audio_s);
    }
    if end.status >= 500 {
        span.set_status(Status::error(end.status.to_string()));
    }
}

/// Sends what is left and ends the exporter.
pub fn stop() {
    let provider = PROVIDER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Err(error)) = provider.map(|provider| provider.shutdown_with_timeout(SENDING)) {
        tracing::warn!(%error, "the last traces could not be sent");
    }
}

/// Sends what the exporter has made.
#[derive(Debug)]
struct Sender(ureq::Agent);

impl Sender {
    fn new() -> Self {
        // The exporter looks at the status itself.
        let config = ureq::Agent::config_builder().timeout_global(Some(SENDING)).http_status_as_error(false);
        Self(config.build().new_agent())
    }
}

#[async_trait]
impl HttpClient for Sender {
    /// Blocks, which is right on the exporter's own thread.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}
